"""Both ends of a pipe on one loop: volume, streams, limits, and nothing left behind."""

import asyncio
import fcntl
import gc
import hashlib
import os
import random
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

import aioxide
from aioxide import _core
from tests.loops import LOOPS, Loop, Report, count_descriptors, run_turns
from tests.pipes import (
    CHANNELS,
    Ends,
    Recorder,
    closing,
    fill,
    finish,
    read_from,
    reading_file,
    run_until,
    write_to,
    writing_file,
)

MIB = 1 << 20


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=aioxide.new_event_loop) as runner:
        runner.run(main())


async def open_reader(fd: int, **options: Any) -> tuple[aioxide.StreamReader, Any]:
    """A native reader over the transport that it is fed by."""
    reader = aioxide.StreamReader(**options)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: aioxide.StreamReaderProtocol(reader), reading_file(fd)
    )
    return reader, transport


async def open_writer(fd: int) -> aioxide.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: aioxide.StreamReaderProtocol(aioxide.StreamReader()), writing_file(fd)
    )
    return aioxide.StreamWriter(transport, protocol, None, loop)


class Sink(asyncio.Protocol):
    """Counts and sums what comes, and pauses at random."""

    def __init__(self, loop: Loop, draws: random.Random) -> None:
        self.loop = loop
        self.draws = draws
        self.sum = hashlib.sha256()
        self.paused = False
        self.over = loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert not self.paused
        self.sum.update(data)
        if self.draws.random() < 0.02:
            self.paused = True
            self.transport.pause_reading()
            self.loop.call_later(self.draws.choice((0, 0.001)), self.resume)

    def resume(self) -> None:
        self.paused = False
        self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set_result(exc)


class Source(asyncio.Protocol):
    """Writes all that it has, in pieces of any size, as long as it may."""

    def __init__(self, loop: Loop, draws: random.Random, data: bytes) -> None:
        self.loop = loop
        self.draws = draws
        self.data = memoryview(data)
        self.paused = False
        self.most = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.loop.call_soon(self.write_some)

    def write_some(self) -> None:
        for _ in range(self.draws.choice((1, 1, 5))):
            if self.paused:
                return
            size = self.draws.choice((1, 100, 4096, 65_536, 300_000))
            piece, self.data = self.data[:size], self.data[size:]
            self.transport.write(self.draws.choice((bytes, bytearray, memoryview))(piece))
            self.most = max(self.most, self.transport.get_write_buffer_size())
            if not self.data:
                self.transport.close()
                return
        self.loop.call_soon(self.write_some)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.loop.call_soon(self.write_some)


