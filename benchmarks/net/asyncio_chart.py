"""The picture of the cells without a limit: throughput against asyncio's.

No bare server says what TLS, a web server or a child process must cost, so these bars begin at
asyncio, as those of benchmarks/chart.py do, and longer is better.
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
from benchmarks.engines import BY_NAME
from benchmarks.net.cells import CELLS
from benchmarks.net.chart import dress, version, words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.net.results import NetResults

MARGIN = 1.35
PANELS = (("tls", "handshake", "https"), ("spawn", "children", "pipe"))
# A peer far below asyncio must not squeeze all the rest: its bar is cut here and says its figure.
LEAST = 0.4


def draw(results: NetResults, folder: Path, stem: str) -> list[Path]:
    """Bars: a group for each cell, a bar for each engine; the files that were written."""
    columns = [[n for n in results.cells if CELLS[n].group in groups] for groups in PANELS]
    columns = [cells for cells in columns if cells]
    palette = colours(results.engines)
    if not columns or not palette:
        return []
    plt = pyplot()
    rows = max(map(len, columns))
    height = MARGIN + rows * row_height(palette)
    figure, axes = plt.subplots(1, len(columns), figsize=(WIDTH, height), squeeze=False)
    most = max(
        (
            ratio
            for cells in columns
            for cell in cells
            for engine in palette
            if (ratio := results.of_asyncio(cell, engine, "rate")) is not None
        ),
        default=1.0,
    )
    for panel, cells in zip(axes[0], columns, strict=True):
        for row, cell in enumerate(cells):
            group_of_bars(panel, results, cell, row * row_height(palette), palette)
        panel.set_ylim(rows * row_height(palette) - GAP / 2, -GAP / 2)
        dress_bars(panel, cells, palette, max(most, 2.0))
    figure.subplots_adjust(left=0.15, right=0.985, wspace=0.32)
    title = f"Throughput against asyncio's: TLS, child processes, pipes, {version(results)}"
    about = f"longer is better, logarithmic; 1{TIMES} is asyncio"
    words(figure, plt, results, palette, (height, title, about))
    files = files_of(figure, folder, stem)
    plt.close(figure)
    return files


def group_of_bars(
    panel: Any, results: NetResults, cell: str, top: float, palette: dict[str, str]
) -> None:
    """The bars of one cell, aioxide's with its figure or why there is none."""
    for engine, colour in palette.items():
        middle = top + thickness(engine) / 2
        top += thickness(engine)
        ratio = results.of_asyncio(cell, engine, "rate")
        ours = BY_NAME[engine].ours
        if ratio is None:
            if ours:
                say(panel, results.at(cell, engine).failed, 1, middle, TEXT, "normal")
            continue
        reach = max(ratio, LEAST)
        panel.barh(middle, reach - 1, thickness(engine) * 0.88, left=1, color=colour, linewidth=0)
        if ours:
            say(panel, f"{ratio:.2f}{TIMES}", max(reach, 1), middle, colour, "bold")
        elif ratio < LEAST:
            say(panel, f"cut: {ratio:.2f}{TIMES}", 1, middle, TEXT, "normal", size=6)


def dress_bars(panel: Any, cells: Sequence[str], palette: dict[str, str], most: float) -> None:
    """Scale, ticks and grid."""
    panel.set_xscale("log")
    panel.set_xlim(LEAST, most * 1.25)
    ticks = [t for t in (0.5, 1, 1.5, 2, 3, 5, 10, 20) if t <= most * 1.2]
    panel.set_xticks(ticks, [f"{t:g}{TIMES}" for t in ticks])
    panel.minorticks_off()
    middle = (row_height(palette) - GAP) / 2
    panel.set_yticks([i * row_height(palette) + middle for i in range(len(cells))], cells)
    dress(panel)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    panel.axvline(1, color=TEXT, linewidth=1)
