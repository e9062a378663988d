"""The picture of how cost grows: a panel for each program, both axes logarithmic.

All panels share their axes and have as many decades up as across, so that a level line is a cost
that does not depend on n and a quadratic program goes up diagonally, at a glance and in any panel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.chart import GRID, TEXT, TIMES, WIDTH, colours, files_of, pyplot
from benchmarks.engines import BASELINE, OURS
from benchmarks.scaling import GROWTHS
from benchmarks.scaling_results import Scaling, Series, duration

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = 4
HEIGHT_OF_A_ROW, HEAD, FOOT = 2.35, 0.75, 0.55
TICKS = {10.0**k: text for k, text in enumerate(("1 ns", "10 ns", "100 ns", "1 µs", "10 µs"))}
TICKS |= {1e5: "100 µs", 1e6: "1 ms", 1e7: "10 ms"}


def draw(scaling: Scaling, folder: Path, stem: str) -> list[Path]:
    """Write the chart as SVG and PNG; the files that were written."""
    plt = pyplot()
    programs = [p for p, row in scaling.series.items() if any(s.costs for s in row.values())]
    if not programs:
        return []
    palette = {BASELINE: TEXT, **colours(scaling.engines)}
    rows = math.ceil((len(programs) + 1) / COLUMNS)  # the legend takes a panel's place
    height = HEAD + rows * HEIGHT_OF_A_ROW + FOOT
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(WIDTH, height), squeeze=False)
    panels = list(grid.flat)
    span = limits(scaling)
    for place, (panel, program) in enumerate(zip(panels, programs, strict=False)):
        lines(panel, scaling.series[program], palette)
        dress(panel, program, scaling.sizes, span, first=place % COLUMNS == 0)
    for panel in panels[len(programs) :]:
        panel.axis("off")
    legend(panels[len(programs)], plt, scaling, palette)
    words(figure, scaling, height)
    written = files_of(figure, folder, stem)
    plt.close(figure)
    return written


def limits(scaling: Scaling) -> tuple[float, float]:
    """The least and greatest cost that the axes show, with room around them."""
    every = [s for row in scaling.series.values() for s in row.values()]
    costs = [c for series in every for c in (*series.costs.values(), *series.bare.values())]
    return min(costs) / 1.6, max(costs) * 1.6


def lines(panel: Any, row: dict[str, Series], palette: dict[str, str]) -> None:
    """A line for each engine, for asyncio and aioxide dashed without the collector too."""
    for engine, series in row.items():
        if not series.costs:
            continue
        ours, told = engine == OURS, engine in (OURS, BASELINE)
        style = {"color": palette[engine], "zorder": 3 if ours else 2}
        sizes, costs = list(series.costs), list(series.costs.values())
        panel.plot(
            sizes,
            costs,
            linewidth=2.4 if ours else 1.3,
            marker="o",
            markersize=4.5 if ours else 3,
            **style,
        )
        if told:
            bare = list(series.bare.values())
            panel.plot(sizes, bare, linewidth=1.0, linestyle=(0, (3, 2)), **style)
            say(panel, sizes[-1], costs[-1], palette[engine], ours=ours)
        if series.stopped:
            panel.plot(sizes[-1:], costs[-1:], marker="x", markersize=8, **style)


def say(panel: Any, size: int, cost: float, colour: str, *, ours: bool) -> None:
    """The cost, to the right of the last point; aioxide's a little lower, asyncio's higher."""
    panel.annotate(
        duration(cost).replace("us", "µs"),
        (size, cost),
        xytext=(5, -4 if ours else 4),
        textcoords="offset points",
        va="center_baseline",
        fontsize=7.5,
        fontweight="bold" if ours else "normal",
        color=colour,
    )


def dress(
    panel: Any, program: str, sizes: list[int], span: tuple[float, float], *, first: bool
) -> None:
    """Scales, ticks, grid and title."""
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlim(sizes[0] / 1.6, sizes[-1] * 9)
    panel.set_ylim(*span)
    panel.set_xticks(sizes, [f"$10^{{{len(str(n)) - 1}}}$" for n in sizes])
    ticks = {t: text for t, text in TICKS.items() if span[0] <= t <= span[1]}
    panel.set_yticks(list(ticks), list(ticks.values()) if first else [])
    panel.minorticks_off()
    panel.tick_params(colors=TEXT, labelsize=8, length=0)
    panel.set_axisbelow(True)
    panel.grid(color=GRID, linewidth=0.8)
    for spine in panel.spines.values():
        spine.set_visible(False)
    about = GROWTHS[program].about if program in GROWTHS else program
    panel.set_title(about, fontsize=9, color=TEXT, loc="left", pad=5)


def legend(panel: Any, plt: Any, scaling: Scaling, palette: dict[str, str]) -> None:
    """Which line is whose, in the panel that was left over."""
    order = sorted(scaling.engines, key=lambda engine: engine != OURS)
    keys = [
        plt.Line2D([], [], color=palette[e], linewidth=2.4 if e == OURS else 1.3) for e in order
    ]
    keys.append(plt.Line2D([], [], color=TEXT, linewidth=1.0, linestyle=(0, (3, 2))))
    panel.legend(
        keys,
        [*(f"{e} {scaling.engines[e]}" for e in order), "without the collector"],
        loc="center",
        frameon=False,
        fontsize=9,
        labelcolor=TEXT,
    )


def words(figure: Any, scaling: Scaling, height: float) -> None:
    """Title, how to read it, and under what the figures hold."""
    figure.subplots_adjust(
        left=0.062,
        right=0.99,
        wspace=0.08,
        hspace=0.34,
        top=1 - HEAD / height,
        bottom=FOOT / height,
    )
    facts = scaling.facts
    figure.text(
        0.012,
        1 - 0.22 / height,
        f"Processor time for one of n, as n grows, CPython {facts['python']}",
        fontsize=13,
        fontweight="bold",
        color=TEXT,
        va="center",
    )
    cut = any(series.stopped for row in scaling.series.values() for series in row.values())
    figure.text(
        0.012,
        0.13 / height,
        "lower is faster, level is a cost that does not grow with n; both axes logarithmic; "
        + (f"{TIMES}: stopped there; " if cut else "")
        + f"{facts['cores']} {TIMES} {facts['cpu']}, {facts['date']}",
        fontsize=7.5,
        color=TEXT,
        va="center",
    )