@pytest.mark.parametrize(
    ("name", "size"), [("pipe", 100 * MIB), ("fifo", 10 * MIB), ("socket", 10 * MIB)]
)
def test_what_goes_in_comes_out_however_often_either_side_pauses(
    loop: Loop, name: str, size: int
) -> None:
    draws = random.Random(5)
    data = draws.randbytes(MIB) * (size // MIB)
    reading, writing = CHANNELS[name]()

    async def main() -> None:
        sink, source = Sink(loop, draws), Source(loop, draws, data)
        await loop.connect_read_pipe(lambda: sink, reading_file(reading))
        await loop.connect_write_pipe(lambda: source, writing_file(writing))
        assert await sink.over is None
        assert sink.sum.digest() == hashlib.sha256(data).digest()
        assert source.most <= 65_536 + 300_000

    loop.run_until_complete(asyncio.wait_for(main(), 120))


def test_streams_carry_as_much(loop: Loop) -> None:
    """The reader is fed without its protocol on aioxide's loop, and with it on asyncio's."""
    draws = random.Random(6)
    data = draws.randbytes(MIB) * 100
    reading, writing = os.pipe()

    async def main() -> None:
        reader, _ = await open_reader(reading)
        writer = await open_writer(writing)

        async def send() -> None:
            rest = memoryview(data)
            while rest:
                size = draws.choice((1, 100, 4096, 65_536, 300_000))
                writer.write(bytes(rest[:size]))
                rest = rest[size:]
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        sending = asyncio.ensure_future(send())
        found = hashlib.sha256()
        while not reader.at_eof():
            how = draws.randrange(3)
            if how == 0:
                found.update(await reader.read(draws.choice((1, 1000, 65_536, 1 << 20))))
            elif how == 1:
                try:
                    found.update(await reader.readexactly(draws.choice((1, 5000, 200_000))))
                except asyncio.IncompleteReadError as rest:
                    found.update(rest.partial)
            else:
                await asyncio.sleep(0)
        await sending
        assert found.digest() == hashlib.sha256(data).digest()

    loop.run_until_complete(asyncio.wait_for(main(), 120))


def test_what_nobody_reads_stays_in_the_pipe() -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        with closing(writing):
            reader, transport = await open_reader(reading, limit=1000)
            room = 0
            while more := fill(writing):
                room += more
                for _ in range(5):
                    await asyncio.sleep(0)
            # What is held above the limit is less than one read.
            assert room <= 2 * 65_536 + 2000
            assert "paused" in repr(reader)
            held = 0
            while held < room:
                held += len(await reader.read(10_000))
            assert "paused" not in repr(reader)
            transport.close()
            await asyncio.sleep(0)

    run(main)


def test_a_cancelled_read_loses_nothing() -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        with closing(writing):
            reader, transport = await open_reader(reading)
            found = b""
            for count in range(100):
                task = asyncio.ensure_future(reader.read(100))
                await asyncio.sleep(0)
                os.write(writing, b"%03d " % count)
                for _ in range(count % 4):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    found += await task
                except asyncio.CancelledError:
                    pass
            while len(found) < 400:
                found += await reader.read(100)
            assert found == b"".join(b"%03d " % count for count in range(100))
            transport.close()
            await asyncio.sleep(0)

    run(main)


def test_the_end_and_errors_reach_who_reads() -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        reader, _ = await open_reader(reading)
        task = asyncio.ensure_future(reader.read())
        await asyncio.sleep(0)
        os.write(writing, b"all there is")
        os.close(writing)
        assert await task == b"all there is"
        master, own = CHANNELS["terminal"]()
        reader, _ = await open_reader(master)
        reading_line = asyncio.ensure_future(reader.readline())
        await asyncio.sleep(0)
        os.close(own)
        with pytest.raises(OSError, match="Input/output error"):
            await reading_line

    run(main)


def test_a_subclass_of_a_reader_is_fed_by_its_own_method() -> None:
    class Counting(aioxide.StreamReader):
        fed = 0

        def feed_data(self, data: Any) -> None:
            self.fed += len(data)
            super().feed_data(data)

    async def main() -> None:
        reading, writing = os.pipe()
        loop = asyncio.get_running_loop()
        reader = Counting()
        await loop.connect_read_pipe(
            lambda: aioxide.StreamReaderProtocol(reader), reading_file(reading)
        )
        os.write(writing, b"data")
        assert await reader.readexactly(4) == b"data"
        assert reader.fed == 4
        os.close(writing)
        assert await reader.read() == b""

    run(main)


def test_a_reader_that_a_transport_is_given_gets_all_but_the_end() -> None:
    """How a child's output reaches its reader past two protocols."""

    async def main() -> None:
        reading, writing = os.pipe()
        loop = asyncio.get_running_loop()
        reader = aioxide.StreamReader(limit=1000)

        class Ending(Recorder):
            def eof_received(self) -> None:
                super().eof_received()
                reader.feed_eof()

        transport, protocol = await loop.connect_read_pipe(Ending, reading_file(reading))
        assert type(transport) is _core.ReadPipeTransport
        reader.set_transport(transport)
        transport._feed_reader(cast("Any", reader))
        os.write(writing, b"one")
        assert await reader.read(100) == b"one"
        waiting = asyncio.ensure_future(reader.readexactly(60_000))
        await asyncio.sleep(0)
        os.write(writing, bytes(60_000))
        assert await waiting == bytes(60_000)
        # Its limit pauses the transport.
        for _ in range(4):
            fill(writing)
            for _ in range(4):
                await asyncio.sleep(0)
        assert not transport.is_reading()
        assert protocol.heard == ["made"]
        os.close(writing)
        await reader.read()
        assert protocol.heard[:2] == ["made", "eof"]

    async def until_fed() -> None:
        reading, writing = os.pipe()
        loop = asyncio.get_running_loop()
        transport, first = await loop.connect_read_pipe(Recorder, reading_file(reading))
        assert type(transport) is _core.ReadPipeTransport
        transport._feed_reader(cast("Any", aioxide.StreamReader()))
        second = Recorder()
        second.heard.append("set")
        transport.set_protocol(second)
        os.write(writing, b"data")
        os.close(writing)
        while not second.lost:
            await asyncio.sleep(0)
        assert first.heard == ["made"]
        assert second.heard[:3] == ["set", b"data", "eof"]
        with pytest.raises(TypeError):
            transport._feed_reader(object())  # type: ignore[arg-type]

    run(main)
    run(until_fed)


@pytest.mark.parametrize("name", CHANNELS)
def test_no_way_to_end_leaves_a_descriptor_open(loop: Loop, name: str) -> None:
    def closed(reader: Any, writer: Any) -> None:
        reader.close()
        writer.close()

    def aborted(reader: Any, writer: Any) -> None:
        writer.write(bytes(MIB))
        writer.abort()
        reader.pause_reading()
        reader.close()

    def reader_first(reader: Any, writer: Any) -> None:
        reader.close()
        run_turns(loop, 2)
        writer.write(b"data")
        writer.close()

    def writer_first(reader: Any, writer: Any) -> None:
        writer.write(b"data")
        writer.close()
        run_turns(loop, 4)
        reader.close()

    loop.set_exception_handler(lambda *_: None)
    run_turns(loop)
    before = count_descriptors()
    for end in (closed, aborted, reader_first, writer_first) * 10:
        reading, writing = CHANNELS[name]()
        reader, heard = read_from(loop, reading)
        writer, said = write_to(loop, writing)
        end(reader, writer)
        run_until(loop, lambda: heard.lost and said.lost)
        assert reader.get_extra_info("pipe").closed
        assert writer.get_extra_info("pipe").closed
    assert count_descriptors() == before


@pytest.mark.parametrize("make", LOOPS)
def test_a_closed_loop_leaves_transports_that_can_be_dropped(make: Any) -> None:
    before = count_descriptors()
    loop = make()
    reading, writing = os.pipe()
    reader, _ = read_from(loop, reading)
    writer, _ = write_to(loop, writing)
    writer.write(bytes(MIB))
    loop.close()
    for transport in (reader, writer):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            transport.close() if transport is reader else transport.abort()
    pipes = [transport.get_extra_info("pipe") for transport in (reader, writer)]
    del reader, writer, transport, _
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        gc.collect()
    assert all(pipe.closed for pipe in pipes)
    assert count_descriptors() == before


def test_many_pipes_at_once(loop: Loop, reports: list[Report]) -> None:
    ends: list[Ends] = [os.pipe() for _ in range(100)]
    readers = [read_from(loop, reading)[1] for reading, _ in ends]
    writers = [write_to(loop, writing)[0] for _, writing in ends]
    for _ in range(10):
        for count, writer in enumerate(writers):
            writer.write(b"%d " % count)
        run_turns(loop, 2)
    for writer in writers:
        writer.close()
    run_until(loop, lambda: all(reader.lost for reader in readers))
    for count, reader in enumerate(readers):
        assert reader.heard[1:3] == [b"%d " % count * 10, "eof"]
    finish(loop)
    assert reports == []


@pytest.mark.parametrize(
    ("size", "widened"), [(None, 256 * 1024), (32 * 1024, 32 * 1024), (1 << 20, 1 << 20)]
)
def test_only_a_pipe_of_the_usual_size_that_is_full_time_and_again_is_widened(
    size: int | None, widened: int
) -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        if size is not None:
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, size)
        capacity = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
        reader, transport = await open_reader(reading, limit=MIB)
        for round_ in range(8):
            assert fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ) == (
                widened if round_ >= 4 else capacity
            )
            await reader.readexactly(fill(writing))
        transport.close()
        os.close(writing)

    run(main)
