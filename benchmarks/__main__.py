"""`python -m benchmarks`: read the command line, run, show, store.

Everything else is a module of its own; this file only says what happens in which order.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from benchmarks import bars, chart, engines, paired, progress, runner, tables, workloads
from benchmarks.results import Results

STORE = Path(__file__).parent / "results"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m benchmarks", description="every engine, the same workloads"
    )
    p.add_argument("--quick", action="store_true", help="a smoke run of about a minute")
    p.add_argument("--engines", metavar="A,B", help="only these engines")
    p.add_argument("--workloads", metavar="A,B", help="only these workloads or groups")
    p.add_argument("--without", metavar="A,B", help="not these workloads or groups")
    p.add_argument("--no-memory", action="store_true", help="leave the memory rows out")
    p.add_argument("--rounds", type=int, help="interleaved rounds (default 5)")
    p.add_argument("--samples", type=int, help="samples in each round (default 3)")
    p.add_argument("--seconds", type=float, help="seconds in each sample (default 0.04)")
    p.add_argument("--statistic", choices=("best", "median"), default="best")
    p.add_argument("--check", action="store_true", help="judge the bars; exit 1 below one")
    p.add_argument("--load", type=Path, metavar="JSON", help="show a stored run, measure nothing")
    p.add_argument("--output", type=Path, metavar="DIR", help="where results go, whatever was run")
    p.add_argument("--verbose", action="store_true", help="let the engines' stderr through")
    p.add_argument("--list", action="store_true", help="list engines and workloads")
    p.add_argument(
        "--paired",
        nargs=2,
        metavar=("A", "B"),
        help="two PYTHONPATHs with builds of one engine (--engines, or aioxide) to compare",
    )
    return p


def settings_of(arguments: argparse.Namespace) -> runner.Settings:
    """The amount of work that was asked for."""
    base = runner.QUICK if arguments.quick else runner.Settings()
    given = {k: v for k in ("rounds", "samples", "seconds") if (v := getattr(arguments, k))}
    memory = base.memory and not arguments.no_memory
    return dataclasses.replace(base, memory=memory, verbose=arguments.verbose, **given)


def listing() -> str:
    """What there is to measure."""
    lines = [f"engines: {', '.join(engines.BY_NAME)}"]
    for group, title in workloads.GROUPS.items():
        lines += ["", f"{group}: {title}"]
        members = [w for w in workloads.WORKLOADS.values() if w.group == group]
        lines += [f"  {w.name:<18} {w.about}" for w in members]
    return "\n".join(lines) + "\n"


def store(results: Results, folder: Path) -> None:
    """JSON, SVG and PNG, under the interpreter's version."""
    folder.mkdir(parents=True, exist_ok=True)
    version = ".".join(str(results.facts["python"]).split(".")[:2])
    file = folder / f"{version}.json"
    file.write_text(results.to_json(), encoding="utf-8")
    try:
        written = [file, *chart.draw(results, folder, version)]
    except chart.NoMatplotlibError as error:
        written = [file]
        sys.stderr.write(f"{error}\n")
    sys.stderr.write(f"written: {', '.join(f.name for f in written)}\n")


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    p = parser()
    arguments = p.parse_args(argv)
    try:
        taking_part = engines.chosen(arguments.engines)
        work = workloads.chosen(arguments.workloads, arguments.without)
    except ValueError as error:
        p.error(str(error))
    settings = settings_of(arguments)
    shown = progress.Progress()
    if arguments.list:
        sys.stdout.write(listing())
        return 0
    if arguments.paired:
        engine = taking_part[-1]
        results = paired.compare(engine, tuple(arguments.paired), work, settings, shown)
        sys.stdout.write(paired.table(results))
        return 0
    if arguments.load:
        results = Results.load(arguments.load)
    else:
        everyone = [runner.Contestant(engine) for engine in taking_part]
        results = runner.run(everyone, work, settings, shown)
    results.statistic = arguments.statistic
    sys.stdout.write(tables.report(results))
    # Only a whole run replaces what the README shows.
    whole = not (arguments.quick or arguments.engines or arguments.workloads or arguments.without)
    if arguments.output or (whole and not arguments.no_memory and not arguments.load):
        store(results, arguments.output or STORE)
    if not arguments.check:
        return 0
    verdict, passed = bars.check(results)
    sys.stdout.write(f"\n{verdict}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
