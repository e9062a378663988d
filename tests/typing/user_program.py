"""What type checkers make of typical code on `import aioxide as asyncio`; never run.

The types are those that asyncio's own names have, whether an object is aioxide's or the stdlib's.
"""

import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any, assert_type

import aioxide
import aioxide as asyncio
from aioxide.exceptions import CancelledError
from aioxide.locks import Lock
from aioxide.queues import Queue
from aioxide.subprocess import PIPE
from aioxide.tasks import Task


async def number() -> int:
    return 1


async def text() -> str:
    return ""


async def tasks() -> None:
    assert_type(await asyncio.sleep(1), None)
    assert_type(await asyncio.sleep(1, "done"), str)
    task = asyncio.create_task(number(), name="n")
    assert_type(await task, int)
    assert_type(task.result(), int)
    assert_type(task.cancel(), bool)
    assert_type(await asyncio.gather(number(), text()), tuple[int, str])
    assert_type(
        await asyncio.gather(number(), text(), return_exceptions=True),
        tuple[int | BaseException, str | BaseException],
    )
    assert_type(await asyncio.gather(*[number(), number()]), list[int])
    assert_type(await asyncio.wait_for(number(), 1), int)
    assert_type(await asyncio.shield(text()), str)
    done, pending = await asyncio.wait([task], timeout=1, return_when=asyncio.FIRST_COMPLETED)
    for each in done | pending:
        assert_type(each.result(), int)
    for finished in asyncio.as_completed([number(), number()], timeout=1):
        assert_type(await finished, int)
    assert_type(await asyncio.to_thread(len, "abc"), int)
    async with asyncio.TaskGroup() as group:
        assert_type(group, asyncio.TaskGroup)
        child = group.create_task(text())
    assert_type(child.result(), str)
    async with asyncio.timeout(1) as limit:
        assert_type(limit, asyncio.Timeout)
        assert_type(limit.when(), float | None)
    async with asyncio.timeout_at(None) as limit:
        assert_type(limit.expired(), bool)


async def futures() -> None:
    loop = asyncio.get_running_loop()
    assert_type(loop, asyncio.AbstractEventLoop)
    future: asyncio.Future[int] = asyncio.Future()
    future.set_result(1)
    assert_type(await future, int)
    made: asyncio.Future[str] = loop.create_future()
    assert_type(await made, str)
    own: asyncio.Task[int] = asyncio.Task(number())
    assert_type(await own, int)
    current = asyncio.current_task()
    if current is not None:
        assert_type(current.get_name(), str)
    assert_type(asyncio.isfuture(future), bool)
    handle = loop.call_later(1, print, "x")
    handle.cancel()
    assert_type(handle.when(), float)


async def primitives() -> None:
    lock = asyncio.Lock()
    async with lock:
        assert_type(lock.locked(), bool)
    event = asyncio.Event()
    event.set()
    assert_type(event.is_set(), bool)
    await event.wait()
    condition = asyncio.Condition(lock)
    async with condition:
        await condition.wait()
        condition.notify_all()
    semaphore: asyncio.Semaphore = asyncio.BoundedSemaphore(2)
    async with semaphore:
        pass
    barrier = asyncio.Barrier(2)
    assert_type(await barrier.wait(), int)
    queue: asyncio.Queue[int] = asyncio.Queue(5)
    await queue.put(1)
    assert_type(await queue.get(), int)
    assert_type(queue.get_nowait(), int)
    assert_type(queue.qsize(), int)
    lifo: asyncio.Queue[str] = asyncio.LifoQueue()
    assert_type(await lifo.get(), str)
    priority: asyncio.PriorityQueue[tuple[int, str]] = asyncio.PriorityQueue()
    assert_type(await priority.get(), tuple[int, str])
    try:
        queue.put_nowait(2)
    except (asyncio.QueueFull, asyncio.QueueEmpty, asyncio.QueueShutDown):
        pass


async def submodules() -> None:
    lock: asyncio.locks.Lock = Lock()
    assert_type(lock, asyncio.Lock)
    queue: Queue[int] = asyncio.queues.Queue()
    assert_type(await queue.get(), int)
    task: Task[int] = asyncio.create_task(number())
    assert_type(await task, int)
    assert_type(await asyncio.tasks.gather(number(), text()), tuple[int, str])
    assert_type(PIPE, int)
    assert_type(asyncio.subprocess.PIPE, int)
    asyncio.log.logger.info("text")
    async with asyncio.timeouts.timeout(1):
        pass
    try:
        await asyncio.tasks.sleep(1)
    except (CancelledError, asyncio.exceptions.TimeoutError) as error:
        assert_type(error, CancelledError | TimeoutError)


async def streams() -> None:
    reader, writer = await asyncio.open_connection("host", 1)
    assert_type(reader, asyncio.StreamReader)
    assert_type(await reader.readline(), bytes)
    writer.write(b"")
    assert_type(await writer.drain(), None)
    process = await asyncio.create_subprocess_exec("true", stdout=PIPE)
    assert_type(process, asyncio.subprocess.Process)
    assert_type(await process.wait(), int)


async def generate() -> AsyncIterator[int]:
    yield await asyncio.sleep(0, 1)


def ways_in() -> None:
    assert_type(asyncio.run(number()), int)
    assert_type(asyncio.run(text(), debug=True, loop_factory=aioxide.new_event_loop), str)
    with asyncio.Runner() as runner:
        assert_type(runner.run(number()), int)
        assert_type(runner.get_loop(), asyncio.AbstractEventLoop)
    assert_type(aioxide.new_event_loop(), aioxide.EventLoop)
    assert_type(asyncio.get_event_loop(), asyncio.AbstractEventLoop)
    loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop()
    assert_type(loop.run_until_complete(text()), str)
    assert_type(aioxide.install(), None)
    assert_type(aioxide.uninstall(), None)
    assert_type(aioxide.__version__, str)
    policy = aioxide.EventLoopPolicy()
    policy.set_event_loop(policy.new_event_loop())


class Result(asyncio.Future[int]):
    def double(self) -> int:
        return self.result() * 2


class Worker(asyncio.Task[str]):
    pass


def factory(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    return Worker(coro, loop=loop, **options)


if sys.version_info >= (3, 12):

    def eager(loop: asyncio.AbstractEventLoop) -> None:
        loop.set_task_factory(asyncio.eager_task_factory)
        loop.set_task_factory(asyncio.create_eager_task_factory(asyncio.Task))


# A misspelt name is an error: nothing falls back to Any.
asyncio.slep  # type: ignore[attr-defined]
asyncio.locks.Lok  # type: ignore[attr-defined]
