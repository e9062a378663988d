"""`run_coroutine_threadsafe()`: a coroutine sent to a loop, and the future that a thread waits in.

Every test runs asyncio's function on asyncio's loop, and ours on ours and on asyncio's.
"""

import asyncio
import concurrent.futures
import contextvars
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

import aioxide
from tests.loops import Loop, Report, forever, run_turns


class Engine(NamedTuple):
    loop: Loop
    submit: Callable[[Any, Loop], concurrent.futures.Future[Any]]


@pytest.fixture(params=["asyncio", "aioxide", "aioxide on asyncio's loop"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    loop = aioxide.new_event_loop() if request.param == "aioxide" else asyncio.SelectorEventLoop()
    function = (asyncio if request.param == "asyncio" else aioxide).run_coroutine_threadsafe
    yield Engine(loop, function)
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail(exception: BaseException) -> None:
    raise exception


def from_thread(engine: Engine, work: Callable[[], Any]) -> Any:
    return engine.loop.run_until_complete(engine.loop.run_in_executor(None, work))


def test_a_thread_gets_results_and_exceptions(engine: Engine) -> None:
    def work() -> list[Any]:
        futures = [engine.submit(double(i), engine.loop) for i in range(5)]
        assert all(type(future) is concurrent.futures.Future for future in futures)
        error = LookupError("it")
        with pytest.raises(LookupError) as caught:
            engine.submit(fail(error), engine.loop).result(10)
        assert caught.value is error
        return [future.result(10) for future in futures]

    assert from_thread(engine, work) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("wrong", [None, 1, double, print])
def test_only_coroutines_are_taken(engine: Engine, wrong: Any) -> None:
    with pytest.raises(TypeError, match="A coroutine object is required"):
        engine.submit(wrong, engine.loop)


def test_concurrent_exceptions_become_asyncios(engine: Engine) -> None:
    def work() -> BaseException | None:
        error = concurrent.futures.InvalidStateError("it")
        return engine.submit(fail(error), engine.loop).exception(10)

    assert type(from_thread(engine, work)) is asyncio.InvalidStateError


def test_a_cancelled_future_cancels_the_task(engine: Engine) -> None:
    ended = threading.Event()

    async def wait(began: threading.Event) -> None:
        try:
            began.set()
            await forever()
        finally:
            ended.set()

    def work() -> None:
        began = threading.Event()
        future = engine.submit(wait(began), engine.loop)
        assert began.wait(10)
        assert future.cancel()
        assert ended.wait(10)
        assert future.cancelled()

    from_thread(engine, work)


def test_a_cancelled_task_cancels_the_future(engine: Engine) -> None:
    async def cancel_oneself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    def work() -> None:
        future = engine.submit(cancel_oneself(), engine.loop)
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(10)
        assert future.cancelled()

    from_thread(engine, work)


def test_what_is_cancelled_before_its_turn_does_not_stay(engine: Engine) -> None:
    async def run() -> None:
        await forever()

    future = engine.submit(run(), engine.loop)
    assert future.cancel()
    run_turns(engine.loop, 4)  # older versions let it begin first
    assert future.cancelled()
    assert asyncio.all_tasks(engine.loop) == set()


def test_a_cancellation_in_the_loops_own_thread_reaches_the_task(engine: Engine) -> None:
    async def main() -> int:
        future = engine.submit(forever(), engine.loop)
        for _ in range(3):
            await asyncio.sleep(0)
        (task,) = asyncio.all_tasks() - {asyncio.current_task()}
        future.cancel()
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    turns = engine.loop.run_until_complete(main())
    stock = asyncio.SelectorEventLoop()
    engine.loop.run_until_complete(engine.loop.shutdown_default_executor())
    engine.loop.close()
    expected = stock.run_until_complete(_turns_of_stock(stock))
    stock.close()
    assert turns == expected


async def _turns_of_stock(loop: Loop) -> int:
    future = asyncio.run_coroutine_threadsafe(forever(), loop)
    for _ in range(3):
        await asyncio.sleep(0)
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    future.cancel()
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    return turns


def test_the_future_is_done_one_turn_after_the_task(engine: Engine) -> None:
    seen: list[str] = []

    async def body() -> None:
        seen.append("body")
        engine.loop.call_soon(seen.append, "a callback of the same turn")

    async def main() -> None:
        future = engine.submit(body(), engine.loop)
        future.add_done_callback(lambda _: seen.append("done"))
        while not future.done():
            seen.append("turn")
            await asyncio.sleep(0)

    engine.loop.run_until_complete(main())
    assert seen == ["turn", "turn", "body", "turn", "a callback of the same turn", "done"]


def test_callbacks_of_the_future_have_no_current_task(engine: Engine) -> None:
    seen: list[Any] = []

    async def main() -> None:
        future = engine.submit(double(1), engine.loop)
        future.add_done_callback(lambda _: seen.append(asyncio.current_task()))
        while not future.done():
            await asyncio.sleep(0)

    engine.loop.run_until_complete(main())
    assert seen == [None]


def test_a_task_factory_that_fails_is_reported_and_told(engine: Engine) -> None:
    reports: list[Report] = []
    engine.loop.set_exception_handler(lambda _, context: reports.append(context))
    error = NameError("factory")

    def factory(*_: Any, **__: Any) -> Any:
        raise error

    coroutine = double(1)
    future = engine.submit(coroutine, engine.loop)
    engine.loop.set_task_factory(factory)
    run_turns(engine.loop, 2)
    engine.loop.set_task_factory(None)
    coroutine.close()
    assert future.exception(0) is error
    assert [report["exception"] for report in reports] == [error]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_fatal_exception_leaves_the_loop_and_reaches_the_future(
    engine: Engine, kind: type[BaseException]
) -> None:
    future = engine.submit(fail(kind()), engine.loop)
    with pytest.raises(kind):
        engine.loop.run_forever()
    run_turns(engine.loop, 2)
    assert isinstance(future.exception(0), kind)


def test_the_context_is_the_callers(engine: Engine) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def read() -> str:
        return variable.get()

    def work() -> str:
        variable.set("thread")
        answer: str = engine.submit(read(), engine.loop).result(10)
        return answer

    assert from_thread(engine, work) == "thread"


def test_a_closed_loop_takes_none(engine: Engine) -> None:
    engine.loop.close()
    coroutine = double(1)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        engine.submit(coroutine, engine.loop)
    coroutine.close()


def test_nothing_is_kept_alive(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    class Thing:
        pass

    async def give(thing: Thing) -> Thing:
        return thing

    def one() -> list[weakref.ref[Any]]:
        things = [Thing(), Thing(), Thing()]
        futures = [engine.submit(give(thing), engine.loop) for thing in things]
        futures[2].cancel()
        run_turns(engine.loop, 5)
        assert futures[0].result(0) is things[0]
        return [weakref.ref(thing) for thing in [*things, *futures]]

    with caplog.at_level(logging.DEBUG):
        references = one()
        gc.collect()
    assert [reference() for reference in references] == [None] * 6
    assert caplog.records == []


def test_many_threads_at_once_lose_nothing(engine: Engine) -> None:
    def work(number: int) -> int:
        return sum(engine.submit(double(i + number), engine.loop).result(30) for i in range(50))

    async def main() -> list[int]:
        return await asyncio.gather(
            *[engine.loop.run_in_executor(None, work, number) for number in range(8)]
        )

    answers = engine.loop.run_until_complete(main())
    assert answers == [sum(2 * (i + number) for i in range(50)) for number in range(8)]


def test_a_program_that_goes_by_its_debug_mode(engine: Engine) -> None:
    engine.loop.set_debug(True)
    future = engine.submit(double(4), engine.loop)
    run_turns(engine.loop, 4)
    assert future.result(0) == 8
