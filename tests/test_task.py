"""What a Task does: stepping, cancelling, names, context, eager start.

Each test runs on asyncio's Task with asyncio's loop and on aioxide's with aioxide's, with the same
assertions; printed stacks are compared between the two.
"""

import asyncio
import contextvars
import functools
import io
import re
import sys
import types
from collections.abc import Generator
from typing import Any

import pytest

from tests.loops import LOOPS, TASKS, Loop, finish, forever, run_turns

needs_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")


# Stepping


def test_a_task_is_of_its_loops_kind_and_does_not_run_before_its_turn(
    loop: Loop, kind: Any
) -> None:
    seen: list[str] = []

    async def work() -> str:
        seen.append("began")
        return "result"

    makers: list[Any] = [loop.create_task, functools.partial(kind, loop=loop)]
    for make in makers:
        task = make(work())
        assert type(task) is kind
        assert seen == []
        assert not task.done()
        run_turns(loop)
        assert seen == ["began"]
        assert task.result() == "result"
        seen.clear()


def test_a_bare_yield_costs_one_turn(loop: Loop) -> None:
    seen: list[int] = []

    @types.coroutine
    def bare() -> Generator[None, None, None]:
        yield

    async def work() -> None:
        for number in range(3):
            seen.append(number)
            await bare()

    task = loop.create_task(work())
    for turn in range(1, 4):
        run_turns(loop)
        assert seen == list(range(turn))
    assert not task.done()
    run_turns(loop)
    assert task.done()


def test_tasks_take_turns(loop: Loop) -> None:
    seen: list[str] = []

    async def work(name: str) -> None:
        for _ in range(3):
            seen.append(name)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*[work(name) for name in "abc"])

    loop.run_until_complete(main())
    assert "".join(seen) == "abcabcabc"


def test_every_kind_of_awaitable_is_awaited(loop: Loop) -> None:
    class Awaitable:
        def __await__(self) -> Generator[Any, None, str]:
            yield from asyncio.sleep(0).__await__()
            return "from __await__"

    async def main() -> None:
        assert await Awaitable() == "from __await__"
        stock = asyncio.Future[int](loop=loop)
        loop.call_soon(stock.set_result, 1)
        assert await stock == 1

    loop.run_until_complete(main())


@pytest.mark.parametrize("odd", [1, "text", object(), [], (), 1.5])
def test_what_cannot_be_awaited_is_an_error_inside_the_coroutine(loop: Loop, odd: object) -> None:
    @types.coroutine
    def bad() -> Generator[object, None, None]:
        yield odd

    async def work() -> str:
        with pytest.raises(RuntimeError, match=r"^Task got bad yield: " + re.escape(repr(odd))):
            await bad()
        return "went on"

    assert loop.run_until_complete(work()) == "went on"


def test_a_future_yielded_without_await_is_an_error(loop: Loop) -> None:
    future = loop.create_future()

    @types.coroutine
    def bad() -> Generator[object, None, None]:
        yield future

    async def work() -> None:
        with pytest.raises(RuntimeError, match=r"yield was used instead of yield from"):
            await bad()

    loop.run_until_complete(work())


def test_a_task_cannot_await_itself(loop: Loop) -> None:
    async def work() -> None:
        me = asyncio.current_task()
        assert me is not None
        with pytest.raises(RuntimeError, match=r"^Task cannot await on itself: <Task pending"):
            await me

    loop.run_until_complete(work())


@pytest.mark.parametrize("kind_of_exit", [KeyboardInterrupt, SystemExit])
def test_exits_end_the_task_and_the_loop(loop: Loop, kind_of_exit: type[BaseException]) -> None:
    async def work() -> None:
        raise kind_of_exit

    task = loop.create_task(work())
    with pytest.raises(kind_of_exit):
        loop.run_forever()
    assert isinstance(task.exception(), kind_of_exit)


def test_results_arrive_whole(loop: Loop) -> None:
    results = [(), (1,), StopIteration(1), ValueError("value"), None, StopAsyncIteration]

    async def give(result: object) -> object:
        await asyncio.sleep(0)
        return result

    async def main() -> None:
        for result in results:
            assert await give(result) is result
            assert await loop.create_task(give(result)) is result

    loop.run_until_complete(main())


