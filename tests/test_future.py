"""The Future: states, callbacks, awaiting, reports, reprs.

Each test runs on asyncio's Future with asyncio's loop and on aioxide's with aioxide's, with the
same assertions; reprs are compared between the two.
"""

import asyncio
import contextvars
import gc
import re
import threading
import weakref
from typing import Any

import pytest

from tests.loops import FUTURES, LOOPS, Loop, run_turns


@pytest.fixture
def future(loop: Loop) -> Any:
    return FUTURES[type(loop)](loop=loop)


# States


def test_a_future_begins_pending(future: Any, loop: Loop) -> None:
    assert not future.done()
    assert not future.cancelled()
    assert future.get_loop() is loop
    asks: list[Any] = [future.result, future.exception]
    for ask in asks:
        with pytest.raises(asyncio.InvalidStateError, match=r"^(Result|Exception) is not set\.$"):
            ask()


def test_a_result_is_set_once(future: Any) -> None:
    future.set_result([1])
    assert future.done()
    assert not future.cancelled()
    assert future.result() == future.result() == [1]
    assert future.exception() is None
    setters: list[Any] = [lambda: future.set_result(2), lambda: future.set_exception(ValueError())]
    for setter in setters:
        with pytest.raises(asyncio.InvalidStateError):
            setter()
    assert future.cancel() is False


def test_an_exception_is_kept_and_raised(future: Any) -> None:
    error = LookupError("kept")
    future.set_exception(error)
    assert future.exception() is error
    for _ in range(2):
        with pytest.raises(LookupError) as caught:
            future.result()
        assert caught.value is error
    assert len(caught.traceback) < 5  # repeated raising does not pile frames on frames


def test_an_exception_may_be_given_as_a_class(future: Any) -> None:
    future.set_exception(LookupError)
    assert type(future.exception()) is LookupError


def test_what_is_no_exception_is_refused(future: Any) -> None:
    for wrong in ("text", 1, None, int):
        with pytest.raises(TypeError):
            future.set_exception(wrong)
    assert not future.done()


def test_stop_iteration_is_refused_as_this_version_does() -> None:
    outcomes: list[tuple[object, ...]] = []
    for make in LOOPS:
        loop = make()
        future = FUTURES[type(loop)](loop=loop)
        error = StopIteration(1)
        try:  # 3.11.8, 3.12.2 and 3.13 began to turn it into a RuntimeError
            future.set_exception(error)
            future.result()
        except (TypeError, RuntimeError) as exc:
            outcomes.append((type(exc), str(exc), exc.__cause__ is error, future.done()))
        loop.close()
    assert len(outcomes) == 2
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("message", [(), ("why",), (None,), (["any", "object"],)])
def test_cancelling_carries_its_message(future: Any, message: tuple[Any, ...]) -> None:
    assert future.cancel(*message) is True
    assert future.cancelled()
    assert future.done()
    for ask in (future.result, future.exception):
        with pytest.raises(asyncio.CancelledError) as caught:
            ask()
        assert caught.value.args == (message if message != (None,) else ())
    assert future.cancel() is False


def test_a_future_needs_a_loop() -> None:
    caught: list[str] = []

    def make() -> None:  # in a thread, because the main thread of 3.11 makes itself a loop
        for kind in FUTURES.values():
            try:
                kind()
            except RuntimeError as exc:
                caught.append(str(exc))

    thread = threading.Thread(target=make, name="T")
    thread.start()
    thread.join()
    assert caught == ["There is no current event loop in thread 'T'."] * 2


def test_a_future_made_inside_a_loop_belongs_to_it(loop: Loop) -> None:
    async def main() -> None:
        assert FUTURES[type(loop)]().get_loop() is loop

    loop.run_until_complete(main())


# Callbacks


def test_callbacks_run_through_the_loop_in_order(future: Any, loop: Loop) -> None:
    seen: list[object] = []
    future.add_done_callback(lambda done: seen.append(done))
    for number in range(5):
        future.add_done_callback(lambda _, number=number: seen.append(number))
    loop.call_soon(seen.append, "scheduled before")
    future.set_result(None)
    loop.call_soon(seen.append, "scheduled after")
    assert seen == []
    run_turns(loop)
    assert seen == ["scheduled before", future, 0, 1, 2, 3, 4, "scheduled after"]
    future.add_done_callback(lambda _: seen.append("late"))
    assert seen[-1] != "late"
    run_turns(loop)
    assert seen[-1] == "late"


