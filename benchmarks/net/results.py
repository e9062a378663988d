"""The figures of a run, and what may be said about them.

Ratios are taken round by round, against the bare server of the same round or, where there is none,
against asyncio, and the median of the ratios is shown: a slow minute of the machine then moves
neither. All that is shown derives from this one object, which is also what is stored.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.engines import BASELINE, BY_NAME, OURS
from benchmarks.net.arena import LIMIT, TRIM
from benchmarks.net.cells import CELLS, MIB, Cell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EQUAL = 1.03
"""Within 3 % is equal: less cannot be told apart on two cores."""


def figures(cell: Cell, found: dict[str, float]) -> dict[str, float]:
    """What the client found, per unit of this cell's work."""
    in_bytes = cell.unit == "MiB"
    units = found["bytes"] / MIB if in_bytes else found["requests"]
    seconds = found["seconds"]
    kept = {
        "rate": units / seconds,
        "cpu": found["server_cpu_us"] / units if units else 0.0,
        "busy": found["server_cpu_us"] / seconds / 1e6,
        "client": found["client_cpu_us"] / seconds / 1e6,
    }
    for name in ("p50", "p99", "max", "light_p50", "light_p99", "light_max"):
        if f"{name}_us" in found:
            kept[name] = found[f"{name}_us"]
    for name in ("bytes_per_idle", "lost"):
        if name in found:
            kept[name] = found[name]
    return kept


@dataclass
class Measured:
    """One contestant at one cell: each figure round by round, or why there are none."""

    rounds: dict[str, list[float]] = field(default_factory=dict)
    failed: str = ""

    def add(self, found: dict[str, float]) -> None:
        """One round more."""
        for name, value in found.items():
            self.rounds.setdefault(name, []).append(float(f"{value:.5g}"))

    def median(self, name: str) -> float | None:
        """The middle round's."""
        values = self.rounds.get(name)
        return statistics.median(values) if values and not self.failed else None


@dataclass
class NetResults:
    """A whole run. What was measured is found by cell and contestant."""

    facts: dict[str, Any] = field(default_factory=dict)
    engines: dict[str, str] = field(default_factory=dict)
    """The engines that took part, with their versions."""
    missing: dict[str, str] = field(default_factory=dict)
    cells: dict[str, dict[str, Measured]] = field(default_factory=dict)

    def at(self, cell: str, label: str) -> Measured:
        """What was measured there, made when it is not there."""
        return self.cells.setdefault(cell, {}).setdefault(label, Measured())

    def median(self, cell: str, label: str, name: str) -> float | None:
        """A figure by the middle round; None when there is none."""
        measured = self.cells.get(cell, {}).get(label)
        return measured.median(name) if measured else None

    def of_limit(self, cell: str, label: str, name: str) -> float | None:
        """A figure as a multiple of the bare server's in the same round."""
        return self.ratio(cell, label, name, LIMIT)

    def of_asyncio(self, cell: str, label: str, name: str) -> float | None:
        """A figure as a multiple of asyncio's in the same round."""
        return self.ratio(cell, label, name, BASELINE)

    def ratio(self, cell: str, label: str, name: str, to: str) -> float | None:
        """A figure as a multiple of another contestant's in the same round."""
        row = self.cells.get(cell, {})
        mine, theirs = row.get(label), row.get(to)
        if mine is None or theirs is None or mine.failed or theirs.failed:
            return None
        pairs = zip(mine.rounds.get(name, []), theirs.rounds.get(name, []), strict=False)
        ratios = [value / base for value, base in pairs if base]
        return statistics.median(ratios) if ratios else None

    def peers(self, cell: str) -> Iterator[str]:
        """Contestants that are neither aioxide nor the limit; asyncio is one too."""
        for label in self.cells.get(cell, {}):
            engine = BY_NAME.get(label.removesuffix(TRIM))
            if engine and not engine.ours:
                yield label

    def best_peer(self, cell: str, name: str, *, least: bool) -> tuple[str, float] | None:
        """The peer with the best figure, however glibc was set, and the figure."""
        found = [(p, v) for p in self.peers(cell) if (v := self.median(cell, p, name)) is not None]
        if not found:
            return None
        return (min if least else max)(found, key=lambda pair: pair[1])

    @property
    def labels(self) -> list[str]:
        """The columns: the limit, then the engines, aioxide last."""
        return [LIMIT, *sorted(self.engines, key=lambda e: BY_NAME[e].ours)]

    @property
    def ours(self) -> str | None:
        """aioxide, if it took part."""
        return OURS if OURS in self.engines else None

    def to_json(self) -> str:
        """Readable JSON: a line for each contestant of each cell."""
        blocks = []
        for cell, row in self.cells.items():
            lines = [
                f"{json.dumps(label)}: "
                + json.dumps({"failed": m.failed} if m.failed else {"rounds": m.rounds})
                for label, m in row.items()
            ]
            blocks.append(f"{json.dumps(cell)}: {{\n      " + ",\n      ".join(lines) + "\n    }")
        head = {"facts": self.facts, "engines": self.engines, "missing": self.missing}
        opening = json.dumps(head, indent=2).removesuffix("\n}")
        return f'{opening},\n  "net": {{\n    ' + ",\n    ".join(blocks) + "\n  }\n}\n"

    @classmethod
    def from_json(cls, text: str) -> NetResults:
        """The run that to_json wrote. Cells and engines that are no longer known are dropped."""
        raw = json.loads(text)
        return cls(
            facts=raw["facts"],
            engines={e: v for e, v in raw["engines"].items() if e in BY_NAME},
            missing=raw["missing"],
            cells={
                cell: {
                    label: Measured(m.get("rounds", {}), m.get("failed", ""))
                    for label, m in row.items()
                    if label == LIMIT or label.removesuffix(TRIM) in BY_NAME
                }
                for cell, row in raw["net"].items()
                if cell in CELLS
            },
        )

    @classmethod
    def load(cls, path: Path) -> NetResults:
        """The run stored in a file."""
        return cls.from_json(path.read_text(encoding="utf-8"))
