"""`python -m benchmarks.net`: read the command line, run, show, store."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from benchmarks import engines, progress
from benchmarks.chart import NoMatplotlibError
from benchmarks.net import asyncio_chart, bars, chart, runner, tables
from benchmarks.net.cells import CELLS, GROUPS, LEFT_OUT_OF_SMOKE_RUNS, QUICK, chosen
from benchmarks.net.results import NetResults

STORE = Path(__file__).parent.parent / "results"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.net", description="every engine's servers under load"
    )
    p.add_argument("--quick", action="store_true", help="a smoke run of about two minutes")
    p.add_argument("--engines", metavar="A,B", help="only these engines")
    p.add_argument("--cells", metavar="A,B", help="only these cells, groups or patterns")
    p.add_argument("--rounds", type=int, help="interleaved rounds (default 5)")
    p.add_argument("--seconds", type=float, help="seconds in each round (default 0.25)")
    p.add_argument("--no-trim", action="store_true", help="leave out peers with glibc tuned")
    p.add_argument("--check", action="store_true", help="judge the bars; exit 1 below one")
    p.add_argument("--load", type=Path, metavar="JSON", help="show a stored run, measure nothing")
    p.add_argument("--output", type=Path, metavar="DIR", help="where results go, whatever was run")
    p.add_argument("--name", default="net", help="what the files of results are called")
    p.add_argument("--verbose", action="store_true", help="let the servers' stderr through")
    p.add_argument("--list", action="store_true", help="list engines and cells")
    return p


def settings_of(arguments: argparse.Namespace) -> runner.Settings:
    """The amount of work that was asked for."""
    quick = runner.Settings(rounds=1, amount=QUICK, trim=False)
    base = quick if arguments.quick else runner.Settings()
    amount = base.amount
    if arguments.seconds:
        amount = dataclasses.replace(amount, seconds=arguments.seconds)
    return dataclasses.replace(
        base,
        rounds=arguments.rounds or base.rounds,
        amount=amount,
        trim=base.trim and not arguments.no_trim,
        verbose=arguments.verbose,
    )


def names_of(arguments: argparse.Namespace) -> list[str]:
    """The engines that were asked for; both variants of aioxide only by name."""
    if arguments.engines is None:
        return list(runner.USUAL)
    wanted = arguments.engines.split(",")
    return [e.name for e in engines.chosen(arguments.engines) if e.name in wanted]


def listing() -> str:
    """What there is to measure."""
    lines = [f"engines: {', '.join(engines.BY_NAME)}"]
    for group, title in GROUPS.items():
        lines += ["", f"{group}: {title}"]
        lines += [f"  {c.name:<22} {c.about}" for c in CELLS.values() if c.group == group]
    return "\n".join(lines) + "\n"


def store(results: NetResults, folder: Path, name: str) -> None:
    """JSON, Markdown, SVG and PNG, under a name and the interpreter's version."""
    folder.mkdir(parents=True, exist_ok=True)
    version = ".".join(str(results.facts["python"]).split(".")[:2])
    stem = f"{name}-{version}"
    written = [folder / f"{stem}.json", folder / f"{stem}.md"]
    written[0].write_text(results.to_json(), encoding="utf-8")
    written[1].write_text(tables.markdown(results), encoding="utf-8")
    try:
        written += chart.draw(results, folder, stem)
        written += asyncio_chart.draw(results, folder, f"{name}-tls-{version}")
    except NoMatplotlibError as error:
        sys.stderr.write(f"{error}\n")
    sys.stderr.write(f"written: {', '.join(f.name for f in written)}\n")


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    p = parser()
    arguments = p.parse_args(argv)
    try:
        names, cells = names_of(arguments), chosen(arguments.cells)
    except ValueError as error:
        p.error(str(error))
    if arguments.quick and not arguments.cells:
        cells = [cell for cell in cells if cell.group not in LEFT_OUT_OF_SMOKE_RUNS]
    if arguments.list:
        sys.stdout.write(listing())
        return 0
    if arguments.load:
        results = NetResults.load(arguments.load)
    else:
        results = runner.run(cells, names, settings_of(arguments), progress.Progress())
    sys.stdout.write(tables.report(results))
    # Only a whole run replaces what the README shows.
    if arguments.output:
        store(results, arguments.output, arguments.name)
    elif not (arguments.quick or arguments.engines or arguments.cells or arguments.load):
        store(results, STORE, arguments.name)
    if not arguments.check:
        return 0
    verdict, passed = bars.check(results)
    sys.stdout.write(f"\n{verdict}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
