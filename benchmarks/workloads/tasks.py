"""Tasks, futures and whatever waits for them: the part of asyncio that every program pays for.

Here an engine with a Task of its own shows it; loops that keep asyncio's differ only by their
queue underneath.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING

from benchmarks.workloads import workload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

VARIABLE = contextvars.ContextVar("VARIABLE", default=0)


async def noop() -> None:
    """A coroutine that is over at its first step."""


@workload(20_000)
async def sleep0(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """sleep(0) in one task: to the loop and back."""
    for _ in range(n):
        await aio.sleep(0)


@workload(20_000)
async def switch100(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """sleep(0) in a hundred tasks in turn: switching between tasks."""

    async def worker() -> None:
        for _ in range(n // 100):
            await aio.sleep(0)

    await aio.gather(*[worker() for _ in range(100)])


@workload(20_000)
async def ctxvar100(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """The same, setting and reading a context variable at each step."""

    async def worker() -> None:
        for i in range(n // 100):
            VARIABLE.set(i)
            await aio.sleep(0)
            VARIABLE.get()

    await aio.gather(*[worker() for _ in range(100)])


@workload(10_000)
async def task_spawn(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """create_task and await, one after the other: a task's whole life."""
    for _ in range(n):
        await loop.create_task(noop())


@workload(10_000)
async def taskval(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """The same with a value that comes back."""

    async def value() -> int:
        return 12345678

    for _ in range(n):
        assert await loop.create_task(value()) == 12345678


@workload(10_000)
async def spawn1000(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A thousand tasks created, then awaited one by one: many alive at once."""
    for _ in range(n // 1000):
        for task in [loop.create_task(noop()) for _ in range(1000)]:
            await task


@workload(10_000, since=(3, 12))
async def eager_tasks(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """task_spawn under eager_task_factory: the task is over before the loop hears of it."""
    loop.set_task_factory(aio.eager_task_factory)
    try:
        for _ in range(n):
            await loop.create_task(noop())
    finally:
        loop.set_task_factory(None)


@workload(50_000)
async def current_task(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """current_task(), which frameworks and timeouts call on every request."""
    current = aio.current_task
    for _ in range(n):
        current()


@workload(10_000)
async def future(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A future that a callback completes while a task waits for it."""
    for _ in range(n):
        waiter = loop.create_future()
        loop.call_soon(waiter.set_result, None)
        await waiter


@workload(20_000)
async def future_value(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A future that is done before it is awaited: no turn of the loop at all."""
    value = 12345678
    for _ in range(n):
        ready = loop.create_future()
        ready.set_result(value)
        await ready


@workload(10_000)
async def done_callbacks10(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """Ten done callbacks on one future, counted singly."""

    def callback(_: asyncio.Future[None]) -> None:
        pass

    for _ in range(n // 10):
        waiter = loop.create_future()
        for _ in range(10):
            waiter.add_done_callback(callback)
        loop.call_soon(waiter.set_result, None)
        await waiter


@workload(10_000)
async def gather100(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """gather over a hundred coroutines that are over at once."""
    for _ in range(n // 100):
        assert len(await aio.gather(*[noop() for _ in range(100)])) == 100


@workload(10_000)
async def gather_values(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """The same with values that come back in order."""

    async def value(i: int) -> int:
        return i

    expected = list(range(100))
    for _ in range(n // 100):
        assert await aio.gather(*[value(i) for i in range(100)]) == expected


@workload(10_000)
async def taskgroup100(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A TaskGroup of a hundred tasks."""
    for _ in range(n // 100):
        async with aio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(noop())


@workload(2_000)
async def taskgroup_failing(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A TaskGroup of ten, of which one fails and nine are cancelled; each is counted."""
    failed = cancelled = 0

    async def fail() -> None:
        raise ValueError

    async def forever() -> None:
        nonlocal cancelled
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    async def ten() -> None:
        async with aio.TaskGroup() as group:
            group.create_task(fail())
            for _ in range(9):
                group.create_task(forever())

    for _ in range(n // 10):
        try:
            await ten()
        except* ValueError as group:
            failed += len(group.exceptions)
    assert (failed, cancelled) == (n // 10, n // 10 * 9)


@workload(10_000)
async def wait100(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """wait() for a hundred tasks."""
    for _ in range(n // 100):
        done, _ = await aio.wait([loop.create_task(noop()) for _ in range(100)])
        assert len(done) == 100


@workload(5_000)
async def as_completed100(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """as_completed over a hundred coroutines."""
    seen = 0
    for _ in range(n // 100):
        for earliest in aio.as_completed([noop() for _ in range(100)]):
            await earliest
            seen += 1
    assert seen == n


@workload(5_000)
async def shield(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """shield around a task: an outer future that follows an inner one."""
    for _ in range(n):
        await aio.shield(loop.create_task(noop()))


@workload(5_000)
async def wait_for(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """wait_for around something that takes one turn and never times out."""
    for _ in range(n):
        await aio.wait_for(aio.sleep(0), 10)


@workload(10_000)
async def timeout(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """`async with timeout` around one turn, never expiring."""
    for _ in range(n):
        async with aio.timeout(10):
            await aio.sleep(0)


@workload(4_000)
async def timeout_expires(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """`async with timeout(0)` that does expire: cancellation turned into TimeoutError."""
    for _ in range(n):
        try:
            async with aio.timeout(0):
                await loop.create_future()
        except TimeoutError:
            continue
        raise AssertionError("the timeout was lost")


@workload(4_000)
async def cancel(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A task that starts, waits, is cancelled and awaited."""

    async def forever() -> None:
        await loop.create_future()

    for _ in range(n):
        task = loop.create_task(forever())
        await aio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            continue
        raise AssertionError("the cancellation was lost")


@workload(4_000)
async def exception_chain(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """An exception from a task through ten awaits to the one who waits for it."""

    async def fail(depth: int) -> None:
        if depth:
            await fail(depth - 1)
        raise ValueError(depth)

    for _ in range(n):
        try:
            await loop.create_task(fail(10))
        except ValueError:
            continue
        raise AssertionError("the exception was lost")


async def sleep0_below(aio: ModuleType, depth: int, n: int) -> int:
    """sleep(0) n times at the bottom of `depth` awaits; how deep it went."""
    if depth:
        return 1 + await sleep0_below(aio, depth - 1, n)
    for _ in range(n):
        await aio.sleep(0)
    return 0


@workload(10_000)
async def await_chain20(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """sleep(0) twenty awaits down: each step goes through all of them, twice."""
    assert await sleep0_below(aio, 20, n) == 20


@workload(2_000)
async def await_chain100(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """The same a hundred awaits down, where the interpreter is nearly all the work."""
    assert await sleep0_below(aio, 100, n) == 100


@workload(10_000)
async def async_generator(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """An async generator that gives a value after each turn."""

    async def numbers() -> AsyncIterator[int]:
        for i in range(n):
            await aio.sleep(0)
            yield i

    async for _ in numbers():
        pass


@workload(20_000)
async def sleepers(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """Many tasks asleep for 1 to 6 ms at once: timers, futures and wake-ups together."""
    await aio.gather(*[aio.sleep(0.001 + (i % 50) * 1e-4) for i in range(n)])
