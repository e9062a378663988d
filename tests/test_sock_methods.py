"""`loop.sock_recv()` and its kin, on sockets that a program made itself.

Each test runs on asyncio's loop and on aioxide's, except where aioxide keeps a promise that asyncio
does not make; those say so.
"""

import asyncio
import inspect
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aioxide
from tests.loops import Loop, run_turns
from tests.sockets import Pair, fill, listener, udp, waiting, within

METHODS = [
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
    "sock_connect",
    "sock_accept",
]


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


# What they are


@pytest.mark.parametrize("name", METHODS)
def test_the_methods_pass_for_asyncio_s_coroutine_functions(loop: Loop, name: str) -> None:
    method = getattr(loop, name)
    stock = getattr(asyncio.SelectorEventLoop, name)
    assert inspect.iscoroutinefunction(method)
    assert inspect.signature(method) == inspect.signature(stock.__get__(loop))
    assert method.__qualname__ == stock.__qualname__


# Receiving


def test_data_that_is_there_is_received_without_waiting(loop: Loop, pair: Pair) -> None:
    left, right = pair
    left.send(b"data")
    call = loop.sock_recv(right, 100)
    with pytest.raises(StopIteration) as stop:
        call.send(None)
    assert stop.value.value == b"data"


def test_a_receiver_waits_for_data(loop: Loop, pair: Pair) -> None:
    left, right = pair
    task = waiting(loop, loop.sock_recv(right, 100))
    left.send(b"data")
    assert within(loop, task) == b"data"


def test_no_more_is_received_than_was_asked_for(loop: Loop, pair: Pair) -> None:
    left, right = pair
    left.send(b"data")
    assert within(loop, loop.sock_recv(right, 3)) == b"dat"
    assert within(loop, loop.sock_recv(right, 3)) == b"a"


@pytest.mark.parametrize("size", [10, 70_000])
def test_the_end_of_a_stream_is_no_bytes(loop: Loop, pair: Pair, size: int) -> None:
    left, right = pair
    task = waiting(loop, loop.sock_recv(right, size))
    left.shutdown(socket.SHUT_WR)
    assert within(loop, task) == b""
    assert within(loop, loop.sock_recv(right, size)) == b""
    # The socket stays readable for ever; the loop must not be kept busy by that.
    before = os.times().user + os.times().system
    within(loop, asyncio.sleep(0.2))
    assert os.times().user + os.times().system - before < 0.15


@pytest.mark.parametrize("size", [1000, 50_000, 65_536, 300_000])
def test_a_stream_arrives_whole_whatever_the_size_of_reads(
    loop: Loop, pair: Pair, size: int
) -> None:
    left, right = pair
    data = os.urandom(1_000_003)

    async def receive() -> bytes:
        parts = []
        while part := await loop.sock_recv(right, size):
            assert len(part) <= size
            parts.append(part)
        return b"".join(parts)

    async def both() -> bytes:
        task = asyncio.ensure_future(receive())
        await loop.sock_sendall(left, data)
        left.shutdown(socket.SHUT_WR)
        return await task

    assert within(loop, both()) == data


def test_much_data_on_one_connection_leaves_others_their_turn(ours: Loop) -> None:
    with listener() as server, socket.socket() as client:
        client.connect(server.getsockname())
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1
            ours.call_soon(count)

        async def receive() -> list[int]:
            connection, _ = await ours.sock_accept(server)
            with connection:
                ours.call_later(0.01, client.sendall, b"*" * 150_000)
                seen = []
                for _ in range(4):
                    assert await ours.sock_recv(connection, 30_000)
                    seen.append(turns)
                return seen

        ours.call_soon(count)
        seen = within(ours, receive())
        assert len(set(seen)) == len(seen)


def test_data_is_received_into_any_writable_buffer(loop: Loop, pair: Pair) -> None:
    left, right = pair
    array, view = bytearray(8), memoryview(bytearray(8))
    task = waiting(loop, loop.sock_recv_into(right, array))
    left.send(b"data")
    assert within(loop, task) == 4
    assert array == b"data\0\0\0\0"
    left.send(b"more")
    assert within(loop, loop.sock_recv_into(right, view[2:4])) == 2
    assert bytes(view) == b"\0\0mo\0\0\0\0"


