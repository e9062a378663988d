"""What becomes of a callback: its handle, the report when it fails, the warning when it is slow.

Each test runs on asyncio's loop and on aioxide's with the same assertions. Texts that hold
addresses or line numbers are compared between the two.
"""

import asyncio
import contextvars
import functools
import gc
import logging
import re
import sys
import time
import weakref
from typing import Any

import pytest

from tests.loops import LOOPS, Loop, Report, run_turns


def fail(*args: object) -> None:
    raise ZeroDivisionError("on purpose")


def same(texts: list[str]) -> bool:
    """Whether texts are equal but for addresses, line numbers, clock readings."""
    return len({re.sub(r"0x[0-9a-f]+|:\d+|when=[\d.]+", "#", text) for text in texts}) == 1


# Handles


def test_handles_are_asyncios_to_isinstance(loop: Loop) -> None:
    soon = loop.call_soon(print)
    timer = loop.call_later(10, print)
    assert isinstance(soon, asyncio.Handle)
    assert not isinstance(soon, asyncio.TimerHandle)
    assert isinstance(timer, asyncio.Handle)
    assert isinstance(timer, asyncio.TimerHandle)
    assert isinstance(loop.call_soon_threadsafe(print), asyncio.Handle)
    loop.close()


def test_cancelling_is_seen_and_can_be_repeated(loop: Loop) -> None:
    for handle in (loop.call_soon(print), loop.call_later(1, print)):
        assert not handle.cancelled()
        handle.cancel()
        handle.cancel()
        assert handle.cancelled()


def test_a_cancelled_handle_lets_go_of_what_it_would_have_called(loop: Loop) -> None:
    class Held:
        def __call__(self, argument: object) -> None:
            pass

    for schedule in (loop.call_soon, functools.partial(loop.call_later, 60)):
        callback, argument = Held(), Held()
        refs = [weakref.ref(callback), weakref.ref(argument)]
        handle: asyncio.Handle = schedule(callback, argument)
        del callback, argument
        assert all(ref() is not None for ref in refs)
        handle.cancel()
        gc.collect()
        assert all(ref() is None for ref in refs)


def test_cancelling_after_the_callback_has_run_does_no_harm(loop: Loop) -> None:
    seen: list[int] = []
    handles = [loop.call_soon(seen.append, 1), loop.call_later(0, seen.append, 2)]
    run_turns(loop, 2)
    for handle in handles:
        handle.cancel()
    assert seen == [1, 2]


def test_a_timer_knows_when_and_compares_by_it(loop: Loop) -> None:
    early, late, again = (loop.call_at(when, print) for when in (1e9, 2e9, 1e9))
    assert early.when() == 1e9
    assert early < late
    assert late > early
    assert early <= again
    assert early >= again
    assert early != late
    assert early == again
    other = loop.call_at(1e9, print, "another argument")
    assert early != other
    other.cancel()
    assert hash(early) == hash(again)
    for timer in (early, late, again):
        timer.cancel()


def test_handles_can_be_weakly_referenced(loop: Loop) -> None:
    handle = loop.call_soon(print)
    ref = weakref.ref(handle)
    assert ref() is handle
    loop.close()
    del handle
    gc.collect()
    assert ref() is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Handle.get_context() is new in 3.12")
def test_a_handle_shows_its_context(loop: Loop) -> None:
    context = contextvars.copy_context()
    handle: Any = loop.call_soon(print, context=context)
    assert handle.get_context() is context
    handle.cancel()


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("cancel", [False, True])
def test_reprs_are_asyncios(debug: bool, cancel: bool) -> None:
    class Callable:
        def __call__(self) -> None:
            pass

        def __repr__(self) -> str:
            return "<callable>"

    callbacks: list[Any] = [fail, functools.partial(fail, 1, "two"), Callable(), len, [].append]
    shown: dict[Any, list[str]] = {}
    for make in LOOPS:
        loop = make()
        loop.set_debug(debug)
        shown[make] = []
        for callback in callbacks:
            for handle in (
                loop.call_soon(callback, 1, "text"),
                loop.call_at(1e9, callback, None),
                loop.call_soon_threadsafe(callback),
            ):
                if cancel:
                    handle.cancel()
                shown[make].append(repr(handle))
        loop.close()
    for pair in zip(*shown.values(), strict=True):
        ours = [text.replace("_ThreadSafeHandle", "Handle") for text in pair]
        assert same(ours), ours


