"""The pictures: cost against the limit as bars, and how cost grows with connections as lines.

In the colours and on the grounds of benchmarks/chart.py. The bars begin at the limit, which no
server that waits with epoll can be much below, so that what is seen is what an engine adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.chart import (
    GAP,
    GRID,
    TEXT,
    TIMES,
    WIDTH,
    colours,
    files_of,
    pyplot,
    row_height,
    say,
    thickness,
)
from benchmarks.engines import BASELINE, BY_NAME
from benchmarks.net.arena import LIMIT
from benchmarks.net.cells import CELLS, GROWTH, growth_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.net.results import NetResults

# Beyond this a bar is cut and says its figure: some engines are far away from the rest.
FURTHEST = 4.0
MARGIN = 1.35
PANELS = (("protocol", "buffered"), ("streams", "sock"))
GROWING = ("protocol", "streams")


def draw(results: NetResults, folder: Path, stem: str) -> list[Path]:
    """Write the pictures for which there are figures; the files that were written."""
    plt = pyplot()
    return draw_cost(plt, results, folder, stem) + draw_growth(
        plt, results, folder, "-growth-".join(stem.rsplit("-", 1))
    )


def draw_cost(plt: Any, results: NetResults, folder: Path, stem: str) -> list[Path]:
    """Bars: a group for each echo cell, a bar for each engine."""
    columns = [[n for n in results.cells if CELLS[n].group in groups] for groups in PANELS]
    columns = [cells for cells in columns if cells]
    palette = with_asyncio(results)
    if not columns or not palette:
        return []
    rows = max(map(len, columns))
    height = MARGIN + rows * row_height(palette)
    figure, axes = plt.subplots(1, len(columns), figsize=(WIDTH, height), squeeze=False)
    for panel, cells in zip(axes[0], columns, strict=True):
        for row, cell in enumerate(cells):
            group_of_bars(panel, results, cell, row * row_height(palette), palette)
        panel.set_ylim(rows * row_height(palette) - GAP / 2, -GAP / 2)
        dress_bars(panel, cells, palette)
    title = f"Server processor time for one request against the limit, {version(results)}"
    figure.subplots_adjust(left=0.14, right=0.985, wspace=0.36)
    about = (
        f"shorter is better, logarithmic; 1{TIMES} is a bare epoll server in Rust; "
        "connections x bytes of each message"
    )
    words(figure, plt, results, palette, (height, title, about))
    files = files_of(figure, folder, stem)
    plt.close(figure)
    return files


def with_asyncio(results: NetResults) -> dict[str, str]:
    """A colour for each engine that took part, asyncio in grey and last."""
    palette = colours(results.engines)
    return palette | ({BASELINE: TEXT} if BASELINE in results.engines else {})


def version(results: NetResults) -> str:
    """CPython and its version."""
    return f"CPython {results.facts['python']}"


def group_of_bars(
    panel: Any, results: NetResults, cell: str, top: float, palette: dict[str, str]
) -> None:
    """The bars of one cell, each with its figure where it matters."""
    for engine, colour in palette.items():
        middle = top + thickness(engine) / 2
        top += thickness(engine)
        ratio = results.of_limit(cell, engine, "cpu")
        ours = BY_NAME[engine].ours
        if ratio is None:
            if ours:
                say(panel, results.at(cell, engine).failed, 1, middle, TEXT, "normal")
            continue
        reach = min(ratio, FURTHEST)
        panel.barh(middle, reach - 1, thickness(engine) * 0.88, left=1, color=colour, linewidth=0)
        text = f"{ratio:.2f}{TIMES}" if ratio < 9.995 else f"{ratio:.0f}{TIMES}"
        if ours:
            say(panel, text, max(reach, 1), middle, colour, "bold")
        elif ratio > FURTHEST:
            say(panel, text, FURTHEST, middle, TEXT, "normal", size=6)


def dress_bars(panel: Any, cells: Sequence[str], palette: dict[str, str]) -> None:
    """Scale, ticks and grid."""
    panel.set_xscale("log")
    panel.set_xlim(0.8, FURTHEST * 1.25)
    ticks = [1.0, 1.25, 1.5, 2.0, 3.0, 4.0]
    panel.set_xticks(ticks, [f"{t:g}{TIMES}" for t in ticks])
    panel.minorticks_off()
    middle = (row_height(palette) - GAP) / 2
    panel.set_yticks([i * row_height(palette) + middle for i in range(len(cells))], cells)
    dress(panel)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    panel.axvline(1, color=TEXT, linewidth=1)


def dress(panel: Any) -> None:
    """What both kinds of picture have in common."""
    panel.tick_params(colors=TEXT, labelsize=8.5, length=0)
    panel.set_axisbelow(True)
    for spine in panel.spines.values():
        spine.set_visible(False)


def draw_growth(plt: Any, results: NetResults, folder: Path, stem: str) -> list[Path]:
    """Lines: cost over the number of connections, a panel for each interface."""
    there = [i for i in GROWING if all(c in results.cells for c in growth_of(i).values())]
    palette = with_asyncio(results)
    if len(there) < len(GROWING) or not palette:
        return []
    height = 4.6
    figure, axes = plt.subplots(1, len(there), figsize=(WIDTH, height), squeeze=False, sharey=True)
    for panel, interface in zip(axes[0], there, strict=True):
        for label, colour in {LIMIT: TEXT, **palette}.items():
            line(panel, results, interface, label, colour)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlim(0.8, GROWTH[-1] * 3)
        panel.set_xticks(GROWTH, [f"{n:,}".replace(",", " ") for n in GROWTH])
        ticks = [2, 3, 5, 10, 20, 50, 100]
        panel.set_yticks(ticks, [f"{t} µs" for t in ticks])
        panel.minorticks_off()
        panel.grid(color=GRID, linewidth=0.8)
        panel.set_title(f"{interface}, connections with 1 KiB in flight", fontsize=9, color=TEXT)
        dress(panel)
    title = f"Server processor time for one request as connections become more, {version(results)}"
    figure.subplots_adjust(left=0.06, right=0.985, wspace=0.06)
    about = "lower is better, level is flat; both axes logarithmic; dotted: the limit"
    words(figure, plt, results, palette, (height, title, about))
    files = files_of(figure, folder, stem)
    plt.close(figure)
    return files


def line(panel: Any, results: NetResults, interface: str, label: str, colour: str) -> None:
    """One engine's costs, as far as it has some."""
    points = {
        count: cost
        for count, cell in growth_of(interface).items()
        if (cost := results.median(cell, label, "cpu"))
    }
    if not points:
        return
    limit, ours = label == LIMIT, label in BY_NAME and BY_NAME[label].ours
    panel.plot(
        list(points),
        list(points.values()),
        color=colour,
        linewidth=2.4 if ours else 1.3,
        linestyle=":" if limit else "-",
        marker="o",
        markersize=4.5 if ours else 3,
        zorder=3 if ours else 2,
    )
    if ours or limit:
        last = list(points)[-1]
        weight = "bold" if ours else "normal"
        say(panel, f"{points[last]:.1f} µs", last, points[last], colour, weight)


