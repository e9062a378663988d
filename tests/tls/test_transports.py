"""What a TLS transport does between its handshake and its end: bytes, pauses, marks, protocols."""

import array
import asyncio
import contextvars
import io
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.net.parties import (
    KINDS,
    BufferedRecorder,
    Net,
    Recorder,
    pattern,
    send,
    turns,
    until,
)
from tests.tls.certificates import Certificates
from tests.tls.parties import (
    SIDES,
    VERSION_NAMES,
    VERSIONS,
    contexts,
    is_asyncios,
    secured,
)

#: More than the kernel takes, and more than it and we take together.
BIG, ENDLESS = 1 << 20, 4 << 20

both_sides = pytest.mark.parametrize("side", SIDES)
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=VERSION_NAMES)


# What is written


@both_sides
@both_versions
@pytest.mark.parametrize("size", [1, 16384, 16385, 100_000, BIG])
async def test_what_is_written_arrives(
    net: Net, certificates: Certificates, side: str, version: Any, size: int
) -> None:
    recorder = Recorder()
    data = pattern(size)
    async with secured(net, contexts(certificates, version), recorder, side) as peer:
        recorder.transport.write(data)
        assert await peer.receive(size) == data
        await turns(3)
        assert recorder.transport.get_write_buffer_size() == 0