@pytest.mark.parametrize(
    ("method", "arguments", "kind"),
    [
        ("sock_recv", (-1,), ValueError),
        ("sock_recv", ("10",), TypeError),
        ("sock_recv", (1.5,), TypeError),
        ("sock_recv", (1 << 80,), OverflowError),
        ("sock_recv_into", (b"read only",), TypeError),
        ("sock_recvfrom_into", (bytearray(2), 3), ValueError),
        ("sock_sendall", ("text",), TypeError),
        ("sock_sendall", (memoryview(b"strided")[::2],), BufferError),
    ],
)
def test_bad_arguments_fail_as_the_socket_s_own_method_does(
    loop: Loop, pair: Pair, method: str, arguments: Any, kind: type[Exception]
) -> None:
    call = getattr(loop, method)(pair[0], *arguments)
    with pytest.raises(kind) as failed:
        within(loop, call)
    own = {"sock_sendall": "send"}.get(method, method.removeprefix("sock_"))
    with pytest.raises(kind) as expected:
        getattr(pair[0], own)(*arguments)
    assert str(failed.value) == str(expected.value)


def test_receiving_nothing_is_nothing(loop: Loop, pair: Pair) -> None:
    assert within(loop, loop.sock_recv(pair[0], 0)) == b""
    assert within(loop, loop.sock_recv_into(pair[0], bytearray())) == 0


def test_errors_of_the_system_are_the_socket_s_own(loop: Loop) -> None:
    left, right = socket.socketpair()
    left.close()
    right.close()
    for call in (loop.sock_recv(right, 1), loop.sock_sendall(right, b"x"), loop.sock_accept(right)):
        with pytest.raises(OSError, match=r"\[Errno 9\] Bad file descriptor") as failed:
            within(loop, call)
        assert failed.value.errno == 9
    fresh = socket.socket()
    fresh.setblocking(False)
    with fresh, pytest.raises(OSError, match="Transport endpoint is not connected"):
        within(loop, loop.sock_recv(fresh, 1))


def test_a_reset_reaches_the_receiver(loop: Loop) -> None:
    with listener() as server, socket.create_connection(server.getsockname()) as client:
        connection, _ = within(loop, loop.sock_accept(server))
        with connection:
            task = waiting(loop, loop.sock_recv(connection, 10))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            with pytest.raises(ConnectionResetError):
                within(loop, task)


# Sending


def test_more_than_fits_is_sent_as_room_is_made(loop: Loop, pair: Pair) -> None:
    left, right = pair
    data = bytearray(os.urandom(3_000_000))
    task = waiting(loop, loop.sock_sendall(left, data))
    with pytest.raises(BufferError):
        data.append(1)  # in flight
    received = bytearray()
    while len(received) < len(data):
        received += within(loop, loop.sock_recv(right, 100_000))
    assert within(loop, task) is None
    assert received == data
    data.append(1)


@pytest.mark.parametrize("data", [b"data", bytearray(b"data"), memoryview(b"data")])
def test_all_bytes_like_objects_are_sent(loop: Loop, pair: Pair, data: Any) -> None:
    assert within(loop, loop.sock_sendall(pair[0], data)) is None
    assert pair[1].recv(10) == b"data"


def test_sending_nothing_sends_nothing(loop: Loop, pair: Pair) -> None:
    within(loop, loop.sock_sendall(pair[0], b""))
    with pytest.raises(BlockingIOError):
        pair[1].recv(1)


def test_sending_nothing_to_a_datagram_socket_sends_an_empty_datagram(loop: Loop) -> None:
    with udp() as left, udp() as right:
        left.connect(right.getsockname())
        within(loop, loop.sock_sendall(left, b""))
        assert within(loop, loop.sock_recvfrom(right, 10)) == (b"", left.getsockname())


def test_sending_to_a_closed_peer_fails(loop: Loop, pair: Pair) -> None:
    left, right = pair
    fill(left)
    task = waiting(loop, loop.sock_sendall(left, b"more"))
    right.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        within(loop, task)


# Datagrams


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_datagrams_come_with_their_sender(loop: Loop, family: int) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    left, right = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    with left, right:
        for sock in (left, right):
            sock.setblocking(False)
            sock.bind((host, 0))
        task = waiting(loop, loop.sock_recvfrom(right, 100))
        assert within(loop, loop.sock_sendto(left, b"one", right.getsockname())) == 3
        assert within(loop, task) == (b"one", left.getsockname())
        buffer = bytearray(5)
        task = waiting(loop, loop.sock_recvfrom_into(right, buffer))
        within(loop, loop.sock_sendto(left, b"second", right.getsockname()))
        assert within(loop, task) == (5, left.getsockname())
        assert buffer == b"secon"
        within(loop, loop.sock_sendto(left, b"third", right.getsockname()))
        assert within(loop, loop.sock_recvfrom_into(right, buffer, 2)) == (2, left.getsockname())
        assert buffer == b"thcon"


