"""Flow control in both directions: a peer that does not read, and a protocol that does not want to.

Memory is what is at stake: whoever writes to a peer that never reads has to be told to stop, and
what arrives for a protocol that has paused reading has to stay in the kernel.
"""

import asyncio
import socket
import sys
import time
from typing import Any

import pytest

from tests.net.parties import (
    KINDS,
    Net,
    Recorder,
    connected,
    pair,
    pattern,
    receive,
    receive_all,
    reset,
    send,
    shrink_buffers,
    turns,
    until,
)

BIG = 4 << 20

# Writing


class Polite(Recorder):
    """Writes pieces for ever, but not while it is told to pause."""

    def __init__(self, piece: bytes) -> None:
        super().__init__()
        self.piece = piece
        self.written = 0
        self.most = 0
        self.writing = True

    def write_on(self) -> None:
        while self.writing:
            self.transport.write(self.piece)
            self.written += len(self.piece)
            self.most = max(self.most, self.transport.get_write_buffer_size())

    def pause_writing(self) -> None:
        super().pause_writing()
        self.writing = False

    def resume_writing(self) -> None:
        super().resume_writing()
        self.writing = True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [100, 10_000, 1_000_000])
async def test_a_peer_that_never_reads_costs_bounded_memory(net: Net, kind: str, size: int) -> None:
    polite = Polite(b"x" * size)
    async with connected(net, polite, kind):
        low, high = polite.transport.get_write_buffer_limits()
        for _ in range(50):  # the kernel may take a little more than it first did
            polite.write_on()
            await asyncio.sleep(0.001)
        assert high < polite.most <= high + size
        assert polite.written < BIG
        assert polite.events[-1] == "pause"
        assert polite.transport.get_write_buffer_size() > low
    assert polite.events[-2:] == ["pause", "lost"]


async def test_waiting_for_a_peer_that_never_reads_costs_no_time(net: Net) -> None:
    polite = Polite(b"x" * 100_000)
    async with connected(net, polite):
        polite.write_on()
        await turns(3)
        used = time.thread_time()
        await asyncio.sleep(0.3)
        assert time.thread_time() - used < 0.1


