"""Children of loops in other threads, of several loops, of loops that are closed, of forks."""

import asyncio
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from typing import Any

import pytest

import aioxide
from tests.children.parties import PIPE, children, run, script
from tests.loops import count_descriptors
from tests.net.parties import Net


async def work(lib: Any) -> bytes:
    process = await lib.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    output, _ = await process.communicate(b"from %d" % threading.get_ident())
    assert process.returncode == 0
    assert await script(lib, "exit 3") == (3, b"")
    with pytest.raises(FileNotFoundError):
        await run(lib, "/there/is/no/such/program")
    return bytes(output)


def in_threads(count: int) -> list[bytes]:
    """Run the same in so many threads, each with a loop of its own."""
    results: list[bytes] = []

    def body() -> None:
        loop = aioxide.new_event_loop()
        try:
            for _ in range(5):
                output = loop.run_until_complete(asyncio.wait_for(work(aioxide), 30))
            results.append(output)
        finally:
            loop.close()

    threads = [threading.Thread(target=body) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("count", [1, 4])
def test_loops_run_children_in_any_thread(count: int, way_of_aioxide: str) -> None:
    assert len(set(in_threads(count))) == count


def test_loops_in_turn_run_children_in_one_thread(way_of_aioxide: str) -> None:
    first, second = aioxide.new_event_loop(), aioxide.new_event_loop()
    for loop in (first, second, first, second):
        loop.run_until_complete(work(aioxide))
    first.close()
    second.close()


def test_a_loop_may_go_on_in_another_thread(
    way_of_aioxide: str,
) -> None:
    loop = aioxide.new_event_loop()
    process: Any = loop.run_until_complete(aioxide.create_subprocess_exec("sleep", "60"))
    thread = threading.Thread(target=lambda: loop.run_until_complete(finish()))

    async def finish() -> None:
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    thread.start()
    thread.join()
    assert process.returncode == -signal.SIGKILL
    loop.close()


def test_a_loop_that_is_closed_forgets_its_children(way_of_aioxide: str) -> None:
    """The transport warns as asyncio's, the child is killed with it, and the Popen object reaps."""
    if way_of_aioxide == "threads":
        return  # where the thread says so itself, see below
    loop = aioxide.new_event_loop()
    process: Any = loop.run_until_complete(aioxide.create_subprocess_exec("sleep", "60"))
    pid = process.pid
    before = count_descriptors()
    loop.close()
    assert count_descriptors() < before
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del process
        gc.collect()
    said = [str(warning.message) for warning in caught]
    assert any(
        re.match(r"unclosed transport <_UnixSubprocessTransport pid=\d+", one) for one in said
    )
    assert {warning.category for warning in caught} == {ResourceWarning}
    while children():
        subprocess._cleanup()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_thread_that_waits_for_a_closed_loop_says_so(
    way_of_aioxide: str, caplog: pytest.LogCaptureFixture
) -> None:
    if way_of_aioxide != "threads":
        return
    loop = aioxide.new_event_loop()
    process: Any = loop.run_until_complete(aioxide.create_subprocess_exec("sleep", "60"))
    loop.close()
    os.kill(process.pid, signal.SIGKILL)
    while "that handles pid" not in caplog.text:
        gc.collect()
    assert f"Loop {loop!r} that handles pid {process.pid} is closed" in caplog.text
    process._transport._proc.returncode = -9
    process._transport._closed = True


def test_a_loop_closed_in_the_middle_of_a_birth_loses_no_descriptor(way_of_aioxide: str) -> None:
    if way_of_aioxide != "aioxide":
        return
    before = count_descriptors()
    for _ in range(3):
        loop = aioxide.new_event_loop()
        creating = loop.create_task(aioxide.create_subprocess_exec("true", stdout=PIPE))
        loop.call_soon(loop.stop)
        loop.run_forever()
        creating._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            del creating
            gc.collect()
    while children():
        subprocess._cleanup()  # type: ignore[attr-defined]
    gc.collect()
    assert count_descriptors() == before


async def test_a_forked_copy_of_the_process_has_children_of_its_own(net: Net) -> None:
    if net.name == "asyncio":
        return  # whose loops are not to be used after a fork
    process = await net.lib.create_subprocess_exec("cat", stdin=PIPE)
    copy = os.fork()
    if copy == 0:
        code = 1
        try:
            signal.alarm(30)
            asyncio._set_running_loop(None)
            loop = aioxide.new_event_loop()
            loop.run_until_complete(work(aioxide))
            code = 0
        finally:
            os._exit(code)
    _, status = await asyncio.to_thread(os.waitpid, copy, 0)
    assert status == 0
    process.stdin.close()
    assert await process.wait() == 0


def test_asyncio_run_with_install_uses_the_native_streams() -> None:
    text = """
import aioxide; aioxide.install()
import asyncio
async def main():
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    assert type(process.stdout) is aioxide.StreamReader, process.stdout
    assert type(process.stdin) is aioxide.StreamWriter, process.stdin
    assert isinstance(process.stdout, asyncio.StreamReader)
    assert isinstance(process, asyncio.subprocess.Process)
    print((await process.communicate(b"x"))[0].decode(), aioxide.subprocess.PIPE)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", text], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "x -1\n", "")
