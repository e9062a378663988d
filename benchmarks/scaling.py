"""What one of many costs as they become more: the programs, and how their cost is taken.

The tables ask how fast; this asks whether it stays so. Each program does something for n things at
once, and what counts is the cost of one of them: the same at a million as at a thousand, or a
little more where a heap sorts them. Something quadratic shows as a line that climbs.

The cost is processor time. Timers that shall be pending together have to be due some time after
they were made, and waiting for them is not work; nor is what another process does meanwhile.

It is taken twice, with Python's collector and without. The collector goes through all that is
alive, so among a million it can cost more than all the rest, on any engine; without it one sees
whether an engine has anything of its own that grows.

How n grows, and when it stops growing, is in scaling_run.py.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.workloads.crowds import value
from benchmarks.workloads.loop import countdown, nothing

if TYPE_CHECKING:
    import asyncio
    from types import ModuleType

    from benchmarks.engines import Opened
    from benchmarks.workloads import Run

HOUR = 3600.0
MICROSECOND = 1e-6


def scattered(i: int, n: int) -> int:
    """The numbers below n, each once, in an order that no heap finds easy; n a power of ten."""
    return i * 7919 % n


async def gather(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """gather of n coroutines"""
    assert sum(await aio.gather(*[value(i) for i in range(n)])) == sum(range(n))


async def as_completed(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """as_completed of n"""
    total = 0
    for earliest in aio.as_completed([value(i) for i in range(n)]):
        total += await earliest
    assert total == sum(range(n))


async def queue(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """a Queue: n put, then got"""
    channel = aio.Queue()
    for i in range(n):
        await channel.put(i)
    assert channel.qsize() == n
    total = 0
    for _ in range(n):
        total += await channel.get()
    assert total == sum(range(n))


async def timers_fired(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """n timers pending, then fired"""
    done = loop.create_future()
    callback = countdown(done, n)
    for i in range(n):
        loop.call_later(scattered(i, n) * MICROSECOND, callback)
    time.sleep(n * MICROSECOND)  # all are due when the loop looks: it fires them and never waits
    await done


async def timers_cancelled(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """n timers pending, cancelled"""
    handles = [loop.call_later(HOUR + scattered(i, n), nothing) for i in range(n)]
    for i in range(n):
        handles[i * 271 % n].cancel()
    await aio.sleep(0)  # some clear their heap of the cancelled ones at the next turn
    assert all(handle.cancelled() for handle in handles)


async def notify_all(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """notify_all to n tasks"""
    changed = aio.Condition()
    woken = 0

    async def waiter() -> None:
        nonlocal woken
        async with changed:
            await changed.wait()
            woken += 1

    crowd = aio.gather(*[waiter() for _ in range(n)])
    await aio.sleep(0)
    async with changed:
        changed.notify_all()
    await crowd
    assert woken == n


async def sleepers(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """n tasks asleep at once"""
    woken = 0

    async def sleeper(i: int) -> None:
        nonlocal woken
        await aio.sleep((1 + scattered(i, n)) * MICROSECOND)
        woken += 1

    crowd = aio.gather(*[sleeper(i) for i in range(n)])
    await aio.sleep(0)
    assert woken == 0, "all sleep before the first one wakes"
    time.sleep(n * MICROSECOND)
    await crowd
    assert woken == n


@dataclass(frozen=True)
class Growth:
    """One program that n is turned up for."""

    name: str
    run: Run

    @property
    def about(self) -> str:
        """What is counted."""
        return (self.run.__doc__ or "").strip()

    def measure(self, opened: Opened, n: int, seconds: float) -> dict[str, float]:
        """The least cost of one in processor seconds, from repeating it for `seconds` at least.

        `bare` is the same without the collector.
        """
        loop = opened.new_loop()
        costs: dict[bool, list[float]] = {True: [], False: []}

        async def once(*, collecting: bool) -> None:
            gc.collect()
            (gc.enable if collecting else gc.disable)()
            used = time.process_time()
            await self.run(opened.aio, loop, n)
            costs[collecting].append((time.process_time() - used) / n)

        async def repeat() -> None:
            begun = time.perf_counter()
            while not costs[False] or time.perf_counter() - begun < seconds:
                await once(collecting=True)
                await once(collecting=False)

        try:
            loop.run_until_complete(repeat())
        finally:
            gc.enable()
            loop.close()
        return {"cost": min(costs[True]), "bare": min(costs[False])}


GROWTHS = {
    growth.name: growth
    for growth in (
        Growth("gather", gather),
        Growth("as_completed", as_completed),
        Growth("Queue", queue),
        Growth("notify_all", notify_all),
        Growth("sleepers", sleepers),
        Growth("timers fired", timers_fired),
        Growth("timers cancelled", timers_cancelled),
    )
}
