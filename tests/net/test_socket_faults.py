"""The loop's sock_* methods: cancelled, refused, misused, on sockets closed under them."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from tests.net.parties import (
    KINDS,
    Net,
    Recorder,
    connected,
    listening,
    pair,
    pattern,
    receive,
    reset,
    send,
    turns,
    until,
)

BIG = 4 << 20


@pytest.mark.parametrize("kind", KINDS)
async def test_a_receive_cancelled_in_flight_loses_nothing(net: Net, kind: str) -> None:
    with pair(kind) as (ours, peer):
        for number in range(50):
            task = asyncio.ensure_future(net.loop.sock_recv(ours, 4))
            await turns(2)
            if number % 3 == 0:
                peer.send(b"%04d" % number)
            task.cancel()
            if number % 3:
                peer.send(b"%04d" % number)
            try:
                got = await task
            except asyncio.CancelledError:
                got = await net.loop.sock_recv(ours, 4)
            assert got == b"%04d" % number


async def test_a_receive_that_times_out_loses_nothing(net: Net) -> None:
    with pair() as (ours, peer):
        for number in range(10):
            with pytest.raises(TimeoutError):
                await net.lib.wait_for(net.loop.sock_recv(ours, 4), 0.001)
            peer.send(b"%04d" % number)
            assert await net.loop.sock_recv(ours, 4) == b"%04d" % number


@pytest.mark.parametrize("kind", KINDS)
async def test_sendall_sends_everything_to_a_slow_peer(net: Net, kind: str) -> None:
    data = bytearray(pattern(BIG))
    with pair(kind) as (ours, peer):
        sending = asyncio.ensure_future(net.loop.sock_sendall(ours, data))
        await asyncio.sleep(0.01)
        assert not sending.done()
        assert await receive(peer, BIG) == data
        await sending


async def test_a_cancelled_sendall_has_sent_a_prefix_and_sends_no_more(net: Net) -> None:
    data = pattern(BIG)
    with pair() as (ours, peer):
        sending = asyncio.ensure_future(net.loop.sock_sendall(ours, data))
        await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await turns(2)
        ours.shutdown(socket.SHUT_WR)
        got = await receive(peer, BIG)
        assert 0 < len(got) < BIG
        assert got == data[: len(got)]


async def test_a_reset_ends_what_waits(net: Net) -> None:
    with pair() as (ours, peer):
        receiving = asyncio.ensure_future(net.loop.sock_recv(ours, 10))
        await turns(2)
        reset(peer)
        with pytest.raises(ConnectionResetError):
            await receiving
    with pair() as (ours, peer):
        sending = asyncio.ensure_future(net.loop.sock_sendall(ours, pattern(BIG)))
        await asyncio.sleep(0.01)
        reset(peer)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await sending


async def test_the_end_of_the_peer_is_an_empty_receive(net: Net) -> None:
    with pair() as (ours, peer):
        receiving = asyncio.ensure_future(net.loop.sock_recv(ours, 10))
        await turns(2)
        peer.send(b"bye")
        peer.close()
        assert await receiving == b"bye"
        assert await net.loop.sock_recv(ours, 10) == b""
        buffer = bytearray(4)
        assert await net.loop.sock_recv_into(ours, buffer) == 0


async def test_reading_and_writing_one_socket_at_once_works(net: Net) -> None:
    data = pattern(BIG)
    with pair() as (ours, peer):

        async def echo() -> None:
            left = BIG
            while left:
                piece = await net.loop.sock_recv(peer, 65536)
                await net.loop.sock_sendall(peer, piece)
                left -= len(piece)

        async def collect() -> bytes:
            got = bytearray()
            while len(got) < BIG:
                got += await net.loop.sock_recv(ours, 65536)
            return bytes(got)

        _, __, got = await asyncio.gather(echo(), net.loop.sock_sendall(ours, data), collect())
        assert got == data


async def test_connecting_and_accepting(net: Net) -> None:
    with listening() as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        accepting = asyncio.ensure_future(net.loop.sock_accept(listener))
        await net.loop.sock_connect(client, listener.getsockname())
        served, address = await accepting
        with served:
            assert address == client.getsockname()
            assert served.gettimeout() == 0
            await send(client, b"x")
            assert await net.loop.sock_recv(served, 10) == b"x"


async def test_a_cancelled_accept_leaves_the_client_to_the_next(net: Net) -> None:
    with listening() as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        accepting = asyncio.ensure_future(net.loop.sock_accept(listener))
        await turns(2)
        accepting.cancel()
        with contextlib.suppress(BlockingIOError):
            client.connect(listener.getsockname())
        with pytest.raises(asyncio.CancelledError):
            await accepting
        served, _ = await net.loop.sock_accept(listener)
        served.close()


async def test_a_refused_connect_says_who_refused(net: Net) -> None:
    with listening() as listener:
        address = listener.getsockname()
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(ConnectionRefusedError, match="Connect call failed"):
            await net.loop.sock_connect(client, address)


async def test_a_socket_number_that_is_used_again_is_another_socket(net: Net) -> None:
    """A closed socket's descriptor goes to the next one: what was known of it must not stick."""
    for number in range(20):
        with pair("unix" if number % 2 else "tcp") as (ours, peer):
            receiving = asyncio.ensure_future(net.loop.sock_recv(ours, 10))
            await turns(2)
            peer.send(b"%d" % number)
            assert await receiving == b"%d" % number
            if number % 3 == 0:
                receiving = asyncio.ensure_future(net.loop.sock_recv(ours, 10))
                await turns(2)
                receiving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await receiving