def test_a_datagram_can_be_sent_to_a_name(loop: Loop) -> None:
    with udp() as left, udp() as right:
        name = ("localhost", right.getsockname()[1])
        assert within(loop, loop.sock_sendto(left, memoryview(b"data"), name)) == 4
        assert within(loop, loop.sock_recvfrom(right, 10)) == (b"data", left.getsockname())
        with pytest.raises(OverflowError, match="port must be 0-65535"):
            within(loop, loop.sock_sendto(left, b"data", ("127.0.0.1", 70_000)))
        with pytest.raises(TypeError, match="a bytes-like object is required, not 'str'"):
            text: Any = "text"
            within(loop, loop.sock_sendto(left, text, name))
        with pytest.raises(OSError, match="Message too long"):
            within(loop, loop.sock_sendto(left, bytes(70_000), right.getsockname()))


def test_audit_hooks_hear_of_datagrams(loop: Loop) -> None:
    heard: list[Any] = []
    listening = True

    def hook(event: str, arguments: Any) -> None:
        if listening and event == "socket.sendto":
            heard.append(arguments)

    sys.addaudithook(hook)
    with udp() as left, udp() as right:
        within(loop, loop.sock_sendto(left, b"data", right.getsockname()))
        assert heard == [(left, right.getsockname())]
    listening = False


def test_a_connected_socket_s_sender_is_none(loop: Loop) -> None:
    with listener() as server, socket.create_connection(server.getsockname()) as client:
        connection, _ = server.accept()
        client.send(b"data")
        with connection:
            connection.setblocking(False)
            assert within(loop, loop.sock_recvfrom(connection, 10)) == (b"data", None)


def test_a_datagram_of_more_than_64_kib_arrives_whole(loop: Loop) -> None:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        data = os.urandom(100_000)
        task = waiting(loop, loop.sock_recv(right, 200_000))
        within(loop, loop.sock_sendall(left, data))
        assert within(loop, task) == data


# Connecting and accepting


def test_a_connection_is_made_and_accepted(loop: Loop) -> None:
    with listener() as server, socket.socket() as client:
        client.setblocking(False)
        task = waiting(loop, loop.sock_accept(server))
        assert within(loop, loop.sock_connect(client, server.getsockname())) is None
        connection, address = within(loop, task)
        with connection:
            assert address == client.getsockname()
            assert connection.gettimeout() == 0
            assert type(connection) is socket.socket


def test_a_host_name_is_looked_up(loop: Loop) -> None:
    with listener() as server, socket.socket() as client:
        client.setblocking(False)
        within(loop, loop.sock_connect(client, ("localhost", server.getsockname()[1])))
        assert client.getpeername() == server.getsockname()


def test_a_refused_connection_names_the_address(loop: Loop) -> None:
    with listener() as server:
        address = server.getsockname()
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(ConnectionRefusedError) as refused:
            within(loop, loop.sock_connect(client, address))
    assert str(refused.value) == f"[Errno 111] Connect call failed {address}"


def test_unix_sockets_connect_by_path(loop: Loop, tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        server.setblocking(False)
        client.setblocking(False)
        task = waiting(loop, loop.sock_accept(server))
        within(loop, loop.sock_connect(client, path))
        connection, address = within(loop, task)
        connection.close()
        assert address == ""
        with pytest.raises(FileNotFoundError):
            within(loop, loop.sock_connect(client, path + ".none"))


# What is refused


def test_tls_sockets_are_refused(loop: Loop, pair: Pair) -> None:
    context = ssl.create_default_context()
    sock = context.wrap_socket(
        pair[0], do_handshake_on_connect=False, server_hostname="a", suppress_ragged_eofs=True
    )
    for name in METHODS:
        arguments = (b"", "address")[: len(inspect.signature(getattr(loop, name)).parameters) - 1]
        with pytest.raises(TypeError, match="Socket cannot be of type SSLSocket"):
            within(loop, getattr(loop, name)(sock, *arguments))
    sock.close()


def test_debug_mode_wants_sockets_that_do_not_block(loop: Loop, pair: Pair) -> None:
    loop.set_debug(True)
    pair[0].settimeout(5)
    for call in (loop.sock_recv(pair[0], 1), loop.sock_sendall(pair[0], b"x")):
        with pytest.raises(ValueError, match="the socket must be non-blocking"):
            within(loop, call)


def test_a_transport_s_descriptor_is_refused(loop: Loop, pair: Pair) -> None:
    left, _ = pair

    async def run() -> None:
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        expected = f"File descriptor {left.fileno()} is used by transport"
        for call in (loop.sock_recv(left, 10), loop.sock_recv_into(left, bytearray(10))):
            with pytest.raises(RuntimeError, match=expected):
                await call
        transport.abort()
        await asyncio.sleep(0)

    within(loop, run())


def test_a_closed_loop_does_not_wait(pair: Pair) -> None:
    loop = aioxide.new_event_loop()
    loop.close()
    call = loop.sock_recv(pair[0], 1)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        call.send(None)


@pytest.mark.parametrize("size", [1, 7, 10_000, 65_536])
def test_a_conversation_goes_on_whatever_the_sizes(loop: Loop, size: int) -> None:
    # A receiver that is known to have taken all is not tried again: nothing may be missed by that.
    async def echo(sock: socket.socket) -> None:
        buffer = bytearray(size)
        while data := await loop.sock_recv(sock, size):
            await loop.sock_sendall(sock, data)
            if count := await loop.sock_recv_into(sock, buffer):
                await loop.sock_sendall(sock, memoryview(buffer)[:count])

    async def talk(sock: socket.socket) -> None:
        for length in [1, 2, 7, 8, 9_999, 10_000, 10_001, 65_536, 70_000] * 3:
            sent = os.urandom(min(length, size * 30))
            sending = asyncio.ensure_future(loop.sock_sendall(sock, sent))
            heard = b""
            while len(heard) < len(sent):
                heard += await loop.sock_recv(sock, 70_000)
            assert heard == sent
            await sending
        sock.shutdown(socket.SHUT_WR)

    async def both() -> None:
        with listener() as server, socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, server.getsockname())
            connection, _ = await loop.sock_accept(server)
            with connection:
                await asyncio.gather(echo(connection), talk(client))

    within(loop, both())


