"""The interpreter's total of references stays flat: to the reference, under a debug build.

A debug CPython counts every reference there is (`sys.gettotalrefcount`). Repeating the same
work must not change the count, once caches are warm. One reference leaked per lifetime would
show as a thousand per round; what is allowed is a handful, for caches that fill now and then.
Besides, the counts of None, True, (), and the engine's own types are compared: a missing
reference there would be set off in the total by a leaked one. Immortal objects (from 3.12)
do not move, which is as it should be. Blocks of memory are counted too, where references
are right but memory is not.
"""

from __future__ import annotations

import gc
import sys
from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tests.leaks.lifetimes import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.differential.engines import Engine
    from tests.leaks.lifetimes import Workload

LIFETIMES = 400
WARM_UP = 4
ROUNDS = 6
ALLOWED = 4  # in the round that moved least: a leak shows in each
ALLOWED_ELSE = {"subclass_instances": 60}  # making classes fills caches of the type system

total: Callable[[], int] | None = getattr(sys, "gettotalrefcount", None)


class Counts(NamedTuple):
    """How much each count grew in the round in which it moved least."""

    name: str
    references: int
    blocks: int
    watched: dict[str, int]

    @property
    def passed(self) -> bool:
        """Counts that fall are as wrong as counts that rise."""
        allowed = ALLOWED_ELSE.get(self.name, ALLOWED)
        moved = (self.references, self.blocks, *self.watched.values())
        return all(abs(number) <= allowed for number in moved)

    def __str__(self) -> str:
        verdict = "ok  " if self.passed else "LEAK"
        moved = ", ".join(f"{what} {n:+}" for what, n in self.watched.items() if n)
        return (
            f"{verdict} {self.name:<36} {self.references:+5} references {self.blocks:+5} blocks"
            f"  {moved}"
        )


def _watched(engine: Engine) -> dict[str, object]:
    return {
        "None": None,
        "True": True,
        "False": False,
        "()": (),
        "Task": engine.Task,
        "Future": engine.Future,
        "object": object,
    }


def measure(engine: Engine, name: str, work: Workload | None = None) -> Counts:
    """Run one workload round after round and compare the counts between rounds."""
    assert total is not None, "needs a debug build: scripts/debug-python runs this with one"
    work = work or WORKLOADS[name]
    watched = _watched(engine)
    # Numbers in lists would be objects, and counted; numbers in arrays are not.
    rows = [array("q", bytes(8 * (2 + len(watched)))) for _ in range(WARM_UP + ROUNDS)]
    loop = engine.new_event_loop()

    async def once() -> None:
        await work(engine, LIFETIMES)

    try:
        for row in rows:
            loop.run_until_complete(once())
            gc.collect()
            gc.collect()
            row[0] = total()
            row[1] = sys.getallocatedblocks()
            for number, thing in enumerate(watched.values(), 2):
                row[number] = sys.getrefcount(thing)
    finally:
        loop.close()
    rows = rows[WARM_UP:]
    steps = [
        min((after[n] - before[n] for before, after in pairwise(rows)), key=abs)
        for n in range(2 + len(watched))
    ]
    return Counts(name, steps[0], steps[1], dict(zip(watched, steps[2:], strict=True)))


def measure_all(engine: Engine) -> list[Counts]:
    """Every workload."""
    results = []
    for name in WORKLOADS:
        results.append(measure(engine, name))
        print(results[-1], flush=True)
    return results
