"""What happens while the resolver takes its time: cancellation, closing, exit, fork.

The programs here run with a `getaddrinfo()` of the C library's that answers when it is told to (see
`slow_resolver.c`). `asked(n)` waits until n more questions were asked, `answer(n)` lets n of them
have their answer.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("slow_resolver.c")

PRELUDE = """
import asyncio, gc, os, pathlib, socket, sys, threading, time, weakref
import aioxide
asked_end, asking = os.pipe()
answering, answer_end = os.pipe()
os.environ.update(ASKED=str(asking), ANSWER=str(answering))

def asked(count):
    while count:
        count -= len(os.read(asked_end, count))

def answer(count):
    os.write(answer_end, bytes(count))

def unasked():
    os.set_blocking(asked_end, False)
    try:
        return len(os.read(asked_end, 1000)) == 0
    except BlockingIOError:
        return True
    finally:
        os.set_blocking(asked_end, True)

def threads():
    names = [comm.read_text() for comm in pathlib.Path("/proc/self/task").glob("*/comm")]
    return names.count("aioxide-dns\\n")
"""


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = tmp_path_factory.mktemp("resolver") / "slow_resolver.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


def run(resolver: Path, program: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "LD_PRELOAD": str(resolver)},
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr


def test_the_loop_goes_on_while_an_answer_takes_long(resolver: Path) -> None:
    run(
        resolver,
        """
        async def main():
            loop = asyncio.get_running_loop()
            lookup = loop.create_task(loop.getaddrinfo("slow", 80))
            await asyncio.sleep(0)
            asked(1)
            for _ in range(100):
                await asyncio.sleep(0)
            assert not lookup.done()
            answer(1)
            assert await lookup == socket.getaddrinfo("127.0.0.1", 80)
        aioxide.run(main())
        """,
    )


def test_a_cancelled_question_ends_at_once_and_keeps_nothing(resolver: Path) -> None:
    run(
        resolver,
        """
        async def main():
            loop = asyncio.get_running_loop()
            lookup = loop.create_task(loop.getaddrinfo("slow", 80))
            await asyncio.sleep(0)
            asked(1)
            lookup.cancel()
            await asyncio.wait([lookup])
            assert lookup.cancelled()
            gone = weakref.ref(lookup)
            gc.collect()
            gc.disable()
            del lookup
            await asyncio.sleep(0)
            assert gone() is None
            # The late answer finds nobody, and others find theirs.
            other = loop.create_task(loop.getaddrinfo("slow2", 81))
            await asyncio.sleep(0)
            asked(1)
            answer(2)
            assert (await other)[0][4] == ("127.0.0.1", 81)

        aioxide.run(main())
        """,
    )


def test_a_timeout_ends_a_question(resolver: Path) -> None:
    run(
        resolver,
        """
        async def main():
            began = time.monotonic()
            try:
                async with asyncio.timeout(0.05):
                    await asyncio.open_connection("slow", 80)
            except TimeoutError:
                assert time.monotonic() - began < 5
            else:
                raise AssertionError

        aioxide.run(main())
        """,
    )


def test_threads_are_few_and_what_is_abandoned_before_its_turn_is_never_asked(
    resolver: Path,
) -> None:
    run(
        resolver,
        """
        async def main():
            loop = asyncio.get_running_loop()
            first = [loop.create_task(loop.getaddrinfo("slow", 1)) for _ in range(32)]
            later = [loop.create_task(loop.getaddrinfo("slow", 2)) for _ in range(50)]
            await asyncio.sleep(0)
            asked(32)
            await asyncio.sleep(0.05)
            assert unasked()
            assert threads() == 32
            for lookup in later[:-1]:
                lookup.cancel()
            await asyncio.wait(later[:-1])
            answer(33)
            for found in await asyncio.gather(*first, later[-1]):
                assert found[0][4][0] == "127.0.0.1"
            asked(1)
            await loop.getaddrinfo("localhost", 1)
            assert unasked()

        aioxide.run(main())
        """,
    )


def test_a_loop_may_be_closed_while_it_waits_for_an_answer(resolver: Path) -> None:
    run(
        resolver,
        """
        loop = aioxide.new_event_loop()
        lookup = loop.create_task(loop.getaddrinfo("slow", 80))
        loop.call_soon(loop.stop)
        loop.run_forever()
        asked(1)
        descriptors = len(os.listdir("/proc/self/fd"))
        lookup.cancel()
        loop.run_until_complete(asyncio.wait([lookup]))
        loop.close()
        answer(1)
        # The thread that answers is the last to have the loop's mailbox.
        deadline = time.monotonic() + 10
        while len(os.listdir("/proc/self/fd")) > descriptors - 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(os.listdir("/proc/self/fd")) <= descriptors - 3

        async def main():
            return await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        assert aioxide.run(main())
        """,
    )


def test_a_loop_closed_with_a_question_open_can_be_collected(resolver: Path) -> None:
    run(
        resolver,
        """
        loop = aioxide.new_event_loop()
        lookup = loop.create_task(loop.getaddrinfo("slow", 80))
        loop.call_soon(loop.stop)
        loop.run_forever()
        asked(1)
        lookup._log_destroy_pending = False
        loop.close()
        gone = weakref.ref(loop)
        del loop, lookup
        gc.collect()
        assert gone() is None
        answer(1)
        """,
    )


@pytest.mark.parametrize("end", ["pass", "sys.exit()", "raise SystemExit(0)", "os._exit(0)"])
def test_the_program_ends_without_the_answer(resolver: Path, end: str) -> None:
    run(
        resolver,
        f"""
        async def main():
            loop = asyncio.get_running_loop()
            waiting = [loop.create_task(loop.getaddrinfo("slow", 80)) for _ in range(5)]
            await asyncio.sleep(0)
            asked(5)
            {end}

        aioxide.run(main())
        """,
    )


def test_the_program_may_end_while_answers_come_in(resolver: Path) -> None:
    run(
        resolver,
        """
        async def main():
            loop = asyncio.get_running_loop()
            waiting = [loop.create_task(loop.getaddrinfo("slow", 80)) for _ in range(20)]
            await asyncio.sleep(0)
            asked(20)

        threading.Timer(0, answer, [20]).start()
        aioxide.run(main())
        """,
    )


@pytest.mark.parametrize("answered", [False, True])
def test_a_forked_child_asks_anew_and_leaves_its_parent_the_answers(
    resolver: Path, answered: bool
) -> None:
    run(
        resolver,
        f"""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # fork() beside threads
        loop = aioxide.new_event_loop()
        lookup = loop.create_task(loop.getaddrinfo("slow", 80))
        loop.call_soon(loop.stop)
        loop.run_forever()
        asked(1)
        if {answered}:
            answer(1)
            time.sleep(0.1)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                # The parent's loop, and one of its own.
                assert loop.run_until_complete(loop.getaddrinfo("localhost", 80))
                for _ in range(20):
                    loop.run_until_complete(asyncio.sleep(0.001))
                assert not lookup.done()

                async def main():
                    return await asyncio.get_running_loop().getaddrinfo("localhost", 80)
                assert aioxide.run(main())
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        if not {answered}:
            answer(1)
        assert loop.run_until_complete(asyncio.wait_for(lookup, 10))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        """,
    )
