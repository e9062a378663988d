"""The loop by itself: callbacks, timers, threads and file descriptors, with no task in the way.

Apart from the others because here an engine's own queue and poller are all that differs.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from benchmarks.workloads import workload

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import ModuleType


def countdown(future: asyncio.Future[None], n: int) -> Callable[..., None]:
    """A callback that completes `future` when it has run n times."""
    left = n

    def callback(*_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            future.set_result(None)

    return callback


def nothing(*_: object) -> None:
    """A callback for what is cancelled, or run for its own sake."""


@workload(20_000)
async def call_soon(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """One callback that schedules itself again: the price of a turn of the loop."""
    done = loop.create_future()
    left = n

    def callback() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(callback)
        else:
            done.set_result(None)

    loop.call_soon(callback)
    await done


@workload(20_000)
async def call_soon_burst(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """Callbacks with two arguments, all scheduled before the first runs: allocation and the GC."""
    done = loop.create_future()
    callback = countdown(done, n)
    for _ in range(n):
        loop.call_soon(callback, 1, 2)
    await done


@workload(20_000)
async def handle_cancel(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """call_soon whose handle is cancelled at once: the ready queue steps over dead entries."""
    for _ in range(n // 100):
        for _ in range(100):
            loop.call_soon(nothing).cancel()
        await aio.sleep(0)


@workload(20_000)
async def timer_cancel(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """call_later and cancel: the timeout that never fires, which is what most timeouts do."""
    for _ in range(n):
        loop.call_later(60, nothing).cancel()


@workload(20_000)
async def timers_fire(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """call_later in scattered order, within one millisecond, all fired: the timer heap."""
    done = loop.create_future()
    callback = countdown(done, n)
    for i in range(n):
        loop.call_later((i * 7919 % 1000) * 1e-6, callback)
    await done


@workload(20_000)
async def call_at_ordered(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """call_at with deadlines that only grow: the heap's best case, and the commonest."""
    done = loop.create_future()
    callback = countdown(done, n)
    start = loop.time()
    for i in range(n):
        loop.call_at(start + i * 1e-8, callback)
    await done


@workload(10_000)
async def threadsafe(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """call_soon_threadsafe from another thread: the inbox and the waker."""
    done = loop.create_future()
    callback = countdown(done, n)

    def post() -> None:
        for _ in range(n):
            loop.call_soon_threadsafe(callback)

    thread = threading.Thread(target=post)
    thread.start()
    await done
    thread.join()


@workload(400)
async def to_thread(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A function sent to a thread and awaited: context copy, executor, wake-up."""
    total = 0
    for i in range(n):
        total += await aio.to_thread(abs, -i)
    assert total == sum(range(n))


@workload(400)
async def run_in_executor(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """The same through loop.run_in_executor, ten at a time."""
    for _ in range(n // 10):
        await aio.gather(*[loop.run_in_executor(None, nothing) for _ in range(10)])


@workload(400)
async def run_coroutine_threadsafe(
    aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int
) -> None:
    """A coroutine sent to the loop by a thread that waits for its value, one after the other."""

    async def value(i: int) -> int:
        return i

    def ask() -> int:
        return sum(aio.run_coroutine_threadsafe(value(i), loop).result() for i in range(n))

    assert await loop.run_in_executor(None, ask) == sum(range(n))


@workload(4_000)
async def reader_pingpong(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """add_reader's callback reads one byte and writes the next: a poll for each turn."""
    done = loop.create_future()
    left = n
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)

    def readable() -> None:
        nonlocal left
        here.recv(1)
        left -= 1
        if left:
            there.send(b"x")
        else:
            done.set_result(None)

    loop.add_reader(here.fileno(), readable)
    there.send(b"x")
    try:
        await done
    finally:
        loop.remove_reader(here.fileno())
        here.close()
        there.close()


@workload(4_000)
async def reader_toggle(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """add_reader and remove_reader on a quiet socket: what registering costs."""
    here, there = socket.socketpair()
    descriptor = here.fileno()
    for i in range(n):
        loop.add_reader(descriptor, nothing)
        loop.remove_reader(descriptor)
        if i % 100 == 99:
            await aio.sleep(0)
    here.close()
    there.close()
