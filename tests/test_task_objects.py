"""What a Task is to Python: reports when it is dropped, reprs, subclasses, references.

Each test runs on asyncio's Task with asyncio's loop and on aioxide's with aioxide's, with the same
assertions; reprs are compared between the two.
"""

import asyncio
import gc
import re
import weakref
from typing import Any

import pytest

from tests.loops import LOOPS, Loop, Report, finish, forever, run_turns

# Reports


def test_an_exception_that_nobody_retrieves_is_reported(loop: Loop, reports: list[Report]) -> None:
    async def fail() -> None:
        raise LookupError

    task: Any = loop.create_task(fail(), name="lost")
    run_turns(loop)
    text = repr(task)
    del task
    gc.collect()
    (report,) = reports
    assert report["message"] == "Task exception was never retrieved"
    assert repr(report["future"]) == text
    assert sorted(report) == ["exception", "future", "message"]


def test_a_pending_task_that_is_dropped_is_reported(loop: Loop, reports: list[Report]) -> None:
    async def wait() -> None:
        await loop.create_future()

    loop.set_debug(True)
    task: Any = loop.create_task(wait(), name="dropped")
    run_turns(loop)
    task._fut_waiter.add_done_callback(print)  # nobody else holds the future
    assert task._log_destroy_pending is True
    del task
    gc.collect()
    (report,) = reports
    assert report["message"] == "Task was destroyed but it is pending!"
    assert repr(report["task"]).startswith("<Task pending name='dropped' coro=<")
    assert report["source_traceback"][-1].name == "test_a_pending_task_that_is_dropped_is_reported"
    assert sorted(report) == ["message", "source_traceback", "task"]


def test_a_task_asked_to_be_quiet_is_not_reported(loop: Loop, reports: list[Report]) -> None:
    task: Any = loop.create_task(forever())
    run_turns(loop)
    task._log_destroy_pending = False
    del task
    gc.collect()
    assert reports == []


def test_a_failed_tasks_exception_leaves_no_cycle_behind(loop: Loop) -> None:
    class Local:
        pass

    refs: list[weakref.ref[Any]] = []

    async def fail() -> None:
        local = Local()
        refs.append(weakref.ref(local))
        raise LookupError

    async def main() -> None:
        try:
            await loop.create_task(fail())
        except LookupError:
            pass

    gc.collect()
    gc.disable()
    try:
        loop.run_until_complete(main())
        assert refs[0]() is None
    finally:
        gc.enable()


# Python's machinery


def test_reprs_are_asyncios() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("failed")

    async def give() -> str:
        return "result"

    async def wait_for(future: Any) -> None:
        await future

    def callback(_: object) -> None:
        pass

    shown: list[list[str]] = []
    for make in LOOPS:
        for debug in (False, True):
            loop = make()
            loop.set_debug(debug)
            texts: list[str] = []
            future = loop.create_future()
            makers: list[Any] = [forever, fail, give, lambda future=future: wait_for(future)]
            tasks = [loop.create_task(make(), name=f"n{i}") for i, make in enumerate(makers)]
            tasks[0].add_done_callback(callback)
            texts += map(repr, tasks)
            run_turns(loop)
            texts += map(repr, tasks)
            tasks[0].cancel("why")
            texts += map(repr, tasks)
            future.set_result(None)
            run_turns(loop, 3)
            texts += map(repr, tasks)
            tasks[1].exception()
            shown.append([re.sub(r":\d+>", ":N>", text) for text in texts])
            assert re.search(r"<Task finished name='n2' coro=<.*give\(\) done", texts[-2])
            loop.close()
    clean = [
        [re.sub(r"0x\w+|created at [^>]*|wait_for=<.*?>+", "#", text) for text in texts]
        for texts in shown
    ]
    assert clean[:2] == clean[2:]


def test_tasks_can_be_subclassed(loop: Loop, kind: Any) -> None:
    class Counted(kind):  # type: ignore[misc]
        made = 0

        def __init__(self, coroutine: Any, **kwargs: Any) -> None:
            super().__init__(coroutine, **kwargs)
            Counted.made += 1
            self.extra = "attribute"

        def cancel(self, msg: object = None) -> bool:
            result: bool = super().cancel(msg="from the subclass")
            return result

    factory: Any = lambda loop, coroutine, **kwargs: Counted(coroutine, loop=loop, **kwargs)  # noqa: E731
    loop.set_task_factory(factory)

    async def main() -> None:
        task: Any = asyncio.create_task(forever())
        assert repr(task).startswith("<Counted pending name=")
        assert task.extra == "attribute"
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError, match="from the subclass"):
            await task

    loop.run_until_complete(main())
    assert Counted.made >= 2


def test_tasks_are_generic_weakly_referable_and_hashable(loop: Loop, kind: Any) -> None:
    task = loop.create_task(forever())
    assert str(kind[int]).endswith("Task[int]")
    assert weakref.ref(task)() is task
    assert {task: 1}[task] == 1
    finish(loop, task)
    refs = [weakref.ref(task)]
    del task
    gc.collect()
    assert [ref() for ref in refs] == [None]


def test_a_waiting_task_shows_what_it_waits_for(loop: Loop) -> None:
    future = loop.create_future()

    async def wait() -> None:
        await future

    task: Any = loop.create_task(wait())
    seen = [task._fut_waiter]
    run_turns(loop)
    seen.append(task._fut_waiter)
    assert task._must_cancel is False
    finish(loop, task)
    seen.append(task._fut_waiter)
    assert seen == [None, future, None]


@pytest.mark.parametrize("wrong", [None, 1, "text", print, forever, object()])
def test_only_coroutines_become_tasks(loop: Loop, kind: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^a coroutine was expected, got "):
        kind(wrong, loop=loop)
    with pytest.raises(TypeError, match=r"^a coroutine was expected, got "):
        loop.create_task(wrong)
