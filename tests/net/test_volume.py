"""Much of it: every byte of a long transfer, and memory and descriptors after many connections.

The default amounts are for every test run. With AIOXIDE_NETWORK_FULL=1 in the environment they are
what the project promises: 1 GiB, and 100 000 connections.
"""

import asyncio
import gc
import os
import random
import socket
import zlib
from typing import Any

import pytest

from tests.leaks.memory import descriptors, resident
from tests.net import parties
from tests.net.parties import Net, pair, turns

FULL = bool(os.environ.get("AIOXIDE_NETWORK_FULL"))
TRANSFER = 1 << 30 if FULL else 24 << 20
CONNECTIONS = 100_000 if FULL else 3_000
BATCHES = 20
WARM_UP = 5
#: Not every batch ends with the allocator in the same state.
SLACK = 1 << 20
#: A connection that stays is a transport, a protocol and a socket: well over this.
PER_CONNECTION = 16

_BLOCK = os.urandom(1 << 20)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    if FULL:
        monkeypatch.setattr(parties, "PATIENCE", 1200.0)


class Sum:
    """What went by: how much, and its checksum."""

    def __init__(self) -> None:
        self.size = 0
        self.crc = 0

    def add(self, data: Any) -> None:
        self.size += len(data)
        self.crc = zlib.crc32(data, self.crc)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sum) and (self.size, self.crc) == (other.size, other.crc)

    def __hash__(self) -> int:
        return hash((self.size, self.crc))