def test_removing_takes_out_every_equal_callback(future: Any, loop: Loop) -> None:
    seen: list[object] = []
    other: list[object] = []
    for callback in (seen.append, other.append, seen.append, seen.append):
        future.add_done_callback(callback)
    assert future.remove_done_callback(seen.append) == 3
    assert future.remove_done_callback(seen.append) == 0
    future.set_result(None)
    run_turns(loop)
    assert (seen, other) == ([], [future])


def test_callbacks_may_be_removed_while_being_compared(future: Any) -> None:
    class Treacherous:
        harmless = False

        def __call__(self, _: object) -> None:
            pass

        def __eq__(self, other: object) -> bool:
            if not Treacherous.harmless:
                Treacherous.harmless = True
                future.remove_done_callback(print)
            return False

        __hash__ = None  # type: ignore[assignment]

    for _ in range(4):
        future.add_done_callback(Treacherous())
        future.add_done_callback(print)
    assert future.remove_done_callback(Treacherous()) == 0
    future.cancel()


def test_callbacks_run_in_their_context(future: Any, loop: Loop) -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
    seen: list[str] = []
    given = contextvars.copy_context()
    given.run(var.set, "given")
    token = var.set("current")
    future.add_done_callback(lambda _: seen.append(var.get()))
    var.reset(token)
    future.add_done_callback(lambda _: seen.append(var.get()), context=given)
    future.set_result(None)
    run_turns(loop)
    assert seen == ["current", "given"]


def test_a_failing_callback_does_not_stop_the_others(future: Any, loop: Loop) -> None:
    reports: list[dict[str, Any]] = []
    seen: list[object] = []
    loop.set_exception_handler(lambda _, report: reports.append(report))
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(seen.append)
    future.set_result(None)
    run_turns(loop)
    assert seen == [future]
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]


# Awaiting


def test_awaiting_gives_the_result_or_raises(loop: Loop) -> None:
    kind = FUTURES[type(loop)]

    async def main() -> None:
        for delay in (False, True):
            good, bad, cancelled = (kind(loop=loop) for _ in range(3))
            steps: list[Any] = [
                lambda: good.set_result(1),
                lambda: bad.set_exception(LookupError()),
                lambda: cancelled.cancel("why"),
            ]
            for step in steps:
                if delay:
                    loop.call_soon(step)
                else:
                    step()
            assert await good == 1
            assert await good == 1
            with pytest.raises(LookupError):
                await bad
            with pytest.raises(asyncio.CancelledError, match="why"):
                await cancelled

    loop.run_until_complete(main())


def test_the_iterator_yields_the_future_and_returns_the_result(future: Any) -> None:
    iterator = future.__await__()
    assert iterator.send(None) is future
    assert future._asyncio_future_blocking is True
    future._asyncio_future_blocking = False
    future.set_result((1, 2))
    with pytest.raises(StopIteration) as caught:
        iterator.send(None)
    assert caught.value.value == (1, 2)
    assert iter(iterator) is iterator
    again = iter(future)
    with pytest.raises(StopIteration) as caught:
        next(again)
    assert caught.value.value == (1, 2)


def test_results_that_look_like_exceptions_or_tuples_arrive_whole(loop: Loop) -> None:
    results = [(), (1,), (1, 2), StopIteration(3), ValueError("value"), None, [None]]

    async def main() -> None:
        for result in results:
            future = FUTURES[type(loop)](loop=loop)
            loop.call_soon(future.set_result, result)
            assert await future is result

    loop.run_until_complete(main())


def test_no_stop_iteration_is_shared_with_who_catches_it(loop: Loop) -> None:
    """Whoever steps an iterator by hand gets a StopIteration of his own, for good."""
    caught: list[Any] = []
    for number in range(50):
        future = FUTURES[type(loop)](loop=loop)
        future.set_result(number)
        try:
            future.__await__().send(None)
        except StopIteration as exc:
            exc.add_note(str(number))
            caught.append(exc)
    assert len({id(exc) for exc in caught}) == 50
    for number, mine in enumerate(caught):
        assert (mine.value, mine.args, mine.__notes__) == (number, (number,), [str(number)])
        assert type(mine).__name__ == "StopIteration"
        assert isinstance(mine, StopIteration)
        assert mine.__context__ is None


