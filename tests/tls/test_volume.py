"""Much of it over TLS: every byte both ways at once, and memory after many handshakes.

The default amounts are for every test run. With AIOXIDE_NETWORK_FULL=1 in the environment they are
what the project promises: 10 000 connections of each kind, and 256 MiB.
"""

import asyncio
import contextlib
import gc
import random
import socket
import ssl
from typing import Any

import pytest

from tests.leaks.memory import descriptors, resident
from tests.net import parties
from tests.net.parties import Net, pair, reset, send, turns, until
from tests.net.test_volume import _BLOCK, FULL, BufferedSink, Sink, Source, Sum
from tests.tls.certificates import HOST, Certificates
from tests.tls.parties import VERSION_NAMES, VERSIONS, attach, contexts, first_flight

TRANSFER = 256 << 20 if FULL else 10 << 20
CONNECTIONS = 10_000 if FULL else 200
BATCHES = 10
WARM_UP = 3
AT_ONCE = 10
SLACK = 2 << 20
#: A connection that stays is an SSL of 20 KiB at least; twenty of them would show.
PER_CONNECTION = 100


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parties, "PATIENCE", 1200.0 if FULL else 60.0)


# Transfers


@pytest.mark.parametrize("version", VERSIONS, ids=VERSION_NAMES)
@pytest.mark.parametrize("buffered", [False, True])
async def test_a_long_transfer_arrives_whole_through_pauses(
    net: Net, certificates: Certificates, buffered: bool, version: Any
) -> None:
    server, client = contexts(certificates, version)
    with pair() as (ours, theirs):
        sink: Any = BufferedSink(1) if buffered else Sink(1)
        seen = sink.inner if buffered else sink
        source = Source(TRANSFER, 2)
        await asyncio.gather(
            attach(net, sink, theirs, server), attach(net, source, ours, client, "client")
        )
        assert await source.lost is None
        assert await seen.lost is None
    assert source.sum.size == TRANSFER
    assert seen.sum == source.sum


async def test_a_long_transfer_arrives_whole_both_ways_at_once(
    net: Net, certificates: Certificates
) -> None:
    class Both(Source):
        def __init__(self, seed: int) -> None:
            super().__init__(TRANSFER, seed)
            self.seen = Sum()
            self.end: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.end = transport.close
            self.transport = Staying(transport)

        def data_received(self, data: bytes) -> None:
            self.seen.add(data)

    server, client = contexts(certificates)
    with pair() as (ours, theirs):
        one, two = Both(3), Both(4)
        await asyncio.gather(
            attach(net, one, theirs, server), attach(net, two, ours, client, "client")
        )
        while one.seen.size < TRANSFER or two.seen.size < TRANSFER:
            await asyncio.sleep(0.002)
        one.end()
        assert await one.lost is None
        assert await two.lost is None
    assert (one.seen, two.seen) == (two.sum, one.sum)


class Staying:
    """A transport that stays open when its writer is done: TLS cannot end one half."""

    def __init__(self, transport: Any) -> None:
        self.write = transport.write
        self.writelines = transport.writelines
        self.close = lambda: None


async def test_a_long_transfer_arrives_whole_through_streams(
    net: Net, certificates: Certificates
) -> None:
    chance = random.Random(5)
    sent, seen = Sum(), Sum()

    async def handle(reader: Any, writer: Any) -> None:
        while data := await reader.read(chance.choice((1000, 65536, 1 << 20))):
            seen.add(data)
            if chance.random() < 0.02:
                await asyncio.sleep(0.001)
        writer.close()
        await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    server_context, client_context = contexts(certificates)
    server = await net.lib.start_server(handle, "127.0.0.1", 0, ssl=server_context)
    _, writer = await net.lib.open_connection(*server.sockets[0].getsockname(), ssl=client_context)
    while sent.size < TRANSFER:
        size = min(TRANSFER - sent.size, chance.choice((1, 1400, 70_000, 400_000)))
        start = chance.randrange(len(_BLOCK) - size)
        piece = _BLOCK[start : start + size]
        sent.add(piece)
        writer.write(piece)
        await writer.drain()
    writer.close()
    await writer.wait_closed()
    await done.wait()
    server.close()
    await server.wait_closed()
    assert sent.size == TRANSFER
    assert seen == sent


