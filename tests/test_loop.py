"""What a loop does by itself: running, scheduling, watching descriptors, threads, closing.

Each test runs on asyncio's loop and on aioxide's with the same assertions, so asyncio itself
vouches for them.
"""

import asyncio
import concurrent.futures
import contextvars
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import aioxide
from tests.loops import LOOPS, Loop, count_descriptors, run_turns

# Scheduling


def test_callbacks_run_in_the_order_in_which_they_were_scheduled(loop: Loop) -> None:
    seen: list[int] = []
    for number in range(100):
        loop.call_soon(seen.append, number)
    run_turns(loop)
    assert seen == list(range(100))


def test_a_turn_runs_exactly_what_was_ready_when_it_began(loop: Loop) -> None:
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        loop.call_soon(seen.append, "scheduled by first")

    loop.call_soon(first)
    loop.stop()
    loop.call_soon(seen.append, "after stop")
    loop.run_forever()
    assert seen == ["first", "after stop"]
    run_turns(loop)
    assert seen == ["first", "after stop", "scheduled by first"]


def test_timers_due_together_run_in_deadline_order(loop: Loop) -> None:
    seen: list[int] = []
    now = loop.time()
    for late in (3, 1, 2, 5, 4):
        loop.call_at(now - late, seen.append, late)
    run_turns(loop)
    assert seen == [5, 4, 3, 2, 1]


def test_a_due_timer_runs_after_what_was_ready_already(loop: Loop) -> None:
    seen: list[str] = []
    loop.call_later(0, seen.append, "timer")
    loop.call_soon(seen.append, "soon")
    run_turns(loop)
    assert seen == ["soon", "timer"]


def test_a_timer_waits_for_its_time(loop: Loop) -> None:
    began = loop.time()
    loop.call_later(0.03, loop.stop)
    loop.run_forever()
    assert 0.029 < loop.time() - began < 1


def test_the_clock_is_the_monotonic_clock(loop: Loop) -> None:
    before = time.monotonic()
    assert before <= loop.time() <= time.monotonic()


def test_cancelled_callbacks_and_timers_do_not_run(loop: Loop) -> None:
    seen: list[str] = []
    loop.call_soon(seen.append, "soon").cancel()
    loop.call_later(0, seen.append, "timer").cancel()
    loop.call_soon_threadsafe(seen.append, "threadsafe").cancel()
    by_another = loop.call_later(0, seen.append, "cancelled by what ran before it")
    loop.call_soon(by_another.cancel)
    run_turns(loop, 3)
    assert seen == []


@pytest.mark.parametrize("how", ["call_soon", "call_later", "call_at", "call_soon_threadsafe"])
def test_callbacks_run_in_the_context_given_or_current(loop: Loop, how: str) -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
    seen: list[str] = []
    schedule = getattr(loop, how)
    when = {"call_soon": [], "call_soon_threadsafe": []}.get(how, [0])
    given = contextvars.copy_context()
    given.run(var.set, "given")
    token = var.set("current")
    schedule(*when, lambda: seen.append(var.get()))
    schedule(*when, lambda: seen.append(var.get()), context=given)
    var.reset(token)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert sorted(seen) == ["current", "given"]


def test_call_soon_threadsafe_wakes_a_sleeping_loop(loop: Loop) -> None:
    ran_in: list[int] = []

    def woken() -> None:
        ran_in.append(threading.get_ident())
        loop.stop()

    def wake() -> None:
        time.sleep(0.02)
        loop.call_soon_threadsafe(woken)

    thread = threading.Thread(target=wake)
    guard = loop.call_later(5, loop.stop)
    thread.start()
    loop.run_forever()
    thread.join()
    guard.cancel()
    assert ran_in == [threading.get_ident()]


