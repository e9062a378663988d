"""Many signals, and signals while there is much else to do.

In this process, on asyncio's loop and on aioxide's. Handlers are added for signals that do nothing
by default where a test takes handlers away: the next one would kill the process otherwise.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.loops import Loop, Report, count_descriptors, run_turns

REAL_TIME = range(signal.SIGRTMIN + 3, signal.SIGRTMAX + 1)  # the first are the C library's own
HARMLESS = [signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH]


@pytest.fixture
def loop(loop: Loop) -> Iterator[Loop]:
    yield loop
    loop.close()
    assert signal.set_wakeup_fd(-1) == -1


def run_until(loop: Loop, reached: Callable[[], object]) -> None:
    """Run turns until it is true; each may be the one that gets a signal."""
    deadline = loop.time() + 60
    while not reached():
        assert loop.time() < deadline, "it did not happen"
        run_turns(loop)


def test_thousands_of_one_kind_are_each_handled(loop: Loop) -> None:
    seen: Counter[int] = Counter()
    loop.add_signal_handler(signal.SIGUSR1, seen.update, [1])
    for _ in range(20):
        # As many as asyncio's socket has room for.
        for _ in range(200):
            signal.raise_signal(signal.SIGUSR1)
        run_turns(loop, 3)
    assert seen[1] == 4000


def test_thousands_from_another_process(loop: Loop) -> None:
    seen: Counter[str] = Counter()
    loop.add_signal_handler(signal.SIGUSR1, seen.update, ["usr1"])
    loop.add_signal_handler(signal.SIGUSR2, seen.update, ["usr2"])
    program = f"""
import os, signal
for _ in range(5000):
    os.kill({os.getpid()}, signal.SIGUSR1)
