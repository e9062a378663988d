"""Who is told of a socket that `loop.sock_recv()` and its kin wait for, and for how long.

A socket stays registered after a wait, which no program may be able to tell: not by what it does
with the descriptor, nor by the socket's life, nor by the loop's. Each test runs on asyncio's loop,
too, except those of promises that asyncio does not make.
"""

import asyncio
import gc
import os
import socket
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import aioxide
from tests.loops import Loop, run_turns
from tests.sockets import Pair, fill, returned, waiting, within


@pytest.fixture
def ours() -> Iterator[Loop]:
    """A loop for promises that asyncio does not make."""
    loop = aioxide.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


# Whose descriptor it is


def test_a_socket_that_was_received_from_stays_registered(ours: Any, pair: Pair) -> None:
    left, right = pair
    task = waiting(ours, ours.sock_recv(right, 10))
    left.send(b"data")
    within(ours, task)
    assert ours._watched(right) == (True, False)
    left.send(b"nobody waits for this")
    run_turns(ours, 3)
    assert ours._watched(right) == (False, False)
    assert within(ours, ours.sock_recv(right, 6)) == b"nobody"


def test_a_registered_socket_that_nobody_waits_for_is_free(loop: Loop, pair: Pair) -> None:
    left, right = pair
    task = waiting(loop, loop.sock_recv(right, 10))
    left.send(b"data")
    within(loop, task)
    assert not loop.remove_reader(right)
    seen: list[bytes] = []
    loop.add_reader(right, lambda: seen.append(right.recv(10)))
    left.send(b"more")
    run_turns(loop, 2)
    assert seen == [b"more"]
    assert loop.remove_reader(right)
    task = waiting(loop, loop.sock_recv(right, 10))
    left.send(b"again")
    assert within(loop, task) == b"again"


def test_a_transport_can_take_over_a_registered_socket(loop: Loop, pair: Pair) -> None:
    left, right = pair
    task = waiting(loop, loop.sock_recv(right, 10))
    left.send(b"data")
    within(loop, task)

    async def read() -> bytes:
        reader, writer = await asyncio.open_connection(sock=right)
        left.send(b"more")
        data = await reader.readexactly(4)
        writer.close()
        return data

    assert within(loop, read()) == b"more"


@pytest.mark.parametrize("then", ["sock_recv", "add_reader", "transport"])
def test_a_number_that_is_used_again_is_watched_anew(loop: Loop, then: str) -> None:
    for _ in range(3):
        left, right = socket.socketpair()
        right.setblocking(False)
        number = right.fileno()
        task = waiting(loop, loop.sock_recv(right, 10))
        left.send(b"data")
        within(loop, task)
        other_left, spare = socket.socketpair()
        right.close()  # and kept alive
        os.dup2(spare.fileno(), number)
        spare.close()
        left.close()
        other = socket.socket(fileno=number)
        other.setblocking(False)
        with other_left, other:
            if then == "sock_recv":
                task = waiting(loop, loop.sock_recv(other, 10))
                other_left.send(b"data")
                assert within(loop, task) == b"data"
            elif then == "add_reader":
                seen: list[bytes] = []
                loop.add_reader(other, lambda: seen.append(other.recv(10)))
                other_left.send(b"data")
                run_turns(loop, 2)
                assert seen == [b"data"]
                loop.remove_reader(other)
            else:

                async def read() -> bytes:
                    reader, writer = await asyncio.open_connection(sock=other)
                    other_left.send(b"data")
                    data = await reader.readexactly(4)
                    writer.close()
                    return data

                assert within(loop, read()) == b"data"
                run_turns(loop, 2)


def test_a_registration_ends_with_its_socket(ours: Any) -> None:
    left, right = socket.socketpair()
    right.setblocking(False)
    task = waiting(ours, ours.sock_recv(right, 10))
    left.send(b"data")
    within(ours, task)
    number, gone = right.fileno(), weakref.ref(right)
    right.close()
    assert ours._watched(number) == (True, False)
    del right
    assert gone() is None
    assert ours._watched(number) == (False, False)
    left.close()


