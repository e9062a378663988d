"""The bars that aioxide's network has to clear, and what `--check` says of each.

Cost against the limit is what the design promises; being first among the peers, however glibc is
set for them, is what a user wins. As in benchmarks/bars.py they stand apart from the harness, so
that changing one is a change of one line with a reason in its commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.bars import Verdict
from benchmarks.engines import OURS
from benchmarks.net.arena import LIMIT
from benchmarks.net.cells import CELLS, GROWTH, INTERFACES, growth_of
from benchmarks.net.results import EQUAL
from benchmarks.net.tables import micro, multiple
from benchmarks.tables import aligned, times

if TYPE_CHECKING:
    from benchmarks.net.results import NetResults

COST_AT_MOST = {"protocol": 1.10, "buffered": 1.12, "streams": 1.15, "sock": 1.15}
LARGE_COST_AT_MOST = {**COST_AT_MOST, "protocol": 1.15, "buffered": 1.15}
# Where the client's core is full before the server's, throughput says little; here it is not.
RATE_AGAINST_PEERS = {"streams-1000x1k": 1.3}
# By groups without a limit: so many times as good as the best peer, in these figures.
AGAINST_THE_BEST = {
    "tls": (1.3, ("rate", "cpu")),
    "handshake": (1.3, ("rate", "cpu")),
    "https": (1.1, ("rate", "cpu")),
    "spawn": (1.2, ("rate",)),
    "children": (1.0, ("rate",)),
    "pipe": (1.0, ("rate",)),
}
BESIDE_A_THREAD = ("uvloop", 5.0)
GROWTH_AT_MOST = 1.15
GROWTH_FROM = 10


def cost_verdicts(results: NetResults) -> list[Verdict]:
    """Processor time for one request against the bare server's."""
    judged = []
    for name in results.cells:
        cell = CELLS[name]
        if cell.group not in INTERFACES:
            continue
        most = (LARGE_COST_AT_MOST if cell.large else COST_AT_MOST)[cell.interface]
        found = results.of_limit(name, OURS, "cpu")
        passed = found is not None and round(found, 2) <= most
        note = results.at(name, OURS).failed or f"{micro(results.median(name, OURS, 'cpu'))} µs"
        judged.append(Verdict(f"{name} cost", f"<= {most:.2f}x", multiple(found), passed, note))
    return judged


def place_verdicts(results: NetResults) -> list[Verdict]:
    """First of all, or equal-first, in every cell: by cost, and by rate beside a busy thread."""
    judged = []
    for name in results.cells:
        if CELLS[name].group in AGAINST_THE_BEST:
            continue
        least = not CELLS[name].busy_thread
        figure = "cpu" if least else "rate"
        best = results.best_peer(name, figure, least=least)
        ours = results.median(name, OURS, figure)
        if best is None:
            continue
        peer, theirs = best
        ratio = None if not ours else ours / theirs if least else theirs / ours
        passed = ratio is not None and ratio <= EQUAL
        note = results.at(name, OURS).failed or f"against {peer}"
        judged.append(Verdict(f"{name} place", f"<= {EQUAL:.2f}x", multiple(ratio), passed, note))
    return judged


def best_verdicts(results: NetResults) -> list[Verdict]:
    """So much better than the best peer, where there is no limit."""
    judged = []
    for name in results.cells:
        asked, wanted = AGAINST_THE_BEST.get(CELLS[name].group, (0.0, ()))
        for figure in wanted:
            least = figure == "cpu"
            best = results.best_peer(name, figure, least=least)
            if best is None:
                continue
            peer, theirs = best
            ours = results.median(name, OURS, figure)
            ratio = None if not ours else theirs / ours if least else ours / theirs
            # To be as good as the best is within what can be told apart.
            passed = ratio is not None and ratio >= (asked if asked > 1 else 1 / EQUAL)
            note = results.at(name, OURS).failed or f"against {peer}"
            judged.append(
                Verdict(f"{name} {figure}", f">= {asked:.2f}x", multiple(ratio), passed, note)
            )
    return judged


def rate_verdicts(results: NetResults) -> list[Verdict]:
    """Throughput against peers where more was promised than the first place."""
    judged = []
    for name, least in RATE_AGAINST_PEERS.items():
        best = results.best_peer(name, "rate", least=False)
        if name in results.cells and best:
            judged.append(rate_verdict(results, name, least, *best))
    rival, least = BESIDE_A_THREAD
    for name in results.cells:
        theirs = results.median(name, rival, "rate")
        if CELLS[name].busy_thread and theirs:
            judged.append(rate_verdict(results, name, least, rival, theirs))
    return judged


def rate_verdict(results: NetResults, name: str, least: float, peer: str, theirs: float) -> Verdict:
    """One of them."""
    ours = results.median(name, OURS, "rate")
    ratio = ours / theirs if ours else None
    passed = ratio is not None and ratio >= least
    return Verdict(f"{name} rate", f">= {least:.2f}x", times(ratio), passed, f"against {peer}")


def growth(results: NetResults, interface: str, label: str) -> float | None:
    """How many times as dear one request is at the dearest load as at the cheapest."""
    cells = growth_of(interface)
    costs = [results.median(cells[n], label, "cpu") for n in GROWTH if n >= GROWTH_FROM]
    known = [cost for cost in costs if cost]
    return max(known) / min(known) if len(known) == len(costs) else None


def growth_verdicts(results: NetResults) -> list[Verdict]:
    """Flat from ten connections to ten thousand."""
    judged = []
    for interface in ("protocol", "streams"):
        if not all(cell in results.cells for cell in growth_of(interface).values()):
            continue
        found = growth(results, interface, OURS)
        passed = found is not None and found <= GROWTH_AT_MOST
        note = f"the limit's own: {multiple(growth(results, interface, LIMIT))}"
        asked = f"<= {GROWTH_AT_MOST:.2f}x"
        judged.append(Verdict(f"{interface} growth", asked, multiple(found), passed, note))
    return judged


def check(results: NetResults) -> tuple[str, bool]:
    """The verdicts as a table, and whether all of them are good."""
    if results.ours is None:
        return "aioxide did not take part: nothing to check\n", False
    judged = cost_verdicts(results) + place_verdicts(results)
    judged += best_verdicts(results) + rate_verdicts(results) + growth_verdicts(results)
    rows = [["bar", "asked", "found", "", ""]]
    rows += [[v.name, v.asked, v.found, "pass" if v.passed else "FAIL", v.note] for v in judged]
    failed = sum(not v.passed for v in judged)
    lines = [*aligned(rows), f"{len(judged) - failed} of {len(judged)} bars cleared"]
    return "\n".join(lines) + "\n", failed == 0
