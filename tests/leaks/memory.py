"""Millions of lifetimes at flat memory.

The process's resident memory is read after each batch of rounds. The first batches warm up:
freelists fill, the allocator takes its arenas, the timer heap finds its size. After that the
best of the last quarter may not lie above the best of the quarter after warm-up by more than
a bound. Comparing minima and not means leaves out what a batch happened to hold. The bound
grows by two bytes a lifetime at most, a thirtieth of the smallest object an engine has.

Memory alone would overlook a few hundred connections that left an object each. So Python's blocks
of memory are counted as well, each of which is an object or belongs to one, what the C library has
handed out beside them, and descriptors.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.leaks.lifetimes import WORKLOADS
from tests.leaks.network import leave_open

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.differential.engines import Engine

ROUND = 1000
TRIES = 3
BATCHES = 20
WARM_UP = 4
SLACK = 1 << 20
BLOCKS = 80
BLOCKS_ELSE = {"subclass_instances": 1000}  # making classes fills caches of the type system

_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class _MallInfo(ctypes.Structure):
    """What glibc says of its heap; `uordblks` and `hblkhd` are in use."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
        )
    )


_mallinfo: Any = getattr(ctypes.CDLL(None), "mallinfo2", _MallInfo)  # glibc has it from 2.33 on
if _mallinfo is not _MallInfo:
    _mallinfo.restype = _MallInfo


class Sample(NamedTuple):
    """What a process holds."""

    resident: int
    heap: int
    blocks: int
    descriptors: int


class Growth(NamedTuple):
    """What a workload left behind, and how much of it may be chance."""

    name: str
    lifetimes: int
    grown: Sample
    allowed: Sample
    seconds: float

    @property
    def passed(self) -> bool:
        return all(
            grown <= allowed for grown, allowed in zip(self.grown, self.allowed, strict=True)
        )

    def __str__(self) -> str:
        verdict = "ok  " if self.passed else "GREW"
        grown, allowed = self.grown, self.allowed
        return (
            f"{verdict} {self.name:<36} {self.lifetimes:>9} lifetimes "
            f"{grown.resident / 1024:>6.0f} KiB (of {allowed.resident / 1024:.0f}), "
            f"{grown.heap / 1024:>4.0f} (of {allowed.heap / 1024:.0f}) by malloc, "
            f"{grown.blocks:>3} blocks (of {allowed.blocks}), "
            f"{grown.descriptors} descriptors {self.seconds:>6.1f} s"
        )


def resident() -> int:
    """Bytes of memory that the process has in use."""
    return int(_STATM.read_text().split()[1]) * _PAGE


def descriptors() -> int:
    """How many file descriptors are open; the one for looking counts itself each time."""
    return len(list(_DESCRIPTORS.iterdir()))


def sample() -> array[int]:
    """What the process holds now, rubbish aside, in the order of `Sample`.

    Numbers in arrays are no objects, and not counted.
    """
    gc.collect()
    heap = _mallinfo()
    row = (resident(), heap.uordblks + heap.hblkhd, sys.getallocatedblocks(), descriptors())
    return array("q", row)


def _verdict(name: str, samples: list[array[int]], lifetimes: int, seconds: float) -> Growth:
    rest = samples[WARM_UP:]
    quarter = max(1, len(rest) // 4)
    grown = Sample(
        *(
            max(0, min(last) - min(first))
            for first, last in zip(
                zip(*rest[:quarter], strict=True), zip(*rest[-quarter:], strict=True), strict=True
            )
        )
    )
    blocks = BLOCKS_ELSE.get(name, BLOCKS) + lifetimes // 500
    allowed = Sample(SLACK + 2 * lifetimes, SLACK // 32 + lifetimes, blocks, 0)
    return Growth(name, lifetimes, grown, allowed, seconds)


def measure(engine: Engine, name: str, lifetimes: int) -> Growth:
    """Run one workload for about so many lifetimes.

    What leaks does so each time. Threads that happen to end late, or a table that happens to grow,
    do not, so what grew is given two more tries.
    """
    for _ in range(TRIES):
        growth = _measure_once(engine, name, lifetimes)
        if growth.passed:
            break
    return growth


def _measure_once(engine: Engine, name: str, lifetimes: int) -> Growth:
    work = WORKLOADS[name]
    rounds = max(1, lifetimes // ROUND // BATCHES)
    samples: list[array[int]] = []
    began = time.monotonic()

    async def batch() -> None:
        for _ in range(rounds):
            await work(engine, ROUND)

    loop = engine.new_event_loop()
    try:
        for _ in range(BATCHES):
            loop.run_until_complete(batch())
            samples.append(sample())
    finally:
        loop.close()
    total = rounds * BATCHES * ROUND
    return _verdict(name, samples, total, time.monotonic() - began)


async def leave_nothing(_engine: Engine) -> None:
    """For loops that were used and are empty."""
    await asyncio.sleep(0)


def measure_loops(
    engine: Engine, loops: int, use: Callable[[Engine], Awaitable[None]] = leave_nothing
) -> Growth:
    """Loops made, used and closed with something scheduled."""
    each = max(1, loops // BATCHES)
    samples: list[array[int]] = []
    began = time.monotonic()

    async def once() -> None:
        await use(engine)

    for _ in range(BATCHES):
        for number in range(each):
            loop = engine.new_event_loop()
            loop.call_later(3600, _ignore)
            loop.call_soon(_ignore)
            if number % 2 or use is not leave_nothing:
                loop.run_until_complete(once())
            loop.close()
            del loop
        samples.append(sample())
    name = f"loops_closed_that_{use.__name__}"
    return _verdict(name, samples, each * BATCHES, time.monotonic() - began)


def _ignore() -> None:
    pass


def measure_all(engine: Engine, lifetimes: int) -> list[Growth]:
    """Every workload with an equal share of the lifetimes, and loops."""
    share = max(BATCHES * ROUND, lifetimes // len(WORKLOADS))
    results = []
    for name in WORKLOADS:
        results.append(measure(engine, name, share))
        print(results[-1], flush=True)
    for use in (leave_nothing, leave_open):
        results.append(measure_loops(engine, max(400, lifetimes // 2000), use))
        print(results[-1], flush=True)
    return results
