"""The picture for the README: ratios to asyncio, as bars, with aioxide standing out.

Drawn by matplotlib, which is the one dependency of the harness besides the engines: it writes SVG
and PNG from the same drawing and brings its own font. The background is transparent and the text
a grey that is legible on white and on black, since a README is read on both.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

from benchmarks.engines import BASELINE, BY_NAME
from benchmarks.worker import NOT_BUILT

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from benchmarks.results import Results

# Those that a reader knows from programs of their own; the table has all.
HEADLINES = (
    "call_soon",
    "timer_cancel",
    "threadsafe",
    "sleep0",
    "switch100",
    "task_spawn",
    "future",
    "cancel",
    "gather100",
    "taskgroup100",
    "wait_for",
    "timeout",
    "lock",
    "semaphore",
    "event",
    "condition",
    "queue_pingpong",
    "sleepers",
    "streams_rtt",
    "sock_rtt",
)
TIMES = "\N{MULTIPLICATION SIGN}"
TEXT = "#7d838c"
GRID = "#7d838c40"
OURS = {"aioxide": "#e8590c", "aioxide-std": "#f2994a"}
PEERS = ("#4a7fb5", "#7fa6cf", "#5a9a90", "#94bfb2", "#8a7db5", "#b5abd3")
# Inches. aioxide's bars are the thick ones, so that they stand out without their colour too.
WIDTH, MARGIN, GAP = 10.0, 1.35, 0.2
THICK, MIDDLING, THIN = 0.145, 0.11, 0.075
# A peer far below asyncio must not squeeze all the rest: its bar is cut here and says its figure.
FLOOR = 0.45


class NoMatplotlibError(Exception):
    """The chart needs matplotlib, which is not installed."""


def pyplot() -> Any:
    """matplotlib, set up for files; imported late, since nothing else needs it."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError as error:
        raise NoMatplotlibError("no chart: matplotlib is not installed") from error
    matplotlib.use("Agg")
    # Text stays text in the SVG, and two runs over the same figures write the same bytes.
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "aioxide",
            "font.family": ["DejaVu Sans", "sans-serif"],
        }
    )
    return importlib.import_module("matplotlib.pyplot")


def colours(taking_part: Collection[str]) -> dict[str, str]:
    """A colour for each engine but asyncio, aioxide first; peers keep theirs from run to run."""
    peers = [e for e, engine in BY_NAME.items() if engine.peer]
    palette = OURS | {e: PEERS[i % len(PEERS)] for i, e in enumerate(peers)}
    return {e: palette[e] for e in (*OURS, *peers) if e in taking_part}


def draw(results: Results, folder: Path, stem: str) -> list[Path]:
    """Write the chart as SVG and PNG; the files that were written."""
    plt = pyplot()
    rows = [name for name in HEADLINES if results.rate(name, BASELINE)]
    palette = colours(results.engines)
    if not rows or not palette:
        return []
    halves = columns(rows)
    height = MARGIN + len(halves[0]) * row_height(palette)
    figure, axes = plt.subplots(1, len(halves), figsize=(WIDTH, height), squeeze=False)
    highest = max((results.ratio(w, e) or 1.0 for w in rows for e in palette), default=1.0)
    for panel, names in zip(axes[0], halves, strict=True):
        bars(panel, names, results, palette)
        # Every panel is as tall as the first, so that bars are the same size in all.
        panel.set_ylim(len(halves[0]) * row_height(palette) - GAP / 2, -GAP / 2)
        dress(panel, names, palette, max(highest * 2.1, 3.0))
    legend(figure, plt, results, palette, height)
    files = files_of(figure, folder, stem)
    plt.close(figure)
    return files


def files_of(figure: Any, folder: Path, stem: str) -> list[Path]:
    """The figure as SVG and as PNG; the files that were written."""
    files = [folder / f"{stem}.{kind}" for kind in ("svg", "png")]
    for file, metadata in zip(files, ({"Date": None}, {"Software": None}), strict=True):
        figure.savefig(file, transparent=True, dpi=160, metadata=metadata)
    return files


def columns(rows: list[str]) -> list[list[str]]:
    """One panel for a few rows, two for many."""
    if len(rows) < 6:
        return [rows]
    half = math.ceil(len(rows) / 2)
    return [rows[:half], rows[half:]]


