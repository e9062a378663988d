"""Connections that become TLS later: start_tls of loops and StreamWriters, and TLS inside TLS."""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.net.parties import (
    KINDS,
    BufferedRecorder,
    Net,
    Recorder,
    pair,
    pattern,
    receive,
    send,
    turns,
    until,
)
from tests.tls.certificates import HOST, Certificates
from tests.tls.parties import SIDES, TlsPeer, contexts

both_sides = pytest.mark.parametrize("side", SIDES)


def started(net: Net, recorder: Any, context: ssl.SSLContext, side: str, **options: Any) -> Any:
    """The coroutine that makes TLS of a recorder's connection."""
    name: Any = {} if side == "server" else {"server_hostname": HOST}
    return net.loop.start_tls(
        recorder.transport, recorder, context, server_side=side == "server", **name, **options
    )


# Loops' start_tls


@both_sides
@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_becomes_tls(
    net: Net, certificates: Certificates, side: str, kind: str
) -> None:
    ours, theirs = contexts(certificates)[:: 1 if side == "server" else -1]
    recorder = Recorder()
    with pair(kind) as (sock, peer_sock):
        plain = await net.attach(sock, recorder)
        plain.write(b"plain out")
        await send(peer_sock, b"plain in")
        assert await receive(peer_sock, 9) == b"plain out"
        await until(lambda: recorder.received)
        peer = TlsPeer(peer_sock, theirs, server_side=side == "client")
        transport, _ = await asyncio.gather(started(net, recorder, ours, side), peer.handshake())
        assert transport is not plain
        assert recorder.transport is plain  # connection_made is not called again
        assert transport.get_protocol() is recorder
        assert transport.get_extra_info("sslcontext") is ours
        assert transport.get_extra_info("socket") is plain.get_extra_info("socket")
        transport.write(b"secret out")
        assert await peer.receive(10) == b"secret out"
        await peer.send(b" secret in")
        await until(lambda: recorder.received == b"plain in secret in")
        transport.close()
        assert await peer.receive_all() == b""
        await peer.close()
        assert await recorder.lost is None
    assert recorder.events == ["made", "data", "eof", "lost"]


async def test_both_ends_become_tls_on_one_loop(net: Net, certificates: Certificates) -> None:
    theirs, ours = contexts(certificates)
    one, other = Recorder(), Recorder()
    with pair() as (sock, other_sock):
        await net.attach(sock, one)
        await net.attach(other_sock, other)
        server, client = await asyncio.gather(
            started(net, one, theirs, "server"), started(net, other, ours, "client")
        )
        client.write(pattern(300_000))
        await until(lambda: len(one.received) == 300_000)
        assert one.received == pattern(300_000)
        server.close()
        assert await one.lost is None
        assert await other.lost is None
    assert one.events == ["made", "data", "eof", "lost"]
    assert other.events == ["made", "eof", "lost"]


async def test_what_was_written_before_goes_out_before(
    net: Net, certificates: Certificates
) -> None:
    server, client = contexts(certificates)
    recorder = Recorder()
    plain = pattern(1 << 20)
    with pair() as (sock, peer_sock):
        await net.attach(sock, recorder)
        # asyncio reports an AssertionError if it starts TLS over a transport that has paused.
        recorder.transport.set_write_buffer_limits(high=2 * len(plain))
        recorder.transport.write(plain)
        starting = asyncio.ensure_future(started(net, recorder, server, "server"))
        assert await receive(peer_sock, len(plain)) == plain
        peer = TlsPeer(peer_sock, client)
        await peer.handshake()
        transport = await starting
        transport.write(b"and now TLS")
        assert await peer.receive(11) == b"and now TLS"
        transport.abort()
        await recorder.lost


async def test_a_hello_that_waits_in_the_kernel_is_answered(
    net: Net, certificates: Certificates
) -> None:
    server, client = contexts(certificates)
    recorder = Recorder()
    with pair() as (sock, peer_sock):
        transport = await net.attach(sock, recorder)
        transport.pause_reading()
        peer = TlsPeer(peer_sock, client)
        handshake = asyncio.ensure_future(peer.handshake())
        await turns(5)
        transport, _ = await asyncio.gather(started(net, recorder, server, "server"), handshake)
        await peer.send(b"hello")
        await until(lambda: recorder.received == b"hello")
        transport.abort()
        await recorder.lost


