"""Streams over TLS: what readers and writers promise, when the bytes come encrypted.

A StreamReader may be fed past its protocol; whoever reads, waits, cancels or is slow must not be
able to tell.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.net.parties import Net, pair, pattern, reset, send, turns
from tests.tls.certificates import HOST, Certificates
from tests.tls.parties import VERSION_NAMES, VERSIONS, TlsPeer, contexts

BIG = 4 << 20


@contextlib.asynccontextmanager
async def streams(
    net: Net, certificates: Certificates, version: Any = None, **options: Any
) -> AsyncIterator[tuple[Any, Any, TlsPeer]]:
    """A reader and a writer, and their peer."""
    server, client = contexts(certificates, version)
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, server, server_side=True)
        (reader, writer), _ = await asyncio.gather(
            net.lib.open_connection(sock=sock, ssl=client, server_hostname=HOST, **options),
            peer.handshake(),
        )
        try:
            yield reader, writer, peer
        finally:
            writer.transport.abort()
            await turns(5)


@pytest.mark.parametrize("version", VERSIONS, ids=VERSION_NAMES)
async def test_every_way_to_read_gets_its_bytes(
    net: Net, certificates: Certificates, version: Any
) -> None:
    async with streams(net, certificates, version) as (reader, _, peer):
        reading = asyncio.ensure_future(reader.read(100))
        await turns(3)
        await peer.send(b"first")
        assert await reading == b"first"
        await peer.send(b"a line\nanother\nexactly|until|some more")
        assert await reader.readline() == b"a line\n"
        assert await reader.readline() == b"another\n"
        assert await reader.readexactly(8) == b"exactly|"
        assert await reader.readuntil(b"|") == b"until|"
        assert await reader.read(4) == b"some"
        await peer.close()
        assert await reader.read() == b" more"
        assert reader.at_eof()
        assert await reader.read(1) == b""


async def test_a_line_may_come_in_many_records(net: Net, certificates: Certificates) -> None:
    async with streams(net, certificates) as (reader, _, peer):
        reading = asyncio.ensure_future(reader.readline())
        for number in range(50):
            await peer.send(b"%d," % number)
            await turns(1)
        await peer.send(b"\nrest")
        assert await reading == b"".join(b"%d," % number for number in range(50)) + b"\n"
        assert await reader.readexactly(4) == b"rest"


async def test_a_read_that_is_cancelled_loses_nothing(net: Net, certificates: Certificates) -> None:
    async with streams(net, certificates) as (reader, _, peer):
        for number in range(20):
            reading = asyncio.ensure_future(reader.readexactly(8))
            await turns(number % 4)
            await peer.send(b"%08d" % number)
            await turns(number % 3)
            reading.cancel()
            try:
                got = await reading
            except asyncio.CancelledError:
                got = await reader.readexactly(8)
            assert got == b"%08d" % number


async def test_a_reader_that_does_not_read_holds_back_the_sender(
    net: Net, certificates: Certificates
) -> None:
    async with streams(net, certificates, limit=10_000) as (reader, _, peer):
        stream = memoryview(peer.encrypt(pattern(BIG)))
        sent = idle = 0
        while idle < 20:
            try:
                sent += peer.sock.send(stream[sent:])
                idle = 0
            except BlockingIOError:
                idle += 1
                await asyncio.sleep(0.001)
        assert sent < BIG // 2
        sending = asyncio.ensure_future(send(peer.sock, bytes(stream[sent:])))
        assert await reader.readexactly(BIG) == pattern(BIG)
        await sending


async def test_a_line_over_the_limit_is_refused(net: Net, certificates: Certificates) -> None:
    async with streams(net, certificates, limit=1000) as (reader, _, peer):
        await peer.send(b"x" * 5000 + b"\nnext\n")
        with pytest.raises(asyncio.LimitOverrunError):
            await reader.readuntil(b"\n")
        assert (await reader.readexactly(5001))[-1:] == b"\n"
        assert await reader.readline() == b"next\n"


async def test_an_end_in_the_middle_is_told_with_what_there_was(
    net: Net, certificates: Certificates
) -> None:
    async with streams(net, certificates) as (reader, _, peer):
        await peer.send(b"half of")
        await peer.close()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(100)
        assert caught.value.partial == b"half of"


async def test_drain_waits_for_a_peer_that_is_slow(net: Net, certificates: Certificates) -> None:
    async with streams(net, certificates) as (_, writer, peer):
        drains = []
        written = 0
        for _ in range(3):
            while True:
                writer.write(pattern(50_000))
                written += 50_000
                drain = asyncio.ensure_future(writer.drain())
                await turns(2)
                if not drain.done():
                    drains.append(drain)
                    break
        waits = drains[0].cancel()  # unless the kernel has taken more meanwhile
        assert len(await peer.receive(written)) == written
        await asyncio.gather(*drains[1:])
        assert drains[0].cancelled() == waits


async def test_a_reset_is_told_to_everyone_who_waits(net: Net, certificates: Certificates) -> None:
    async with streams(net, certificates) as (reader, writer, peer):
        reading = asyncio.ensure_future(reader.read(1))
        while True:
            writer.write(pattern(50_000))
            drain = asyncio.ensure_future(writer.drain())
            await turns(2)
            if not drain.done():
                break
        reset(peer.sock)
        for waiting in (reading, drain):
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await waiting
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            writer.write(b"x")
            await writer.drain()
        writer.close()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await writer.wait_closed()


async def test_closing_waits_for_the_goodbye(net: Net, certificates: Certificates) -> None:
    async with streams(net, certificates) as (reader, writer, peer):
        writer.write(b"last words")
        writer.close()
        closed = asyncio.ensure_future(writer.wait_closed())
        assert await peer.receive_all() == b"last words"
        await turns(5)
        assert not closed.done()
        await peer.close()
        await closed
        assert await reader.read() == b""


async def test_closing_gives_up_in_its_time(net: Net, certificates: Certificates) -> None:
    async with streams(net, certificates, ssl_shutdown_timeout=0.05) as (reader, writer, _):
        writer.close()
        with pytest.raises(TimeoutError, match="SSL shutdown timed out"):
            await writer.wait_closed()
        with pytest.raises(TimeoutError, match="SSL shutdown timed out"):
            await reader.read()


async def test_a_goodbye_of_the_peer_is_no_reason_to_warn(
    net: Net, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """StreamReaderProtocol keeps plain connections open at their end, and must not keep these."""
    async with streams(net, certificates) as (reader, writer, peer):
        await peer.close()
        assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
    assert caplog.records == []


async def test_half_closing_is_refused(net: Net, certificates: Certificates) -> None:
    async with streams(net, certificates) as (_, writer, _):
        assert not writer.can_write_eof()
        with pytest.raises(NotImplementedError):
            writer.write_eof()


async def test_a_server_whose_handler_answers_and_closes_at_once_loses_nothing(
    net: Net, certificates: Certificates
) -> None:
    async def handle(reader: Any, writer: Any) -> None:
        request = await reader.readline()
        writer.writelines([b"you said ", request, pattern(200_000)])
        writer.close()

    theirs, ours = contexts(certificates)
    server = await net.lib.start_server(handle, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()

    async def ask(number: int) -> None:
        reader, writer = await net.lib.open_connection(*address, ssl=ours)
        writer.write(b"%d\n" % number)
        assert await reader.read() == b"you said %d\n" % number + pattern(200_000)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(ask(number) for number in range(10)))
    server.close()
    await server.wait_closed()
