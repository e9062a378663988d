"""Stock asyncio on aioxide's loop: the same objects, the same answers.

Each test runs stock code (asyncio's own functions and classes, imported before aioxide's loop was
made) on asyncio's loop and on aioxide's, with the same assertions.
"""

import asyncio
import concurrent.futures
import contextvars
import gc
import io
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import aioxide
from tests.loops import LOOPS, Loop, forever

needs_314 = pytest.mark.skipif(sys.version_info < (3, 14), reason="new in 3.14")


@pytest.fixture
def loop(loop: Loop) -> Iterator[Loop]:
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())


async def end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# Who is what


def test_tasks_and_futures_are_asyncios(loop: Loop) -> None:
    async def main() -> None:
        task = asyncio.create_task(forever())
        future = loop.create_future()
        for thing in (task, future):
            assert isinstance(thing, asyncio.Future)
            assert asyncio.isfuture(thing)
            assert asyncio.ensure_future(thing) is thing
            assert asyncio.wrap_future(thing) is thing
            assert thing.get_loop() is loop
        assert isinstance(task, asyncio.Task)
        assert not isinstance(future, asyncio.Task)
        await end(task)

    loop.run_until_complete(main())


def test_current_task_is_the_running_task_and_nothing_else(loop: Loop) -> None:
    seen: list[object] = []

    async def child() -> object:
        before = asyncio.current_task()
        await asyncio.sleep(0)
        assert asyncio.current_task() is before
        return before

    async def main() -> None:
        me = asyncio.current_task()
        assert me is not None
        children = [asyncio.create_task(child()) for _ in range(3)]
        assert await asyncio.gather(*children) == children
        assert asyncio.current_task() is me
        loop.call_soon(lambda: seen.append(asyncio.current_task()))
        future = loop.create_future()
        future.add_done_callback(lambda _: seen.append(asyncio.current_task(loop)))
        future.set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seen == [None, None]
        assert asyncio.current_task() is me

    loop.run_until_complete(main())
    assert asyncio.current_task(loop) is None
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.current_task()


def test_all_tasks_are_the_tasks_that_are_not_done(loop: Loop) -> None:
    async def main() -> None:
        me = asyncio.current_task()
        assert asyncio.all_tasks() == {me}
        tasks = {asyncio.create_task(forever()) for _ in range(10)}
        assert asyncio.all_tasks() == tasks | {me}
        gone = tasks.pop()
        await end(gone)
        assert asyncio.all_tasks() == tasks | {me}
        assert asyncio.all_tasks(loop) == tasks | {me}
        await end(*tasks)
        assert asyncio.all_tasks() == {me}

    loop.run_until_complete(main())
    assert asyncio.all_tasks(loop) == set()


@needs_314
def test_the_python_twin_of_all_tasks_sees_ours_too() -> None:
    async def main() -> None:
        tasks: Any = asyncio.tasks
        assert tasks._py_all_tasks() == {asyncio.current_task()}

    aioxide.run(main())


def test_all_tasks_tells_loops_apart() -> None:
    loops = [make() for make in LOOPS * 2]
    tasks = [loop.create_task(forever()) for loop in loops]
    for loop, task in zip(loops, tasks, strict=True):
        assert asyncio.all_tasks(loop) == {task}
    for loop, task in zip(loops, tasks, strict=True):
        loop.run_until_complete(end(task))
        assert asyncio.all_tasks(loop) == set()
        loop.close()


def test_all_tasks_does_not_keep_tasks_alive(loop: Loop) -> None:
    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(asyncio.sleep(0))
    task: Any = loop.create_task(forever())
    loop.run_until_complete(asyncio.sleep(0))
    del task
    gc.collect()
    assert asyncio.all_tasks(loop) == set()


def test_all_tasks_can_be_asked_from_another_thread(loop: Loop) -> None:
    async def main() -> None:
        stop = False
        counts: list[int] = []

        def ask() -> None:
            while not stop:
                counts.append(len(asyncio.all_tasks(loop)))

        thread = threading.Thread(target=ask)
        thread.start()
        for _ in range(200):
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(asyncio.sleep(0))
        stop = True
        thread.join()
        assert 1 <= min(counts) <= max(counts) <= 11

    loop.run_until_complete(main())


def test_the_loop_takes_arguments_by_asyncios_names(loop: Loop) -> None:
    names: Any = loop
    seen: list[str] = []
    names.call_soon(callback=lambda: seen.append("soon"))
    names.call_later(delay=0, callback=lambda: seen.append("later"))
    names.call_at(when=0, callback=lambda: seen.append("at"))
    reader, writer = os.pipe()
    names.add_reader(fd=reader, callback=lambda: seen.append("readable"))
    names.remove_reader(fd=reader)
    names.add_writer(fd=writer, callback=lambda: seen.append("writable"))
    names.remove_writer(fd=writer)
    os.close(reader)
    os.close(writer)
    names.set_task_factory(factory=None)
    names.set_debug(enabled=False)
    names.run_until_complete(future=names.create_task(coro=asyncio.sleep(0.001)))
    assert sorted(seen) == ["at", "later", "soon"]