def test_debug_mode_remembers_where_a_handle_was_made(loop: Loop) -> None:
    loop.set_debug(True)
    for handle in (
        loop.call_soon(print),
        loop.call_soon_threadsafe(print),
        loop.call_later(1, print),
        loop.call_at(1, print),
    ):
        made_at: Any = handle._source_traceback  # type: ignore[attr-defined]
        assert made_at[-1].filename == __file__
        assert made_at[-1].name == "test_debug_mode_remembers_where_a_handle_was_made"
        handle.cancel()


# Failures


def test_a_failing_callback_is_reported_and_the_loop_goes_on(
    loop: Loop, reports: list[Report]
) -> None:
    seen: list[int] = []
    handle = loop.call_soon(fail, "argument")
    loop.call_soon(seen.append, 1)
    run_turns(loop)
    assert seen == [1]
    (report,) = reports
    line = fail.__code__.co_firstlineno
    assert report["message"] == f"Exception in callback fail() at {__file__}:{line}" or (
        sys.version_info < (3, 13)
        and report["message"] == f"Exception in callback fail('argument') at {__file__}:{line}"
    )
    assert isinstance(report["exception"], ZeroDivisionError)
    assert report["handle"] is handle
    assert sorted(report) == ["exception", "handle", "message"]


def test_the_report_of_a_failed_timer_or_reader_names_its_handle(
    loop: Loop, reports: list[Report]
) -> None:
    timer = loop.call_later(0, fail)
    run_turns(loop, 2)
    assert [report["handle"] for report in reports] == [timer]


def test_the_log_is_asyncios(caplog: pytest.LogCaptureFixture) -> None:
    for make in LOOPS:
        for debug in (False, True):
            loop = make()
            loop.set_debug(debug)
            loop.call_soon(fail, "argument", 2)
            loop.call_soon(fail).cancel()
            run_turns(loop)
            loop.call_exception_handler({})
            loop.call_exception_handler({"message": "odd", "task": None, "asyncgen": [1]})
            loop.close()
    texts = [record.getMessage() for record in caplog.records]
    half = len(texts) // 2
    assert half == 6
    for stock, ours in zip(texts[:half], texts[half:], strict=True):
        # Of the tracebacks, what lies outside this file depends on who called whom.
        cut = [re.sub(rf' +File "(?!{__file__}).*\n.*\n', "", text) for text in (stock, ours)]
        assert same(cut), cut
    assert {record.name for record in caplog.records} == {"asyncio"}
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, False] * 4