def thickness(engine: str) -> float:
    """How tall the engine's bar is."""
    return {"aioxide": THICK, "aioxide-std": MIDDLING}.get(engine, THIN)


def row_height(palette: dict[str, str]) -> float:
    """A workload's share of the vertical axis, which is in inches."""
    return sum(map(thickness, palette)) + GAP


def bars(panel: Any, names: list[str], results: Results, palette: dict[str, str]) -> None:
    """A group for each workload, a bar for each engine, from asyncio's 1 to the ratio."""
    for row, name in enumerate(names):
        top = row * row_height(palette)
        for engine, colour in palette.items():
            middle = top + thickness(engine) / 2
            top += thickness(engine)
            ratio = results.ratio(name, engine)
            if ratio is not None:
                reach = max(ratio, FLOOR)
                panel.barh(
                    middle, reach - 1, thickness(engine) * 0.88, left=1, color=colour, linewidth=0
                )
            if BY_NAME[engine].ours:
                strong = engine == "aioxide" and ratio is not None
                text = figure_of(ratio, results, name, engine)
                weight = "bold" if strong else "normal"
                say(panel, text, max(ratio or 1, 1), middle, colour if strong else TEXT, weight)
            elif ratio is not None and ratio < FLOOR:
                say(panel, f"cut: {ratio:.2f}{TIMES}", 1, middle, TEXT, "normal", size=6)


def figure_of(ratio: float | None, results: Results, workload: str, engine: str) -> str:
    """The ratio as it stands at the end of a bar, or why there is no bar."""
    if ratio is None:
        cell = results.speed.get(workload, {}).get(engine)
        return cell.failed if cell and cell.failed == NOT_BUILT else ""
    return f"{ratio:.0f}{TIMES}" if ratio >= 99.5 else f"{ratio:.1f}{TIMES}"


def say(
    panel: Any, text: str, x: float, y: float, colour: str, weight: str, size: float = 7.5
) -> None:
    """A word at the end of a bar."""
    panel.annotate(
        text,
        (x, y),
        xytext=(3, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=size,
        fontweight=weight,
        color=colour,
    )


def dress(panel: Any, names: list[str], palette: dict[str, str], right: float) -> None:
    """Scale, ticks and grid."""
    panel.set_xscale("log")
    panel.set_xlim(FLOOR, right)
    ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if t <= right]
    panel.set_xticks(ticks, [f"{t:g}{TIMES}" for t in ticks])
    panel.minorticks_off()
    middle = (row_height(palette) - GAP) / 2
    panel.set_yticks([i * row_height(palette) + middle for i in range(len(names))], names)
    panel.tick_params(colors=TEXT, labelsize=9, length=0)
    panel.set_axisbelow(True)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    panel.axvline(1, color=TEXT, linewidth=1)
    for spine in panel.spines.values():
        spine.set_visible(False)


def legend(figure: Any, plt: Any, results: Results, palette: dict[str, str], height: float) -> None:
    """Title, what the colours mean, and under what the figures hold."""
    figure.subplots_adjust(
        left=0.115, right=0.985, wspace=0.32, top=1 - 0.82 / height, bottom=0.5 / height
    )
    figure.text(
        0.015,
        1 - 0.22 / height,
        f"Operations per second against asyncio, CPython {results.facts['python']}",
        fontsize=13,
        fontweight="bold",
        color=TEXT,
        va="center",
    )
    names = {"aioxide-std": "aioxide (stdlib primitives)"}
    figure.legend(
        [plt.Rectangle((0, 0), 1, 1, color=c) for c in palette.values()],
        [f"{names.get(e, e)} {results.engines[e]}" for e in palette],
        loc="center left",
        bbox_to_anchor=(0.008, 1 - 0.54 / height),
        ncols=len(palette),
        frameon=False,
        fontsize=8.5,
        labelcolor=TEXT,
        handlelength=0.9,
        handleheight=0.9,
        handletextpad=0.4,
        columnspacing=1.2,
    )
    facts = results.facts
    figure.text(
        0.015,
        0.13 / height,
        f"longer is faster, logarithmic; 1{TIMES} is asyncio; {results.statistic} of "
        f"{facts['rounds']} interleaved rounds; {facts['cores']} {TIMES} {facts['cpu']}, "
        f"{facts['date']}",
        fontsize=7.5,
        color=TEXT,
        va="center",
    )
