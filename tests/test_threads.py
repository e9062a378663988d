"""`to_thread()` and `run_in_executor()`: what goes to a thread, what comes back, and the end.

Each test that takes a loop runs on asyncio's as well: what is promised here is what asyncio does.
"""

import asyncio
import concurrent.futures
import contextvars
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

import aioxide
from tests.loops import LOOPS, Loop, Report, run_turns


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    event_loop: Loop = request.param()
    yield event_loop
    if not event_loop.is_closed():
        event_loop.run_until_complete(event_loop.shutdown_default_executor())
        event_loop.close()


def raising(exception: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise exception

    return function


def occupy(loop: Loop, release: threading.Event) -> list[asyncio.Future[bool]]:
    """Keep every thread of the default executor busy until `release`."""
    limit = 1
    busy = [loop.run_in_executor(None, release.wait)]
    while len(busy) < limit:
        busy.append(loop.run_in_executor(None, release.wait))
        limit = loop._default_executor._max_workers  # type: ignore[attr-defined]
    limit = loop._default_executor._max_workers  # type: ignore[attr-defined]
    busy += [loop.run_in_executor(None, release.wait) for _ in range(limit - len(busy))]
    return busy


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


# What the executor is


def test_the_default_executor_is_a_thread_pool_that_programs_may_use(loop: Loop) -> None:
    async def main() -> list[Any]:
        await loop.run_in_executor(None, int)
        pool: Any = loop._default_executor  # type: ignore[attr-defined]
        assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
        submitted = pool.submit(pow, 2, exp=5)
        assert type(submitted) is concurrent.futures.Future
        mapped = list(pool.map(abs, [-1, -2]))
        failed = pool.submit(raising(LookupError()))
        assert isinstance(failed.exception(), LookupError)
        name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
        return [submitted.result(), mapped, name.rpartition("_")[0]]

    assert loop.run_until_complete(main()) == [32, [1, 2], "asyncio"]


def test_threads_are_reused_and_as_many_as_asyncio_has(loop: Loop) -> None:
    async def main() -> None:
        for _ in range(20):
            await loop.run_in_executor(None, int)
            time.sleep(0.002)  # the thread's moment to become idle
        pool: Any = loop._default_executor  # type: ignore[attr-defined]
        assert len(pool._threads) <= 2
        release = threading.Event()
        busy = occupy(loop, release)
        late = [loop.run_in_executor(None, int) for _ in range(50)]
        await asyncio.sleep(0.05)
        assert not any(future.done() for future in busy + late)
        stock = concurrent.futures.ThreadPoolExecutor()
        assert len(pool._threads) == pool._max_workers == stock._max_workers
        release.set()
        assert await asyncio.gather(*busy) == [True] * len(busy)
        assert await asyncio.gather(*late) == [0] * 50

    loop.run_until_complete(main())


def test_jobs_that_wait_for_each_other_all_get_a_thread(loop: Loop) -> None:
    async def main() -> None:
        together = threading.Barrier(4)
        for _ in range(50):
            waiting = [loop.run_in_executor(None, together.wait, 10) for _ in range(4)]
            assert sorted(await asyncio.gather(*waiting)) == [0, 1, 2, 3]

    loop.run_until_complete(main())


def test_a_job_begins_while_the_loop_is_busy(loop: Loop) -> None:
    async def main() -> None:
        await loop.run_in_executor(None, int)
        began = threading.Event()
        future = loop.run_in_executor(None, began.set)
        assert began.wait(10)  # in the loop's thread, without giving a turn
        await future
        coroutine = asyncio.ensure_future(asyncio.to_thread(began.is_set))
        assert await coroutine

    loop.run_until_complete(main())


def test_a_finished_job_is_heard_of_while_the_next_one_runs(loop: Loop) -> None:
    async def main() -> None:
        release = threading.Event()
        await loop.run_in_executor(None, int)
        first = loop.run_in_executor(None, int)
        rest = [loop.run_in_executor(None, release.wait) for _ in range(40)]
        assert await asyncio.wait_for(first, 10) == 0
        release.set()
        await asyncio.gather(*rest)

    loop.run_until_complete(main())


def test_jobs_begin_in_the_order_in_which_they_came(loop: Loop) -> None:
    async def main() -> list[int]:
        release, order = threading.Event(), list[int]()
        busy = occupy(loop, release)
        queued = [loop.run_in_executor(None, order.append, i) for i in range(30)]
        busy.pop(0).add_done_callback(lambda _: None)
        release.set()
        await asyncio.gather(*queued)
        return order

    order = loop.run_until_complete(main())
    assert sorted(order) == list(range(30))
    assert order[0] < 10


# What comes back


def test_the_waiting_task_goes_on_one_turn_after_the_result_is_there(loop: Loop) -> None:
    turns: list[str] = []

    async def main() -> None:
        await loop.run_in_executor(None, int)
        ready = threading.Event()
        future = loop.run_in_executor(None, ready.set)
        future.add_done_callback(lambda _: turns.append("callback"))
        task = asyncio.ensure_future(wait(future))
        await asyncio.sleep(0)
        ready.wait(10)
        time.sleep(0.05)  # the result is on its way into the queue
        loop.call_soon(turns.append, "next turn")
        loop.call_soon(lambda: loop.call_soon(turns.append, "the turn after"))
        await task

    async def wait(future: asyncio.Future[None]) -> None:
        await future
        turns.append("task")

    loop.run_until_complete(main())
    assert turns == ["next turn", "callback", "task", "the turn after"]


@pytest.mark.parametrize(
    "kind", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError]
)
def test_a_function_may_raise_anything(loop: Loop, kind: type[BaseException]) -> None:
    exception = kind("why")
    future = loop.run_in_executor(None, raising(exception))

    async def main() -> None:
        await asyncio.wait([future])

    loop.run_until_complete(main())
    assert future.exception() is exception
    frames = []
    traceback = exception.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames[-1] == "function"


