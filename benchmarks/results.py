"""The figures of a run, and what may be said about them: best, median, ratios, the best peer.

Everything that is shown (tables, bars, chart) is derived from this one object, which is also what
is written to disk, so that a stored run can be shown again without measuring.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.engines import BASELINE, BY_NAME, OURS

if TYPE_CHECKING:
    from pathlib import Path

STDLIB_VARIANT = "aioxide-std"


@dataclass
class Cell:
    """One engine at one workload: every sample, in operations per second, or why there is none."""

    rates: list[float] = field(default_factory=list)
    failed: str = ""

    @property
    def best(self) -> float:
        """The fastest sample: noise on a shared machine only ever slows down."""
        return max(self.rates, default=0.0)

    @property
    def median(self) -> float:
        """The middle sample, to tell how far the best may be trusted."""
        return statistics.median(self.rates) if self.rates else 0.0

    @property
    def shortfall(self) -> float:
        """How far the median stays below the best, as a fraction."""
        return 1 - self.median / self.best if self.rates else 0.0


@dataclass
class Results:
    """A whole run. Cells are found by workload (or kind of memory) and engine."""

    facts: dict[str, Any] = field(default_factory=dict)
    engines: dict[str, str] = field(default_factory=dict)
    """The engines that took part, with their versions."""
    missing: dict[str, str] = field(default_factory=dict)
    """The engines that did not, with the reason."""
    speed: dict[str, dict[str, Cell]] = field(default_factory=dict)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    statistic: str = "best"

    def cell(self, workload: str, engine: str) -> Cell:
        """The cell, made when it is not there."""
        return self.speed.setdefault(workload, {}).setdefault(engine, Cell())

    def rate(self, workload: str, engine: str) -> float:
        """Operations per second by the statistic in use; 0 when there is no figure."""
        cell = self.speed.get(workload, {}).get(engine)
        if cell is None:
            return 0.0
        return cell.median if self.statistic == "median" else cell.best

    def ratio(self, workload: str, engine: str, to: str | None = BASELINE) -> float | None:
        """How many times as fast as `to`; None when one of them has no figure."""
        if to is None:
            return None
        rate, other = self.rate(workload, engine), self.rate(workload, to)
        return rate / other if rate and other else None

    def best_peer(self, workload: str) -> str | None:
        """The fastest of all engines that are neither asyncio nor aioxide."""
        peers = [e for e in self.engines if BY_NAME[e].peer and self.rate(workload, e)]
        return max(peers, key=lambda e: self.rate(workload, e), default=None)

    @property
    def our_engines(self) -> list[str]:
        """aioxide's variants that took part, the one with its own primitives first."""
        return [e for e in (OURS, STDLIB_VARIANT) if e in self.engines]

    def to_json(self) -> str:
        """Readable JSON: a line for each cell, so that two runs can be compared with diff."""
        lines = []
        for workload, cells in self.speed.items():
            rows = [
                f"{json.dumps(e)}: "
                + json.dumps({"failed": c.failed} if c.failed else {"rates": thinned(c.rates)})
                for e in self.engines  # in this order, whichever took its turn first
                if (c := cells.get(e))
            ]
            lines.append(f"{json.dumps(workload)}: {{\n      " + ",\n      ".join(rows) + "\n    }")
        head = {
            "facts": self.facts,
            "engines": self.engines,
            "missing": self.missing,
            "memory": {
                kind: {engine: round(size, 1) for engine, size in sizes.items()}
                for kind, sizes in self.memory.items()
            },
        }
        opening = json.dumps(head, indent=2).removesuffix("\n}")
        return f'{opening},\n  "speed": {{\n    ' + ",\n    ".join(lines) + "\n  }\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """The run that to_json wrote. Engines that are no longer known are dropped."""
        raw = json.loads(text)
        return cls(
            facts=raw["facts"],
            engines={e: v for e, v in raw["engines"].items() if e in BY_NAME},
            missing=raw["missing"],
            memory=raw["memory"],
            speed={
                workload: {e: Cell(**cell) for e, cell in cells.items()}
                for workload, cells in raw["speed"].items()
            },
        )

    @classmethod
    def load(cls, path: Path) -> Results:
        """The run stored in a file."""
        return cls.from_json(path.read_text(encoding="utf-8"))


def thinned(rates: list[float]) -> list[int | float]:
    """Whole numbers: a rate's fraction is never known."""
    return [round(rate) if rate >= 100 else round(rate, 2) for rate in rates]
