"""The bars aioxide has to clear, and `--check`, which says of each whether it does.

They are ratios to the best peer of the same run, because an absolute figure tells more about the
machine than about the engine; for how the cost of one grows with their number, to aioxide itself.
They stand here, apart from the harness, so that raising one is a change of one line with a reason
in its commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.engines import OURS
from benchmarks.scaling_results import growth, power
from benchmarks.tables import aligned, times

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.scaling_results import Scaling

DEFAULT = 1.0
AGAINST_BEST_PEER = {
    "call_soon": 1.5,
    "timer_cancel": 1.7,
    "threadsafe": 1.0,
    "to_thread": 1.3,
    "sleep0": 3.0,
    "switch100": 2.8,
    "task_spawn": 3.5,
    "future": 3.5,
    "gather100": 7.0,
    "taskgroup100": 6.0,
    "wait_for": 8.0,
    "timeout": 5.5,
    "sleepers": 6.0,
    "lock": 6.0,
    "semaphore": 4.5,
    "event": 4.0,
    "condition": 4.0,
    "barrier10": 4.0,
    "queue_pingpong": 8.0,
}
BYTES_AT_MOST = {"sleeping_task": 700.0}
# One of many may become so many times as dear from the least size to the greatest, Python's
# collector apart. What is flat by itself still grows when a million objects do not fit into the
# caches, up to 1.8 times, and more the less there was to do; a heap reads and writes entries all
# over its memory besides, up to 3.5 times. What is quadratic grows a thousandfold.
FLAT, HEAP = 3.0, 6.0
GROWTH_AT_MOST = {
    "gather": FLAT,
    "as_completed": FLAT,
    "Queue": FLAT,
    "notify_all": FLAT,
    "sleepers": HEAP,
    "timers fired": HEAP,
    "timers cancelled": HEAP,
}


@dataclass(frozen=True)
class Verdict:
    """One bar: what was asked, what was found."""

    name: str
    asked: str
    found: str
    passed: bool
    note: str = ""


def verdicts(results: Results) -> list[Verdict]:
    """Every bar, judged on aioxide with its own primitives if it has them."""
    ours = next(iter(results.our_engines), None)
    judged = []
    for workload, cells in results.speed.items():
        bar = AGAINST_BEST_PEER.get(workload, DEFAULT)
        peer = results.best_peer(workload)
        ratio = results.ratio(workload, ours, peer) if ours else None
        note = f"against {peer}" if peer else "no peer to compare with"
        if ours and ratio is None and peer:
            note = cells[ours].failed if ours in cells else "not run"
        passed = ratio is not None and ratio >= bar
        judged.append(Verdict(workload, f">= {bar:.2f}x", times(ratio), passed, note))
    for kind, most in BYTES_AT_MOST.items():
        size = results.memory.get(kind, {}).get(ours or "")
        if kind in results.memory:
            found = "-" if size is None else f"{size:.0f} B"
            passed = size is not None and size <= most
            judged.append(Verdict(f"memory {kind}", f"<= {most:.0f} B", found, passed))
    return judged


def growth_verdicts(scaling: Scaling) -> list[Verdict]:
    """Whether one stays as cheap among many, judged on aioxide with its own primitives."""
    judged = []
    for program, most in GROWTH_AT_MOST.items():
        series = scaling.series.get(program, {}).get(OURS)
        if series is None:
            continue
        grown = growth(series.bare)
        found = "-" if grown is None else f"{grown:.2f}x"
        note = series.stopped or f"from {power(min(series.bare))} to {power(max(series.bare))}"
        passed = grown is not None and grown <= most and not series.stopped
        judged.append(Verdict(f"growth {program}", f"<= {most:.2f}x", found, passed, note))
    return judged


def check(results: Results | None, scaling: Scaling | None = None) -> tuple[str, bool]:
    """The verdicts as a table, and whether all of them are good."""
    judged = verdicts(results) if results and results.our_engines else []
    judged += growth_verdicts(scaling) if scaling else []
    if not judged:
        return "aioxide is not installed: nothing to check\n", False
    rows = [["bar", "asked", "found", "", ""]]
    rows += [[v.name, v.asked, v.found, "pass" if v.passed else "FAIL", v.note] for v in judged]
    failed = sum(not v.passed for v in judged)
    lines = aligned(rows)
    who = results.our_engines[0] if results and results.our_engines else OURS
    lines.append(f"{len(judged) - failed} of {len(judged)} bars cleared by {who}")
    return "\n".join(lines) + "\n", failed == 0
