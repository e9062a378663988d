"""The figures as text: operations per second, ratios, memory, and what went wrong.

Plain aligned columns, because they are read in a terminal, a log and a code block alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engines import BASELINE, BY_NAME
from benchmarks.memory import KINDS
from benchmarks.worker import NOT_BUILT
from benchmarks.workloads import GROUPS, WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Results

FAILED = "failed"


def rate(value: float) -> str:
    """Operations per second with three digits: 16.2M, 304k, 96.3k, 812."""
    for unit, factor in (("M", 1e6), ("k", 1e3), ("", 1.0)):
        if value >= 0.9995 * factor:
            scaled = value / factor
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{digits if unit else 0}f}{unit}"
    return f"{value:.2f}"


def times(value: float | None) -> str:
    """A ratio with two digits after the point, one from ten on; a dash when there is none."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right.

    A row of a single cell is a heading, which no column makes room for.
    """
    columns = max((len(row) for row in rows), default=0)
    widths = [max((len(r[i]) for r in rows if len(r) > 1), default=0) for i in range(columns)]
    return [
        row[0]
        if len(row) == 1
        else "  ".join(
            [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
        ).rstrip()
        for row in rows
    ]


def grouped(results: Results) -> list[tuple[str, list[str]]]:
    """The workloads that were run, under the headings of their groups."""
    groups: dict[str, list[str]] = {title: [] for title in GROUPS.values()}
    for name in results.speed:
        if name in WORKLOADS:
            groups[GROUPS[WORKLOADS[name].group]].append(name)
    return [(title, names) for title, names in groups.items() if names]


def cell_text(results: Results, workload: str, engine: str) -> str:
    """A rate, or in a word why there is none."""
    cell = results.speed[workload].get(engine)
    if cell is None:
        return "-"
    if cell.failed:
        return NOT_BUILT if cell.failed == NOT_BUILT else FAILED
    return rate(results.rate(workload, engine))


def speed_table(results: Results) -> list[str]:
    """Operations per second of every engine."""
    engines = list(results.engines)
    rows: list[list[str]] = [["ops/s", *engines, "noise"]]
    for title, names in grouped(results):
        rows += [[""], [title]]
        for name in names:
            cells = results.speed[name]
            noise = max((cell.shortfall for cell in cells.values()), default=0.0)
            several = any(len(cell.rates) > 1 for cell in cells.values())
            texts = [cell_text(results, name, engine) for engine in engines]
            rows.append([f"  {name}", *texts, f"{noise:.0%}" if several else "-"])
    return aligned(rows)


def ratio_table(results: Results) -> list[str]:
    """Ratios to asyncio of every engine, and of aioxide's variants to the best peer."""
    engines = [e for e in results.engines if e != BASELINE]
    ours = results.our_engines
    rows = [["x asyncio", *engines, "best peer", *(f"{e}/peer" for e in ours)]]
    for title, names in grouped(results):
        rows += [[""], [title]]
        for name in names:
            peer = results.best_peer(name)
            rows.append(
                [
                    f"  {name}",
                    *(times(results.ratio(name, e)) for e in engines),
                    peer or "-",
                    *(times(results.ratio(name, e, peer)) for e in ours),
                ]
            )
    return aligned(rows)


def memory_table(results: Results) -> list[str]:
    """Resident bytes for each thing that waits."""
    engines = list(results.engines)
    rows = [["bytes each", *engines]]
    for kind, sizes in results.memory.items():
        texts = [f"{sizes[e]:.0f}" if e in sizes else FAILED for e in engines]
        rows.append([KINDS[kind].about if kind in KINDS else kind, *texts])
    return aligned(rows)


def failures(results: Results) -> list[str]:
    """Every cell that has no figure for another reason than not being built."""
    return [
        f"failed: {workload} on {engine}: {cell.failed}"
        for workload, cells in results.speed.items()
        for engine, cell in cells.items()
        if cell.failed and cell.failed != NOT_BUILT
    ]


def report(results: Results) -> str:
    """Everything, with the legend that makes it readable alone."""
    facts = results.facts
    where = f"{facts['cores']} x {facts['cpu']}, {facts['kernel']}, {facts['date']}"
    rounds = f"{facts['rounds']} interleaved rounds x {facts['samples']} samples"
    each = f"{facts['seconds'] * 1000:.0f} ms"
    lines = [
        f"CPython {facts['python']} on {where}",
        f"{results.statistic} of {rounds} of at least {each}; load before {facts['load_before']}",
        "engines: " + ", ".join(f"{e} {v}" for e, v in results.engines.items()),
    ]
    lines += [f"{engine}: {reason}" for engine, reason in results.missing.items()]
    lines += [f"{e} is {BY_NAME[e].about}" for e in results.our_engines if BY_NAME[e].about]
    if results.speed:
        lines += ["", *speed_table(results)]
        lines += ["", "noise: how far the least steady engine's median stays below its best"]
        lines += ["", *ratio_table(results)]
        lines += ["", "best peer: the fastest engine that is neither asyncio nor aioxide"]
    if results.memory:
        lines += ["", *memory_table(results)]
    if failed := failures(results):
        lines += ["", *failed]
    return "\n".join(lines) + "\n"
