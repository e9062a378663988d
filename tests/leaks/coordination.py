"""Workloads: each way in which a wait ends, in every primitive that coordinates.

What an engine might forget here: the waiter in a list when its task is cancelled, the watcher in a
future that outlives what watched it, the children of a gather that failed early, the timer of a
timeout that was left in time, the coroutine that nobody awaited, and, above all, cycles: a lock
that holds a waiter that holds a task that holds the lock.
"""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.differential.engines import Engine

    Workload = Callable[[Engine, int], Awaitable[None]]


class Payload:
    """Something big enough to be missed: 1 KiB."""

    __slots__ = ("__weakref__", "data")

    def __init__(self) -> None:
        self.data = bytearray(1024)


async def _returns() -> Payload:
    return Payload()


async def _fails() -> None:
    payload = Payload()  # held by the traceback's frame
    raise ValueError(payload)


async def gathers(engine: Engine, count: int) -> None:
    lib = engine.lib
    loop = asyncio.get_running_loop()
    for _ in range(count // 10):
        await lib.gather(*[_returns() for _ in range(4)])
        await lib.gather(_returns(), _fails(), return_exceptions=True)
        never = loop.create_future()
        outer = lib.gather(never, _returns())
        await lib.sleep(0)
        outer.cancel(Payload())
        await lib.gather(outer, return_exceptions=True)
        try:
            await lib.gather(_fails(), lib.sleep(0.001, Payload()))
        except ValueError:
            pass
    await lib.sleep(0.002)


async def waits(engine: Engine, count: int) -> None:
    lib = engine.lib
    loop = asyncio.get_running_loop()
    for _ in range(count // 10):
        never = loop.create_future()
        await lib.wait([never, loop.create_task(_returns())], return_when="FIRST_COMPLETED")
        await lib.wait([never], timeout=0)
        for next_done in lib.as_completed([_returns(), _returns()]):
            await next_done
        try:
            for next_done in lib.as_completed([never, _returns()], timeout=0):
                await next_done
        except TimeoutError:
            pass
        shielded = lib.shield(never)
        shielded.cancel()
        await lib.sleep(0)
        assert not never._callbacks


async def timeouts(engine: Engine, count: int) -> None:
    lib = engine.lib
    loop = asyncio.get_running_loop()
    for _ in range(count // 5):
        await lib.wait_for(_returns(), 10)
        for limit in (0, 0.0001):
            try:
                await lib.wait_for(loop.create_future(), limit)
            except TimeoutError:
                pass
        async with lib.timeout(10) as limit:
            limit.reschedule(loop.time() + 20)
        try:
            async with lib.timeout(0):
                await loop.create_future()
        except TimeoutError:
            pass


async def groups(engine: Engine, count: int) -> None:
    lib = engine.lib
    for _ in range(count // 10):
        async with lib.TaskGroup() as group:
            for _ in range(4):
                group.create_task(_returns())
        try:
            async with lib.TaskGroup() as group:
                group.create_task(_fails())
                for _ in range(4):
                    group.create_task(lib.sleep(10))
        except* ValueError:
            pass


async def contended(engine: Engine, count: int) -> None:
    lib = engine.lib
    lock, semaphore, condition = lib.Lock(), lib.Semaphore(2), lib.Condition()
    queue, barrier = lib.Queue(3), lib.Barrier(2)

    async def worker(number: int) -> None:
        async with lock:
            await lib.sleep(0)
        async with semaphore:
            await lib.sleep(0)
        async with condition:
            condition.notify()
        await queue.put((number, Payload()))
        await queue.get()
        queue.task_done()
        await barrier.wait()

    await lib.gather(*[worker(number) for number in range(count // 2)])
    await queue.join()


async def waiters_cancelled(engine: Engine, count: int) -> None:
    lib = engine.lib
    lock, semaphore, condition = lib.Lock(), lib.Semaphore(0), lib.Condition()
    queue, full, event = lib.Queue(), lib.Queue(1), lib.Event()
    await lock.acquire()
    full.put_nowait(Payload())

    async def on_condition() -> None:
        async with condition:
            await condition.wait()

    loop = asyncio.get_running_loop()
    for _ in range(count // 6):
        tasks = [
            loop.create_task(wait())
            for wait in (lock.acquire, semaphore.acquire, on_condition, queue.get, event.wait)
        ]
        tasks.append(loop.create_task(full.put(Payload())))
        await lib.sleep(0)
        for task in tasks:
            task.cancel()
        await lib.gather(*tasks, return_exceptions=True)


async def waiters_in_cycles(engine: Engine, count: int) -> None:
    lib = engine.lib
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda *_: None)  # destroyed while pending, as they should be

    async def holds(primitive: Any, payload: Payload) -> None:
        await (primitive.get() if hasattr(primitive, "get") else primitive.wait())

    for _ in range(count // 100):
        for _ in range(50):
            for primitive in (lib.Event(), lib.Queue()):
                primitive.task = loop.create_task(holds(primitive, Payload()))
        del primitive
        await lib.sleep(0)
        await lib.sleep(0)
        gc.collect()
    loop.set_exception_handler(handler)


async def never_awaited(engine: Engine, count: int) -> None:
    lib = engine.lib
    lock, queue = lib.Lock(), lib.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for _ in range(count // 3):
            lock.acquire()
            queue.put(Payload())
            lib.sleep(1, Payload())


async def driven_by_hand(engine: Engine, count: int) -> None:
    lib = engine.lib
    for _ in range(count // 3):
        event, queue = lib.Event(), lib.Queue()
        for wait in (event.wait(), queue.get(), lib.sleep(5, Payload())):
            wait.send(None)
            wait.close()


async def threads(engine: Engine, count: int) -> None:
    lib = engine.lib
    for _ in range(count // 50):
        await lib.to_thread(Payload)
        try:
            await lib.to_thread(int, "x")
        except ValueError:
            pass


COORDINATION: dict[str, Workload] = {
    work.__name__: work
    for work in (
        gathers,
        waits,
        timeouts,
        groups,
        contended,
        waiters_cancelled,
        waiters_in_cycles,
        never_awaited,
        driven_by_hand,
        threads,
    )
}