def test_the_last_to_come_gets_the_data(loop: Loop, pair: Pair) -> None:
    left, right = pair
    first = waiting(loop, loop.sock_recv(right, 10))
    second = waiting(loop, loop.sock_recv(right, 10))
    left.send(b"data")
    assert within(loop, second) == b"data"
    left.send(b"more")
    run_turns(loop, 3)
    assert not first.done()
    assert within(loop, loop.sock_recv(right, 10)) == b"more"
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        within(loop, first)


def test_who_was_woken_first_receives_first(loop: Loop, pair: Pair) -> None:
    left, right = pair

    async def late() -> bytes:
        return await loop.sock_recv(right, 10)

    first = waiting(loop, loop.sock_recv(right, 10))
    left.send(b"first")
    run_turns(loop)  # the first is woken; the second asks before the first runs
    second = loop.create_task(late())
    assert within(loop, first) == b"first"
    left.send(b"second")
    assert within(loop, second) == b"second"


def test_a_receiver_that_finds_nothing_after_all_waits_on(loop: Loop, pair: Pair) -> None:
    left, right = pair
    task = waiting(loop, loop.sock_recv(right, 10))
    left.send(b"taken")
    loop.call_soon(right.recv, 10)
    run_turns(loop, 3)
    assert not task.done()
    left.send(b"data")
    assert within(loop, task) == b"data"


def test_a_receiver_is_woken_once_for_what_came(ours: Loop, pair: Pair) -> None:
    # Its socket is found to be readable again before it runs; a method shows each try.
    left, right = pair
    tries = 0

    class Counted:
        def fileno(self) -> int:
            return right.fileno()

        def recv(self, size: int) -> bytes:
            nonlocal tries
            tries += 1
            return right.recv(size)

    async def receive() -> bytes:
        counted: Any = Counted()
        await ours.sock_recv(counted, 10)
        return await ours.sock_recv(counted, 10)

    def busy() -> None:
        if not task.done():
            ours.call_soon(busy)  # so that the kernel is asked in each turn

    task = waiting(ours, receive())
    busy()
    left.send(b"data")
    run_turns(ours, 6)
    assert tries == 3
    left.send(b"more")
    assert within(ours, task) == b"more"
    assert tries == 4


def test_a_reader_of_the_program_takes_the_place_of_a_receiver(loop: Loop, pair: Pair) -> None:
    left, right = pair
    task = waiting(loop, loop.sock_recv(right, 10))
    seen: list[bytes] = []
    loop.add_reader(right, lambda: seen.append(right.recv(10)))
    left.send(b"data")
    run_turns(loop, 3)
    assert seen == [b"data"]
    assert not task.done()
    task.cancel()
    run_turns(loop, 3)
    left.send(b"more")
    run_turns(loop, 3)
    assert seen == [b"data", b"more"]
    loop.remove_reader(right)


def test_a_receiver_takes_the_place_of_a_reader_of_the_program(loop: Loop, pair: Pair) -> None:
    left, right = pair
    seen: list[str] = []
    loop.add_reader(right, seen.append, "readable")
    task = waiting(loop, loop.sock_recv(right, 10))
    left.send(b"data")
    assert within(loop, task) == b"data"
    left.send(b"more")
    run_turns(loop, 3)
    assert seen == []


def test_removing_a_reader_puts_out_a_receiver(loop: Loop, pair: Pair) -> None:
    left, right = pair
    task = waiting(loop, loop.sock_recv(right, 10))
    assert loop.remove_reader(right)
    left.send(b"data")
    run_turns(loop, 3)
    assert not task.done()
    task.cancel()
    run_turns(loop, 3)