@pytest.mark.parametrize("kind", KINDS)
async def test_writing_is_resumed_when_the_buffer_has_drained_to_the_low_mark(
    net: Net, kind: str
) -> None:
    recorder = Recorder()
    at_resume: list[int] = []

    class Measuring(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            at_resume.append(self.transport.get_write_buffer_size())

    recorder = Measuring()
    async with connected(net, recorder, kind) as peer:
        recorder.transport.set_write_buffer_limits(high=1 << 20, low=1 << 19)
        data = pattern(BIG)
        recorder.transport.write(data)
        assert recorder.events == ["made", "pause"]
        assert await receive(peer, BIG) == data
        await turns(3)
        assert recorder.events == ["made", "pause", "resume"]
        assert at_resume[0] <= 1 << 19
        assert recorder.transport.get_write_buffer_size() == 0


async def test_each_pause_has_one_resume_through_many_rounds(net: Net) -> None:
    polite = Polite(pattern(50_000))
    async with connected(net, polite) as peer:
        for _ in range(20):
            polite.write_on()
            got = await receive(peer, polite.written)
            polite.written = 0
            assert len(got) % 50_000 == 0
            await until(lambda: polite.writing)
    assert polite.events == ["made", *["pause", "resume"] * 20, "lost"]


async def test_a_high_mark_of_nothing_pauses_as_soon_as_anything_is_left(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        recorder.transport.set_write_buffer_limits(high=0)
        assert recorder.transport.get_write_buffer_limits() == (0, 0)
        recorder.transport.write(b"fits")
        assert recorder.events == ["made"]
        recorder.transport.write(b"x" * BIG)
        assert recorder.events == ["made", "pause"]
        await receive(peer, BIG + 4)
        await turns(3)
        assert recorder.events == ["made", "pause", "resume"]


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [
        ({}, 16 << 10, 64 << 10),
        ({"high": 100}, 25, 100),
        ({"low": 100}, 100, 400),
        ({"high": 7, "low": 7}, 7, 7),
        ({"high": 0}, 0, 0),
        ({"low": 0}, 0, 0),
    ],
)
async def test_limits_follow_from_what_is_given(
    net: Net, given: dict[str, int], low: int, high: int
) -> None:
    recorder = Recorder()
    async with connected(net, recorder):
        recorder.transport.set_write_buffer_limits(**given)
        assert recorder.transport.get_write_buffer_limits() == (low, high)


async def test_limits_that_contradict_are_refused(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder):
        for given in ({"high": 1, "low": 2}, {"high": -1}, {"low": -1}):
            with pytest.raises(ValueError, match=r"high \(.*\) must be >= low \(.*\) must be >= 0"):
                recorder.transport.set_write_buffer_limits(**given)
        assert recorder.transport.get_write_buffer_limits() == (16 << 10, 64 << 10)


async def test_lowering_the_marks_under_what_is_buffered_pauses_at_once(net: Net) -> None:
    recorder = Recorder()
    with pair() as (ours, peer):
        shrink_buffers(ours, peer)
        transport = await net.attach(ours, recorder)
        transport.set_write_buffer_limits(high=BIG)
        transport.write(b"x" * (BIG - 1))
        assert recorder.events == ["made"]
        transport.set_write_buffer_limits(high=10)
        assert recorder.events == ["made", "pause"]
        transport.abort()
        await recorder.lost


async def test_a_close_while_paused_does_not_resume_before_everything_is_sent(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        data = pattern(BIG)
        recorder.transport.write(data)
        recorder.transport.close()
        assert await receive_all(peer) == data
        await recorder.lost
    assert recorder.events == ["made", "pause", "resume", "lost"]


async def test_a_paused_writer_is_not_resumed_by_a_reset(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        recorder.transport.write(pattern(BIG))
        reset(peer)
        await recorder.lost
    assert recorder.events[:2] == ["made", "pause"]
    assert "resume" not in recorder.events


async def test_a_buffer_may_be_changed_after_it_was_written(net: Net) -> None:
    """Up to 3.11 asyncio copies what it cannot send at once, aioxide always does."""
    if net.name == "asyncio" and sys.version_info >= (3, 12):
        pytest.skip("from 3.12 on asyncio keeps a view of the buffer")
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        data = bytearray(pattern(BIG))
        expected = bytes(data)
        recorder.transport.write(data)
        data[:] = bytes(BIG)
        recorder.transport.write(data[:0])
        small = bytearray(b"small")
        recorder.transport.write(small)
        small[:] = b"large"
        assert await receive(peer, BIG + 5) == expected + b"small"


# Reading


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_told_while_reading_is_paused(net: Net, kind: str) -> None:
    recorder = Recorder()
    async with connected(net, recorder, kind) as peer:
        transport = recorder.transport
        assert transport.is_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        await send(peer, b"first")
        peer.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.02)
        assert recorder.events == ["made"]
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        await recorder.lost
    assert recorder.events == ["made", "data", "eof", "lost"]
    assert recorder.received == b"first"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_pause_from_within_data_received_is_exact(net: Net, kind: str) -> None:
    class OneAtATime(Recorder):
        calls = 0

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.calls += 1
            self.transport.pause_reading()

    recorder = OneAtATime()
    async with connected(net, recorder, kind) as peer:
        data = pattern(BIG)
        sending = asyncio.ensure_future(send(peer, data))
        for call in range(1, 10_000):
            await until(lambda call=call: recorder.calls == call)  # type: ignore[misc]
            await turns(3)
            assert recorder.calls == call
            if len(recorder.received) == BIG:
                break
            recorder.transport.resume_reading()
        await sending
    assert recorder.received == data


async def test_a_paused_reader_leaves_the_peers_data_in_the_kernel(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        recorder.transport.pause_reading()
        await turns(2)
        sent = 0
        while sent < BIG * 4:
            try:
                sent += peer.send(b"x" * 65536)
            except BlockingIOError:
                await asyncio.sleep(0.02)
                try:
                    sent += peer.send(b"x")
                except BlockingIOError:
                    break
        assert recorder.received == b""
        recorder.transport.resume_reading()
        await until(lambda: len(recorder.received) == sent)


async def test_reading_is_paused_before_it_began(net: Net) -> None:
    class Shy(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    recorder = Shy()
    with pair() as (ours, peer):
        await send(peer, b"early")
        transport = await net.attach(ours, recorder)
        await turns(5)
        assert recorder.events == ["made"]
        transport.resume_reading()
        await until(lambda: recorder.received == b"early")
        transport.close()
        await recorder.lost


async def test_pausing_and_resuming_in_one_callback_changes_nothing(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        for _ in range(5):
            recorder.transport.pause_reading()
            recorder.transport.resume_reading()
        await send(peer, b"x")
        await until(lambda: recorder.received)


# A new protocol in flight


async def test_a_protocol_set_in_flight_gets_what_comes_after(net: Net) -> None:
    class Switching(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(second)
            second.transport = self.transport

    first, second = Switching(), Recorder()
    second.events.append("set")
    async with connected(net, first) as peer:
        transport = first.transport
        await send(peer, b"one")
        await until(lambda: first.received)
        assert transport.get_protocol() is second
        await send(peer, b"two")
        await until(lambda: second.received)
        transport.write(b"x" * BIG)
        peer.close()
        await second.lost
        first.lost.set_result(None)
    assert first.events == ["made", "data"]
    assert second.events[:3] == ["set", "data", "pause"]
    assert first.received == b"one"
    assert second.received == b"two"