class Source(asyncio.Protocol):
    """Writes pieces of random sizes until it has written `size` bytes, and not while paused."""

    def __init__(self, size: int, seed: int) -> None:
        self.left = size
        self.sum = Sum()
        self.random = random.Random(seed)
        self.paused = False
        self.transport: Any = None
        self.lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        asyncio.get_running_loop().call_soon(self.write_some)

    def write_some(self) -> None:
        for _ in range(self.random.randrange(1, 5)):
            if self.paused or not self.left:
                break
            size = min(self.left, self.random.choice((1, 100, 1400, 70_000, 400_000)))
            start = self.random.randrange(len(_BLOCK) - size)
            piece = memoryview(_BLOCK)[start : start + size]
            self.sum.add(piece)
            self.left -= size
            if self.random.random() < 0.3:
                self.transport.writelines([bytes(piece[:10]), piece[10:]])
            else:
                self.transport.write(piece)
        if not self.left:
            self.transport.close()
        elif not self.paused:
            asyncio.get_running_loop().call_soon(self.write_some)

    def pause_writing(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_writing(self) -> None:
        assert self.paused
        self.paused = False
        asyncio.get_running_loop().call_soon(self.write_some)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class Sink(asyncio.Protocol):
    """Adds up what arrives, and pauses reading at random."""

    def __init__(self, seed: int) -> None:
        self.sum = Sum()
        self.random = random.Random(seed)
        self.transport: Any = None
        self.reading = True
        self.lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def take(self, data: Any) -> None:
        assert self.reading
        self.sum.add(data)
        if self.random.random() < 0.2:
            self.reading = False
            self.transport.pause_reading()
            delay = self.random.choice((0, 0, 0, 0.001))
            asyncio.get_running_loop().call_later(delay, self.resume)

    def resume(self) -> None:
        self.reading = True
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class BufferedSink(asyncio.BufferedProtocol):
    """The same into a buffer whose size changes."""

    def __init__(self, seed: int) -> None:
        self.inner = Sink(seed)
        self.buffer = bytearray(1 << 17)
        self.view = memoryview(self.buffer)

    def connection_made(self, transport: Any) -> None:
        self.inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view[: self.inner.random.choice((1000, 65536, 1 << 17))]

    def buffer_updated(self, nbytes: int) -> None:
        self.inner.take(self.view[:nbytes])


@pytest.mark.parametrize("kind", parties.KINDS)
@pytest.mark.parametrize("buffered", [False, True])
async def test_a_long_transfer_arrives_whole_through_pauses(
    net: Net, kind: str, buffered: bool
) -> None:
    with pair(kind) as (ours, theirs):
        sink: Any = BufferedSink(1) if buffered else Sink(1)
        seen = sink.inner if buffered else sink
        await net.attach(theirs, sink)
        source = Source(TRANSFER, 2)
        await net.attach(ours, source)
        assert await source.lost is None
        assert await seen.lost is None
    assert source.sum.size == TRANSFER
    assert seen.sum == source.sum


async def test_a_long_transfer_arrives_whole_both_ways_at_once(net: Net) -> None:
    class Both(Source):
        def __init__(self, seed: int) -> None:
            super().__init__(TRANSFER // 2, seed)
            self.seen = Sum()

        def data_received(self, data: bytes) -> None:
            self.seen.add(data)

        def eof_received(self) -> bool:
            return True

    with pair() as (ours, theirs):
        one, two = Both(3), Both(4)
        for side, sock in ((one, ours), (two, theirs)):
            transport = await net.attach(sock, side)
            side.transport = HalfClosing(transport)
        while one.seen.size < TRANSFER // 2 or two.seen.size < TRANSFER // 2:
            await asyncio.sleep(0.002)
        for side in (one, two):
            side.transport.end()
        await one.lost
        await two.lost
    assert (one.seen, two.seen) == (two.sum, one.sum)


class HalfClosing:
    """A transport whose close() ends only what it sends."""

    def __init__(self, transport: Any) -> None:
        self.write = transport.write
        self.writelines = transport.writelines
        self.close = transport.write_eof
        self.end = transport.close


async def test_a_long_transfer_arrives_whole_through_streams(net: Net) -> None:
    chance = random.Random(5)
    sent, seen = Sum(), Sum()
    with pair() as (ours, theirs):
        _, writer = await net.lib.open_connection(sock=ours)
        other_reader, other_writer = await net.lib.open_connection(sock=theirs)

        async def read() -> None:
            while data := await other_reader.read(chance.choice((1, 1000, 65536, 1 << 20))):
                seen.add(data)
                if chance.random() < 0.02:
                    await asyncio.sleep(0.001)

        reading = asyncio.ensure_future(read())
        while sent.size < TRANSFER:
            size = min(TRANSFER - sent.size, chance.choice((1, 1400, 70_000, 400_000)))
            start = chance.randrange(len(_BLOCK) - size)
            piece = _BLOCK[start : start + size]
            sent.add(piece)
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        await reading
        for one in (writer, other_writer):
            one.close()
            await one.wait_closed()
    assert sent.size == TRANSFER
    assert seen == sent


def check_flat(samples: list[int], count: int) -> None:
    """The best of the last quarter is no worse than the best of the first after warm-up."""
    rest = samples[WARM_UP:]
    quarter = max(1, len(rest) // 4)
    grown = min(rest[-quarter:]) - min(rest[:quarter])
    assert grown <= SLACK + count * PER_CONNECTION, samples


async def test_protocols_come_and_go_at_flat_memory(net: Net) -> None:
    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    class Client(asyncio.Protocol):
        def __init__(self) -> None:
            self.lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            transport.write(b"x" * 100)

        def data_received(self, data: bytes) -> None:
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set_result(exc)

    async def connect(number: int) -> None:
        # Each source address has its own ports; one alone would run out of them.
        source = (f"127.0.{1 + number % 50}.1", 0)
        _, client = await net.loop.create_connection(Client, *address, local_addr=source)
        await client.lost

    server = await net.loop.create_server(Echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    await come_and_go(connect)
    server.close()
    await server.wait_closed()


async def test_streams_come_and_go_at_flat_memory(net: Net) -> None:
    async def handle(reader: Any, writer: Any) -> None:
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    async def connect(number: int) -> None:
        source = (f"127.0.{1 + number % 50}.2", 0)
        reader, writer = await net.lib.open_connection(*address, local_addr=source)
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n"
        writer.close()
        await writer.wait_closed()

    server = await net.lib.start_server(handle, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    await come_and_go(connect)
    server.close()
    await server.wait_closed()


async def test_resets_come_and_go_at_flat_memory(net: Net) -> None:
    """The other end: each connection is lost with an exception, which must not be kept."""

    async def connect(number: int) -> None:
        with pair("tcp" if number % 2 else "unix") as (ours, peer):
            recorder = parties.Recorder()
            await net.attach(ours, recorder)
            recorder.transport.write(b"x" * 100)
            await turns(1)
            peer.close()  # with unread data, so that it resets
            assert isinstance(await recorder.lost, ConnectionResetError)

    await come_and_go(connect)


async def come_and_go(connect: Any) -> None:
    """Ten connections at a time, in batches after each of which is measured."""
    before = -1
    samples = []
    each = CONNECTIONS // BATCHES
    for batch in range(BATCHES):
        for start in range(0, each, 10):
            await asyncio.gather(*(connect(batch * each + start + n) for n in range(10)))
        await turns(5)
        gc.collect()
        samples.append(resident())
        if before < 0:
            before = descriptors()
        assert descriptors() == before
    check_flat(samples, CONNECTIONS)


def test_the_source_addresses_are_there() -> None:
    """All of 127.0.0.0/8 is loopback on Linux; the tests above rely on it."""
    with socket.socket() as sock:
        sock.bind(("127.0.50.1", 0))