# Connections


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Client(asyncio.Protocol):
    """Says something, hears it, and goes."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(b"x" * 100)

    def data_received(self, data: bytes) -> None:
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@contextlib.asynccontextmanager
async def echoing(net: Net, certificates: Certificates, version: Any = None) -> Any:
    """A server's address and a client's context."""
    theirs, ours = contexts(certificates, version)
    server = await net.loop.create_server(Echo, "127.0.0.1", 0, ssl=theirs)
    yield server.sockets[0].getsockname(), ours
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("version", VERSIONS, ids=VERSION_NAMES)
async def test_protocols_come_and_go_at_flat_memory(
    net: Net, certificates: Certificates, version: Any
) -> None:
    async with echoing(net, certificates, version) as (address, context):

        async def connect(number: int) -> None:
            _, client = await net.loop.create_connection(
                Client, *address, ssl=context, local_addr=source(number)
            )
            assert await client.lost is None

        await come_and_go(connect)


async def test_streams_come_and_go_at_flat_memory(net: Net, certificates: Certificates) -> None:
    async def handle(reader: Any, writer: Any) -> None:
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    theirs, ours = contexts(certificates)
    server = await net.lib.start_server(handle, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()

    async def connect(number: int) -> None:
        reader, writer = await net.lib.open_connection(
            *address, ssl=ours, local_addr=source(number)
        )
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n"
        writer.close()
        await writer.wait_closed()

    await come_and_go(connect)
    server.close()
    await server.wait_closed()


async def test_aborts_and_resets_come_and_go_at_flat_memory(
    net: Net, certificates: Certificates
) -> None:
    async with echoing(net, certificates) as (address, context):

        async def connect(number: int) -> None:
            transport, client = await net.loop.create_connection(
                Client, *address, ssl=context, local_addr=source(number)
            )
            transport.write(b"x" * 100_000)
            if number % 2:
                reset_below(transport)
            else:
                transport.abort()
            await client.lost

        await come_and_go(connect)


def reset_below(transport: Any) -> None:
    """Have the peer see a reset instead of an end."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    transport.abort()


async def test_failed_handshakes_come_and_go_at_flat_memory(
    net: Net, certificates: Certificates
) -> None:
    """Garbage, a client that goes, one that resets, and one that does not trust the server."""
    async with echoing(net, certificates) as (address, context):
        distrusting = ssl.create_default_context(cafile=certificates.other_authority)

        async def connect(number: int) -> None:
            if number % 4 == 0:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await net.loop.create_connection(
                        Client, *address, ssl=distrusting, local_addr=source(number)
                    )
                return
            with socket.create_connection(address, source_address=source(number)) as sock:
                sock.setblocking(False)
                if number % 4 == 1:
                    await send(sock, b"garbage" * 10)
                else:
                    await first_flight(sock, context)
                await turns(3)
                if number % 4 == 3:
                    reset(sock)

        await come_and_go(connect)


async def test_upgrades_come_and_go_at_flat_memory(net: Net, certificates: Certificates) -> None:
    class Upgraded(Client):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

    theirs, ours = contexts(certificates)

    async def connect(number: int) -> None:
        with pair() as (one, other):
            echo, client = Echo(), Upgraded()
            for protocol, sock in ((echo, one), (client, other)):
                transport = await net.attach(sock, protocol)
                transport.pause_reading()
            echo.transport, client.transport = await asyncio.gather(
                net.loop.start_tls(echo.transport, echo, theirs, server_side=True),
                net.loop.start_tls(client.transport, client, ours, server_hostname=HOST),
            )
            client.transport.write(b"x")
            assert await client.lost is None

    await come_and_go(connect)


def source(number: int) -> tuple[str, int]:
    """Each source address has its own ports; one alone would run out of them."""
    return (f"127.0.{1 + number % 50}.3", 0)


async def come_and_go(connect: Any) -> None:
    """Some connections at a time, in batches after each of which is measured."""
    before = descriptors()
    samples = []
    each = max(AT_ONCE, CONNECTIONS // BATCHES)
    for batch in range(BATCHES):
        for start in range(0, each, AT_ONCE):
            await asyncio.gather(*(connect(batch * each + start + n) for n in range(AT_ONCE)))
        await until(lambda: descriptors() <= before)  # the server's ends are closed as well
        gc.collect()
        samples.append(resident())
    rest = samples[WARM_UP:]
    quarter = max(1, len(rest) // 4)
    grown = min(rest[-quarter:]) - min(rest[:quarter])
    assert grown <= SLACK + CONNECTIONS * PER_CONNECTION, samples
