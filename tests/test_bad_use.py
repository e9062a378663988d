"""Mistakes and accidents: each has a defined outcome, and where asyncio has one, the same one.

What can be done to asyncio's loop is done to both; forks and subinterpreters, where asyncio has no
answer or another one, are aioxide's own promises, tested in child processes.
"""

import asyncio
import gc
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import aioxide
from tests.loops import Loop, forever, run_turns


@pytest.fixture
def other_loop(loop: Loop) -> Iterator[Loop]:
    made = type(loop)()
    yield made
    made.close()


def python(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


# Closed loops


def test_a_closed_loop_refuses_everything(loop: Loop) -> None:
    loop.close()
    coroutine = forever()
    uses: dict[str, Any] = {
        "call_soon": lambda: loop.call_soon(print),
        "call_soon_threadsafe": lambda: loop.call_soon_threadsafe(print),
        "call_later": lambda: loop.call_later(1, print),
        "call_at": lambda: loop.call_at(1, print),
        "create_task": lambda: loop.create_task(coroutine),
        "run_in_executor": lambda: loop.run_in_executor(None, print),
        "run_forever": loop.run_forever,
        "run_until_complete": lambda: loop.run_until_complete(coroutine),
        "add_reader": lambda: loop.add_reader(0, print),
        "add_writer": lambda: loop.add_writer(0, print),
    }
    for name, use in uses.items():
        with pytest.raises(RuntimeError) as caught:
            use()
        assert str(caught.value) == "Event loop is closed", name
    assert loop.remove_reader(0) is False
    assert loop.remove_writer(0) is False
    coroutine.close()


def test_closing_with_tasks_pending_reports_them_when_they_go(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = [loop.create_task(forever(), name=f"task {number}") for number in range(3)]
    run_turns(loop)
    loop.close()
    assert caplog.records == []
    del tasks
    gc.collect()
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 3
    assert all(text.startswith("Task was destroyed but it is pending!\ntask:") for text in texts)


def test_a_future_of_a_closed_loop_can_still_be_set(loop: Loop) -> None:
    future = loop.create_future()
    with_callback = loop.create_future()
    with_callback.add_done_callback(print)
    loop.close()
    future.set_result(1)
    assert future.result() == 1
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        with_callback.set_result(1)


# Running twice


def test_a_running_loop_cannot_be_run_again(loop: Loop) -> None:
    async def main() -> None:
        message = r"^This event loop is already running$"
        with pytest.raises(RuntimeError, match=message):
            loop.run_forever()
        with pytest.raises(RuntimeError, match=message):
            loop.run_until_complete(loop.create_future())

    # 3.13.0's own loop forgets that it runs when that happens.
    if isinstance(loop, aioxide.EventLoop) or sys.version_info[:3] != (3, 13, 0):
        loop.run_until_complete(main())


def test_only_one_loop_runs_in_a_thread(loop: Loop, other_loop: Loop) -> None:
    async def main() -> None:
        message = r"^Cannot run the event loop while another loop is running$"
        with pytest.raises(RuntimeError, match=message):
            other_loop.run_forever()
        with pytest.raises(RuntimeError, match=message):
            other_loop.run_until_complete(other_loop.create_future())
        await asyncio.sleep(0)

    if isinstance(loop, aioxide.EventLoop) or sys.version_info[:3] != (3, 13, 0):
        loop.run_until_complete(main())


def test_loops_in_two_threads_do_not_meet(loop: Loop, other_loop: Loop) -> None:
    results: list[object] = []

    def run_other() -> None:
        results.append(other_loop.run_until_complete(asyncio.sleep(0.01, "other")))

    async def main() -> None:
        thread = threading.Thread(target=run_other)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.001)
            assert asyncio.get_running_loop() is loop
        results.append("main")

    loop.run_until_complete(main())
    assert results == ["other", "main"]


# Things that belong to another loop or were used up


def test_awaiting_another_loops_future_is_an_error(loop: Loop, other_loop: Loop) -> None:
    future = other_loop.create_future()

    async def wait() -> None:
        await future

    message = r"^Task <Task pending .*> got Future <Future pending.*> attached to a different loop$"
    with pytest.raises(RuntimeError, match=message):
        loop.run_until_complete(wait())
    with pytest.raises(
        ValueError,
        match=r"^The future belongs to a different loop than the one specified as the loop arg",
    ):
        loop.run_until_complete(future)


def test_a_coroutine_cannot_be_awaited_twice(loop: Loop) -> None:
    async def once() -> int:
        await asyncio.sleep(0)
        return 1

    async def again(coroutine: Any) -> int:
        value: int = await coroutine
        return value

    async def main() -> None:
        coroutine = once()
        assert await coroutine == 1
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coroutine
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await loop.create_task(coroutine)
        coroutine = once()
        results = await asyncio.gather(again(coroutine), again(coroutine), return_exceptions=True)
        assert results[0] == 1
        assert isinstance(results[1], RuntimeError)
        assert str(results[1]) == "coroutine is being awaited already"

    loop.run_until_complete(main())


def test_run_until_complete_wants_something_to_await(loop: Loop) -> None:
    wrong: Any
    for wrong in (None, 1, "text", print, forever):
        with pytest.raises(TypeError, match=r"^An asyncio.Future, a coroutine or an awaitable is"):
            loop.run_until_complete(wrong)


# Arguments


def test_delays_that_are_no_numbers_are_refused(loop: Loop) -> None:
    with pytest.raises(TypeError, match="delay must not be None"):
        loop.call_later(None, print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="when cannot be None"):
        loop.call_at(None, print)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        loop.call_later("soon", print)  # type: ignore[arg-type]


def test_what_is_no_descriptor_is_refused(loop: Loop) -> None:
    not_a_descriptor: Any = "text"
    for use in (loop.add_reader, loop.add_writer):
        with pytest.raises(ValueError, match="Invalid file object"):
            use(not_a_descriptor, print)
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.add_reader(read_end, print)
    assert loop.remove_reader(read_end) is False


# Threads


def test_debug_mode_catches_calls_from_the_wrong_thread(loop: Loop) -> None:
    async def main(debug: bool) -> list[str]:
        loop.set_debug(debug)
        calls: list[Any] = [
            lambda: loop.call_soon(len, ()),
            lambda: loop.call_later(0, len, ()),
            lambda: loop.call_at(0, len, ()),
            lambda: loop.create_future().set_result(None),
        ]

        def attempt() -> list[str]:
            messages: list[str] = []
            for call in calls:
                try:
                    call()
                except RuntimeError as exc:
                    messages.append(str(exc))
            return messages

        return await asyncio.to_thread(attempt)

    assert loop.run_until_complete(main(False)) == []
    assert (
        loop.run_until_complete(main(True))
        == ["Non-thread-safe operation invoked on an event loop other than the current one"] * 3
    )
    loop.run_until_complete(loop.shutdown_default_executor())


# Forks

FORK = """
import aioxide, asyncio, os, signal, sys

def in_child(check):
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)  # so that a child that hangs does not outlive the test
        try:
            check()
        except BaseException as exc:
            print(f"{type(exc).__name__}: {exc}", flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_a_forked_child_has_no_running_loop_and_can_run_its_own() -> None:
    result = python(
        FORK
        + textwrap.dedent("""
        async def child():
            await asyncio.sleep(0.01)
            return await asyncio.to_thread(lambda: "thread")

        def check():
            assert asyncio._get_running_loop() is None
            assert aioxide.run(child()) == "thread"

        async def main():
            status = in_child(check)
            await asyncio.sleep(0.01)
            print(status, asyncio.get_running_loop().is_running())

        aioxide.run(main())
        """),
        "-W",
        "ignore",
    )
    assert (result.stdout, result.stderr) == ("0 True\n", "")


@pytest.mark.parametrize("engine", ["asyncio", "aioxide"])
def test_a_loop_that_was_running_stays_so_in_a_forked_child(engine: str) -> None:
    result = python(
        FORK
        + textwrap.dedent(f"""
        def check():
            assert loop.is_running()
            for use in (loop.close, loop.run_forever):
                try:
                    use()
                except RuntimeError as exc:
                    print(exc, flush=True)

        async def main():
            global loop
            loop = asyncio.get_running_loop()
            print(in_child(check))

        {engine}.run(main())
        """),
        "-W",
        "ignore",
    )
    expected = "Cannot close a running event loop\nThis event loop is already running\n0\n"
    assert (result.stdout, result.stderr) == (expected, "")


def test_a_forked_child_may_use_an_idle_loop_and_disturbs_its_parent_in_nothing() -> None:
    result = python(
        FORK
        + textwrap.dedent("""
        loop = aioxide.new_event_loop()
        parents, childs = os.pipe(), os.pipe()

        async def wait_for(pipe, text):
            woken = loop.create_future()
            loop.add_reader(pipe[0], lambda: woken.done() or woken.set_result(text))
            loop.call_later(0.01, os.write, pipe[1], b"x")
            print(await woken, flush=True)
            loop.remove_reader(pipe[0])

        def check():
            loop.remove_reader(parents[0])
            loop.run_until_complete(wait_for(childs, "child"))
            loop.call_soon_threadsafe(os.write, 1, b"woken\\n")
            loop.run_until_complete(asyncio.sleep(0.01))
            loop.close()

        loop.add_reader(parents[0], print, "not yet")
        loop.run_until_complete(asyncio.sleep(0))
        print(in_child(check))
        loop.run_until_complete(wait_for(parents, "parent"))
        loop.close()
        """),
        "-W",
        "ignore",
    )
    assert (result.stdout, result.stderr) == ("child\nwoken\n0\nparent\n", "")


# Subinterpreters


def test_a_subinterpreter_is_refused_with_a_clear_error() -> None:
    result = python("""
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        import aioxide
        program = '''if True:
            try:
                import aioxide
            except ImportError as exc:
                print(f"ImportError: {exc}", flush=True)
        '''
        for _ in range(2):
            interpreter = interpreters.create()
            try:
                error = interpreters.run_string(interpreter, program)
            except Exception as exc:
                error = exc
            if error:
                print("failed:", error)
            interpreters.destroy(interpreter)

        async def main():
            return "the main interpreter goes on"

        print(aioxide.run(main()))
    """)
    lines = result.stdout.splitlines()
    assert result.stderr == ""
    assert len(lines) == 3
    assert lines[0] == lines[1]
    assert re.match(r"ImportError: .*(aioxide|_core).*interpreter", lines[0])
    assert lines[2] == "the main interpreter goes on"


# The end of the process


@pytest.mark.parametrize("engine", ["asyncio", "aioxide"])
@pytest.mark.parametrize(
    "left",
    [
        "loop",
        "loop.call_later(60, print)",
        "task = loop.create_task(asyncio.sleep(60)); loop.run_until_complete(asyncio.sleep(0))",
        "loop.call_soon(print)",
        "import sys; sys.modules['keep'] = loop",
        "future = loop.create_future(); future.set_exception(LookupError())",
    ],
)
def test_what_is_left_at_exit_does_not_crash(engine: str, left: str) -> None:
    program = f"import asyncio, {engine}\nloop = {engine}.new_event_loop()\n{left}\n"
    result = python(program, "-W", "ignore")
    assert result.returncode == 0
    assert "Fatal" not in result.stderr
    assert "Segmentation" not in result.stderr


def test_a_loop_in_a_daemon_thread_does_not_hang_or_crash_the_exit() -> None:
    for engine in ("asyncio", "aioxide"):
        result = python(f"""
            import asyncio, threading, time, {engine}
            async def main():
                while True:
                    await asyncio.sleep(0)
            threading.Thread(target={engine}.run, args=(main(),), daemon=True).start()
            time.sleep(0.1)
        """)
        assert result.returncode == 0, (engine, result.stderr)