def test_callbacks_from_many_threads_all_run(loop: Loop) -> None:
    seen: list[int] = []

    def send(sender: int) -> None:
        for number in range(500):
            loop.call_soon_threadsafe(seen.append, sender * 1000 + number)

    async def main() -> None:
        await asyncio.gather(*[asyncio.to_thread(send, sender) for sender in range(4)])

    loop.run_until_complete(main())
    assert len(seen) == 2000
    for sender in range(4):
        mine = [number for number in seen if number // 1000 == sender]
        assert mine == sorted(mine)


# Running


def test_run_until_complete_returns_the_result_or_raises_the_exception(loop: Loop) -> None:
    async def work(fail: bool) -> str:
        await asyncio.sleep(0)
        if fail:
            raise LookupError("failed")
        return "done"

    assert loop.run_until_complete(work(False)) == "done"
    with pytest.raises(LookupError, match="failed"):
        loop.run_until_complete(work(True))
    future = loop.create_future()
    loop.call_soon(future.set_result, 3)
    assert loop.run_until_complete(future) == 3
    assert loop.run_until_complete(future) == 3


def test_a_loop_stopped_too_early_says_so_and_nothing_else(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
        loop.run_until_complete(forever())
    gc.collect()
    assert not [record for record in caplog.records if "destroyed" in record.message]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exits_leave_the_loop_at_once_and_it_can_run_again(
    loop: Loop, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def leave() -> None:
        raise kind

    def leave_now() -> None:
        raise kind

    async def fine() -> int:
        await asyncio.sleep(0)
        return 1

    with pytest.raises(kind):
        loop.run_until_complete(leave())
    assert not loop.is_running()
    loop.call_soon(leave_now)
    with pytest.raises(kind):
        loop.run_forever()
    assert loop.run_until_complete(fine()) == 1
    gc.collect()
    assert caplog.records == []


def test_the_running_loop_is_known_only_while_it_runs(loop: Loop) -> None:
    async def who() -> Loop:
        assert loop.is_running()
        return asyncio.get_running_loop()

    assert not loop.is_running()
    assert loop.run_until_complete(who()) is loop
    assert not loop.is_running()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_the_repr_tells_the_state(loop: Loop) -> None:
    name = type(loop).__name__

    async def shown() -> str:
        return repr(loop)

    assert repr(loop) == f"<{name} running=False closed=False debug=False>"
    assert loop.run_until_complete(shown()) == f"<{name} running=True closed=False debug=False>"
    loop.set_debug(True)
    loop.close()
    assert repr(loop) == f"<{name} running=False closed=True debug=True>"


# Descriptors


def test_readers_and_writers_are_called_while_ready_until_removed(loop: Loop) -> None:
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        calls: list[str] = []
        loop.add_reader(left, calls.append, "readable")
        loop.add_writer(left.fileno(), calls.append, "writable")
        run_turns(loop, 2)
        assert set(calls) == {"writable"}
        assert loop.remove_writer(left) is True
        assert loop.remove_writer(left) is False
        calls.clear()
        right.send(b"x")
        run_turns(loop, 3)
        assert len(calls) >= 2  # level-triggered: nobody read the byte
        assert set(calls) == {"readable"}
        loop.add_reader(left, calls.append, "another callback")
        calls.clear()
        run_turns(loop, 2)
        assert set(calls) == {"another callback"}
        assert loop.remove_reader(left) is True
        assert loop.remove_reader(left) is False


def test_end_of_file_is_readable(loop: Loop) -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    loop.add_reader(read_end, loop.stop)
    guard = loop.call_later(5, loop.stop)
    began = loop.time()
    loop.run_forever()
    guard.cancel()
    loop.remove_reader(read_end)
    os.close(read_end)
    assert loop.time() - began < 1


# Threads


def test_run_in_executor_hands_over_arguments_results_and_exceptions(loop: Loop) -> None:
    def work(a: int, b: int) -> tuple[float, str]:
        return a / b, threading.current_thread().name

    async def main() -> None:
        quotient, thread = await loop.run_in_executor(None, work, 6, 3)
        assert quotient == 2
        assert thread.startswith("asyncio_")
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, work, 1, 0)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
        loop.run_in_executor(None, work, 1, 1)


def test_only_thread_pools_become_the_default_executor(loop: Loop) -> None:
    with pytest.raises(TypeError, match="executor must be ThreadPoolExecutor instance"):
        loop.set_default_executor(object())  # type: ignore[arg-type]
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        loop.set_default_executor(executor)
        name = loop.run_until_complete(
            loop.run_in_executor(None, lambda: threading.current_thread().name)
        )
    assert name.startswith("mine")


def test_closing_does_not_wait_for_the_executor(loop: Loop) -> None:
    release = threading.Event()
    loop.run_in_executor(None, release.wait)
    began = time.monotonic()
    loop.close()
    assert time.monotonic() - began < 1
    release.set()


def test_shutting_the_executor_down_takes_no_longer_than_the_timeout() -> None:
    # aioxide alone: the stdlib has the timeout since 3.12, and 3.12 blocked the loop for it.
    loop: Any = aioxide.new_event_loop()
    release = threading.Event()

    async def main() -> None:
        loop.run_in_executor(None, release.wait)
        ticking = asyncio.create_task(asyncio.sleep(0.01))
        with pytest.warns(RuntimeWarning, match=r"within 0\.05 seconds"):
            await loop.shutdown_default_executor(0.05)
        assert ticking.done()
        release.set()
        await asyncio.sleep(0.05)

    loop.run_until_complete(main())
    loop.close()


def test_names_are_resolved(loop: Loop) -> None:
    async def main() -> None:
        for debug in (False, True):
            loop.set_debug(debug)
            infos = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
            assert infos == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert await loop.getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())


# Asynchronous generators


def test_abandoned_generators_are_closed_by_the_loop(loop: Loop) -> None:
    closed: list[str] = []

    async def numbers(name: str) -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(name)

    async def main() -> AsyncGenerator[int, None]:
        async for _ in numbers("dropped"):
            break
        gc.collect()
        for _ in range(3):
            await asyncio.sleep(0)
        assert closed == ["dropped"]
        kept = numbers("kept")
        await anext(kept)
        return kept

    outer = sys.get_asyncgen_hooks()
    kept = loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert closed == ["dropped", "kept"]
    assert sys.get_asyncgen_hooks() == outer
    del kept


def test_a_generator_begun_after_the_shutdown_is_warned_about(loop: Loop) -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        yield 1

    async def main() -> None:
        await loop.shutdown_asyncgens()
        late = numbers()
        with pytest.warns(
            ResourceWarning,
            match=r"^asynchronous generator <async_generator object .* was scheduled after "
            r"loop\.shutdown_asyncgens\(\) call$",
        ):
            await anext(late)
        await late.aclose()

    loop.run_until_complete(main())


def test_a_generator_that_fails_to_close_is_reported(loop: Loop) -> None:
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    async def stubborn() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise ZeroDivisionError

    async def main() -> AsyncGenerator[int, None]:
        generator = stubborn()
        await anext(generator)
        return generator

    generator = loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert [sorted(report) for report in reports] == [["asyncgen", "exception", "message"]]
    assert reports[0]["message"] == (
        f"an error occurred during closing of asynchronous generator {generator!r}"
    )


# Closing


def test_a_loop_is_closed_once_and_never_while_running(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    async def close() -> None:
        loop.close()

    with pytest.raises(RuntimeError, match=r"^Cannot close a running event loop$"):
        loop.run_until_complete(close())
    loop.set_debug(True)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        loop.close()
        loop.close()
    assert loop.is_closed()
    closing = [record.message for record in caplog.records if record.message.startswith("Close")]
    assert closing == [f"Close <{type(loop).__name__} running=False closed=False debug=True>"]


def test_closing_lets_go_of_callbacks_timers_and_descriptors(loop: Loop) -> None:
    class Held:
        def __call__(self) -> None:
            raise AssertionError("never runs")

    before = count_descriptors()
    held = Held()
    references = sys.getrefcount(held)
    handles = [loop.call_soon(held), loop.call_later(10, held)]
    loop.close()
    del handles
    gc.collect()
    assert sys.getrefcount(held) == references
    assert count_descriptors() < before


@pytest.mark.parametrize("make", LOOPS, ids=["asyncio", "aioxide"])
def test_an_unclosed_loop_warns_and_closes_itself(make: Any) -> None:
    before = count_descriptors()
    loop = make()
    message = f"unclosed event loop {loop!r}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    assert message in [str(one.message) for one in caught if one.category is ResourceWarning]
    assert count_descriptors() == before


@pytest.mark.parametrize("make", LOOPS, ids=["asyncio", "aioxide"])
def test_many_loops_can_be_open_at_once_and_run_in_turn(make: Any) -> None:
    loops = [make() for _ in range(20)]

    async def answer(number: int) -> int:
        await asyncio.sleep(0)
        return number

    assert [loop.run_until_complete(answer(i)) for i, loop in enumerate(loops)] == list(range(20))
    for loop in loops:
        loop.close()


def test_a_loop_in_normal_use_has_no_instance_dict() -> None:
    # Its methods are found faster without, see EventLoop.__slots__.
    loop = aioxide.new_event_loop()
    loop.set_debug(True)
    loop.call_soon(int)
    loop.set_debug(False)
    loop.slow_callback_duration = 0.5
    loop.set_exception_handler(None)
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.run_until_complete(asyncio.to_thread(int))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    in_slots = [id(loop._signal_handlers), id(loop._unix_server_sockets)]
    dicts = [held for held in gc.get_referents(loop) if isinstance(held, dict)]
    assert [held for held in dicts if id(held) not in in_slots] == []
    assert loop.__dict__ == {}
    loop.close()
    assert loop.__dict__ == {}


def test_a_loop_takes_attributes_and_weak_references(loop: Any) -> None:
    loop.spam = 1
    loop.close = loop.close
    assert loop.spam == loop.__dict__["spam"] == 1
    del loop.close
    assert "close" not in loop.__dict__
    assert weakref.ref(loop)() is loop