def test_concurrent_exceptions_become_asyncios(loop: Loop) -> None:
    async def main() -> None:
        for raised, expected in [
            (concurrent.futures.CancelledError("a"), asyncio.CancelledError),
            (concurrent.futures.InvalidStateError("a"), asyncio.InvalidStateError),
        ]:
            future = loop.run_in_executor(None, raising(raised))
            await asyncio.wait([future])
            got = future.exception()
            assert type(got) is expected
            assert got.args == ("a",)

    loop.run_until_complete(main())


def wraps_stop_iteration() -> bool:
    """Whether this asyncio's Future takes a StopIteration; that changed in bug-fix releases."""
    with closing(asyncio.new_event_loop()) as loop:
        future: asyncio.Future[None] = loop.create_future()
        try:
            future.set_exception(StopIteration())
        except TypeError:
            return False
        return future.exception() is not None


@pytest.mark.skipif(
    not wraps_stop_iteration(), reason="this asyncio refuses it, and who waits does so for ever"
)
def test_stop_iteration_is_wrapped(loop: Loop) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration") as caught:
            await loop.run_in_executor(None, next, iter([]))
        assert isinstance(caught.value.__cause__, StopIteration)

    loop.run_until_complete(main())


def test_a_future_that_somebody_else_finished_is_reported(loop: Loop) -> None:
    reports: list[Report] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    async def main() -> None:
        release = threading.Event()
        future = loop.run_in_executor(None, release.wait)
        future.set_result(True)
        release.set()
        await loop.shutdown_default_executor()
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())
    assert [type(report["exception"]) for report in reports] == [AssertionError]


def test_contexts_are_copied_by_to_thread_alone(loop: Loop) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def main() -> list[str]:
        await loop.run_in_executor(None, int)  # the thread is there, with a context of its own
        variable.set("outside")
        direct = await loop.run_in_executor(None, variable.get)
        copied = await asyncio.to_thread(variable.get)
        await asyncio.to_thread(variable.set, "inside")
        return [direct, copied, variable.get()]

    assert loop.run_until_complete(main()) == ["unset", "outside", "outside"]