def words(
    figure: Any,
    plt: Any,
    results: NetResults,
    palette: dict[str, str],
    said: tuple[float, str, str],
) -> None:
    """Title, what the colours mean, how to read it, and under what it holds."""
    height, title, about = said
    figure.subplots_adjust(top=1 - 0.95 / height, bottom=0.55 / height)
    big = {"fontsize": 13, "fontweight": "bold", "color": TEXT, "va": "center"}
    figure.text(0.015, 1 - 0.22 / height, title, **big)
    figure.legend(
        [plt.Rectangle((0, 0), 1, 1, color=c) for c in palette.values()],
        [f"{e} {results.engines[e]}" for e in palette],
        loc="center left",
        bbox_to_anchor=(0.008, 1 - 0.54 / height),
        ncols=len(palette),
        frameon=False,
        fontsize=8,
        labelcolor=TEXT,
        handlelength=0.9,
        handleheight=0.9,
        handletextpad=0.4,
        columnspacing=1.0,
    )
    facts = results.facts
    under = (
        f"{about}; median of {facts['rounds']} interleaved rounds; "
        f"{facts['cores']} {TIMES} {facts['cpu']}, {facts['date']}"
    )
    small = {"fontsize": 7, "color": TEXT, "va": "center"}
    figure.text(0.015, 0.13 / height, under, **small)