async def test_a_buffered_protocol_goes_on_with_its_buffer(
    net: Net, certificates: Certificates
) -> None:
    server, client = contexts(certificates)
    recorder = BufferedRecorder(size=100)
    with pair() as (sock, peer_sock):
        await net.attach(sock, recorder)
        peer = TlsPeer(peer_sock, client)
        transport, _ = await asyncio.gather(
            started(net, recorder, server, "server"), peer.handshake()
        )
        await peer.send(pattern(5000))
        await until(lambda: len(recorder.received) == 5000)
        assert recorder.received == pattern(5000)
        transport.abort()
        await recorder.lost


async def test_start_tls_refuses_what_it_cannot_take(net: Net, certificates: Certificates) -> None:
    server, client = contexts(certificates)
    recorder = Recorder()
    with pair() as (sock, _):
        transport = await net.attach(sock, recorder)
        with pytest.raises(TypeError, match="sslcontext is expected to be an instance of"):
            await net.loop.start_tls(transport, recorder, True)  # type: ignore[arg-type]
        other = asyncio.Transport()
        with pytest.raises(TypeError, match=r"is not supported by start_tls\(\)"):
            await net.loop.start_tls(other, recorder, client)
        for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            options: Any = {name: 0}
            with pytest.raises(ValueError, match=f"{name} should be a positive number, got 0"):
                await started(net, recorder, client, "client", **options)
        with pytest.raises(ssl.SSLError, match="Cannot create a client socket"):
            await started(net, recorder, server, "client")
        assert not transport.is_closing()
        transport.abort()
        await recorder.lost
    assert recorder.events == ["made", "lost"]


@both_sides
async def test_a_start_that_fails_closes_the_connection_and_tells_the_protocol(
    net: Net, certificates: Certificates, side: str
) -> None:
    context = contexts(certificates)[SIDES.index(side)]
    recorder = Recorder()
    with pair() as (sock, peer_sock):
        await net.attach(sock, recorder)
        await send(peer_sock, b"this is no handshake")
        await until(lambda: recorder.received)
        starting = asyncio.ensure_future(started(net, recorder, context, side))
        await send(peer_sock, b"this is no handshake either")
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
            await starting
        assert isinstance(await recorder.lost, ssl.SSLError)
        assert sock.fileno() == -1
    assert recorder.events == ["made", "data", "lost SSLError"]


@both_sides
async def test_a_start_that_takes_too_long_is_given_up(
    net: Net, certificates: Certificates, side: str
) -> None:
    """asyncio does not tell the protocol: it was left in the middle of the handshake."""
    context = contexts(certificates)[SIDES.index(side)]
    recorder = Recorder()
    with pair() as (sock, _):
        await net.attach(sock, recorder)
        with pytest.raises(ConnectionAbortedError, match=r"is taking longer than 0\.05 seconds"):
            await started(net, recorder, context, side, ssl_handshake_timeout=0.05)
        await turns(3)
        assert sock.fileno() == -1
    assert recorder.events == ["made"]


@both_sides
async def test_a_peer_that_goes_in_the_middle_of_a_start_ends_it(
    net: Net, certificates: Certificates, side: str
) -> None:
    context = contexts(certificates)[SIDES.index(side)]
    recorder = Recorder()
    with pair() as (sock, peer_sock):
        await net.attach(sock, recorder)
        starting = asyncio.ensure_future(started(net, recorder, context, side))
        await turns(3)
        peer_sock.close()
        with pytest.raises(ConnectionResetError):
            await starting
        await turns(3)
        assert sock.fileno() == -1
    assert recorder.events in (["made", "lost ConnectionResetError"], ["made"])


@both_sides
@pytest.mark.parametrize("after", [0, 1, 2, 3, 5])
async def test_a_start_that_is_cancelled_closes_the_connection(
    net: Net, certificates: Certificates, side: str, after: int
) -> None:
    context = contexts(certificates)[SIDES.index(side)]
    recorder = Recorder()
    with pair() as (sock, _):
        plain = await net.attach(sock, recorder)
        starting = asyncio.ensure_future(started(net, recorder, context, side))
        await turns(after)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await turns(5)
        if after == 0:
            plain.abort()  # it had not begun
            await recorder.lost
        assert sock.fileno() == -1


# StreamWriters' start_tls


async def upgraded_pair(
    net: Net, certificates: Certificates, converse: Callable[[Any, Any], Awaitable[None]]
) -> None:
    """A stream server that upgrades after one line, and a client that does the same."""
    theirs, ours = contexts(certificates)
    finished: list[str] = []

    async def handle(reader: Any, writer: Any) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go on\n")
        await writer.start_tls(theirs)
        async for line in reader:
            writer.write(line)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        finished.append("well")

    server = await net.lib.start_server(handle, "127.0.0.1", 0)
    reader, writer = await net.lib.open_connection(*server.sockets[0].getsockname())
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"go on\n"
    assert writer.get_extra_info("sslcontext") is None
    await writer.start_tls(ours, server_hostname=HOST)
    assert writer.get_extra_info("sslcontext") is ours
    assert writer.get_extra_info("peercert")["subject"] == ((("commonName", HOST),),)
    await converse(reader, writer)
    await until(lambda: finished)
    server.close()
    await server.wait_closed()