def test_stop_iteration_out_of_a_coroutine_is_a_runtime_error(loop: Loop) -> None:
    async def work() -> None:
        raise StopIteration(1)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            await loop.create_task(work())

    loop.run_until_complete(main())


# Cancelling


@pytest.mark.parametrize("message", [None, "why", ["any", "object"]])
def test_cancelling_throws_into_the_coroutine_with_its_message(loop: Loop, message: Any) -> None:
    seen: list[tuple[object, ...]] = []

    async def work() -> None:
        try:
            await forever()
        except asyncio.CancelledError as exc:
            seen.append(exc.args)
            raise

    async def main() -> None:
        task = loop.create_task(work())
        await asyncio.sleep(0)
        assert task.cancel(message) is True
        assert not task.cancelled()
        assert task.cancelling() == 1
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert task.cancelled()
        assert seen == [caught.value.args] == [() if message is None else (message,)]
        assert task.cancel() is False
        with pytest.raises(asyncio.CancelledError):
            task.result()

    loop.run_until_complete(main())


def test_a_task_cancelled_before_it_began_never_begins(loop: Loop) -> None:
    async def main() -> None:
        task = loop.create_task(asyncio.sleep(60))
        task.cancel("early")
        with pytest.raises(asyncio.CancelledError, match="early"):
            await task

    loop.run_until_complete(main())


def test_cancelling_cancels_what_is_waited_for(loop: Loop) -> None:
    async def main() -> None:
        inner = loop.create_task(forever())

        async def outer() -> None:
            await inner

        task = loop.create_task(outer())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert inner.cancelled()
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run_until_complete(main())


def test_a_task_may_survive_its_cancellation_and_uncancel(loop: Loop) -> None:
    async def work() -> int:
        me = asyncio.current_task()
        assert me is not None
        try:
            await forever()
        except asyncio.CancelledError:
            assert me.cancelling() == 2
            assert me.uncancel() == 1
            assert me.uncancel() == 0
            assert me.uncancel() == 0
        await asyncio.sleep(0)
        return 1

    async def main() -> None:
        task = loop.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        task.cancel()
        assert await task == 1
        assert not task.cancelled()

    loop.run_until_complete(main())


def test_a_task_that_cancels_itself_is_cancelled_at_its_next_await(loop: Loop) -> None:
    seen: list[str] = []

    async def work() -> None:
        me = asyncio.current_task()
        assert me is not None
        me.cancel()
        seen.append("still running")
        await asyncio.sleep(0)
        seen.append("not reached")

    async def quick() -> str:
        me = asyncio.current_task()
        assert me is not None
        me.cancel()
        return "returned before any await"

    for make in (work, quick):
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(make())
    assert seen == ["still running"]


def test_a_cancellation_in_the_turn_of_the_result_wins(loop: Loop) -> None:
    async def main() -> None:
        future = loop.create_future()

        async def work() -> str:
            try:
                await future
            except asyncio.CancelledError:
                return "cancelled"
            return "result"

        task = loop.create_task(work())
        await asyncio.sleep(0)
        future.set_result(None)
        task.cancel()
        assert await task == "cancelled"

    loop.run_until_complete(main())


def test_results_cannot_be_set_from_outside(loop: Loop) -> None:
    task: Any = loop.create_task(forever())
    with pytest.raises(RuntimeError, match="Task does not support set_result operation"):
        task.set_result(1)
    with pytest.raises(RuntimeError, match="Task does not support set_exception operation"):
        task.set_exception(ValueError())
    finish(loop, task)


# Names, context, stacks


def test_names(loop: Loop, kind: Any) -> None:
    tasks = [kind(forever(), loop=loop, name=name) for name in ("text", 5, None, None)]
    names = [task.get_name() for task in tasks]
    assert names[:2] == ["text", "5"]
    numbers = [int(re.fullmatch(r"Task-(\d+)", name)[1]) for name in names[2:]]  # type: ignore[index]
    assert numbers[1] == numbers[0] + 1
    tasks[0].set_name(["not", "text"])
    assert tasks[0].get_name() == "['not', 'text']"
    for task in tasks:
        finish(loop, task)