def test_a_debug_mode_report_shows_where_the_running_handle_was_made(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_debug(True)
    loop.call_soon(loop.call_exception_handler, {"message": "from a callback"})
    run_turns(loop)
    (record,) = caplog.records
    lines = record.getMessage().splitlines()
    assert lines[:2] == [
        "from a callback",
        "handle_traceback: Handle created at (most recent call last):",
    ]
    assert lines[-1].strip().startswith("loop.call_soon(loop.call_exception_handler")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exits_pass_through_every_handler(loop: Loop, kind: type[BaseException]) -> None:
    def handler(_: Loop, context: Report) -> None:
        raise kind

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    with pytest.raises(kind):
        loop.run_forever()
    with pytest.raises(kind):
        loop.call_exception_handler({})


def test_a_failing_handler_is_logged_with_what_it_was_told(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(_: Loop, context: Report) -> None:
        raise LookupError("in the handler")

    loop.set_exception_handler(handler)
    loop.call_exception_handler({"message": "first"})
    (record,) = caplog.records
    assert record.getMessage() == (
        "Unhandled error in exception handler\ncontext: {'message': 'first'}"
    )
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


@pytest.mark.parametrize("custom", [False, True])
def test_a_failing_default_handler_is_logged_too(
    loop: Loop, caplog: pytest.LogCaptureFixture, custom: bool
) -> None:
    class Unprintable:
        def __repr__(self) -> str:
            raise LookupError("in the repr")

    if custom:
        loop.set_exception_handler(lambda *_: fail())
    loop.call_exception_handler({"future": Unprintable()})
    assert [record.getMessage() for record in caplog.records] == [
        "Exception in default exception handler"
        + custom * " while handling an unexpected error in custom exception handler"
    ]


def test_the_handler_is_what_was_set_and_must_be_callable(loop: Loop) -> None:
    def handler(_: Loop, context: Report) -> None:
        pass

    assert loop.get_exception_handler() is None
    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    with pytest.raises(TypeError, match=r"^A callable object or None is expected, got 'spam'$"):
        loop.set_exception_handler("spam")  # type: ignore[arg-type]
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")
def test_the_handler_runs_in_the_context_of_what_failed(loop: Loop) -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
    seen: list[tuple[str, str]] = []
    loop.set_exception_handler(lambda _, report: seen.append((report["message"], var.get())))

    async def task() -> None:
        var.set("task")
        raise ZeroDivisionError

    async def main() -> None:
        failing = asyncio.create_task(task())
        await asyncio.wait([failing])

    context = contextvars.copy_context()
    context.run(var.set, "handle")
    loop.call_soon(fail, context=context)
    loop.run_until_complete(main())
    gc.collect()
    assert [value for _, value in seen] == ["handle", "task"]


# Debug mode


def test_slow_callbacks_and_steps_are_warned_about_in_debug_mode(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow_step() -> None:
        time.sleep(0.02)

    assert loop.slow_callback_duration == 0.1
    loop.slow_callback_duration = 0.01
    for debug in (False, True):
        loop.set_debug(debug)
        loop.call_soon(time.sleep, 0.02)
        loop.call_soon(lambda: None)
        task = loop.create_task(slow_step(), name="slow")
        with caplog.at_level(logging.WARNING):
            loop.run_until_complete(task)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert re.match(r"Executing <Handle sleep\(0\.02\).* took 0\.0[2-9]\d seconds$", texts[0])
    assert re.match(r"Executing <Task finished name='slow' coro=.* took 0\.0[2-9]\d sec", texts[1])
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_debug_mode_tracks_where_coroutines_are_made(loop: Loop) -> None:
    async def main(expected: int) -> None:
        assert sys.get_coroutine_origin_tracking_depth() == expected

    async def switched_while_running() -> None:
        loop.set_debug(True)
        await asyncio.sleep(0)
        assert sys.get_coroutine_origin_tracking_depth() == 10
        loop.set_debug(False)
        await asyncio.sleep(0)
        assert sys.get_coroutine_origin_tracking_depth() == 0

    loop.run_until_complete(main(0))
    loop.run_until_complete(switched_while_running())
    loop.set_debug(True)
    loop.run_until_complete(main(10))
    assert sys.get_coroutine_origin_tracking_depth() == 0


def test_debug_mode_looks_at_what_is_scheduled(loop: Loop) -> None:
    async def coroutine_function() -> None:
        pass

    not_callable: Any = "spam"
    loop.set_debug(True)
    schedulers: dict[str, Any] = {
        "call_soon": loop.call_soon,
        "call_soon_threadsafe": loop.call_soon_threadsafe,
        "call_at": functools.partial(loop.call_at, 1),
        "run_in_executor": functools.partial(loop.run_in_executor, None),
    }
    for name, schedule in schedulers.items():
        message = rf"^coroutines cannot be used with {name}\(\)$"
        with pytest.raises(TypeError, match=message):
            schedule(coroutine_function)
        coroutine = coroutine_function()
        with pytest.raises(TypeError, match=message):
            schedule(coroutine)
        coroutine.close()
        message = rf"^a callable object was expected by {name}\(\), got 'spam'$"
        with pytest.raises(TypeError, match=message):
            schedule(not_callable)
    with pytest.raises(TypeError, match=r"^coroutines cannot be used with call_at\(\)$"):
        loop.call_later(1, coroutine_function)
