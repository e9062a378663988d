"""Signals and Ctrl-C.

Handlers are tested in this process, on asyncio's loop and on aioxide's; what ends a process is
tested in a child, by its output and exit status.
"""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import aioxide
from tests.loops import Loop, count_descriptors


@pytest.fixture
def loop(loop: Loop) -> Iterator[Loop]:
    yield loop
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


def run_until_stopped(loop: Loop) -> None:
    guard = loop.call_later(5, pytest.fail, "the signal did not arrive")
    loop.run_forever()
    guard.cancel()


def test_a_handler_is_called_from_the_loop_with_its_arguments(loop: Loop) -> None:
    seen: list[object] = []

    def handler(*args: object) -> None:
        seen.extend((args, asyncio.get_running_loop()))
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, handler, 1, "two")
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    run_until_stopped(loop)
    assert seen == [(1, "two"), loop]


def test_a_signal_wakes_a_sleeping_loop(loop: Loop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    killer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
    killer.start()
    run_until_stopped(loop)
    killer.join()


def test_a_signal_before_the_loop_runs_is_not_lost(loop: Loop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    os.kill(os.getpid(), signal.SIGUSR1)
    run_until_stopped(loop)


def test_signals_are_handled_in_the_order_in_which_they_arrived(loop: Loop) -> None:
    seen: list[int] = []
    arriving = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1]
    for sig in set(arriving):
        loop.add_signal_handler(sig, seen.append, sig)
    for sig in arriving:
        signal.raise_signal(sig)
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert seen == arriving
    assert loop.remove_signal_handler(signal.SIGUSR2)


def test_a_second_handler_replaces_the_first(loop: Loop) -> None:
    seen: list[str] = []

    def second() -> None:
        seen.append("second")
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, seen.append, "first")
    loop.add_signal_handler(signal.SIGUSR1, second)
    signal.raise_signal(signal.SIGUSR1)
    run_until_stopped(loop)
    assert seen == ["second"]


def test_a_failing_handler_is_reported_and_stays(loop: Loop) -> None:
    reports: list[dict[str, Any]] = []

    def keep(_: Loop, report: dict[str, Any]) -> None:
        reports.append(report)
        loop.stop()

    loop.set_exception_handler(keep)
    loop.add_signal_handler(signal.SIGUSR1, lambda: 1 / 0)
    for _ in range(2):
        signal.raise_signal(signal.SIGUSR1)
        run_until_stopped(loop)
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError] * 2
    assert reports[0]["message"].startswith("Exception in callback test_a_failing_handler")


def test_removing_gives_the_signal_its_default_again(loop: Loop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGINT, print)
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert loop.remove_signal_handler(signal.SIGINT) is True
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_closing_gives_every_signal_back(loop: Loop) -> None:
    before = count_descriptors()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGINT, print)
    loop.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1
    assert count_descriptors() < before


