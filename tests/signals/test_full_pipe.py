"""More signals than there is room for, in a callback that takes its time.

asyncio keeps some 300 and loses what comes then, whatever it is; and other threads fill the same
socket when they schedule callbacks. aioxide keeps 65536, signals only, and of what comes then it
hears once of each kind.
"""

import fcntl
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import aioxide
from tests.loops import run_turns

USUAL_ROOM = 65536


@pytest.fixture
def loop() -> Iterator[Any]:
    loop = aioxide.new_event_loop()
    yield loop
    loop.close()
    assert signal.set_wakeup_fd(-1) == -1


def room(loop: Any) -> int:
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)


def raise_many(kind: int, times: int) -> None:
    for _ in range(times):
        signal.raise_signal(kind)


@pytest.fixture
def counted(loop: Any) -> Counter[int]:
    counted: Counter[int] = Counter()
    for kind in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        loop.add_signal_handler(kind, counted.update, [int(kind)])
    return counted


def test_thousands_in_one_callback_are_each_handled(loop: Any, counted: Counter[int]) -> None:
    many = room(loop) // 2
    loop.call_soon(raise_many, signal.SIGUSR1, many)
    run_turns(loop, 3)
    assert counted == {signal.SIGUSR1: many}


def test_the_last_of_too_many_is_heard(
    loop: Any, counted: Counter[int], capfd: pytest.CaptureFixture[str]
) -> None:
    full = room(loop)

    def busy() -> None:
        raise_many(signal.SIGUSR1, full + 100)
        signal.raise_signal(signal.SIGUSR2)
        raise_many(signal.SIGUSR1, 100)
        signal.raise_signal(signal.SIGTERM)

    loop.call_soon(busy)
    run_turns(loop, 3)
    assert counted == {signal.SIGUSR1: full, signal.SIGUSR2: 1, signal.SIGTERM: 1}
    assert capfd.readouterr().err == ""


def test_after_too_many_each_counts_again(loop: Any, counted: Counter[int]) -> None:
    full = room(loop)
    raise_many(signal.SIGUSR1, full + 1)
    run_turns(loop, 3)
    counted.clear()
    for kind in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR2, signal.SIGTERM):
        signal.raise_signal(kind)
    run_turns(loop, 3)
    assert counted == {signal.SIGUSR1: 1, signal.SIGUSR2: 2, signal.SIGTERM: 1}


def test_too_many_of_a_kind_without_a_handler(loop: Any, counted: Counter[int]) -> None:
    full = room(loop)
    signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        raise_many(signal.SIGALRM, full)
        signal.raise_signal(signal.SIGTERM)
        run_turns(loop, 3)
        assert counted == {signal.SIGTERM: 1}
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_a_full_pipe_wakes_a_sleeping_loop(loop: Any, counted: Counter[int]) -> None:
    # Nothing is read before the loop runs, and then everything at once.
    raise_many(signal.SIGUSR1, room(loop) + 10)
    loop.add_signal_handler(signal.SIGTERM, loop.stop)
    signal.raise_signal(signal.SIGTERM)
    loop.run_forever()
    assert counted[signal.SIGUSR1] >= USUAL_ROOM // 16  # a user with many pipes gets small ones


def test_the_pipe_is_the_loops_and_nobody_elses(loop: Any, counted: Counter[int]) -> None:
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    assert not os.get_inheritable(descriptor)
    assert not os.get_blocking(descriptor)


def test_other_threads_do_not_drown_signals(loop: Any) -> None:
    heard = threading.Event()
    give_up = loop.call_later(60, loop.stop)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == 500:
            signal.raise_signal(signal.SIGUSR1)

    def schedule() -> None:
        while not heard.is_set():
            loop.call_soon_threadsafe(count)

    def hear() -> None:
        heard.set()
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, hear)
    threads = [threading.Thread(target=schedule) for _ in range(3)]
    for thread in threads:
        thread.start()
    loop.run_forever()
    in_time = heard.is_set()
    heard.set()
    for thread in threads:
        thread.join()
    give_up.cancel()
    assert in_time
    run_turns(loop)