async def test_a_transports_socket_is_not_for_sock_methods(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder):
        sock = recorder.transport.get_extra_info("socket")
        raw: Any = sock._sock
        for call in (
            net.loop.sock_recv(raw, 1),
            net.loop.sock_sendall(raw, b"x" * BIG),
            net.loop.sock_recv_into(raw, bytearray(1)),
        ):
            with (
                contextlib.suppress(BlockingIOError),
                pytest.raises(RuntimeError, match="is used by transport"),
            ):
                await call
        for add in (net.loop.add_reader, net.loop.add_writer):
            with pytest.raises(RuntimeError, match="is used by transport"):
                add(raw.fileno(), print)
        for remove in (net.loop.remove_reader, net.loop.remove_writer):
            with pytest.raises(RuntimeError, match="is used by transport"):
                remove(raw.fileno())


async def test_debug_mode_wants_non_blocking_sockets(net: Net) -> None:
    net.loop.set_debug(True)
    with pair() as (ours, _):
        ours.setblocking(True)
        for call in (
            net.loop.sock_recv(ours, 1),
            net.loop.sock_sendall(ours, b"x"),
            net.loop.sock_connect(ours, ("127.0.0.1", 1)),
            net.loop.sock_accept(ours),
        ):
            with pytest.raises(ValueError, match="the socket must be non-blocking"):
                await call
    net.loop.set_debug(False)


async def test_datagrams_by_hand(net: Net) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for sock in (one, two):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        waiting = asyncio.ensure_future(net.loop.sock_recvfrom(two, 100))
        await turns(2)
        assert await net.loop.sock_sendto(one, b"hello", two.getsockname()) == 5
        assert await waiting == (b"hello", one.getsockname())
        buffer = bytearray(10)
        cancelled = asyncio.ensure_future(net.loop.sock_recvfrom_into(two, buffer))
        await turns(2)
        cancelled.cancel()
        await net.loop.sock_sendto(one, b"again", two.getsockname())
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert await net.loop.sock_recvfrom_into(two, buffer) == (5, one.getsockname())
        assert buffer[:5] == b"again"
        with pytest.raises(OSError, match="Message too long"):
            await net.loop.sock_sendto(one, bytes(70_000), two.getsockname())


async def test_a_receive_is_done_at_once_when_there_is_data(net: Net) -> None:
    """Without another turn: programs measure fairness by it."""
    with pair() as (ours, peer):
        peer.send(b"x")
        await until(lambda: _readable(ours))
        ran: list[int] = []
        net.loop.call_soon(ran.append, 1)
        assert await net.loop.sock_recv(ours, 10) == b"x"
        assert ran == []


def _readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
