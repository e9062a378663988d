"""However a child ends, its status is heard once, is the right one, and no zombie is left."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.children.parties import DEVNULL, PIPE, Observer, children, script
from tests.net.parties import Net


@pytest.mark.parametrize("status", [0, 1, 7, 127, 255])
async def test_the_exit_status_is_heard(net: Net, status: int) -> None:
    process = await net.lib.create_subprocess_shell(f"exit {status}")
    assert await process.wait() == status
    assert process.returncode == status
    assert await process.wait() == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGRTMAX])
async def test_a_signal_is_a_negative_status(net: Net, number: int) -> None:
    process = await net.lib.create_subprocess_exec("sleep", "60")
    process.send_signal(number)
    assert await process.wait() == -number


async def test_terminate_kill_and_signals_after_the_end(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("sleep", "60")
    process.terminate()
    assert await process.wait() == -signal.SIGTERM
    # asyncio: the transport knows no process any more.
    for late in (process.terminate, process.kill, lambda: process.send_signal(signal.SIGHUP)):
        with pytest.raises(ProcessLookupError):
            late()
    process = await net.lib.create_subprocess_exec("sleep", "60")
    process.kill()
    assert await process.wait() == -signal.SIGKILL


async def test_a_child_that_stops_has_not_ended(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("sleep", "60")
    process.send_signal(signal.SIGSTOP)
    while b"T" not in state(process.pid):
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGCONT)
    while b"T" in state(process.pid):
        await asyncio.sleep(0.01)
    assert process.returncode is None
    process.kill()
    assert await process.wait() == -signal.SIGKILL


def state(pid: int) -> bytes:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]


async def test_it_may_end_before_anybody_waits(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("true")
    while process.returncode is None:
        await asyncio.sleep(0.001)
    assert await process.wait() == 0


async def test_it_may_end_while_the_loop_is_busy(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("sleep", "60", stdout=PIPE)
    end(process.pid)
    assert await process.communicate() == (b"", None)
    assert process.returncode == -signal.SIGTERM


def end(pid: int) -> None:
    """Have a child end behind the loop's back."""
    os.kill(pid, signal.SIGTERM)
    with suppress(FileNotFoundError, ProcessLookupError):  # a thread has reaped it
        while b"Z" not in state(pid):
            pass


async def test_everybody_who_waits_hears_of_the_end(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("cat", stdin=PIPE)
    waiting = [asyncio.create_task(process.wait()) for _ in range(5)]
    await asyncio.sleep(0)
    process.stdin.close()
    assert await asyncio.gather(*waiting) == [0] * 5


async def test_the_end_is_heard_before_a_pipe_that_somebody_else_holds(net: Net) -> None:
    """The order in which the exit and the ends of the pipes come is the kernel's."""
    observer = Observer()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_shell(
        lambda: observer, "sleep 60 >&2 & echo $!", stdin=DEVNULL
    )
    while "exited" not in observer.events or not observer.output[1].endswith(b"\n"):
        await asyncio.sleep(0.005)
    assert "lost" not in observer.events
    assert transport.get_returncode() == 0
    os.kill(int(observer.output[1]), signal.SIGKILL)
    await observer.ended
    assert observer.events[-1] == "lost"
    transport.close()


async def test_pipes_may_end_before_the_child(net: Net) -> None:
    observer = Observer()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_shell(
        lambda: observer, "exec >/dev/null 2>/dev/null </dev/null; kill -STOP $$; exit 3"
    )
    while len([event for event in observer.events if event.startswith("pipe lost")]) < 3:
        await asyncio.sleep(0.005)
    assert "exited" not in observer.events
    while b"T" not in state(transport.get_pid()):
        await asyncio.sleep(0.005)
    transport.send_signal(signal.SIGCONT)
    await observer.ended
    assert observer.events[-2:] == ["exited", "lost"]
    assert transport.get_returncode() == 3
    transport.close()


UNKNOWN = (
    "Unknown child process pid {}, will report returncode 255",
    "child process pid {} exit status already read:  will report returncode 255",
)


async def test_a_child_reaped_by_somebody_else_ends_with_255(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    # The thread that waits in some of the ways would have it first.
    if net.name == "threads" or (net.name == "asyncio" and sys.version_info < (3, 12)):
        return
    caplog.set_level(logging.WARNING, "asyncio")
    process = await net.lib.create_subprocess_exec("sleep", "60")
    os.kill(process.pid, signal.SIGTERM)
    assert os.waitpid(process.pid, 0) == (process.pid, signal.SIGTERM)
    assert await process.wait() == 255
    said = UNKNOWN[sys.version_info >= (3, 12)].format(process.pid)
    assert [record.getMessage() for record in caplog.records] == [said]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Popen's own
async def test_with_sigchld_ignored_the_status_is_lost_and_the_end_is_heard(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        process = await net.lib.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert await process.communicate(b"x") == (b"x", None)
        assert process.returncode == 255
        # Nor is one that has been executed and reaped before anybody could look at it.
        if net.name != "asyncio":
            process = await net.lib.create_subprocess_exec("true")
            assert await process.wait() == 255
            with pytest.raises(FileNotFoundError):
                await net.lib.create_subprocess_exec("/there/is/no/such/program")
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert "will report returncode 255" in caplog.text


async def test_a_handler_for_sigchld_is_left_alone(net: Net) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _: heard.append(number))
    try:
        assert await script(net.lib, "exit 3") == (3, b"")
        assert signal.getsignal(signal.SIGCHLD) is not before
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert heard


async def test_other_children_of_the_process_are_left_alone(net: Net) -> None:
    other = subprocess.Popen(["sh", "-c", "exit 5"])  # that is the point
    assert await script(net.lib, "exit 3") == (3, b"")
    while b"Z" not in state(other.pid):
        await asyncio.sleep(0.005)
    assert await script(net.lib, "exit 4") == (4, b"")
    assert other.wait() == 5


async def test_a_status_that_the_popen_object_was_asked_for_is_not_lost(net: Net) -> None:
    if net.name in {"asyncio", "threads"}:
        return  # asyncio reports 255, or a thread of its has it first
    for ask in ("poll", "wait", "terminate"):
        process = await net.lib.create_subprocess_exec("sleep", "60")
        popen = process._transport.get_extra_info("subprocess")
        end(process.pid)
        getattr(popen, ask)()
        assert await process.wait() == -signal.SIGTERM


async def test_closing_the_transport_kills_the_child(net: Net) -> None:
    observer = Observer()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_exec(lambda: observer, "sleep", "60")
    assert children() == {transport.get_pid()}
    transport.close()
    transport.close()
    assert transport.is_closing()
    await observer.ended
    assert transport.get_returncode() == -signal.SIGKILL


async def test_closing_the_transport_of_a_child_that_has_just_ended_keeps_its_status(
    net: Net,
) -> None:
    if net.name in {"asyncio", "threads"}:
        return  # asyncio reports 255, and a thread may be first
    observer = Observer()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_exec(
        lambda: observer, "sleep", "60", stdin=None, stdout=None, stderr=None
    )
    end(transport.get_pid())
    transport.close()
    await observer.ended
    assert transport.get_returncode() == -signal.SIGTERM


async def test_a_background_process_of_a_shell_is_not_waited_for(net: Net) -> None:
    code, output = await script(net.lib, "sleep 60 >/dev/null 2>&1 & echo $!")
    os.kill(int(output), signal.SIGKILL)
    assert code == 0