# Functions


def test_gather(loop: Loop) -> None:
    async def main() -> None:
        future = loop.create_future()
        loop.call_later(0, future.set_result, "b")
        assert list(await asyncio.gather(asyncio.sleep(0.001, "a"), future)) == ["a", "b"]
        failing = loop.create_future()
        failing.set_exception(LookupError())
        with pytest.raises(LookupError):
            await asyncio.gather(failing, asyncio.sleep(0))
        results = await asyncio.gather(failing, asyncio.sleep(0), return_exceptions=True)
        assert [type(result) for result in results] == [LookupError, type(None)]

    loop.run_until_complete(main())


def test_cancelling_gather_cancels_its_children(loop: Loop) -> None:
    async def main() -> None:
        children = [asyncio.create_task(forever()) for _ in range(3)]
        gathering = asyncio.gather(*children)
        await asyncio.sleep(0)
        gathering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathering
        assert all(child.cancelled() for child in children)

    loop.run_until_complete(main())


def test_wait_and_as_completed(loop: Loop) -> None:
    async def main() -> None:
        slow, fast = asyncio.create_task(forever()), asyncio.create_task(asyncio.sleep(0, "fast"))
        done, pending = await asyncio.wait([slow, fast], return_when=asyncio.FIRST_COMPLETED)
        assert done == {fast}
        assert pending == {slow}
        assert await asyncio.wait([slow], timeout=0.001) == (set(), {slow})
        await end(slow)
        delays = [asyncio.sleep(delay, delay) for delay in (0.02, 0.001, 0.01)]
        assert [await one for one in asyncio.as_completed(delays)] == [0.001, 0.01, 0.02]

    loop.run_until_complete(main())


def test_wait_for_timeout_and_shield(loop: Loop) -> None:
    async def main() -> None:
        assert await asyncio.wait_for(asyncio.sleep(0, 1), 10) == 1
        task = asyncio.create_task(forever())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 0.001)
        assert not task.done()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.001)
        assert task.cancelled()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001) as scope:
                await forever()
        assert scope.expired()
        me = asyncio.current_task()
        assert me is not None
        assert me.cancelling() == 0
        async with asyncio.timeout(10):
            await asyncio.sleep(0)

    loop.run_until_complete(main())


def test_a_task_group_waits_cancels_and_collects(loop: Loop) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(0, n), name=f"task {n}") for n in range(3)]
        assert [task.result() for task in tasks] == [0, 1, 2]
        assert [task.get_name() for task in tasks] == ["task 0", "task 1", "task 2"]
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                cancelled = group.create_task(forever())
                group.create_task(fail())
                await forever()
        assert [type(exc) for exc in caught.value.exceptions] == [ZeroDivisionError]
        assert cancelled.cancelled()
        me = asyncio.current_task()
        assert me is not None
        assert me.cancelling() == 0

    loop.run_until_complete(main())


@pytest.mark.parametrize("primitive", [asyncio.Lock, asyncio.Semaphore, asyncio.Condition])
def test_locks_are_fair_and_exclude(loop: Loop, primitive: Callable[[], Any]) -> None:
    async def main() -> None:
        lock = primitive()
        inside = 0
        order: list[int] = []

        async def worker(number: int) -> None:
            nonlocal inside
            async with lock:
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                inside -= 1
                order.append(number)

        await asyncio.gather(*[worker(number) for number in range(20)])
        assert order == list(range(20))

    loop.run_until_complete(main())


def test_conditions_events_and_barriers(loop: Loop) -> None:
    async def main() -> None:
        condition, event, barrier = asyncio.Condition(), asyncio.Event(), asyncio.Barrier(3)
        ready: list[int] = []

        async def waiter(number: int) -> int:
            async with condition:
                await condition.wait_for(lambda: bool(ready))
            await event.wait()
            return await barrier.wait()

        waiters = [asyncio.create_task(waiter(number)) for number in range(3)]
        await asyncio.sleep(0)
        async with condition:
            ready.append(1)
            condition.notify_all()
        event.set()
        assert sorted(await asyncio.gather(*waiters)) == [0, 1, 2]

    loop.run_until_complete(main())


def test_a_queue_carries_from_producers_to_consumers(loop: Loop) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(2)
        got: list[int] = []

        async def consumer() -> None:
            while True:
                got.append(await queue.get())
                queue.task_done()

        consumers = [asyncio.create_task(consumer()) for _ in range(3)]
        for number in range(50):
            await queue.put(number)
        await queue.join()
        await end(*consumers)
        assert sorted(got) == list(range(50))

    loop.run_until_complete(main())


