"""The command: which modules, under which engines, then run, judge and print.

Modules run side by side, one thread per child process: the threads only wait. Stock runs a module
just before an engine does if its outcomes are not remembered, so that a first run needs no
separate step.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import baseline, lists, plan, report, suite
from .judge import Failure, Judged, judge
from .process import Job, Limits, ModuleRun, NoEngine, run_module, try_engine
from .swap import ENGINES

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache"


@dataclass(frozen=True)
class Setting:
    """What an engine is run by; the command line fills it in, and the runner's own tests do."""

    suite: suite.Suite
    lists: lists.Lists
    engine: str
    cache: Path
    limits: Limits = field(default_factory=Limits)
    pattern: str | None = None
    debug: bool = False
    refresh: bool = False
    path: tuple[str, ...] = ()


def run_one(setting: Setting, module: str) -> Judged:
    """One module: stock if need be, then the engine, then the verdicts."""
    listed = setting.lists.under(setting.engine)
    whole = listed.whole_modules().get(module)
    if whole is not None and whole.never:
        return Judged(module, note=f"never: {whole.reason}")
    job = Job(
        engine=setting.engine,
        package=setting.suite.package,
        module=module,
        log=report.log_file(setting.cache, setting.engine, module),
        pattern=setting.pattern,
        limits=setting.limits,
        debug=setting.debug,
        path=setting.path,
    )
    stamp = setting.suite.stamp(module)
    cache = setting.cache / "baseline" / f"{module}.json"
    stock_job = replace(job, engine="stock", log=report.log_file(setting.cache, "stock", module))
    waiting: dict[str, str] = {}
    if any(entry.module == module for entry in listed.not_yet):
        ids = baseline.collected(stock_job, stamp, cache)
        waiting, _ = listed.resolve(listed.not_yet, module, ids)
        if whole is not None:
            named = ModuleRun(collected=ids)
            return judge(module, named, named, listed, pattern=setting.pattern)
    skip = frozenset(waiting)
    is_stock = setting.engine == "stock"
    stock = baseline.stock(
        replace(stock_job, skip=skip), stamp, cache, refresh=setting.refresh or is_stock
    )
    ours = stock if is_stock else run_module(replace(job, skip=skip))
    return judge(module, ours, stock, listed, is_stock=is_stock, pattern=setting.pattern)


def stray_entries(read: lists.Lists, modules: list[str]) -> list[Judged]:
    """What is wrong with the lists as a whole: modules that this version does not have."""
    judged = Judged("the lists")
    for entry in [*read.exceptions, *read.not_yet]:
        if entry.module not in modules:
            what = "in a list, but this version has no such module: give the entry its versions"
            judged.fail(Failure(entry.module, what, listable=False))
    return [judged] if judged.failures else []


def run_all(runs: list[tuple[Setting, str]], jobs: int, *, say: bool = True) -> list[Judged]:
    """Every module under its engine, judged; prints a line as each one ends."""
    results: list[Judged] = []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(run_one, *each): each[0] for each in runs}
        for done, future in enumerate(as_completed(waiting), 1):
            judged = replace(future.result(), engine=waiting[future].engine)
            results.append(judged)
            if say:
                print(report.progress(judged, done, len(runs)), flush=True)
    return results


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", help="test modules, e.g. test_tasks (default: all of them)"
    )
    parser.add_argument(
        "--engine", help=f"one of: {', '.join(ENGINES)} (default: {', '.join(plan.ENGINES)})"
    )
    parser.add_argument(
        "-k", dest="pattern", help="only ids that contain this, or match it if it has a star"
    )
    parser.add_argument(
        "-j", dest="jobs", type=int, default=os.cpu_count() or 1, help="modules at once"
    )
    parser.add_argument(
        "-v",
        dest="verbose",
        action="store_true",
        help="whole tracebacks, what is swapped, what stock fails",
    )
    parser.add_argument(
        "--timeout", type=float, default=120.0, help="seconds that one test may take"
    )
    parser.add_argument(
        "--module-timeout", type=float, default=900.0, help="seconds that a module may take"
    )
    parser.add_argument(
        "--debug", action="store_true", help="run the tests with PYTHONASYNCIODEBUG=1"
    )
    parser.add_argument(
        "--refresh", action="store_true", help="run stock again instead of remembering it"
    )
    parser.add_argument(
        "--all", action="store_true", help="run what not_yet.toml names as well (and count it)"
    )
    parser.add_argument(
        "--list-failures", action="store_true", help="end with entries ready for exceptions.toml"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    try:
        found = suite.find()
        read = lists.load(HERE, suite.VERSION)
    except (suite.NoSuite, lists.BadList) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    if args.all:
        read = replace(read, not_yet=[entry for entry in read.not_yet if entry.never])
    modules = found.modules()
    if unknown := set(args.modules) - set(modules):
        print(f"conformance: {suite.VERSION} has no {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [module for module in modules if not args.modules or module in args.modules]
    # Debug mode is another world for the tests: what stock does in it is remembered apart.
    cache = CACHE / "conformance" / (suite.VERSION + ("-debug" if args.debug else ""))
    cache.mkdir(parents=True, exist_ok=True)
    pairs = [(args.engine, each) for each in chosen] if args.engine else plan.runs(chosen)
    settings = {
        engine: Setting(
            suite=found,
            lists=read,
            engine=engine,
            cache=cache,
            limits=Limits(args.timeout, args.module_timeout),
            pattern=args.pattern,
            debug=args.debug,
            refresh=args.refresh and engine == pairs[0][0],
        )
        for engine, _ in pairs
    }
    python = sys.version.split()[0]
    print(f"CPython {python}, {', '.join(settings)}: {len(pairs)} runs, {args.jobs} at once")
    for engine in settings:
        try:
            swapped = try_engine(engine)
        except NoEngine as error:
            print(f"conformance: the engine {engine} does not load\n{error}", file=sys.stderr)
            return 2
        if args.verbose:
            print(f"swapped by {engine}: " + (", ".join(swapped) or "nothing"))
    began = time.monotonic()
    results = run_all([(settings[engine], module) for engine, module in pairs], args.jobs)
    results += stray_entries(read, modules)
    return conclude(cache, results, time.monotonic() - began, args)


def conclude(cache: Path, results: list[Judged], seconds: float, args: argparse.Namespace) -> int:
    """Print what came of it; the exit status."""
    print(f"\n{report.table(results)}\n\n{seconds:.1f} s, logs in {cache}")
    stock_fails = {test_id for judged in results for test_id in judged.stock_fails}
    if stock_fails and args.verbose:
        print(
            "\nstock fails these here:\n"
            + "\n".join(f"    {test_id}" for test_id in sorted(stock_fails))
        )
    failed = any(judged.failures for judged in results)
    if failed:
        print("\n" + report.failures(results, cache, verbose=args.verbose))
        if args.list_failures:
            print("\n" + report.pasteable(results, suite.VERSION))
    print("\n" + report.final(results))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
