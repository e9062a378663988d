"""The rounds: every contestant at every cell, by turns.

Each measurement has a server process of its own, so that nobody inherits a heap or a table that an
earlier load has grown. Within a cell the contestants follow one another in an order that rotates,
half a second each; cells are shuffled from round to round.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.engines import BASELINE, BY_NAME
from benchmarks.facts import machine_facts
from benchmarks.net import arena
from benchmarks.net.cells import CELLS, Amount
from benchmarks.net.results import NetResults, figures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.net.arena import Contestant
    from benchmarks.net.cells import Cell
    from benchmarks.progress import Progress

ATTEMPTS = 2
# What an engine is started with to see whether it is there.
PROBE = "protocol-1x64"
# aioxide on asyncio's streams is measured when it is asked for by name.
USUAL = tuple(name for name in BY_NAME if name != "aioxide-std")


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    rounds: int = 5
    amount: Amount = field(default_factory=Amount)
    trim: bool = True
    """Whether peers take part twice where blocks are large."""
    verbose: bool = False


def contestants(cell: Cell, names: Sequence[str], *, trim: bool) -> list[Contestant]:
    """Who takes part in a cell: the limit, the engines, and the peers with raised thresholds."""
    found = [arena.THE_LIMIT] if cell.limited else []
    found += map(arena.plain, names)
    if trim and cell.large:
        peers = [n for n in names if not BY_NAME[n].ours and n != BASELINE]
        found += map(arena.untrimmed, peers)
    return found


def present(program: Path, names: Sequence[str], results: NetResults) -> list[str]:
    """The engines that can be imported; the others are noted as missing."""
    there, cell = [], CELLS[PROBE]
    for name in names:
        try:
            with arena.serving(program, arena.plain(name), cell, verbose=False) as (_, said):
                if "missing" in said:
                    results.missing[name] = said["missing"]
                    continue
                results.engines[name] = said["version"]
        except arena.NotServedError as error:
            results.missing[name] = str(error)
            continue
        there.append(name)
    return there


def run(
    cells: Sequence[Cell], names: Sequence[str], settings: Settings, progress: Progress
) -> NetResults:
    """The whole run."""
    results = NetResults(facts=machine_facts())
    results.facts.update(rounds=settings.rounds, seconds=settings.amount.seconds)
    program = arena.built()
    there = present(program, names, results)
    taking_part = {c.name: contestants(c, there, trim=settings.trim) for c in cells}
    for cell in cells:  # in the order of the tables, however the rounds are shuffled
        for contestant in taking_part[cell.name]:
            results.at(cell.name, contestant.label)
    progress.begin(settings.rounds * sum(map(len, taking_part.values())))
    for number in range(settings.rounds):
        order = list(cells)
        random.Random(number).shuffle(order)
        for place, cell in enumerate(order):
            row = taking_part[cell.name]
            by = (number + place) % len(row)
            for contestant in row[by:] + row[:by]:
                stage = f"round {number + 1}/{settings.rounds}"
                progress.step(stage, cell.name, contestant.label)
                measure_once(program, contestant, cell, settings, results)
    progress.end()
    return results


def measure_once(
    program: Path, contestant: Contestant, cell: Cell, settings: Settings, results: NetResults
) -> None:
    """One figure more for one contestant; who fails twice in a row has none at all."""
    measured = results.at(cell.name, contestant.label)
    if measured.failed:
        return
    for _ in range(ATTEMPTS):
        try:
            found = arena.measure(
                program, contestant, cell, settings.amount, verbose=settings.verbose
            )
        except arena.HungError as error:
            why = str(error)
            break
        except arena.NotServedError as error:
            why = str(error)
        else:
            measured.add(figures(cell, found))
            return
    measured.failed = why