def test_what_cannot_be_caught_or_called_is_refused(loop: Loop) -> None:
    async def coroutine_function() -> None:
        pass

    no_coroutines = r"^coroutines cannot be used with add_signal_handler\(\)$"
    with pytest.raises(TypeError, match=no_coroutines):
        loop.add_signal_handler(signal.SIGUSR1, coroutine_function)
    coroutine: Any = coroutine_function()
    with pytest.raises(TypeError, match=no_coroutines):
        loop.add_signal_handler(signal.SIGUSR1, coroutine)
    coroutine.close()
    with pytest.raises(TypeError, match=r"^sig must be an int, not 'SIGUSR1'$"):
        loop.add_signal_handler("SIGUSR1", print)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^invalid signal number 1000$"):
        loop.add_signal_handler(1000, print)
    with pytest.raises(RuntimeError, match=r"^sig 9 cannot be caught$"):
        loop.add_signal_handler(9, print)
    with pytest.raises(TypeError, match=r"^sig must be an int, not None$"):
        loop.remove_signal_handler(None)  # type: ignore[arg-type]
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def fails_with(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("kind", [ValueError, OSError])
def test_without_the_wake_up_descriptor_there_is_no_handler(
    loop: Any, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = count_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(signal, "set_wakeup_fd", fails_with(kind("not here")))
        with pytest.raises(RuntimeError, match=r"^not here$"):
            loop.add_signal_handler(signal.SIGUSR1, print)
    assert not loop._signal_handlers
    assert count_descriptors() == before


def test_a_handler_that_cannot_be_installed_leaves_nothing_behind(
    loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", fails_with(OSError(errno.EFAULT, "no")))
        with pytest.raises(OSError, match=r"^\[Errno 14\] no$"):
            loop.add_signal_handler(signal.SIGUSR1, print)
    assert not loop._signal_handlers
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [(errno.EINVAL, RuntimeError, "^sig 10 cannot be caught$"), (errno.EFAULT, OSError, "no$")],
)
def test_a_handler_that_cannot_be_removed(
    loop: Loop, code: int, kind: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print)
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", fails_with(OSError(code, "no")))
        with pytest.raises(kind, match=message):
            loop.remove_signal_handler(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


def test_a_wake_up_descriptor_that_stays_is_only_logged(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print)
    with monkeypatch.context() as patch, caplog.at_level("INFO", "asyncio"):
        patch.setattr(signal, "set_wakeup_fd", fails_with(ValueError("no")))
        assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert caplog.messages == ["set_wakeup_fd(-1) failed: no"]
    signal.set_wakeup_fd(-1)


def test_closing_at_the_interpreters_end_leaves_signals_alone(
    loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "is_finalizing", lambda: True)
        with pytest.warns(ResourceWarning, match="skipping signal handlers removal$"):
            loop.close()
    assert not loop._signal_handlers
    assert signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


def test_the_handlers_of_a_loop_are_there_to_be_looked_at(loop: Any) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print, 1)
    handle: Any = loop._signal_handlers[signal.SIGUSR1]
    assert (handle._callback, handle._args) == (print, (1,))
    assert isinstance(handle, asyncio.Handle)
    handle.cancel()
    loop._handle_signal(signal.SIGUSR1)
    assert not loop._signal_handlers


def test_a_closed_loop_takes_no_handler(loop: Loop) -> None:
    loop.close()
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        loop.add_signal_handler(signal.SIGUSR1, print)


def test_only_the_main_thread_handles_signals(loop: Loop) -> None:
    caught: list[BaseException] = []

    def add() -> None:
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except RuntimeError as exc:
            caught.append(exc)

    thread = threading.Thread(target=add)
    before = count_descriptors()
    thread.start()
    thread.join()
    (error,) = caught
    assert str(error).startswith("set_wakeup_fd only works in main thread")
    assert count_descriptors() == before


def test_a_loop_without_handlers_has_no_descriptors_for_them() -> None:
    loop = aioxide.new_event_loop()
    before = count_descriptors()
    loop.add_signal_handler(signal.SIGUSR1, print)
    assert count_descriptors() == before + 2
    loop.close()


# Ctrl-C, in a process of its own

PROGRAMS = {
    "the main task cleans up, then KeyboardInterrupt ends the process": (
        """
        async def main():
            try:
                asyncio.get_running_loop().call_later(0.02, os.kill, os.getpid(), signal.SIGINT)
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                print("cancelled")
                await asyncio.sleep(0)
                raise
            finally:
                print("cleaned up")
        try:
            run(main())
        except KeyboardInterrupt:
            print("KeyboardInterrupt")
        """,
        ["cancelled", "cleaned up", "KeyboardInterrupt"],
    ),
    "a task that survives its cancellation returns": (
        """
        async def main():
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                return "survived"
        print(run(main()))
        """,
        ["survived"],
    ),
    "a second Ctrl-C interrupts at once": (
        """
        async def main():
            signal.raise_signal(signal.SIGINT)
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                print("first")
                signal.raise_signal(signal.SIGINT)
                print("not reached")
        try:
            run(main())
        except KeyboardInterrupt:
            print("KeyboardInterrupt")
        """,
        ["first", "KeyboardInterrupt"],
    ),
    "a loop without a runner is interrupted in its sleep": (
        """
        loop = new_event_loop()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("KeyboardInterrupt", loop.is_running())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        """,
        ["KeyboardInterrupt False"],
    ),
    "a loop that never sleeps is interrupted too": (
        """
        loop = new_event_loop()
        def again():
            loop.call_soon(again)
        again()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("KeyboardInterrupt")
        loop.close()
        """,
        ["KeyboardInterrupt"],
    ),
    "tasks that never sleep are interrupted too": (
        """
        async def main():
            while True:
                await asyncio.sleep(0)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            run(main())
        except KeyboardInterrupt:
            print("KeyboardInterrupt")
        """,
        ["KeyboardInterrupt"],
    ),
    "Ctrl-C during a coroutine's own work cancels at its next await": (
        """
        async def main():
            signal.raise_signal(signal.SIGINT)
            print("still working")
            await asyncio.sleep(10)
        try:
            run(main())
        except KeyboardInterrupt:
            print("KeyboardInterrupt")
        """,
        ["still working", "KeyboardInterrupt"],
    ),
    "a program's own signal.signal handler runs while the loop sleeps": (
        """
        async def main():
            done = asyncio.Event()
            loop = asyncio.get_running_loop()
            signal.signal(signal.SIGUSR1, lambda *_: loop.call_soon_threadsafe(done.set))
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            await done.wait()
            print("done")
        run(main())
        """,
        ["done"],
    ),
}


@pytest.mark.parametrize("engine", ["asyncio", "aioxide"])
@pytest.mark.parametrize("promise", PROGRAMS)
def test_in_a_process_of_its_own(promise: str, engine: str) -> None:
    program, expected = PROGRAMS[promise]
    begin = f"""
        import asyncio, os, signal, threading
        from {engine} import run, new_event_loop
    """
    source = textwrap.dedent(begin) + textwrap.dedent(program)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == expected


@pytest.mark.parametrize("engine", ["asyncio", "aioxide"])
def test_an_uncaught_ctrl_c_kills_the_process_as_the_shell_expects(engine: str) -> None:
    program = f"""
import asyncio, {engine}, os, signal
async def main():
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(10)
{engine}.run(main())
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False
    )
    assert result.returncode == -signal.SIGINT
    assert result.stderr.splitlines()[-1] == "KeyboardInterrupt"
