"""A thousand that wait for one thing, and a million timers: where work that grows too fast shows.

Apart from the others because a primitive can be quick for ten waiters and hopeless for a thousand.
How the cost of one grows from a thousand to a million is asked in benchmarks/scaling.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.workloads import workload

if TYPE_CHECKING:
    import asyncio
    from types import ModuleType

CROWD = 1000
HOUR = 3600.0


async def value(i: int) -> int:
    """A coroutine that is over at its first step."""
    return i


def nothing() -> None:
    """What the timers would call."""


@workload(10_000)
async def wait1000(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """wait() for a thousand tasks."""
    for _ in range(n // CROWD):
        done, pending = await aio.wait([loop.create_task(value(i)) for i in range(CROWD)])
        assert (len(done), len(pending)) == (CROWD, 0)


@workload(5_000)
async def as_completed1000(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """as_completed over a thousand coroutines."""
    for _ in range(n // CROWD):
        total = 0
        for earliest in aio.as_completed([value(i) for i in range(CROWD)]):
            total += await earliest
        assert total == sum(range(CROWD))


@workload(5_000, since=(3, 13))
async def as_completed_async1000(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """The same by `async for`, which gives the tasks themselves."""
    for _ in range(n // CROWD):
        total = 0
        async for task in aio.as_completed([loop.create_task(value(i)) for i in range(CROWD)]):
            total += await task
        assert total == sum(range(CROWD))


@workload(5_000)
async def notify_all1000(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """Condition.notify_all() to a thousand waiters, which then take its lock one by one."""
    changed = aio.Condition()
    rounds = n // CROWD
    arrived = woken = 0
    all_there = loop.create_future()

    async def waiter() -> None:
        nonlocal arrived, woken
        async with changed:
            for _ in range(rounds):
                arrived += 1
                if arrived == CROWD:
                    all_there.set_result(None)
                await changed.wait()
                woken += 1

    crowd = aio.gather(*[waiter() for _ in range(CROWD)])
    for _ in range(rounds):
        await all_there
        all_there, arrived = loop.create_future(), 0
        async with changed:
            changed.notify_all()
    await crowd
    assert woken == n


@workload(10_000)
async def queue_contended(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A hundred producers and a hundred consumers on a queue of ten."""
    channel = aio.Queue(10)
    total = 0

    async def produce() -> None:
        for i in range(n // 100):
            await channel.put(i)

    async def consume() -> None:
        nonlocal total
        for _ in range(n // 100):
            number = await channel.get()
            total += number  # `total += await` would add to what it was before the wait

    await aio.gather(*[produce() for _ in range(100)], *[consume() for _ in range(100)])
    assert total == 100 * sum(range(n // 100))


@workload(1_000_000, quick=20_000)
async def timers_million(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A million timers pending at once, then all cancelled: what thousands of connections hold."""
    handles = [loop.call_later(HOUR + i * 7919 % 1000, nothing) for i in range(n)]
    for handle in handles:
        handle.cancel()
    await aio.sleep(0)  # some clear their heap of the cancelled ones at the next turn
    assert all(handle.cancelled() for handle in handles[::1000])
