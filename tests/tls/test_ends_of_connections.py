"""How a TLS connection ends: close, abort, close_notify, a socket that just closes, a shutdown that
nobody answers; and what a transport does when it is used afterwards."""

import asyncio
import contextlib
import socket
import ssl
import sys
from typing import Any

import pytest

from tests.net.parties import (
    KINDS,
    Net,
    Recorder,
    pattern,
    receive_all,
    reset,
    send,
    turns,
    until,
)
from tests.tls.certificates import Certificates
from tests.tls.parties import SIDES, VERSION_NAMES, VERSIONS, contexts, is_asyncios, secured

#: More than the kernel takes.
BIG = 1 << 20

both_sides = pytest.mark.parametrize("side", SIDES)
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=VERSION_NAMES)


def steps(recorder: Recorder) -> list[str]:
    """What it was told, but for pauses."""
    return [event for event in recorder.events if event not in {"pause", "resume"}]


# Ends that we make


@both_sides
@both_versions
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 100, BIG])
async def test_close_sends_everything_and_then_says_goodbye(
    net: Net, certificates: Certificates, side: str, version: Any, kind: str, size: int
) -> None:
    recorder = Recorder()
    both = contexts(certificates, version)
    async with secured(net, both, recorder, side, kind=kind) as peer:
        recorder.transport.write(pattern(size))
        recorder.transport.close()
        recorder.transport.write(b"too late")
        assert recorder.transport.is_closing()
        assert recorder.events == ["made"]
        assert await peer.receive_all() == pattern(size)
        await turns(5)
        assert not recorder.lost.done()  # the answer is awaited
        await peer.close()
        assert await recorder.lost is None
    assert steps(recorder) == ["made", "eof", "lost"]


async def test_a_socket_that_closes_is_answer_enough(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        recorder.transport.close()
        assert await peer.receive_all() == b""
        peer.go()
        assert await recorder.lost is None
    assert recorder.events == ["made", "eof", "lost"]


async def test_what_arrives_after_close_is_not_told(net: Net, certificates: Certificates) -> None:
    """asyncio takes it for a fault: the peer should have answered the goodbye."""
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        recorder.transport.close()
        await peer.send(b"one more thing")
        lost = await recorder.lost
        assert isinstance(lost, ssl.SSLError)
        assert lost.reason == "APPLICATION_DATA_AFTER_CLOSE_NOTIFY"
    assert recorder.events == ["made", "lost SSLError"]


async def test_closing_in_data_received_stops_what_would_come(
    net: Net, certificates: Certificates
) -> None:
    class Closing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"enough")
            self.transport.close()

    recorder = Closing()
    async with secured(net, contexts(certificates), recorder) as peer:
        await peer.send(b"first")
        assert await peer.receive_all() == b"enough"
        await peer.close()
        assert await recorder.lost is None
    assert recorder.received == b"first"
    assert recorder.events == ["made", "data", "eof", "lost"]