def test_threads_in_both_directions(loop: Loop) -> None:
    async def inner(value: int) -> int:
        await asyncio.sleep(0)
        if value < 0:
            raise ValueError(value)
        return value + 1

    def outside() -> int:
        assert asyncio.run_coroutine_threadsafe(inner(1), loop).result(5) == 2
        with pytest.raises(ValueError, match="-1"):
            asyncio.run_coroutine_threadsafe(inner(-1), loop).result(5)
        waiting = asyncio.run_coroutine_threadsafe(forever(), loop)
        waiting.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting.result(5)
        return 3

    async def main() -> None:
        assert await asyncio.to_thread(outside) == 3
        pending: concurrent.futures.Future[str] = concurrent.futures.Future()
        wrapped = asyncio.wrap_future(pending)
        threading.Timer(0.01, pending.set_result, ("from a thread",)).start()
        assert await wrapped == "from a thread"
        pending = concurrent.futures.Future()
        asyncio.wrap_future(pending).cancel()
        await asyncio.sleep(0)
        assert pending.cancelled()

    loop.run_until_complete(main())


# Both kinds of task and future at once


def test_stock_tasks_and_futures_work_on_the_loop(loop: Loop) -> None:
    async def main() -> None:
        ours, stock = loop.create_future(), asyncio.Future[int](loop=loop)

        async def add() -> Any:
            return await ours + await stock

        tasks = [asyncio.Task(add(), loop=loop), loop.create_task(add())]
        assert asyncio.all_tasks() > set(tasks)
        await asyncio.sleep(0)
        ours.set_result(1)
        await asyncio.sleep(0)
        stock.set_result(2)
        assert await asyncio.gather(*tasks) == [3, 3]
        for kind in (asyncio.Task, aioxide.Task):
            waiting: Any = kind(forever(), loop=loop)
            await asyncio.sleep(0)
            waiting.cancel("why")
            with pytest.raises(asyncio.CancelledError):
                await waiting

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")
def test_the_stock_eager_task_factory_works_on_the_loop(loop: Loop) -> None:
    async def main() -> None:
        factory: Any = vars(asyncio)["eager_task_factory"]
        loop.set_task_factory(factory)
        seen: list[object] = []

        async def child() -> None:
            seen.append(asyncio.current_task())
            assert asyncio.current_task() in asyncio.all_tasks()
            await asyncio.sleep(0)
            assert asyncio.current_task() in asyncio.all_tasks()

        me = asyncio.current_task()
        task = loop.create_task(child())
        assert seen == [task]
        assert asyncio.current_task() is me
        await task
        quick = loop.create_task(asyncio.sleep(0))
        await quick
        loop.set_task_factory(None)

    loop.run_until_complete(main())


def test_a_task_factory_is_called_as_this_version_calls_it(loop: Loop) -> None:
    calls: list[tuple[object, ...]] = []

    def factory(loop: Loop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
        calls.append((loop, sorted(kwargs)))
        return asyncio.Task(coro, loop=loop, **kwargs)

    async def nothing() -> None:
        pass

    any_factory: Any = factory
    loop.set_task_factory(any_factory)
    assert loop.get_task_factory() is factory
    context = contextvars.copy_context()
    tasks = [
        loop.create_task(nothing()),
        loop.create_task(nothing(), name="name"),
        loop.create_task(nothing(), name="both", context=context),
    ]
    assert [task.get_name() for task in tasks[1:]] == ["name", "both"]
    new = sys.version_info >= (3, 14)
    expected = [[], ["name"] * new, ["context"] + ["name"] * new]
    assert calls == [(loop, names) for names in expected]
    loop.run_until_complete(asyncio.wait(tasks))
    with pytest.raises(TypeError, match=r"^task factory must be a callable or None$"):
        loop.set_task_factory("factory")  # type: ignore[arg-type]


# Who awaits whom


@needs_314
def test_the_call_graph_shows_who_awaits_whom(loop: Loop) -> None:
    api: Any = asyncio

    async def leaf() -> None:
        await asyncio.Event().wait()

    async def branch() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(leaf(), name="in a group")

    async def trunk() -> None:
        await asyncio.gather(asyncio.create_task(branch(), name="gathered"))

    async def main() -> None:
        root = asyncio.create_task(trunk(), name="root")
        for _ in range(5):
            await asyncio.sleep(0)
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "in a group"]
        graph = api.capture_call_graph(task)
        assert graph.future is task
        functions = [entry.frame.f_code.co_name for entry in graph.call_stack]
        assert functions[-1] == "leaf"
        names = []
        while graph.awaited_by:
            (graph,) = graph.awaited_by
            names.append(graph.future.get_name())
        assert names == ["gathered", "root"]
        out = io.StringIO()
        api.print_call_graph(task, file=out)
        text = out.getvalue()
        assert "* Task(name='in a group', id=" in text
        assert "async test_the_call_graph_shows_who_awaits_whom.<locals>.trunk()" in text
        await end(root)
        assert not api.capture_call_graph(task).awaited_by

    loop.run_until_complete(main())


@needs_314
def test_the_call_graph_of_the_running_task(loop: Loop) -> None:
    api: Any = asyncio

    async def inner() -> Any:
        return api.capture_call_graph()

    async def outer() -> Any:
        return await inner()

    async def main() -> None:
        task = asyncio.create_task(outer())
        graph = await task
        assert graph.future is task
        assert [entry.frame.f_code.co_name for entry in graph.call_stack] == ["inner", "outer"]
        assert [parent.future for parent in graph.awaited_by] == [asyncio.current_task()]

    loop.run_until_complete(main())
