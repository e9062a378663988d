"""The figures as text: for a terminal in aligned columns, for a page as Markdown.

Cost comes first, in microseconds of the server's processor time and as a multiple of the limit's,
or of asyncio's where there is no limit; throughput and latencies follow. Each table has a row for
each cell and a column for each engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engines import BASELINE, BY_NAME
from benchmarks.net.arena import LIMIT, TRIM
from benchmarks.net.cells import CELLS, GROUPS
from benchmarks.tables import aligned, rate, times

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.net.results import NetResults

    Text = Callable[[str, str], str]

NOT_AVAILABLE = "n/a"
Table = tuple[str, list[list[str]]]
"""A title and its rows, the first of which heads the columns; a row of one cell is a heading."""


def micro(value: float | None) -> str:
    """Microseconds with three digits."""
    if value is None:
        return NOT_AVAILABLE
    return (
        f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    )


def percent(value: float | None) -> str:
    """A part of the limit's."""
    return NOT_AVAILABLE if value is None else f"{value:.0%}"


def multiple(value: float | None) -> str:
    """So many times the limit's."""
    return NOT_AVAILABLE if value is None else times(value)


def table(title: str, cells: list[str], columns: list[str], text: Text) -> Table:
    """A row for each cell, under the headings of the groups."""
    rows = [["", *columns]]
    group = ""
    for name in cells:
        if CELLS[name].group != group:
            group = CELLS[name].group
            rows += [[""], [GROUPS[group]]]
        rows.append([f"  {name}", *(text(name, column) for column in columns)])
    return title, rows


def tables(results: NetResults) -> list[Table]:
    """Every table for which there are figures."""
    names = [name for name in results.cells if name in CELLS]
    labels = results.labels
    engines = [label for label in labels if label != LIMIT]

    def median(figure: str, show: Callable[[float | None], str]) -> Text:
        return lambda cell, label: show(results.median(cell, label, figure))

    def of_limit(figure: str, show: Callable[[float | None], str]) -> Text:
        return lambda cell, label: show(results.of_limit(cell, label, figure))

    def having(figure: str) -> list[str]:
        return [n for n in names if results.median(n, LIMIT, figure) is not None]

    def of_asyncio(figure: str, show: Callable[[float | None], str]) -> Text:
        return lambda cell, label: show(results.of_asyncio(cell, label, figure))

    # Beside a busy thread its time is in the figure too: there only the rate means something.
    costed = [n for n in names if not CELLS[n].busy_thread]
    limited = [n for n in names if CELLS[n].limited]
    others = [n for n in names if not CELLS[n].limited]
    large = [n for n in names if any(label.endswith(TRIM) for label in results.cells[n])]
    trimmed = [e + TRIM for e in engines if not BY_NAME[e].ours and e != BASELINE]
    kept = "with glibc told to keep its memory"
    found = [
        table(
            "processor time in µs for each request, connection, child or MiB",
            costed,
            labels,
            median("cpu", micro),
        ),
        table(
            "the same against the limit",
            [n for n in costed if n in limited],
            engines,
            of_limit("cpu", multiple),
        ),
        table(
            f"against the limit, {kept}",
            [n for n in large if n in limited],
            trimmed,
            of_limit("cpu", multiple),
        ),
        table(
            "the same against asyncio, where there is no limit",
            others,
            engines,
            of_asyncio("cpu", multiple),
        ),
        table(
            f"against asyncio, {kept}",
            [n for n in large if n in others],
            trimmed,
            of_asyncio("cpu", multiple),
        ),
    ]
    rates = median("rate", lambda v: NOT_AVAILABLE if v is None else rate(v))
    found += [
        table("requests, connections, children or MiB per second", names, labels, rates),
        table("throughput, of the limit's", limited, engines, of_limit("rate", percent)),
        table(
            "throughput against asyncio's, where there is no limit",
            others,
            engines,
            of_asyncio("rate", multiple),
        ),
        table(
            "the client's core, so much of it in use",
            [n for n in names if not CELLS[n].job],
            labels,
            median("client", percent),
        ),
    ]
    latencies = (("p50", "median latency in µs"), ("p99", "99th percentile of latency in µs"))
    for figure, title in latencies:
        if timed := having(figure):
            found.append(table(title, timed, labels, median(figure, micro)))
    for figure, title in latencies:
        if timed := having(f"light_{figure}"):
            title = f"the light connection beside the heavy ones: {title}"
            found.append(table(title, timed, labels, median(f"light_{figure}", micro)))
    if idle := having("bytes_per_idle"):
        title = "resident bytes for each idle connection"
        shown = median("bytes_per_idle", lambda v: NOT_AVAILABLE if v is None else f"{v:.0f}")
        found.append(table(title, idle, labels, shown))
    return [(title, rows) for title, rows in found if len(rows) > 1]


def failures(results: NetResults) -> list[str]:
    """Why a cell has no figure."""
    lines: dict[tuple[str, str], list[str]] = {}
    for cell, row in results.cells.items():
        for label, measured in row.items():
            if measured.failed:
                lines.setdefault((label, measured.failed), []).append(cell)
    return [f"n/a: {label}: {why}: {', '.join(at)}" for (label, why), at in lines.items()]


def introduction(results: NetResults) -> list[str]:
    """Under what the figures hold."""
    facts = results.facts
    where = f"{facts['cores']} x {facts['cpu']}, {facts['kernel']}, {facts['date']}"
    rounds = f"{facts['rounds']} interleaved rounds of {facts['seconds']:g} s"
    lines = [
        f"CPython {facts['python']} on {where}",
        f"median of {rounds}; load before {facts['load_before']}",
        "engines: " + ", ".join(f"{e} {v}" for e, v in results.engines.items()),
        f"{LIMIT}: a bare epoll server in Rust, in the same rounds; n/a: no figure, see below",
    ]
    return lines + [f"{engine}: {why}" for engine, why in results.missing.items()]


def report(results: NetResults) -> str:
    """Everything in aligned columns."""
    lines = introduction(results)
    for title, rows in tables(results):
        lines += ["", title, *aligned(rows)]
    if failed := failures(results):
        lines += ["", *failed]
    return "\n".join(lines) + "\n"


def markdown(results: NetResults) -> str:
    """Everything as a page."""
    lines = [f"# The network, CPython {results.facts['python']}", ""]
    lines += [f"{line}  " for line in introduction(results)]
    for title, rows in tables(results):
        lines += ["", f"## {title[0].upper()}{title[1:]}", ""]
        head, *body = rows
        lines.append(f"| {' | '.join(head)} |")
        lines.append(f"|---|{'---:|' * (len(head) - 1)}")
        for row in body:
            if len(row) > 1:
                lines.append(f"| {' | '.join(text.strip() for text in row)} |")
            elif row[0]:
                lines.append(f"| **{row[0]}** |{' |' * (len(head) - 1)}")
    if failed := failures(results):
        lines += ["", *(f"- {line}" for line in failed)]
    return "\n".join(lines) + "\n"
