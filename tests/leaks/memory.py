"""Millions of lifetimes at flat memory.

The process's resident memory is read after each batch of rounds. The first batches warm up:
freelists fill, the allocator takes its arenas, the timer heap finds its size. After that the
best of the last quarter may not lie above the best of the quarter after warm-up by more than
a bound. Comparing minima and not means leaves out what a batch happened to hold. The bound
grows by two bytes a lifetime at most, a thirtieth of the smallest object an engine has.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.leaks.lifetimes import WORKLOADS

if TYPE_CHECKING:
    from tests.differential.engines import Engine

ROUND = 1000
BATCHES = 20
WARM_UP = 4
SLACK = 1 << 20

_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Growth(NamedTuple):
    """What a workload left behind."""

    name: str
    lifetimes: int
    grown: int
    allowed: int
    seconds: float

    @property
    def passed(self) -> bool:
        return self.grown <= self.allowed

    def __str__(self) -> str:
        verdict = "ok  " if self.passed else "GREW"
        return (
            f"{verdict} {self.name:<36} {self.lifetimes:>9} lifetimes "
            f"{self.grown / 1024:>8.0f} KiB (of {self.allowed / 1024:.0f}) {self.seconds:>6.1f} s"
        )


def resident() -> int:
    """Bytes of memory that the process has in use."""
    return int(_STATM.read_text().split()[1]) * _PAGE


def descriptors() -> int:
    """How many file descriptors are open; the one for looking counts itself each time."""
    return len(list(_DESCRIPTORS.iterdir()))


def _verdict(name: str, samples: list[int], lifetimes: int, seconds: float) -> Growth:
    rest = samples[WARM_UP:]
    quarter = max(1, len(rest) // 4)
    grown = max(0, min(rest[-quarter:]) - min(rest[:quarter]))
    return Growth(name, lifetimes, grown, SLACK + 2 * lifetimes, seconds)


def measure(engine: Engine, name: str, lifetimes: int) -> Growth:
    """Run one workload for about so many lifetimes."""
    work = WORKLOADS[name]
    rounds = max(1, lifetimes // ROUND // BATCHES)
    samples: list[int] = []
    began = time.monotonic()

    async def batch() -> None:
        for _ in range(rounds):
            await work(engine, ROUND)

    loop = engine.new_event_loop()
    try:
        for _ in range(BATCHES):
            loop.run_until_complete(batch())
            gc.collect()
            samples.append(resident())
    finally:
        loop.close()
    total = rounds * BATCHES * ROUND
    return _verdict(name, samples, total, time.monotonic() - began)


def measure_loops(engine: Engine, loops: int) -> Growth:
    """Loops made, used and closed. A descriptor left open counts as a megabyte."""
    each = max(1, loops // BATCHES)
    samples: list[int] = []
    began = time.monotonic()
    for _ in range(BATCHES):
        for number in range(each):
            loop = engine.new_event_loop()
            loop.call_later(3600, _ignore)
            loop.call_soon(_ignore)
            if number % 2:
                loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            del loop
        gc.collect()
        samples.append(resident() + (descriptors() << 20))
    return _verdict("loops_opened_and_closed", samples, each * BATCHES, time.monotonic() - began)


def _ignore() -> None:
    pass


def measure_all(engine: Engine, lifetimes: int) -> list[Growth]:
    """Every workload with an equal share of the lifetimes, and loops."""
    share = max(BATCHES * ROUND, lifetimes // len(WORKLOADS))
    results = []
    for name in WORKLOADS:
        results.append(measure(engine, name, share))
        print(results[-1], flush=True)
    results.append(measure_loops(engine, max(400, lifetimes // 2000)))
    print(results[-1], flush=True)
    return results