def test_each_task_has_a_copy_of_the_context_or_the_one_given(loop: Loop, kind: Any) -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")

    async def work(value: str) -> str:
        before = var.get()
        var.set(value)
        await asyncio.sleep(0)
        assert var.get() == value
        return before

    async def main() -> None:
        var.set("main")
        assert await asyncio.gather(*[work(value) for value in "ab"]) == ["main", "main"]
        assert var.get() == "main"
        given = contextvars.copy_context()
        assert await loop.create_task(work("given"), context=given) == "main"
        assert given[var] == "given"
        task = kind(work("mine"), loop=loop, context=given)
        if sys.version_info >= (3, 12):
            assert task.get_context() is given
        assert await task == "given"

    loop.run_until_complete(main())


def test_stacks_are_asyncios() -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    async def failing() -> None:
        await asyncio.sleep(0)
        raise LookupError("failed")

    printed: list[list[str]] = []
    for make in LOOPS:
        loop = make()
        waiting = loop.create_task(outer(), name="waiting")
        failed = loop.create_task(failing(), name="failed")
        run_turns(loop, 3)
        texts = []
        for task in (waiting, failed):
            for limit in (None, 1):
                out = io.StringIO()
                task.print_stack(limit=limit, file=out)
                texts.append(re.sub(r"id=\w+", "", out.getvalue()))
                texts.append(str([frame.f_code.co_name for frame in task.get_stack(limit=limit)]))
        assert isinstance(failed.exception(), LookupError)
        printed.append(texts)
        finish(loop, waiting)
        loop.close()
    assert printed[0] == printed[1]
    assert "LookupError: failed" in printed[0][4]


def test_the_coroutine_can_be_had(loop: Loop) -> None:
    coroutine = forever()
    task = loop.create_task(coroutine)
    assert task.get_coro() is coroutine
    finish(loop, task)


# Eager start


@needs_312
def test_an_eager_task_begins_at_once_and_may_end_at_once(loop: Loop, kind: Any) -> None:
    seen: list[object] = []

    async def quick() -> str:
        seen.append(asyncio.current_task())
        return "done"

    async def slow() -> str:
        seen.append("began")
        await asyncio.sleep(0)
        return "later"

    async def fail() -> None:
        raise LookupError

    async def main() -> None:
        me = asyncio.current_task()
        task = kind(quick(), loop=loop, eager_start=True)
        assert seen == [task]
        assert task.done()
        assert task.result() == "done"
        assert asyncio.current_task() is me
        if kind is not asyncio.Task or sys.version_info >= (3, 13):  # 3.12's own crashes here
            assert task.get_coro() is None
        task = kind(slow(), loop=loop, eager_start=True)
        assert seen[1:] == ["began"]
        assert task in asyncio.all_tasks()
        assert await task == "later"
        task = kind(fail(), loop=loop, eager_start=True)
        assert isinstance(task.exception(), LookupError)

    loop.run_until_complete(main())


@needs_312
def test_eager_tasks_have_their_own_context_and_nest(loop: Loop, kind: Any) -> None:
    var: contextvars.ContextVar[int] = contextvars.ContextVar("var", default=0)

    async def nested(depth: int) -> int:
        assert var.get() == depth
        var.set(depth + 1)
        me = asyncio.current_task()
        deepest = depth
        if depth < 5:
            task = kind(nested(depth + 1), loop=loop, eager_start=True)
            assert asyncio.current_task() is me
            deepest = await task
        assert var.get() == depth + 1
        return deepest

    assert loop.run_until_complete(nested(0)) == 5
    assert var.get() == 0


@needs_312
def test_eager_start_without_a_running_loop_is_as_this_version_has_it() -> None:
    outcomes: list[object] = []

    async def work() -> None:
        pass

    for make in LOOPS:
        loop = make()
        coroutine = work()
        try:
            task = TASKS[type(loop)](coroutine, loop=loop, eager_start=True)
        except RuntimeError as exc:
            outcomes.append((type(exc), str(exc)))
            coroutine.close()
        else:
            outcomes.append(task.done())
            loop.run_until_complete(task)
        loop.close()
    assert outcomes[0] == outcomes[1]
