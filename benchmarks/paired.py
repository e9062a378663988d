"""Two builds of one engine against each other: did this change make it faster?

Two runs an hour apart cannot tell 3 %, but two builds that take turns within each workload can.
The ratio is taken between samples that were measured next to each other; its spread over the
rounds tells a gain from noise.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks import runner
from benchmarks.tables import aligned, rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.engines import Engine
    from benchmarks.progress import Progress
    from benchmarks.results import Results
    from benchmarks.workloads import Workload

# Agreement of five rounds alone is not enough: comparing a build with itself, 2 rows of 43 agreed
# by more than 1 %. With this margin, on a busier machine, it was still 1 of 43, so a verdict that
# matters wants a second run, or --rounds 15.
NOISE = 0.03


def compare(
    engine: Engine,
    builds: tuple[str, str],
    workloads: Sequence[Workload],
    settings: runner.Settings,
    progress: Progress,
) -> Results:
    """Run both builds, found on two PYTHONPATHs, as contestants named A and B."""
    contestants = [
        runner.Contestant(engine, name, path) for name, path in zip("AB", builds, strict=True)
    ]
    return runner.run(contestants, workloads, settings, progress)


def by_round(rates: Sequence[float], rounds: int) -> list[float]:
    """The best sample of each round."""
    each = max(len(rates) // max(rounds, 1), 1)
    return [max(rates[i : i + each]) for i in range(0, len(rates), each)]


def judged(all_of: Sequence[float], clear: Sequence[float]) -> str:
    """A word only where every ratio leans the same way and those of `clear` by more than NOISE."""
    if min(all_of) > 1 and min(clear) > 1 + NOISE:
        return "faster"
    if max(all_of) < 1 and max(clear) < 1 - NOISE:
        return "slower"
    return ""


def table(results: Results) -> str:
    """B over A for each workload: the median of the rounds' ratios, and the least and greatest."""
    rounds = int(results.facts["rounds"])
    rows = [["B / A", "A ops/s", "B ops/s", "median", "least", "greatest", ""]]
    for workload, cells in results.speed.items():
        a, b = cells.get("A"), cells.get("B")
        if a is None or b is None or not (a.rates and b.rates):
            why = next((c.failed for c in (a, b) if c and c.failed), "not run")
            rows.append([workload, "-", "-", "-", "-", "-", why])
            continue
        pairs = zip(by_round(a.rates, rounds), by_round(b.rates, rounds), strict=True)
        ratios = [y / x for x, y in pairs]
        low, high = min(ratios), max(ratios)
        middle = statistics.median(ratios)
        verdict = judged([*ratios, middle], [middle, b.best / a.best])
        figures = [f"{v:.3f}" for v in (middle, low, high)]
        rows.append([workload, rate(a.best), rate(b.best), *figures, verdict])
    lines = [f"{name}: {reason}" for name, reason in results.missing.items()]
    lines += aligned(rows)
    lines += [
        f"{kind}: A {sizes['A']:.0f} B {sizes['B']:.0f} bytes each"
        for kind, sizes in results.memory.items()
        if sizes.keys() >= {"A", "B"}
    ]
    return "\n".join(lines) + "\n"