# Cancelling


@pytest.mark.parametrize("waits", ["sock_recv", "sock_sendall", "sock_accept"])
def test_a_cancelled_call_ends_the_watching(loop: Loop, pair: Pair, waits: str) -> None:
    left, right = pair
    with listener() as server:
        if waits == "sock_recv":
            watched, task = right, waiting(loop, loop.sock_recv(right, 10))
        elif waits == "sock_accept":
            watched, task = server, waiting(loop, loop.sock_accept(server))
        else:
            fill(left)
            watched, task = left, waiting(loop, loop.sock_sendall(left, b"more"))
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            within(loop, task)
        assert not loop.remove_reader(watched)
        assert not loop.remove_writer(watched)


def test_what_a_cancelled_receiver_did_not_get_the_next_one_gets(loop: Loop, pair: Pair) -> None:
    left, right = pair
    task = waiting(loop, loop.sock_recv(right, 10))
    task.cancel()
    left.send(b"data")
    with pytest.raises(asyncio.CancelledError):
        within(loop, task)
    assert within(loop, loop.sock_recv(right, 10)) == b"data"


def cancel_when_ready(loop: Loop, call: Any, act: Callable[[], object]) -> None:
    """Cancel a call between the turn in which its socket is ready and its own."""
    task = waiting(loop, call)
    act()
    run_turns(loop)  # the descriptor is found to be ready, and its turn comes
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        within(loop, task)


@pytest.mark.parametrize("name", ["sock_recv", "sock_recv_into"])
def test_a_cancelled_call_has_received_nothing(ours: Loop, pair: Pair, name: str) -> None:
    # asyncio loses it.
    left, right = pair
    argument = 10 if name == "sock_recv" else bytearray(10)
    cancel_when_ready(ours, getattr(ours, name)(right, argument), lambda: left.send(b"data"))
    assert right.recv(10) == b"data"
    cancel_when_ready(ours, getattr(ours, name)(right, argument), lambda: left.send(b"more"))
    assert within(ours, ours.sock_recv(right, 10)) == b"more"


def test_a_cancelled_call_has_received_no_datagram(ours: Loop) -> None:
    with udp() as left, udp() as right:

        def send(data: bytes) -> int:
            return left.sendto(data, right.getsockname())

        cancel_when_ready(ours, ours.sock_recvfrom(right, 10), lambda: send(b"first"))
        assert within(ours, ours.sock_recvfrom(right, 10)) == (b"first", left.getsockname())
        buffer = bytearray(10)
        cancel_when_ready(ours, ours.sock_recvfrom_into(right, buffer), lambda: send(b"second"))
        assert within(ours, ours.sock_recvfrom(right, 10)) == (b"second", left.getsockname())


def test_a_cancelled_call_has_accepted_nothing(ours: Loop) -> None:
    with listener() as server, socket.socket() as client:
        address = server.getsockname()
        cancel_when_ready(ours, ours.sock_accept(server), lambda: client.connect(address))
        connection, address = within(ours, ours.sock_accept(server))
        connection.close()
        assert address == client.getsockname()


def test_data_that_is_left_after_a_cancelled_call_does_not_keep_the_loop_busy(
    loop: Loop, pair: Pair
) -> None:
    left, right = pair
    task = waiting(loop, loop.sock_recv(right, 10))
    left.send(b"data")
    task.cancel()
    before = os.times().user + os.times().system
    within(loop, asyncio.sleep(0.2))
    assert os.times().user + os.times().system - before < 0.15
    with pytest.raises(asyncio.CancelledError):
        within(loop, task)
