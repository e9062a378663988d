"""Workloads: each way in which tasks, futures and handles come to an end.

Each is a coroutine function that makes `count` lifetimes and leaves nothing behind, so any
number of rounds must cost the same memory. A round is small enough (1000) that what one
round holds at once does not hide what is left over.

What makes each workload different is what an engine might forget: the reference to the
waiting task in a future, the traceback in an exception, the callback in a cancelled handle,
the entry in a list of tasks, the instance dict of a subclass.
"""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from tests.leaks.children import CHILDREN
from tests.leaks.coordination import COORDINATION
from tests.leaks.network import NETWORK
from tests.leaks.pipes import PIPES
from tests.leaks.tls import TLS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from tests.differential.engines import Engine

    Workload = Callable[[Engine, int], Awaitable[None]]

var: ContextVar[object] = ContextVar("var")


class Payload:
    """Something big enough to be missed: 1 KiB."""

    __slots__ = ("__weakref__", "data")

    def __init__(self) -> None:
        self.data = bytearray(1024)


async def _nothing() -> None:
    pass


async def _returns() -> Payload:
    return Payload()


async def _fails() -> None:
    payload = Payload()  # held by the traceback's frame
    raise ValueError(payload)


async def _waits(future: Awaitable[Any]) -> Any:
    return await future


def _ignore(*_args: object) -> None:
    pass