os.kill({os.getpid()}, signal.SIGUSR2)
"""
    with subprocess.Popen([sys.executable, "-c", program]) as sender:
        run_until(loop, lambda: seen["usr2"])
    assert sender.returncode == 0
    # The kernel keeps one of a kind, so how many arrive is chance; but the last one does.
    assert seen["usr1"] >= 1
    assert seen["usr2"] == 1


def test_every_kind_of_signal_in_the_order_of_arrival(loop: Loop) -> None:
    seen: list[int] = []
    kinds = [signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGALRM, *HARMLESS, *REAL_TIME]
    for kind in kinds:
        loop.add_signal_handler(kind, seen.append, kind)
    for _ in range(5):
        for kind in kinds:
            signal.raise_signal(kind)
        run_turns(loop, 3)
    assert seen == [int(kind) for kind in kinds] * 5


def test_real_time_signals_are_queued_by_the_kernel_and_all_heard(loop: Loop) -> None:
    seen: Counter[int] = Counter()
    kinds = list(REAL_TIME)[:4]
    for kind in kinds:
        loop.add_signal_handler(kind, seen.update, [kind])
    # Blocked, they wait in the kernel, which counts only the real-time ones.
    signal.pthread_sigmask(signal.SIG_BLOCK, kinds)
    try:
        for _ in range(50):
            for kind in kinds:
                os.kill(os.getpid(), kind)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, kinds)
    run_until(loop, lambda: seen.total() >= 200)
    assert seen == Counter(dict.fromkeys(kinds, 50))


def test_a_signal_that_arrives_while_the_others_are_handled(loop: Loop) -> None:
    seen: list[int] = []

    def again(left: int) -> None:
        seen.append(left)
        if left:
            loop.add_signal_handler(signal.SIGUSR1, again, left - 1)
            signal.raise_signal(signal.SIGUSR1)

    loop.add_signal_handler(signal.SIGUSR1, again, 100)
    signal.raise_signal(signal.SIGUSR1)
    run_until(loop, lambda: seen and seen[-1] == 0)
    assert seen == list(range(100, -1, -1))


def test_failing_handlers_take_nothing_from_the_others(loop: Loop, reports: list[Report]) -> None:
    seen: list[str] = []
    loop.add_signal_handler(signal.SIGUSR1, lambda: 1 / 0)
    loop.add_signal_handler(signal.SIGUSR2, seen.append, "heard")
    for _ in range(50):
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR2)
    run_turns(loop, 3)
    assert seen == ["heard"] * 50
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError] * 50


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_handler_that_ends_the_program_leaves_the_others_for_later(
    loop: Loop, kind: type[BaseException]
) -> None:
    seen: list[str] = []

    def end() -> None:
        raise kind

    loop.add_signal_handler(signal.SIGUSR1, end)
    loop.add_signal_handler(signal.SIGUSR2, seen.append, "heard")
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR2)
    with pytest.raises(kind):
        loop.run_forever()
    assert seen == []
    run_turns(loop)
    assert seen == ["heard"]


def test_a_handler_takes_another_away_that_was_called_already(loop: Loop) -> None:
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        assert loop.remove_signal_handler(signal.SIGWINCH)

    loop.add_signal_handler(signal.SIGURG, first)
    loop.add_signal_handler(signal.SIGWINCH, seen.append, "second")
    signal.raise_signal(signal.SIGURG)
    signal.raise_signal(signal.SIGWINCH)
    run_turns(loop, 3)
    # Both arrived together, and what was scheduled stays scheduled.
    assert seen == ["first", "second"]
    signal.raise_signal(signal.SIGWINCH)
    run_turns(loop, 3)
    assert seen == ["first", "second"]


def test_a_handler_takes_itself_away_in_the_middle_of_a_burst(loop: Loop) -> None:
    seen: list[bool] = []
    loop.add_signal_handler(
        signal.SIGURG, lambda: seen.append(loop.remove_signal_handler(signal.SIGURG))
    )
    for _ in range(20):
        signal.raise_signal(signal.SIGURG)
    run_turns(loop, 3)
    assert seen == [True] + [False] * 19
    for _ in range(20):
        signal.raise_signal(signal.SIGURG)
    run_turns(loop, 3)
    assert len(seen) == 20


def test_what_arrived_before_the_handler_went_is_forgotten(loop: Loop) -> None:
    seen: list[str] = []
    for kind in HARMLESS:
        loop.add_signal_handler(kind, seen.append, kind.name)
    for kind in HARMLESS:
        signal.raise_signal(kind)
    assert loop.remove_signal_handler(HARMLESS[0])
    run_turns(loop, 3)
    assert seen == [kind.name for kind in HARMLESS[1:]]


def test_what_arrived_is_for_the_handler_that_is_there_when_it_is_read(loop: Loop) -> None:
    seen: list[str] = []
    loop.add_signal_handler(signal.SIGURG, seen.append, "old")
    signal.raise_signal(signal.SIGURG)
    assert loop.remove_signal_handler(signal.SIGURG)
    loop.add_signal_handler(signal.SIGURG, seen.append, "new")
    run_turns(loop, 3)
    assert seen == ["new"]


def test_handlers_come_and_go_while_signals_arrive(loop: Loop) -> None:
    before = count_descriptors()
    seen: Counter[str] = Counter()
    for number in range(300):
        kind = HARMLESS[number % 3]
        loop.add_signal_handler(kind, seen.update, [kind.name])
        signal.raise_signal(kind)
        run_turns(loop, 2)
        signal.raise_signal(kind)
        assert loop.remove_signal_handler(kind)
    run_turns(loop, 2)
    assert seen == Counter({kind.name: 100 for kind in HARMLESS})
    assert count_descriptors() <= before + 2


def test_child_processes_and_a_handler_for_their_signal(loop: Loop) -> None:
    seen: list[str] = []
    loop.add_signal_handler(signal.SIGCHLD, seen.append, "child")

    async def child(number: int) -> int:
        process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {number}")
        return await process.wait()

    async def children() -> list[int]:
        return await asyncio.gather(*(child(number) for number in range(20)))

    assert loop.run_until_complete(children()) == list(range(20))
    run_until(loop, lambda: seen)
    assert len(seen) <= 20
    assert loop.remove_signal_handler(signal.SIGCHLD)
    assert loop.run_until_complete(children()) == list(range(20))


def test_children_that_are_killed_in_a_storm_of_signals(loop: Loop) -> None:
    seen: Counter[str] = Counter()
    loop.add_signal_handler(signal.SIGUSR1, seen.update, ["usr1"])
    loop.add_signal_handler(signal.SIGCHLD, seen.update, ["child"])

    async def main() -> list[int]:
        children = [await asyncio.create_subprocess_exec("cat", stdin=-1) for _ in range(10)]
        for child in children:
            signal.raise_signal(signal.SIGUSR1)
            child.send_signal(signal.SIGTERM)
        codes = [await child.wait() for child in children]
        while not seen["child"]:
            await asyncio.sleep(0)
        return codes

    assert loop.run_until_complete(main()) == [-signal.SIGTERM] * 10
    assert seen["usr1"] == 10
    assert 1 <= seen["child"] <= 10


# Signals have to be heard however much else there is to do.


def test_heard_while_callbacks_are_always_ready(loop: Loop) -> None:
    count = 0
    heard: list[int] = []

    def again() -> None:
        nonlocal count
        count += 1
        if count == 1000:
            signal.raise_signal(signal.SIGUSR1)
        assert count < 100_000, "the signal was not heard"
        loop.call_soon(again)

    def hear() -> None:
        heard.append(count)
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, hear)
    again()
    loop.run_forever()
    assert heard[0] - 1000 <= 3  # turns


def test_heard_while_tasks_never_sleep(loop: Loop) -> None:
    steps = 0
    heard: list[int] = []

    async def work() -> None:
        nonlocal steps
        while not heard:
            steps += 1
            if steps == 1000:
                signal.raise_signal(signal.SIGUSR1)
            assert steps < 100_000, "the signal was not heard"
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(10)))

    loop.add_signal_handler(signal.SIGUSR1, lambda: heard.append(steps))
    loop.run_until_complete(main())
    assert heard[0] - 1000 <= 30  # three turns of ten steps


class Flood(asyncio.Protocol):
    """Sends back what comes, as much as it can, until it is closed."""

    packets = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        Flood.packets += 1
        self.transport.write(data)


def test_heard_while_transports_are_flooded(loop: Loop) -> None:
    heard: list[int] = []

    async def main() -> None:
        Flood.packets = 0
        transports = []
        for _ in range(20):
            for end in socket.socketpair():
                end.setblocking(False)
                transport, _ = await loop.create_connection(Flood, sock=end)
                transports.append(transport)
        for transport in transports[::2]:
            transport.write(bytes(1000))
        while Flood.packets < 2000:
            await asyncio.sleep(0)
        signal.raise_signal(signal.SIGUSR1)
        sent = Flood.packets
        while not heard:
            await asyncio.sleep(0)
        for transport in transports:
            transport.abort()
        # At most every transport in each of three turns.
        assert heard[0] - sent <= 3 * len(transports)

    loop.add_signal_handler(signal.SIGUSR1, lambda: heard.append(Flood.packets))
    loop.run_until_complete(main())
    run_turns(loop, 2)


def test_heard_while_streams_are_flooded(loop: Loop) -> None:
    heard: list[int] = []
    lines = 0

    async def pass_on(reader: Any, writer: Any) -> None:
        nonlocal lines
        while line := await reader.readline():
            lines += 1
            if lines == 2000:
                signal.raise_signal(signal.SIGUSR1)
            if heard:
                break
            assert lines < 1_000_000, "the signal was not heard"
            writer.write(line)
            await writer.drain()
        writer.close()

    async def main() -> None:
        passing = []
        for _ in range(5):
            for end in socket.socketpair():
                reader, writer = await asyncio.open_connection(sock=end)
                writer.write(b"ball\n")
                passing.append(pass_on(reader, writer))
        await asyncio.gather(*passing)

    loop.add_signal_handler(signal.SIGUSR1, lambda: heard.append(lines))
    loop.run_until_complete(main())
    assert heard[0] - 2000 <= 200
    run_turns(loop, 2)