async def test_closing_in_connection_made_is_a_whole_connection(
    net: Net, certificates: Certificates
) -> None:
    class Brief(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.write(b"welcome and goodbye")
            transport.close()

    recorder = Brief()
    async with secured(net, contexts(certificates), recorder) as peer:
        assert await peer.receive_all() == b"welcome and goodbye"
        await peer.close()
        assert await recorder.lost is None
    assert recorder.events == ["made", "eof", "lost"]


@both_sides
@pytest.mark.parametrize("size", [0, 100, BIG])
async def test_abort_ends_at_once_and_says_nothing(
    net: Net, certificates: Certificates, side: str, size: int
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        recorder.transport.write(pattern(size))
        recorder.transport.abort()
        recorder.transport.write(b"too late")
        assert recorder.transport.is_closing()
        assert recorder.events == ["made"]
        assert await recorder.lost is None
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await peer.receive_all()
    assert steps(recorder) == ["made", "lost"]


async def test_abort_after_close_ends_the_waiting(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder):
        recorder.transport.close()
        await turns(5)
        assert not recorder.lost.done()
        recorder.transport.abort()
        assert await recorder.lost is None
    assert recorder.events == ["made", "lost"]


@both_sides
@pytest.mark.parametrize("size", [0, BIG])
async def test_a_goodbye_that_nobody_answers_is_given_up(
    net: Net, certificates: Certificates, side: str, size: int
) -> None:
    """With much to send the peer never reads, so that not even the goodbye can go out."""
    recorder = Recorder()
    both = contexts(certificates)
    async with secured(net, both, recorder, side, ssl_shutdown_timeout=0.05) as peer:
        recorder.transport.write(pattern(size))
        recorder.transport.close()
        lost = await recorder.lost
        assert isinstance(lost, TimeoutError)
        assert str(lost) == "SSL shutdown timed out"
        await turns(2)
        with contextlib.suppress(ConnectionResetError):
            assert len(await receive_all(peer.sock)) < BIG
    assert steps(recorder) == ["made", "lost TimeoutError"]


async def test_the_time_of_the_goodbye_ends_with_it(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    both = contexts(certificates)
    async with secured(net, both, recorder, ssl_shutdown_timeout=0.6) as peer:
        recorder.transport.close()
        assert await peer.receive_all() == b""
        await peer.close()
        assert await recorder.lost is None
        await asyncio.sleep(0.65)
    assert recorder.events == ["made", "eof", "lost"]


# Ends that the peer makes


@both_sides
@both_versions
async def test_a_goodbye_is_answered_and_the_connection_closed(
    net: Net, certificates: Certificates, side: str, version: Any
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates, version), recorder, side) as peer:
        await peer.send(b"last words")
        await send(peer.sock, peer.close_notify())
        assert await peer.receive_all() == b""
        assert await receive_all(peer.sock) == b""
        assert await recorder.lost is None
    assert recorder.received == b"last words"
    assert recorder.events == ["made", "data", "eof", "lost"]


@both_sides
@both_versions
@pytest.mark.parametrize("size", [0, 1000, 1 << 20])
async def test_data_and_a_goodbye_that_arrive_together_are_both_told(
    net: Net, certificates: Certificates, side: str, version: Any, size: int
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates, version), recorder, side) as peer:
        await send(peer.sock, peer.encrypt(pattern(size)) + peer.close_notify())
        peer.go()
        lost = await recorder.lost
        # Our goodbye may meet a socket that is closed already.
        assert lost is None or isinstance(lost, ConnectionError)
    assert recorder.received == pattern(size)
    assert recorder.events[:-1] == ["made", *["data"] * bool(size), "eof"]


@both_sides
@both_versions
async def test_an_end_without_a_goodbye_is_an_end(
    net: Net, certificates: Certificates, side: str, version: Any
) -> None:
    """Whether something was cut off is left to the protocol above, as asyncio has it."""
    recorder = Recorder()
    async with secured(net, contexts(certificates, version), recorder, side) as peer:
        await peer.send(b"cut o")
        peer.sock.shutdown(socket.SHUT_WR)
        assert await recorder.lost is None
        await receive_all(peer.sock)
    assert recorder.received == b"cut o"
    assert recorder.events == ["made", "data", "eof", "lost"]


async def test_half_a_record_and_the_end_is_an_end(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        record = peer.encrypt(b"never whole")
        await send(peer.sock, record[:-1])
        peer.sock.shutdown(socket.SHUT_WR)
        assert await recorder.lost is None
        await receive_all(peer.sock)
    assert recorder.events == ["made", "eof", "lost"]


async def test_what_is_left_to_send_is_sent_after_the_peers_goodbye(
    net: Net, certificates: Certificates
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        recorder.transport.write(pattern(BIG))
        await send(peer.sock, peer.close_notify())
        await until(lambda: "eof" in recorder.events)
        recorder.transport.write(b"too late")
        assert await peer.receive_all() == pattern(BIG)
        await receive_all(peer.sock)
        assert await recorder.lost is None
    assert steps(recorder) == ["made", "eof", "lost"]


async def test_what_follows_a_goodbye_is_not_told(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        await send(peer.sock, peer.close_notify() + pattern(1000))
        assert await recorder.lost is None
        await turns(3)
    assert recorder.events == ["made", "eof", "lost"]


@both_sides
async def test_a_reset_is_told_with_its_error(
    net: Net, certificates: Certificates, side: str
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        reset(peer.sock)
        assert isinstance(await recorder.lost, ConnectionResetError)
    assert recorder.events == ["made", "lost ConnectionResetError"]


async def test_a_reset_while_much_is_to_be_sent_is_told_once(
    net: Net, certificates: Certificates
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        for _ in range(100):
            recorder.transport.write(pattern(20_000))
        await turns(2)
        reset(peer.sock)
        assert isinstance(await recorder.lost, ConnectionResetError | BrokenPipeError)
        await turns(3)
    assert len([event for event in recorder.events if event.startswith("lost")]) == 1
    assert "eof" not in recorder.events


@both_sides
async def test_both_sides_may_say_goodbye_at_once(
    net: Net, certificates: Certificates, side: str
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        goodbye = peer.close_notify()
        recorder.transport.close()
        await send(peer.sock, goodbye)
        assert await peer.receive_all() == b""
        assert await receive_all(peer.sock) == b""
        assert await recorder.lost is None
    assert recorder.events == ["made", "eof", "lost"]


# A transport that is used after its end


@pytest.mark.parametrize("how", ["close", "abort", "reset", "goodbye"])
async def test_a_transport_can_be_used_after_its_end(
    net: Net, certificates: Certificates, how: str
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        transport = recorder.transport
        if how == "reset":
            reset(peer.sock)
        elif how == "goodbye":
            await peer.close()
        else:
            getattr(transport, how)()
            peer.go()
        await recorder.lost
        await turns(2)
        assert transport.is_closing()
        transport.write(b"x")
        transport.writelines([b"x", b"y"])
        transport.pause_reading()
        assert not transport.is_reading()
        transport.resume_reading()
        assert transport.get_write_buffer_size() == 0
        assert transport.get_read_buffer_size() == 0
        transport.set_write_buffer_limits(high=8)
        assert transport.get_write_buffer_limits() == (2, 8)
        assert transport.get_extra_info("nothing", "default") == "default"
        with pytest.raises(TypeError, match="expecting a bytes-like instance"):
            transport.write("text")
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        transport.abort()
        transport.close()
        transport.abort()
        await turns(2)
    assert [event for event in recorder.events if event.startswith("lost")] == [recorder.events[-1]]


async def test_closing_twice_is_closing_once(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        recorder.transport.write(b"once")
        for _ in range(3):
            recorder.transport.close()
        assert recorder.transport.is_closing()
        if not is_asyncios(recorder.transport):
            # asyncio's is no longer good for anything after the second call: AttributeError.
            recorder.transport.write(b"too late")
            assert recorder.transport.get_protocol() is recorder
        assert await peer.receive_all() == b"once"
        await peer.close()
        assert await recorder.lost is None
    assert recorder.events == ["made", "eof", "lost"]


# Servers


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
async def test_a_server_ends_its_connections_when_told_to(
    net: Net, certificates: Certificates, how: str
) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    theirs, ours = contexts(certificates)
    server = await net.loop.create_server(factory, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    clients = [
        (await net.loop.create_connection(Recorder, *address, ssl=ours))[1] for _ in range(5)
    ]
    await until(lambda: [one.events for one in made] == [["made"]] * 5)
    server.close()
    getattr(server, how)()
    for side in (*clients, *made):
        await side.lost
    await server.wait_closed()
    goodbyes = ["eof"] if how == "close_clients" else []
    for client in clients:
        assert client.events[:-1] in (["made", *goodbyes], ["made", "eof"])


async def test_a_closed_server_leaves_its_connections_alone(
    net: Net, certificates: Certificates
) -> None:
    theirs, ours = contexts(certificates)
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0, ssl=theirs)
    transport, client = await net.loop.create_connection(
        Recorder, *server.sockets[0].getsockname(), ssl=ours
    )
    await until(lambda: made[0].events)
    server.close()
    waiting = asyncio.ensure_future(server.wait_closed())
    transport.write(b"still here")
    await until(lambda: made[0].received == b"still here")
    # Up to 3.12.0 wait_closed() returned at once when the server was closed before.
    assert waiting.done() == (sys.version_info < (3, 12, 1))
    transport.close()
    await client.lost
    await made[0].lost
    await waiting