async def plain_tasks(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        await loop.create_task(_nothing())


async def tasks_in_bursts(engine: Engine, count: int) -> None:
    tasks = [engine.Task(_returns(), loop=asyncio.get_running_loop()) for _ in range(count)]
    for task in tasks:
        await task


async def tasks_nobody_awaits(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        loop.create_task(_returns(), name="forgotten")
    await asyncio.sleep(0)


async def tasks_waiting_for_futures(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(count)]
    tasks = [loop.create_task(_waits(future)) for future in futures]
    await asyncio.sleep(0)
    for future in futures:
        future.set_result(Payload())
    for task in tasks:
        await task


async def tasks_waiting_for_tasks(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count // 2):
        await loop.create_task(_waits(loop.create_task(_returns())))


async def tasks_sleeping(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(engine.lib.sleep(0, Payload())) for _ in range(count)]
    for task in tasks:
        await task


async def sleepers_woken_and_cancelled(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    sleep = engine.lib.sleep
    tasks = [loop.create_task(sleep(60 * (i % 2) + 1e-4, Payload())) for i in range(count)]
    await asyncio.sleep(0.002)
    for task in tasks:
        task.cancel(Payload())
    await asyncio.wait(tasks)


async def tasks_cancelled_while_waiting(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(_waits(loop.create_future())) for _ in range(count)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel(Payload())
    await engine.lib.gather(*tasks, return_exceptions=True)


async def tasks_cancelled_before_they_start(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(_nothing()) for _ in range(count)]
    for task in tasks:
        task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def tasks_with_exceptions(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        try:
            await loop.create_task(_fails())
        except ValueError:
            pass


async def exceptions_never_retrieved(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_ignore)
    for _ in range(count):
        loop.create_task(_fails())
        loop.create_future().set_exception(ValueError(Payload()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loop.set_exception_handler(None)


async def exceptions_that_hold_their_task(engine: Engine, count: int) -> None:
    async def fails() -> None:
        me = asyncio.current_task()
        raise ValueError(me, Payload())

    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(fails()) for _ in range(count)]
    await asyncio.sleep(0)
    for task in tasks:
        task.exception()


async def tasks_destroyed_while_pending(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_ignore)
    tasks = [loop.create_task(_waits(loop.create_future())) for _ in range(count)]
    await asyncio.sleep(0)
    del tasks
    gc.collect()
    loop.set_exception_handler(None)


async def tasks_in_cycles(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        ring: list[object] = [Payload()]
        task = loop.create_task(_waits(loop.create_future()))
        task.add_done_callback(lambda _task, ring=ring: ring)  # type: ignore[misc]
        ring.append(task)
        await asyncio.sleep(0)
        task.cancel()
        del task, ring
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()


async def futures_with_callbacks(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        future: asyncio.Future[Payload] = engine.Future(loop=loop)
        future.add_done_callback(_ignore)
        future.add_done_callback(lambda _future, payload=Payload(): None)  # type: ignore[misc]
        future.remove_done_callback(_ignore)
        future.set_result(Payload())
    await asyncio.sleep(0)


async def futures_that_stay_pending(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        payload = Payload()
        loop.create_future().add_done_callback(lambda _future, payload=payload: None)  # type: ignore[misc]


async def futures_cancelled(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        future: asyncio.Future[None] = loop.create_future()
        future.cancel(Payload())
        try:
            await future
        except asyncio.CancelledError:
            pass


async def handles(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for number in range(count):
        handle = loop.call_soon(_ignore, Payload(), number)
        if number % 2:
            handle.cancel()
        loop.call_soon_threadsafe(_ignore, Payload())
    await asyncio.sleep(0)


async def timers_fired(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for number in range(count):
        loop.call_later(number * 1e-9, _ignore, Payload())
    await asyncio.sleep(0.001)


async def timers_cancelled(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    timers = [loop.call_later(3600 + n, _ignore, Payload()) for n in range(count)]
    for timer in timers:
        timer.cancel()
    await asyncio.sleep(0)


async def contexts(engine: Engine, count: int) -> None:
    async def sets() -> None:
        var.set(Payload())
        await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(sets()) for _ in range(count)]
    for task in tasks:
        await task


async def subclass_instances(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    base_task: Any = engine.Task
    base_future: Any = engine.Future

    class Task(base_task):  # type: ignore[misc]
        pass

    class Future(base_future):  # type: ignore[misc]
        def __del__(self) -> None:
            pass

    for _ in range(count // 2):
        task, future = Task(_nothing(), loop=loop), Future(loop=loop)
        task.payload = future.payload = Payload()
        future.task = task
        task.future = future
        future.set_result(None)
        await future
        await task
    del task, future, Task, Future, base_task, base_future
    gc.collect()


async def primitives(engine: Engine, count: int) -> None:
    lib = engine.lib
    lock, queue, event = lib.Lock(), lib.Queue(1), lib.Event()

    async def worker(number: int) -> None:
        async with lock:
            await queue.put(Payload())
        await queue.get()
        await event.wait()

    async with lib.TaskGroup() as group:
        for number in range(count // 2):
            group.create_task(worker(number))
        await lib.sleep(0)
        event.set()
    for _ in range(count // 2):
        try:
            await lib.wait_for(lib.shield(asyncio.get_running_loop().create_future()), 0)
        except TimeoutError:
            pass


async def asynchronous_generators(engine: Engine, count: int) -> None:
    async def numbers() -> AsyncGenerator[Payload, None]:
        while True:
            await engine.lib.sleep(0)
            yield Payload()

    for number in range(count // 4):
        generator = numbers()
        async for _ in generator:
            break
        if number % 2:
            await generator.aclose()
        del generator
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def iterators_of_futures(engine: Engine, count: int) -> None:
    """The objects that `await` makes, driven by hand and dropped half way."""
    loop = asyncio.get_running_loop()
    for number in range(count):
        future: asyncio.Future[Payload] = loop.create_future()
        steps: Generator[Any, Any, Payload] = future.__await__()
        next(steps)
        if number % 2:
            future.set_result(Payload())
            try:
                next(steps)
            except StopIteration:
                pass
        del steps


WORKLOADS: dict[str, Workload] = {
    work.__name__: work
    for work in (
        plain_tasks,
        tasks_in_bursts,
        tasks_nobody_awaits,
        tasks_waiting_for_futures,
        tasks_waiting_for_tasks,
        tasks_sleeping,
        sleepers_woken_and_cancelled,
        tasks_cancelled_while_waiting,
        tasks_cancelled_before_they_start,
        tasks_with_exceptions,
        exceptions_never_retrieved,
        exceptions_that_hold_their_task,
        tasks_destroyed_while_pending,
        tasks_in_cycles,
        futures_with_callbacks,
        futures_that_stay_pending,
        futures_cancelled,
        handles,
        timers_fired,
        timers_cancelled,
        contexts,
        subclass_instances,
        primitives,
        asynchronous_generators,
        iterators_of_futures,
    )
}
WORKLOADS |= COORDINATION | NETWORK | PIPES | TLS | CHILDREN
