"""Locks, events, conditions and queues: one task handing over to another.

In these the primitives weigh as much as the loop, so the two variants of aioxide differ most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.workloads import workload

if TYPE_CHECKING:
    import asyncio
    from types import ModuleType


@workload(5_000)
async def lock(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A lock that ten tasks want all the time, held for one turn."""
    shared = aio.Lock()

    async def worker() -> None:
        for _ in range(n // 10):
            async with shared:
                await aio.sleep(0)

    await aio.gather(*[worker() for _ in range(10)])


@workload(20_000)
async def lock_free(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A lock that nobody else wants."""
    own = aio.Lock()
    for _ in range(n):
        async with own:
            pass


@workload(5_000)
async def semaphore(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """Thousands of tasks through a semaphore of five."""
    gate = aio.Semaphore(5)

    async def worker() -> None:
        async with gate:
            await aio.sleep(0)

    await aio.gather(*[worker() for _ in range(n)])


@workload(20_000)
async def semaphore_free(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A semaphore that has room."""
    gate = aio.Semaphore(2)
    async with gate:
        for _ in range(n):
            async with gate:
                pass
        assert not gate.locked()


@workload(4_000)
async def event(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """Two tasks that wake each other through two events."""
    ping, pong = aio.Event(), aio.Event()

    async def answer() -> None:
        for _ in range(n):
            await ping.wait()
            ping.clear()
            pong.set()

    async def ask() -> None:
        for _ in range(n):
            ping.set()
            await pong.wait()
            pong.clear()

    await aio.gather(answer(), ask())


@workload(20_000)
async def event_free(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """wait() on an event that is set already."""
    ready = aio.Event()
    ready.set()
    passed = 0
    for _ in range(n):
        passed += await ready.wait()
    assert passed == n


@workload(4_000)
async def condition(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """Two tasks that take turns under one condition."""
    changed = aio.Condition()
    turn = 0

    async def player(me: int) -> None:
        nonlocal turn
        for _ in range(n // 2):
            async with changed:
                while turn != me:
                    await changed.wait()
                turn = 1 - me
                changed.notify()

    await aio.gather(player(0), player(1))


@workload(4_000)
async def barrier10(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """Ten tasks that meet at a barrier again and again, each arrival counted."""
    meeting = aio.Barrier(10)

    async def worker() -> None:
        for _ in range(n // 10):
            await meeting.wait()

    await aio.gather(*[worker() for _ in range(10)])


@workload(4_000)
async def queue_pingpong(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """Two tasks that answer each other through two queues: a round trip each."""
    there, back = aio.Queue(), aio.Queue()

    async def answer() -> None:
        for _ in range(n):
            await there.get()
            back.put_nowait(1)

    async def ask() -> None:
        for _ in range(n):
            there.put_nowait(1)
            await back.get()

    await aio.gather(answer(), ask())


@workload(10_000)
async def queue_bounded(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A producer and a consumer on a queue of ten, so that both come to wait."""
    channel = aio.Queue(10)

    async def produce() -> None:
        for i in range(n):
            await channel.put(i)

    async def consume() -> None:
        for _ in range(n):
            await channel.get()

    await aio.gather(produce(), consume())


async def through(channel: asyncio.Queue[int], n: int) -> list[int]:
    """Put n numbers in scattered order, a hundred at a time, and get each hundred; what came."""
    came: list[int] = []
    for _ in range(n // 100):
        for i in range(100):
            await channel.put(i * 37 % 100)
        came += [await channel.get() for _ in range(100)]
    return came


@workload(20_000)
async def queue_free(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """put() and get() that never wait, a hundred at a time."""
    assert await through(aio.Queue(), n) == [i * 37 % 100 for i in range(100)] * (n // 100)


@workload(20_000)
async def lifo_queue(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """The same through a LifoQueue."""
    assert await through(aio.LifoQueue(), n) == [i * 37 % 100 for i in range(99, -1, -1)] * (
        n // 100
    )


@workload(20_000)
async def priority_queue(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """The same through a PriorityQueue, which sorts them."""
    assert await through(aio.PriorityQueue(), n) == [*range(100)] * (n // 100)