def test_a_receiver_and_a_sender_wait_on_one_socket(loop: Loop, pair: Pair) -> None:
    left, right = pair
    fill(left)
    receiver = waiting(loop, loop.sock_recv(left, 10))
    sender = waiting(loop, loop.sock_sendall(left, b"last"))
    right.send(b"data")
    assert within(loop, receiver) == b"data"
    assert not sender.done()
    received = b""
    while not received.endswith(b"last"):
        received = received[-4:] + within(loop, loop.sock_recv(right, 1 << 20))
    assert within(loop, sender) is None


def test_closing_the_loop_lets_go_of_everything() -> None:
    loop = aioxide.new_event_loop()
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    idle_left, idle = socket.socketpair()
    idle.setblocking(False)
    task = waiting(loop, loop.sock_recv(idle, 10))
    idle_left.send(b"data")
    within(loop, task)
    pending = waiting(loop, loop.sock_recv(right, 10))
    pending._log_destroy_pending = False  # type: ignore[attr-defined]
    gone = [weakref.ref(thing) for thing in (right, idle, pending, loop)]
    loop.close()
    for sock in (left, right, idle_left, idle):
        sock.close()
    del right, idle, task, pending, loop, sock
    gc.collect()
    assert [ref() for ref in gone] == [None] * 4


# Sockets that are not quite sockets


class _Counted(socket.socket):
    received = 0

    def recv(self, *arguments: Any) -> bytes:
        self.received += 1
        return super().recv(*arguments)


def test_a_subclass_s_method_is_called(loop: Loop, pair: Pair) -> None:
    left, right = pair
    with _Counted(fileno=right.detach()) as counted:
        counted.setblocking(False)
        task = waiting(loop, loop.sock_recv(counted, 10))
        left.send(b"data")
        assert within(loop, task) == b"data"
        assert counted.received == 2


def test_a_method_that_was_patched_is_called(
    loop: Loop, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = pair
    left.send(b"data")
    assert within(loop, loop.sock_recv(right, 1)) == b"d"
    monkeypatch.setattr(socket.socket, "recv", lambda *_: b"patched", raising=False)
    assert within(loop, loop.sock_recv(right, 1)) == b"patched"
    monkeypatch.undo()
    assert within(loop, loop.sock_recv(right, 1)) == b"a"


class _Fake:
    """Enough of a socket, without a place for weak references."""

    __slots__ = ("real",)

    def __init__(self, real: socket.socket) -> None:
        self.real = real

    def fileno(self) -> int:
        return self.real.fileno()

    def recv(self, size: int) -> bytes:
        return b"fake " + self.real.recv(size)

    def send(self, data: Any) -> int:
        return self.real.send(bytes(data)[:3])


def test_what_behaves_like_a_socket_is_one(loop: Loop, pair: Pair) -> None:
    left, right = pair
    fake: Any = _Fake(right)
    for _ in range(2):
        task = waiting(loop, loop.sock_recv(fake, 10))
        left.send(b"data")
        assert within(loop, task) == b"fake data"
    within(loop, loop.sock_sendall(fake, b"in threes"))
    assert left.recv(20) == b"in threes"


def test_what_a_socket_s_method_raises_reaches_the_caller(loop: Loop, pair: Pair) -> None:
    left, right = pair
    fake: Any = _Fake(right)
    task = waiting(loop, loop.sock_recv(fake, 10))
    fake.real = None
    left.send(b"data")
    with pytest.raises(AttributeError):
        within(loop, task)


@pytest.mark.parametrize("factory", [asyncio.Task, aioxide.Task])
def test_tasks_of_either_make_can_wait(ours: Loop, pair: Pair, factory: Any) -> None:
    left, right = pair
    task = factory(returned(ours.sock_recv(right, 10)), loop=ours)
    run_turns(ours, 2)
    left.send(b"data")
    assert within(ours, task) == b"data"
    task = factory(returned(ours.sock_recv(right, 10)), loop=ours)
    run_turns(ours, 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        within(ours, task)
