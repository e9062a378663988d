"""The figures of a scaling run: the cost of one at each size, how much it grew, and where it ended.

As in results.py, all that is shown derives from one object, which is also what is stored.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.engines import BY_NAME
from benchmarks.scaling import GROWTHS
from benchmarks.tables import aligned

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Series:
    """One engine at one program, from the least size on."""

    costs: dict[int, float] = field(default_factory=dict)
    """Nanoseconds for one, by size."""
    bare: dict[int, float] = field(default_factory=dict)
    """The same without Python's collector."""
    stopped: str = ""
    """Why it did not reach the greatest size."""


def growth(costs: dict[int, float]) -> float | None:
    """How many times as dear one is at the greatest size as at the least."""
    if len(costs) < 2:
        return None
    return costs[max(costs)] / costs[min(costs)]


@dataclass
class Scaling:
    """A whole run. Series are found by program and engine."""

    facts: dict[str, Any] = field(default_factory=dict)
    engines: dict[str, str] = field(default_factory=dict)
    series: dict[str, dict[str, Series]] = field(default_factory=dict)

    @property
    def sizes(self) -> list[int]:
        """Every size that any engine was asked for."""
        return sorted({n for row in self.series.values() for s in row.values() for n in s.costs})

    def to_json(self) -> str:
        """Readable JSON: a line for each series."""
        blocks = []
        for program, row in self.series.items():
            lines = []
            for engine, series in row.items():
                lines.append(f"{json.dumps(engine)}: {json.dumps(dataclasses.asdict(series))}")
            blocks.append(
                f"{json.dumps(program)}: {{\n      " + ",\n      ".join(lines) + "\n    }"
            )
        head = json.dumps({"facts": self.facts, "engines": self.engines}, indent=2)
        body = ",\n    ".join(blocks)
        return f'{head.removesuffix(chr(10) + "}")},\n  "series": {{\n    {body}\n  }}\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> Scaling:
        """The run that to_json wrote. Engines that are no longer known are dropped."""
        raw = json.loads(text)
        return cls(
            facts=raw["facts"],
            engines={e: v for e, v in raw["engines"].items() if e in BY_NAME},
            series={
                program: {
                    engine: Series(by_size(s["costs"]), by_size(s["bare"]), s["stopped"])
                    for engine, s in row.items()
                    if engine in BY_NAME
                }
                for program, row in raw["series"].items()
            },
        )

    @classmethod
    def load(cls, path: Path) -> Scaling:
        """The run stored in a file."""
        return cls.from_json(path.read_text(encoding="utf-8"))


def by_size(costs: dict[str, float]) -> dict[int, float]:
    """As they were before JSON made text of the sizes."""
    return {int(n): cost for n, cost in costs.items()}


def duration(nanoseconds: float) -> str:
    """Three digits, in nanoseconds below a microsecond: 85 ns, 1.41 us, 32.0 us."""
    if nanoseconds < 999.5:
        return f"{nanoseconds:.0f} ns"
    for unit, factor in (("us", 1e3), ("ms", 1e6)):
        scaled = nanoseconds / factor
        if scaled < 999.5:
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{digits}f} {unit}"
    return f"{nanoseconds / 1e9:.2f} s"


def power(size: int) -> str:
    """The size as a power of ten, which all of them are."""
    return f"10^{len(str(size)) - 1}"


def figures(costs: dict[int, float], sizes: list[int]) -> list[str]:
    """A row's cells: the cost at each size, and how much it grew."""
    grown = growth(costs)
    texts = [duration(costs[n]) if n in costs else "-" for n in sizes]
    return [*texts, "-" if grown is None else f"{grown:.2f}x"]


def report(scaling: Scaling) -> str:
    """The costs as a table, with the legend that makes it readable alone."""
    sizes = scaling.sizes
    rows: list[list[str]] = [["processor time for one", *map(power, sizes), "growth", ""]]
    for program, row in scaling.series.items():
        rows += [[""], [GROWTHS[program].about if program in GROWTHS else program]]
        for engine, series in row.items():
            rows.append([f"  {engine}", *figures(series.costs, sizes), series.stopped])
            rows.append(["    without collector", *figures(series.bare, sizes), ""])
    facts = scaling.facts
    lines = [
        f"CPython {facts['python']} on {facts['cores']} x {facts['cpu']}, {facts['date']}",
        "engines: " + ", ".join(f"{e} {v}" for e, v in scaling.engines.items()),
        "",
        *aligned(rows),
        "",
        "growth: the cost of one at the greatest size reached over that at the least",
        "without collector: the same with gc.disable(), so what the engine itself adds",
    ]
    return "\n".join(lines) + "\n"
