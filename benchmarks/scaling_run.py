"""Turns n up: a thousand, ten thousand, … for each engine and program in a process of its own.

A size that would take too long, or more memory than there is, is not tried, and the table says so:
an engine that is quadratic somewhere costs its line's end and not the run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks import engines, runner
from benchmarks.facts import available_memory, machine_facts
from benchmarks.results import Results
from benchmarks.scaling import GROWTHS
from benchmarks.scaling_results import Scaling, Series, power

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.progress import Progress

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = SIZES[:2]
SECONDS, QUICK_SECONDS = 0.5, 0.02
"""How long each size is repeated."""
LONGEST = 40.0
"""A size of which one repetition is expected to take more seconds than these is not tried."""
PATIENCE = 120.0
"""After this many seconds a size that took longer than expected is given up."""
BYTES_EACH = 2500
"""What one sleeping task takes of an engine that is not sparing: asyncio's 1400, and its sums."""


def usual(speed: Results | None) -> list[engines.Engine]:
    """Who takes part unless engines are named: asyncio, aioxide, and the best peer of that run."""
    peer = strongest_peer(speed) if speed else None
    wanted = {engines.BASELINE, engines.OURS, peer}
    return [engine for engine in engines.ENGINES if engine.name in wanted]


def strongest_peer(speed: Results) -> str | None:
    """The peer that is ahead over all workloads, by the geometric mean of its ratios."""

    def mean(engine: str) -> float:
        ratios = [r for w in speed.speed if (r := speed.ratio(w, engine))]
        return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else 0.0

    peers = [e for e in speed.engines if engines.BY_NAME[e].peer]
    return max(peers, key=mean, default=None)


def run(
    contestants: Sequence[runner.Contestant], settings: runner.Settings, progress: Progress
) -> Scaling:
    """The whole run."""
    roll = Results()
    there = runner.present(contestants, roll, settings)
    scaling = Scaling(facts=machine_facts(), engines=roll.engines)
    progress.begin(len(GROWTHS) * len(there))
    for program in GROWTHS:
        for contestant in there:
            progress.step("scaling", program, contestant.label)
            row = scaling.series.setdefault(program, {})
            row[contestant.label] = grow(program, contestant, settings)
    progress.end()
    return scaling


def grow(program: str, contestant: runner.Contestant, settings: runner.Settings) -> Series:
    """One engine at one program, size after size, until one is refused or fails."""
    series = Series()
    seconds = QUICK_SECONDS if settings.quick else SECONDS
    crew = runner.Crew(settings)
    try:
        for size in QUICK_SIZES if settings.quick else SIZES:
            series.stopped = refusal(size, series.costs, available_memory())
            if series.stopped:
                break
            request = {"scaling": program, "count": size, "seconds": seconds}
            reply = crew.ask(contestant, request, PATIENCE)
            if "cost" not in reply:
                series.stopped = f"{power(size)}: {reply['failed']}"
                break
            # Rounded here, so that a stored run shows what was shown.
            series.costs[size] = round(reply["cost"] * 1e9, 1)
            series.bare[size] = round(reply["bare"] * 1e9, 1)
    finally:
        crew.dismiss()
    return series


def refusal(size: int, costs: Mapping[int, float], memory: float) -> str:
    """Why this size is not tried after others of such costs; empty if it is.

    Judged by processor time: what a busy machine adds is not the engine's fault.
    """
    if size * BYTES_EACH > memory:
        return f"{power(size)}: not enough memory"
    took = [n * cost / 1e9 for n, cost in costs.items()]
    if not took:
        return ""
    # What grew a hundredfold by the last step will again.
    factor = max(size / max(costs), took[-1] / took[-2] if len(took) > 1 else 0.0)
    if took[-1] * factor > LONGEST:
        return f"{power(size)}: would take {took[-1] * factor:.0f} s"
    return ""