async def test_streams_become_tls(net: Net, certificates: Certificates) -> None:
    async def converse(reader: Any, writer: Any) -> None:
        for line in (b"hello\n", b"x" * 50_000 + b"\n", b"bye\n"):
            writer.write(line)
            await writer.drain()
            assert await reader.readline() == line
        writer.close()
        await writer.wait_closed()

    await upgraded_pair(net, certificates, converse)


async def test_streams_that_became_tls_hold_back_a_sender(
    net: Net, certificates: Certificates
) -> None:
    async def converse(reader: Any, writer: Any) -> None:
        line = b"x" * 10_000 + b"\n"

        async def write() -> None:
            for _ in range(200):
                writer.write(line)
                await writer.drain()

        writing = asyncio.ensure_future(write())
        await turns(50)
        for _ in range(200):
            assert await reader.readline() == line
        await writing
        writer.close()
        await writer.wait_closed()

    await upgraded_pair(net, certificates, converse)


async def test_a_start_of_streams_that_fails_is_told_to_the_reader(
    net: Net, certificates: Certificates
) -> None:
    with pair() as (sock, peer_sock):
        reader, writer = await net.lib.open_connection(sock=sock)
        starting = asyncio.ensure_future(
            writer.start_tls(certificates.client_context(), server_hostname=HOST)
        )
        await turns(3)
        await send(peer_sock, b"this is no handshake")
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
            await starting
        with pytest.raises(ssl.SSLError):
            await reader.read()
        writer.close()
        with pytest.raises(ssl.SSLError):
            await writer.wait_closed()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")
async def test_the_shutdown_timeout_of_a_streams_start_is_kept(
    net: Net, certificates: Certificates
) -> None:
    server, client = contexts(certificates)
    with pair() as (sock, peer_sock):
        _, writer = await net.lib.open_connection(sock=sock)
        peer = TlsPeer(peer_sock, server, server_side=True)
        await asyncio.gather(
            writer.start_tls(client, server_hostname=HOST, ssl_shutdown_timeout=0.05),
            peer.handshake(),
        )
        writer.close()
        with pytest.raises(TimeoutError, match="SSL shutdown timed out"):
            await writer.wait_closed()


# TLS inside TLS


@both_sides
async def test_tls_inside_tls_carries_data_both_ways(
    net: Net, certificates: Certificates, side: str
) -> None:
    """As through an HTTPS proxy. `side` is who closes."""
    outer, inner = contexts(certificates), contexts(certificates)
    one, other = Recorder(), Recorder()
    data = pattern(1 << 20)
    with pair() as (sock, other_sock):
        await asyncio.gather(
            net.loop.connect_accepted_socket(lambda: one, sock, ssl=outer[0]),
            net.loop.create_connection(
                lambda: other, sock=other_sock, ssl=outer[1], server_hostname=HOST
            ),
        )
        server, client = await asyncio.gather(
            started(net, one, inner[0], "server"), started(net, other, inner[1], "client")
        )
        assert server.get_extra_info("sslcontext") is inner[0]
        assert one.transport.get_extra_info("sslcontext") is outer[0]
        assert client.get_extra_info("peername") == other_sock.getpeername()
        for transport in (server, client):
            transport.write(data)
        await until(lambda: len(one.received) == len(other.received) == len(data))
        assert one.received == other.received == data
        (server if side == "server" else client).close()
        await one.lost
        await other.lost
    for recorder in (one, other):
        steps = [event for event in recorder.events if event not in {"pause", "resume"}]
        assert steps == ["made", "data", "eof", "lost"]


async def test_tls_three_deep_still_works(net: Net, certificates: Certificates) -> None:
    both = contexts(certificates)
    one, other = Recorder(), Recorder()
    with pair() as (sock, other_sock):
        await net.attach(sock, one)
        await net.attach(other_sock, other)
        for _ in range(3):
            one.transport, other.transport = await asyncio.gather(
                started(net, one, both[0], "server"), started(net, other, both[1], "client")
            )
        other.transport.write(b"from deep inside")
        await until(lambda: one.received == b"from deep inside")
        one.transport.write(b"and back")
        await until(lambda: other.received == b"and back")
        other.transport.abort()
        await other.lost
        await one.lost
