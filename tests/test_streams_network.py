"""Streams over real sockets: what the transport receives past the protocol, and flow control."""

import asyncio
import contextlib
import functools
import gc
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from unittest import mock

import pytest

import aioxide
from tests.loops import Loop

Handler = Callable[[Any, Any], Awaitable[None]]


@pytest.fixture(params=[asyncio, aioxide], ids=["asyncio", "aioxide"])
def lib(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def leave_nothing_behind() -> Iterator[None]:
    """What was not closed is noticed in the test that did not close it."""
    yield
    gc.collect()


async def with_pair(lib: Any, serve: Handler, use: Handler, **kwds: Any) -> None:
    """Run `use` on a client's streams while `serve` runs on the server's."""
    failed: list[BaseException] = []
    finished = asyncio.Event()

    async def guarded(reader: Any, writer: Any) -> None:
        try:
            await serve(reader, writer)
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            writer.close()
            finished.set()

    server = await lib.start_server(guarded, "127.0.0.1", 0, **kwds)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await lib.open_connection("127.0.0.1", port, **kwds)
    try:
        await use(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await asyncio.wait_for(finished.wait(), 10)
        server.close()
        await server.wait_closed()
    assert not failed


async def echo(reader: Any, writer: Any) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_what_is_sent_in_random_pieces_arrives_whole(loop: Loop, lib: Any) -> None:
    dice = random.Random(1)
    pieces = [dice.randbytes(dice.choice([1, 100, 5_000, 70_000, 400_000])) for _ in range(60)]
    total = sum(map(len, pieces))

    async def use(reader: Any, writer: Any) -> None:
        async def send() -> None:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

        sending = asyncio.ensure_future(send())
        received = hashlib.sha256()
        left = total
        while left:
            size = min(left, dice.choice([1, 10, 1000, 100_000, 300_000]))
            if dice.random() < 0.5:
                data = await reader.readexactly(size)
                assert len(data) == size
            else:
                data = await reader.read(size)
            received.update(data)
            left -= len(data)
        assert await reader.read() == b""
        await sending
        assert received.digest() == hashlib.sha256(b"".join(pieces)).digest()

    loop.run_until_complete(with_pair(lib, echo, use))


def test_lines_are_lines_however_they_come(loop: Loop, lib: Any) -> None:
    lines = [b"x" * (number * 7 % 900) + b"\n" for number in range(2000)]

    async def serve(reader: Any, writer: Any) -> None:
        writer.writelines(lines)
        writer.write(b"unfinished")
        await writer.drain()

    async def use(reader: Any, writer: Any) -> None:
        assert [line async for line in reader] == [*lines, b"unfinished"]
        assert reader.at_eof()

    loop.run_until_complete(with_pair(lib, serve, use))


def test_a_reader_that_nobody_reads_stops_the_sender(loop: Loop, lib: Any) -> None:
    size = 32 * 1024 * 1024

    async def serve(reader: Any, writer: Any) -> None:
        writer.write(bytes(size))
        await writer.drain()

    async def use(reader: Any, writer: Any) -> None:
        for _ in range(100):
            await asyncio.sleep(0.002)
            if reader._paused:
                break
        assert reader._paused
        assert not writer.transport.is_reading()
        held = len(reader._buffer)
        assert 2048 < held <= 2048 + 256 * 1024
        await asyncio.sleep(0.02)
        assert len(reader._buffer) == held
        assert len(await reader.readexactly(size)) == size
        assert await reader.read() == b""

    loop.run_until_complete(with_pair(lib, serve, use, limit=1024))


def test_a_reader_or_protocol_of_ones_own_gets_the_data(loop: Loop, lib: Any) -> None:
    seen: list[str] = []

    class Reader(lib.StreamReader):  # type: ignore[misc]
        def feed_data(self, data: bytes) -> None:
            seen.append("reader")
            super().feed_data(data.upper())

    class Protocol(lib.StreamReaderProtocol):  # type: ignore[misc]
        def data_received(self, data: bytes) -> None:
            seen.append("protocol")
            super().data_received(data[::-1])

    async def use(_: Any, writer: Any) -> None:
        host, port = writer.get_extra_info("peername")
        for reader_class, protocol_class, expected in (
            (Reader, lib.StreamReaderProtocol, b"ABC"),
            (lib.StreamReader, Protocol, b"cba"),
            (Reader, Protocol, b"CBA"),
        ):
            reader = reader_class(loop=loop)
            transport, protocol = await loop.create_connection(
                functools.partial(protocol_class, reader, loop=loop), host, port
            )
            own = lib.StreamWriter(transport, protocol, reader, loop)
            own.write(b"abc")
            assert await reader.read(10) == expected
            own.close()
            await own.wait_closed()
        assert seen == ["reader", "protocol", "protocol", "reader"]

    async def serve(reader: Any, writer: Any) -> None:
        await echo(reader, writer)

    loop.run_until_complete(with_pair(lib, serve, use))


def test_methods_patched_while_connected_are_called(loop: Loop, lib: Any) -> None:
    async def use(reader: Any, writer: Any) -> None:
        writer.write(b"one")
        assert await reader.read(10) == b"one"
        protocol = writer.transport.get_protocol()

        def receive(_: bytes) -> None:
            reader.feed_data(b"two")

        with mock.patch.object(protocol, "data_received", receive):
            writer.write(b"one")
            assert await reader.read(10) == b"two"
        feed = lib.StreamReader.feed_data
        with mock.patch.object(lib.StreamReader, "feed_data", lambda it, _: feed(it, b"three")):
            writer.write(b"one")
            assert await reader.read(10) == b"three"
        writer.write(b"four")
        assert await reader.read(10) == b"four"

    loop.run_until_complete(with_pair(lib, echo, use))


def test_data_and_the_end_in_one_packet_both_arrive(loop: Loop, lib: Any) -> None:
    async def serve(reader: Any, writer: Any) -> None:
        writer.write(b"all there is")
        writer.write_eof()
        assert await reader.read() == b"thanks"

    async def use(reader: Any, writer: Any) -> None:
        await asyncio.sleep(0.01)
        assert await reader.read() == b"all there is"
        writer.write(b"thanks")

    loop.run_until_complete(with_pair(lib, serve, use))


def test_a_reset_is_raised_by_the_waiting_read_and_by_drain(loop: Loop, lib: Any) -> None:
    async def serve(reader: Any, writer: Any) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    async def use(reader: Any, writer: Any) -> None:
        writer.write(b"xy" * 500_000)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        with pytest.raises(ConnectionError):
            for _ in range(10):
                writer.write(b"x")
                await writer.drain()

    loop.run_until_complete(with_pair(lib, serve, use))


def test_a_reader_that_died_swallows_what_still_comes(loop: Loop, lib: Any) -> None:
    async def serve(reader: Any, writer: Any) -> None:
        for _ in range(5):
            writer.write(b"x" * 1000)
            await asyncio.sleep(0.001)
        writer.close()

    async def main() -> None:
        server = await lib.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        readers = [lib.StreamReader(loop=loop)]
        transport, protocol = await loop.create_connection(
            lambda: lib.StreamReaderProtocol(readers[0], loop=loop), "127.0.0.1", port
        )
        readers.clear()
        await asyncio.sleep(0.02)
        assert protocol._stream_reader is None
        transport.close()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_unix_streams(loop: Loop, lib: Any, tmp_path: Any) -> None:
    path = str(tmp_path / "socket")

    async def main() -> None:
        server = await lib.start_unix_server(echo, path)
        reader, writer = await lib.open_unix_connection(path)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())