def test_an_iterator_can_be_thrown_into_and_closed(loop: Loop) -> None:
    kind = FUTURES[type(loop)]
    iterator = kind(loop=loop).__await__()
    iterator.send(None)
    with pytest.raises(LookupError):
        iterator.throw(LookupError())
    iterator = kind(loop=loop).__await__()
    iterator.send(None)
    iterator.close()


# Reports


def test_an_exception_that_nobody_retrieves_is_reported(loop: Loop) -> None:
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, report: reports.append(report))
    future = FUTURES[type(loop)](loop=loop)
    error = LookupError("lost")
    future.set_exception(error)
    text = repr(future)
    del future
    gc.collect()
    (report,) = reports
    assert report["message"] == "Future exception was never retrieved"
    assert report["exception"] is error
    assert repr(report["future"]) == text
    assert sorted(report) == ["exception", "future", "message"]


def test_a_retrieved_exception_is_not_reported(loop: Loop) -> None:
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, report: reports.append(report))
    kind = FUTURES[type(loop)]
    retrievals: list[Any] = [lambda f: f.exception(), lambda f: f._log_traceback]
    for retrieve in retrievals:
        future = kind(loop=loop)
        future.set_exception(LookupError())
        if retrieve(future) is True:
            future._log_traceback = False
            with pytest.raises(ValueError, match="_log_traceback can only be set to False"):
                future._log_traceback = True
        del future
    gc.collect()
    assert reports == []


def test_debug_mode_tells_where_the_future_was_made(loop: Loop) -> None:
    loop.set_debug(True)
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, report: reports.append(report))
    future = FUTURES[type(loop)](loop=loop)
    future.set_exception(LookupError())
    del future
    gc.collect()
    made_at = reports[0]["source_traceback"][-1]
    assert made_at.filename == __file__
    assert made_at.name == "test_debug_mode_tells_where_the_future_was_made"


# Python's machinery


def test_reprs_are_asyncios() -> None:
    def callback(_: object) -> None:
        pass

    shown: list[list[str]] = []
    for make in LOOPS:
        for debug in (False, True):
            loop = make()
            loop.set_debug(debug)
            kind = FUTURES[type(loop)]
            pending, with_one, with_three, done, big, failed, cancelled = (
                kind(loop=loop) for _ in range(7)
            )
            with_one.add_done_callback(callback)
            for _ in range(3):
                with_three.add_done_callback(callback)
            done.set_result("result")
            big.set_result(list(range(1000)))
            failed.set_exception(LookupError("failed"))
            cancelled.cancel("why")
            futures = [pending, with_one, with_three, done, big, failed, cancelled]
            shown.append([re.sub(r":\d+", ":N", repr(future)) for future in futures])
            failed.exception()
            loop.close()
    assert shown[:2] == shown[2:]


def test_futures_can_be_subclassed(loop: Loop) -> None:
    class Named(FUTURES[type(loop)]):  # type: ignore[misc]
        def __init__(self, name: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.name = name

        def set_result(self, result: object) -> None:
            super().set_result((self.name, result))

    async def main() -> None:
        future = Named("n", loop=loop)
        assert repr(future) == "<Named pending>"
        loop.call_soon(future.set_result, 1)
        assert await future == ("n", 1)
        assert asyncio.isfuture(future)
        assert asyncio.ensure_future(future) is future

    loop.run_until_complete(main())


def test_futures_are_generic_weakly_referable_and_hashable(future: Any, loop: Loop) -> None:
    assert str(type(future)[int]).endswith("Future[int]")
    assert weakref.ref(future)() is future
    assert {future: 1}[future] == 1
    assert future != FUTURES[type(loop)](loop=loop)


def test_futures_in_cycles_are_collected(loop: Loop) -> None:
    class Result:
        pass

    for how in ("result", "callback", "exception"):
        future = FUTURES[type(loop)](loop=loop)
        held: Any = Result()
        held.future = future
        if how == "result":
            future.set_result(held)
        elif how == "callback":
            future.add_done_callback(lambda _, held=held: None)
        else:
            error = LookupError(held)
            future.set_exception(error)
            future.exception()
            del error
        ref = weakref.ref(held)
        del future, held
        gc.collect()
        assert ref() is None, how


def test_it_cannot_be_initialised_from_nonsense(loop: Loop) -> None:
    kind = FUTURES[type(loop)]
    with pytest.raises(TypeError):
        kind(loop)
    with pytest.raises(TypeError):
        kind(loop=loop, name="x")
    with pytest.raises(AttributeError):
        kind(loop="loop")