async def test_every_kind_of_bytes_is_taken(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        transport = recorder.transport
        words = array.array("I", [1, 2, 3])
        transport.write(b"bytes")
        transport.write(bytearray(b"bytearray"))
        transport.write(memoryview(b"memoryview")[3:])
        transport.write(memoryview(words))
        transport.write(b"")
        transport.writelines([b"a", bytearray(b"b"), memoryview(b"c"), b"", b"d"])
        transport.writelines(piece for piece in (b"e", b"f"))
        transport.writelines([])
        transport.write(b"end")
        whole = b"bytesbytearrayoryview" + words.tobytes() + b"abcdefend"
        assert await peer.receive(len(whole)) == whole


@pytest.mark.parametrize("data", ["text", None, 1, [b"list"]])
async def test_what_is_no_bytes_is_refused(net: Net, certificates: Certificates, data: Any) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        with pytest.raises(TypeError) as caught:
            recorder.transport.write(data)
        assert str(caught.value) == (
            f"data: expecting a bytes-like instance, got {type(data).__name__}"
        )
        recorder.transport.write(b"goes on")
        assert await peer.receive(7) == b"goes on"


@pytest.mark.parametrize("size", [100, 100_000])
async def test_what_was_written_may_be_changed_afterwards(
    net: Net, certificates: Certificates, size: int
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        data = bytearray(pattern(size))
        recorder.transport.write(data)
        recorder.transport.write(memoryview(data))
        data[:] = bytes(size)
        data.clear()
        assert await peer.receive(2 * size) == pattern(size) * 2


async def test_many_small_writes_arrive_in_order(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    data = pattern(5000)
    async with secured(net, contexts(certificates), recorder) as peer:
        for place in range(len(data)):
            recorder.transport.write(data[place : place + 1])
            if place % 7 == 0:
                await asyncio.sleep(0)
        assert await peer.receive(len(data)) == data


async def test_what_is_written_in_callbacks_arrives(net: Net, certificates: Certificates) -> None:
    class Talking(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.write(b"made ")

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"received ")

        def eof_received(self) -> bool | None:
            self.transport.write(b"ended")
            return super().eof_received()

    recorder = Talking()
    async with secured(net, contexts(certificates), recorder) as peer:
        assert await peer.receive(5) == b"made "
        await peer.send(b"x")
        assert await peer.receive(9) == b"received "
        await send(peer.sock, peer.close_notify())
        assert await peer.receive_all() == b"ended"
        peer.go()
        assert await recorder.lost is None
    assert recorder.events == ["made", "data", "eof", "lost"]


async def test_half_closing_is_refused(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        assert recorder.transport.can_write_eof() is False
        with pytest.raises(NotImplementedError):
            recorder.transport.write_eof()
        recorder.transport.write(b"goes on")
        assert await peer.receive(7) == b"goes on"


# What is read


@both_sides
@both_versions
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 16384, 16385, BIG])
async def test_what_is_sent_is_received(
    net: Net, certificates: Certificates, side: str, version: Any, kind: str, size: int
) -> None:
    recorder = Recorder()
    data = pattern(size)
    both = contexts(certificates, version)
    async with secured(net, both, recorder, side, kind=kind) as peer:
        await peer.send(data)
        await until(lambda: len(recorder.received) == size)
    assert recorder.received == data
    assert recorder.events == ["made", "data", "lost"]


@pytest.mark.parametrize("size", [1, 7, 1024, 70_000])
@pytest.mark.parametrize("kind", [memoryview, bytearray])
async def test_a_buffered_protocol_gets_everything_into_its_buffer(
    net: Net, certificates: Certificates, size: int, kind: type
) -> None:
    class Handing(BufferedRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            return self.buffer if kind is bytearray else memoryview(self.buffer)

    recorder = Handing(size)
    data = pattern(size * 50 + 3)
    async with secured(net, contexts(certificates), recorder) as peer:
        if is_asyncios(recorder.transport) and kind is bytearray and size > 1 << 14:
            pytest.skip("asyncio reads all but the first record into a copy of a bytearray")
        await peer.send(data)
        await until(lambda: len(recorder.received) == len(data))
        await peer.close()
        assert await recorder.lost is None
    assert recorder.received == data
    assert recorder.events == ["made", "data", "eof", "lost"]


async def test_a_byte_at_a_time_makes_records(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = b"".join(peer.encrypt(b"%d," % number) for number in range(20))
        for place in range(len(stream)):
            peer.sock.send(stream[place : place + 1])
            await asyncio.sleep(0)
        whole = b"".join(b"%d," % number for number in range(20))
        await until(lambda: len(recorder.received) == len(whole))
        assert recorder.received == whole


async def test_many_records_in_one_packet_are_all_told(
    net: Net, certificates: Certificates
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        packet = b"".join(peer.encrypt(b"%04d" % number) for number in range(1000))
        await send(peer.sock, packet + peer.close_notify())
        peer.go()
        assert await recorder.lost is None
    assert recorder.received == b"".join(b"%04d" % number for number in range(1000))
    assert recorder.events == ["made", "data", "eof", "lost"]


@both_versions
async def test_data_that_comes_with_the_end_of_the_handshake_is_told_after_it(
    net: Net, certificates: Certificates, version: Any
) -> None:
    """A TLS 1.3 client may send its first request with its last flight, in one packet."""
    recorder = Recorder()
    _, client = both = contexts(certificates, version)

    class Eager(type(recorder)):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.write(b"welcome")

    eager = Eager()
    async with secured(net, both, eager) as peer:
        assert await peer.receive(7) == b"welcome"
        await send(peer.sock, peer.encrypt(b"first") + peer.close_notify())
        peer.go()
        assert await eager.lost is None
    assert client is both[1]
    assert eager.events == ["made", "data", "eof", "lost"]


# Pausing to read


@both_sides
async def test_nothing_is_told_while_reading_is_paused(
    net: Net, certificates: Certificates, side: str
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        transport = recorder.transport
        assert transport.is_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        await peer.send(b"held back")
        await asyncio.sleep(0.02)
        assert recorder.events == ["made"]
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        assert recorder.events == ["made"]  # told by the loop, and not from inside the call
        await until(lambda: recorder.received == b"held back")


async def test_a_pause_in_data_received_holds_back_the_next_packet(
    net: Net, certificates: Certificates
) -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    recorder = Pausing()
    async with secured(net, contexts(certificates), recorder) as peer:
        for number in range(1, 11):
            await peer.send(b"a")
            await turns(5)
            assert len(recorder.received) == number - 1 or number == 1
            if number > 1:
                recorder.transport.resume_reading()
            await until(lambda number=number: len(recorder.received) == number)  # type: ignore[misc]
            assert not recorder.transport.is_reading()


async def test_writing_goes_on_while_reading_is_paused(
    net: Net, certificates: Certificates
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        recorder.transport.pause_reading()
        await peer.send(b"unread")
        recorder.transport.write(pattern(100_000))
        assert await peer.receive(100_000) == pattern(100_000)
        assert recorder.events == ["made"]


@both_sides
async def test_a_sender_is_held_back_while_reading_is_paused(
    net: Net, certificates: Certificates, side: str
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        recorder.transport.pause_reading()
        stream = memoryview(peer.encrypt(pattern(ENDLESS)))
        sent = idle = 0
        while idle < 20:
            try:
                sent += peer.sock.send(stream[sent:])
                idle = 0
            except BlockingIOError:
                idle += 1
                await asyncio.sleep(0.001)
        assert sent < ENDLESS // 2
        used = time.thread_time()
        await asyncio.sleep(0.15)
        assert time.thread_time() - used < 0.1, "the loop spins"
        recorder.transport.resume_reading()
        await send(peer.sock, bytes(stream[sent:]))
        await until(lambda: len(recorder.received) == ENDLESS)
        assert recorder.received == pattern(ENDLESS)


async def test_an_end_that_comes_while_reading_is_paused_is_told_after_the_data(
    net: Net, certificates: Certificates
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        recorder.transport.pause_reading()
        await send(peer.sock, peer.encrypt(b"the last words") + peer.close_notify())
        peer.go()
        await asyncio.sleep(0.02)
        assert recorder.events == ["made"]
        recorder.transport.resume_reading()
        assert await recorder.lost is None
    assert recorder.received == b"the last words"
    assert recorder.events == ["made", "data", "eof", "lost"]


# The marks of the buffers


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [
        ({}, 128 << 10, 512 << 10),
        ({"high": 100}, 25, 100),
        ({"low": 100}, 100, 400),
        ({"high": 7, "low": 7}, 7, 7),
        ({"high": 0}, 0, 0),
    ],
)
async def test_limits_follow_from_what_is_given(
    net: Net, certificates: Certificates, given: dict[str, int], low: int, high: int
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        transport = recorder.transport
        transport.set_write_buffer_limits(**given)
        assert transport.get_write_buffer_limits() == (low, high)
        if high:
            assert recorder.events == ["made"]
            transport.write(b"x")
            assert await peer.receive(1) == b"x"


async def test_limits_that_make_no_sense_are_refused(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder):
        for setter in ("set_write_buffer_limits", "set_read_buffer_limits"):
            with pytest.raises(ValueError) as caught:
                getattr(recorder.transport, setter)(high=1, low=2)
            assert str(caught.value) == "high (1) must be >= low (2) must be >= 0"
            with pytest.raises(ValueError):
                getattr(recorder.transport, setter)(high=-1)
        assert recorder.transport.get_write_buffer_limits() == (128 << 10, 512 << 10)


async def test_the_read_buffer_has_limits_too(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        transport = recorder.transport
        assert transport.get_read_buffer_limits() == (64 << 10, 256 << 10)
        assert transport.get_read_buffer_size() == 0
        transport.set_read_buffer_limits(high=100_000)
        assert transport.get_read_buffer_limits() == (25_000, 100_000)
        await peer.send(pattern(BIG))
        await until(lambda: len(recorder.received) == BIG)
        assert recorder.received == pattern(BIG)


class Measuring(Recorder):
    """Remembers how much was buffered when it was told to pause and to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.at_pause: list[int] = []
        self.at_resume: list[int] = []

    def pause_writing(self) -> None:
        super().pause_writing()
        self.at_pause.append(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self.at_resume.append(self.transport.get_write_buffer_size())


@both_sides
async def test_a_writer_is_told_to_pause_and_to_go_on(
    net: Net, certificates: Certificates, side: str
) -> None:
    recorder = Measuring()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        low, high = recorder.transport.get_write_buffer_limits()
        data = pattern(ENDLESS)
        sent = 0
        while recorder.events[-1] != "pause":
            recorder.transport.write(data[sent : sent + 50_000])
            sent += 50_000
        assert recorder.at_pause[0] >= high
        assert await peer.receive(sent) == data[:sent]
        await until(lambda: recorder.events[-1] == "resume")
        assert recorder.events == ["made", "pause", "resume"]
        assert recorder.at_resume[0] <= low
        assert recorder.transport.get_write_buffer_size() == 0


@both_sides
@pytest.mark.parametrize("size", [100, 10_000, 1_000_000])
async def test_a_peer_that_never_reads_costs_bounded_memory(
    net: Net, certificates: Certificates, side: str, size: int
) -> None:
    recorder = Measuring()
    piece = b"x" * size
    written = 0
    async with secured(net, contexts(certificates), recorder, side):
        transport = recorder.transport
        _, high = transport.get_write_buffer_limits()
        for _ in range(50):  # the kernel may take a little more than it first did
            while recorder.events[-1] != "pause":
                transport.write(piece)
                written += size
            await asyncio.sleep(0.001)
        most = max(recorder.at_pause)
        # Records add to the size: a header and a tag for each 16 KiB, or for each small write.
        assert high <= most <= high + size + size // 100 + 100
        assert written < ENDLESS
        used = time.thread_time()
        await asyncio.sleep(0.15)
        assert time.thread_time() - used < 0.1, "the loop spins"


async def test_each_pause_has_one_resume_through_many_rounds(
    net: Net, certificates: Certificates
) -> None:
    recorder = Measuring()
    async with secured(net, contexts(certificates), recorder) as peer:
        for _ in range(10):
            written = 0
            while recorder.events[-1] != "pause":
                recorder.transport.write(pattern(50_000))
                written += 50_000
            assert len(await peer.receive(written)) == written
            await until(lambda: recorder.events[-1] == "resume")
    assert recorder.events == ["made", *["pause", "resume"] * 10, "lost"]


async def test_lowering_the_mark_below_what_is_buffered_pauses_at_once(
    net: Net, certificates: Certificates
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        recorder.transport.set_write_buffer_limits(high=ENDLESS)
        for _ in range(50):
            recorder.transport.write(pattern(50_000))
            await turns(1)
        assert recorder.events == ["made"]
        recorder.transport.set_write_buffer_limits(high=1000)
        assert recorder.events == ["made", "pause"]
        await peer.receive(50 * 50_000)
        await until(lambda: recorder.events[-1] == "resume")


# Protocols


async def test_a_protocol_set_in_flight_gets_what_comes_after(
    net: Net, certificates: Certificates
) -> None:
    first, second, third = Recorder(), Recorder(), BufferedRecorder(100)
    async with secured(net, contexts(certificates), first) as peer:
        transport = first.transport
        await peer.send(b"one")
        await until(lambda: first.received)
        for recorder in (second, third):
            recorder.connection_made(transport)
            transport.set_protocol(recorder)
            assert transport.get_protocol() is recorder
            await peer.send(b"another")
            await until(lambda recorder=recorder: recorder.received)  # type: ignore[misc]
        await peer.close()
        assert await third.lost is None
        first.lost.set_result(None)
    assert [bytes(one.received) for one in (first, second, third)] == [
        b"one",
        b"another",
        b"another",
    ]
    assert first.events == second.events == ["made", "data"]
    assert third.events == ["made", "data", "eof", "lost"]


async def test_a_protocol_can_be_changed_in_data_received(
    net: Net, certificates: Certificates
) -> None:
    second = Recorder()

    class Switching(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            second.connection_made(self.transport)
            self.transport.set_protocol(second)

    first = Switching()
    async with secured(net, contexts(certificates), first) as peer:
        await peer.send(b"one")
        await until(lambda: first.received)
        await peer.send(b"two")
        await until(lambda: second.received)
        await peer.close()
        await second.lost
        first.lost.set_result(None)
    assert [bytes(one.received) for one in (first, second)] == [b"one", b"two"]


# Contexts


@both_sides
async def test_callbacks_run_in_the_context_of_the_connections_maker(
    net: Net, certificates: Certificates, side: str
) -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="nobody")
    seen: dict[str, str] = {}

    class Looking(Recorder):
        def connection_made(self, transport: Any) -> None:
            seen["made"] = var.get()
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            seen["data"] = var.get()
            super().data_received(data)

        def eof_received(self) -> bool | None:
            seen["eof"] = var.get()
            return super().eof_received()

        def connection_lost(self, exc: Exception | None) -> None:
            seen["lost"] = var.get()
            super().connection_lost(exc)

    recorder = Looking()
    var.set("maker")
    async with secured(net, contexts(certificates), recorder, side) as peer:
        var.set("somebody later")
        await peer.send(b"x")
        await until(lambda: recorder.received)
        await peer.close()
        await recorder.lost
    assert seen == dict.fromkeys(("made", "data", "eof", "lost"), "maker")


# Files


@both_sides
async def test_files_are_sent_through_the_fallback(
    net: Net, certificates: Certificates, side: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(1 << 20))
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        receiving = asyncio.ensure_future(peer.receive(1 << 20))
        with path.open("rb") as file:
            assert await net.loop.sendfile(recorder.transport, file) == 1 << 20
            assert await receiving == pattern(1 << 20)
            sent = await net.loop.sendfile(recorder.transport, file, 100, 1000)
            assert sent == 1000
            assert file.tell() == 1100
        assert await peer.receive(1000) == pattern(1100)[100:]
        recorder.transport.write(b"and on")
        assert await peer.receive(6) == b"and on"
        await peer.send(b"still reading")
        await until(lambda: recorder.received == b"still reading")


async def test_sendfile_without_its_fallback_is_refused(
    net: Net, certificates: Certificates, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder):
        with path.open("rb") as file, pytest.raises(RuntimeError, match="fallback is disabled"):
            await net.loop.sendfile(recorder.transport, file, fallback=False)


async def test_a_file_that_is_none_is_sent_too(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        assert await net.loop.sendfile(recorder.transport, io.BytesIO(b"in memory")) == 9
        assert await peer.receive(9) == b"in memory"
