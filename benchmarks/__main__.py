"""`python -m benchmarks`: read the command line, run, show, store.

Everything else is a module of its own; this file only says what happens in which order.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import (
    bars,
    chart,
    engines,
    paired,
    progress,
    runner,
    scaling,
    scaling_chart,
    scaling_results,
    scaling_run,
    tables,
    workloads,
)
from benchmarks.results import Results
from benchmarks.scaling_results import Scaling

if TYPE_CHECKING:
    from collections.abc import Callable

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
    p.add_argument(
        "--scaling",
        action=argparse.BooleanOptionalAction,
        help="only how the cost of one grows with how many there are, or all but that",
    )
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
    lines += ["", "scaling: how the cost of one grows with how many there are"]
    lines += [f"  {growth.name:<18} {growth.about}" for growth in scaling.GROWTHS.values()]
    return "\n".join(lines) + "\n"


def version_in(facts: dict[str, Any]) -> str:
    """3.14, which names the files of a run."""
    return ".".join(str(facts["python"]).split(".")[:2])


def loaded(file: Path) -> tuple[Results | None, Scaling | None]:
    """What a file holds: one of the two."""
    text = file.read_text(encoding="utf-8")
    if "series" in json.loads(text):
        return None, Scaling.from_json(text)
    return Results.from_json(text), None


def measured(
    arguments: argparse.Namespace,
    taking_part: list[engines.Engine],
    work: list[workloads.Workload],
    settings: runner.Settings,
    shown: progress.Progress,
) -> tuple[Results | None, Scaling | None]:
    """What was asked for: the workloads, how their cost grows, or both."""
    results = grown = None
    part = bool(arguments.workloads or arguments.without)
    if not arguments.scaling:
        everyone = [runner.Contestant(engine) for engine in taking_part]
        results = runner.run(everyone, work, settings, shown)
    if arguments.scaling or (arguments.scaling is None and not part):
        last = STORE / f"{sys.version_info[0]}.{sys.version_info[1]}.json"
        speed = results or (Results.load(last) if last.exists() else None)
        few = [
            runner.Contestant(engine)
            for engine in (taking_part if arguments.engines else scaling_run.usual(speed))
        ]
        grown = scaling_run.run(few, settings, shown)
    return results, grown


def store(results: Results | None, grown: Scaling | None, folder: Path) -> None:
    """JSON, SVG and PNG of what was run, under the interpreter's version."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    pictures: list[Callable[[], list[Path]]] = []
    if results:
        stem = version_in(results.facts)
        written.append(folder / f"{stem}.json")
        written[-1].write_text(results.to_json(), encoding="utf-8")
        pictures.append(partial(chart.draw, results, folder, stem))
    if grown:
        stem = f"scaling-{version_in(grown.facts)}"
        written.append(folder / f"{stem}.json")
        written[-1].write_text(grown.to_json(), encoding="utf-8")
        pictures.append(partial(scaling_chart.draw, grown, folder, stem))
    try:
        for draw in pictures:
            written += draw()
    except chart.NoMatplotlibError as error:
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
    if arguments.scaling and (arguments.workloads or arguments.without):
        p.error("--scaling has programs of its own and takes no workloads")
    settings = settings_of(arguments)
    shown = progress.Progress()
    if arguments.list:
        sys.stdout.write(listing())
        return 0
    if arguments.paired:
        compared = paired.compare(taking_part[-1], tuple(arguments.paired), work, settings, shown)
        sys.stdout.write(paired.table(compared))
        return 0
    if arguments.load:
        results, grown = loaded(arguments.load)
    else:
        results, grown = measured(arguments, taking_part, work, settings, shown)
    if results:
        results.statistic = arguments.statistic
        sys.stdout.write(tables.report(results))
    if grown:
        sys.stdout.write("\n" * bool(results) + scaling_results.report(grown))
    # Only a whole run replaces what the README shows.
    part = arguments.quick or arguments.engines or arguments.workloads or arguments.without
    if arguments.output:
        store(results, grown, arguments.output)
    elif not (part or arguments.no_memory or arguments.load):
        store(results, grown, STORE)
    if not arguments.check:
        return 0
    verdict, passed = bars.check(results, grown)
    sys.stdout.write(f"\n{verdict}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