# Cancellation


def test_only_a_cancellation_keeps_a_function_from_being_called(loop: Loop) -> None:
    called: list[int] = []
    loop.set_exception_handler(lambda *_: None)

    async def main() -> None:
        release = threading.Event()
        busy = occupy(loop, release)
        queued = loop.run_in_executor(None, called.append, 1)
        queued.set_result(None)
        release.set()
        await asyncio.gather(*busy)
        await loop.run_in_executor(None, int)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    assert called == [1]


def test_what_is_cancelled_before_it_began_is_not_called(loop: Loop) -> None:
    called: list[int] = []

    async def main() -> None:
        release = threading.Event()
        busy = occupy(loop, release)
        queued = loop.run_in_executor(None, called.append, 1)
        task = asyncio.ensure_future(asyncio.to_thread(called.append, 2))
        await asyncio.sleep(0)
        assert queued.cancel()
        task.cancel()
        await asyncio.wait([queued, task])
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(*busy)
        await loop.run_in_executor(None, int)
        assert queued.cancelled()
        assert task.cancelled()

    loop.run_until_complete(main())
    assert called == []


def test_what_is_cancelled_later_ends_in_silence(loop: Loop) -> None:
    reports: list[Report] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    done = threading.Event()

    async def main() -> None:
        began, release = threading.Event(), threading.Event()

        def work() -> None:
            began.set()
            release.wait(10)
            done.set()
            raise ValueError

        task = asyncio.ensure_future(asyncio.to_thread(work))
        await loop.run_in_executor(None, began.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    run_turns(loop, 2)
    gc.collect()
    assert done.is_set()
    assert reports == []


def test_a_shutdown_can_cancel_what_is_queued(loop: Loop) -> None:
    async def main() -> None:
        release = threading.Event()
        busy = occupy(loop, release)
        queued = [loop.run_in_executor(None, int) for _ in range(3)]
        pool: Any = loop._default_executor  # type: ignore[attr-defined]
        pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.wait(queued)
        assert all(future.cancelled() for future in queued)
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            loop.run_in_executor(None, int)
        release.set()
        await asyncio.gather(*busy)

    loop.run_until_complete(main())


# The end


def test_after_the_shutdown_there_is_no_executor(loop: Loop) -> None:
    loop.run_until_complete(asyncio.wait([loop.run_in_executor(None, int)]))
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
        loop.run_in_executor(None, int)


def test_a_loop_that_is_closed_hears_of_nothing(loop: Loop) -> None:
    release, done = threading.Event(), threading.Event()
    reports: list[Report] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    def work() -> None:
        release.wait(10)
        done.set()

    future = loop.run_in_executor(None, work)
    threads = list(loop._default_executor._threads)  # type: ignore[attr-defined]
    loop.close()
    release.set()
    for thread in threads:
        thread.join(10)
    assert done.is_set()
    assert not future.done()
    assert reports == []


def test_threads_end_with_the_executor_that_nobody_has_any_more(loop: Loop) -> None:
    loop.run_until_complete(asyncio.wait([loop.run_in_executor(None, int)]))
    (thread,) = loop._default_executor._threads  # type: ignore[attr-defined]
    loop._default_executor = None  # type: ignore[attr-defined]
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_nothing_is_kept_alive(loop: Loop) -> None:
    class Thing:
        def method(self, other: object) -> object:
            return other

        def fail(self) -> None:
            raise ValueError(self)

    def one() -> list[weakref.ref[Any]]:
        thing, argument = Thing(), Thing()

        async def main() -> None:
            assert await asyncio.to_thread(thing.method, argument) is argument
            try:
                await loop.run_in_executor(None, thing.fail)
            except ValueError:
                pass
            loop.run_in_executor(None, thing.method, argument).cancel()
            await loop.run_in_executor(None, int)
            await asyncio.sleep(0.02)

        loop.run_until_complete(main())
        return [weakref.ref(thing), weakref.ref(argument)]

    references = one()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


@pytest.mark.parametrize("engine", ["asyncio", "aioxide"])
@pytest.mark.parametrize(
    "program",
    [
        # queued work is finished at exit
        "loop = new_event_loop()\nfor i in range(40): loop.run_in_executor(None, done.append, i)",
        "loop = new_event_loop()\nfor i in range(40): loop.run_in_executor(None, work)",
        # a loop that is dropped, closed or not
        "loop = new_event_loop(); loop.run_in_executor(None, work); loop.close(); del loop",
        "run(asyncio.to_thread(work))",
    ],
)
def test_the_interpreter_waits_for_what_was_begun(engine: str, program: str) -> None:
    header = f"""
import asyncio, atexit, sys, time, warnings
from {engine} import new_event_loop, run
warnings.simplefilter("ignore")
done = []
def work():
    time.sleep(0.01)
    done.append(None)
atexit.register(lambda: print(len(done)))
"""
    result = python(header + program)
    expected = 40 if "range(40)" in program else 1
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{expected}\n", "")


@pytest.mark.parametrize("engine", ["asyncio", "aioxide"])
def test_a_daemon_threads_executor_does_not_hold_up_the_exit(engine: str) -> None:
    result = python(f"""
        import asyncio, threading, time, {engine} as engine
        async def main():
            while True:
                await asyncio.gather(*[engine.to_thread(int) for _ in range(5)])
        threading.Thread(target=engine.run, args=(main(),), daemon=True).start()
        time.sleep(0.2)
    """)
    assert result.returncode == 0, result.stderr
    assert "Fatal" not in result.stderr


def test_a_forked_child_has_an_executor_of_its_own(loop: Loop) -> None:
    loop.run_until_complete(asyncio.wait([loop.run_in_executor(None, int)]))
    child = os.fork()
    if child == 0:
        try:
            fresh = type(loop)()
            signal.alarm(20)
            result = fresh.run_until_complete(fresh.run_in_executor(None, pow, 2, 3))
            os._exit(result)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 8


# Classes of one's own


def test_a_loop_with_its_own_call_soon_threadsafe_sees_what_comes_back() -> None:
    seen: list[Any] = []

    class Curious(aioxide.EventLoop):
        def call_soon_threadsafe(  # type: ignore[override]
            self, callback: Any, *args: Any, **options: Any
        ) -> Any:
            seen.append(callback)
            return super().call_soon_threadsafe(callback, *args, **options)

    loop: Any = Curious()
    assert loop.run_until_complete(loop.run_in_executor(None, pow, 2, 3)) == 8
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert len(seen) >= 2


def test_a_loop_with_its_own_create_future_makes_the_future() -> None:
    class Own(asyncio.Future[Any]):
        pass

    class Making(aioxide.EventLoop):
        def create_future(self) -> Any:
            return Own(loop=self)

    loop: Any = Making()
    future = loop.run_in_executor(None, pow, 2, 3)
    assert type(future) is Own
    assert loop.run_until_complete(future) == 8
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_many_threads_and_many_jobs_lose_nothing(loop: Loop) -> None:
    async def caller(number: int) -> int:
        total = 0
        for i in range(100):
            total += await asyncio.to_thread(pow, number, 1) + i - i
            if i % 7 == number % 7:
                await asyncio.sleep(0)
        return total

    async def main() -> list[int]:
        return await asyncio.gather(*[caller(number) for number in range(20)])

    assert loop.run_until_complete(main()) == [100 * number for number in range(20)]


def test_debug_mode_takes_no_coroutine_functions(loop: Loop) -> None:
    loop.set_debug(True)

    async def coroutine() -> None: ...

    with pytest.raises(TypeError, match="coroutines cannot be used with run_in_executor"):
        loop.run_in_executor(None, coroutine)
    assert loop.run_until_complete(loop.run_in_executor(None, pow, 2, 3)) == 8
