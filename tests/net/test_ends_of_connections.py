"""How a connection ends: EOF, half close, reset, abort, and what a transport says afterwards.

A program that handles ends wrongly loses the last bytes of a request or hangs for ever, and only
under load. So each way to end is a test of its own, from a plain peer's point of view.
"""

import asyncio
import contextlib
import socket
import sys
import time
from typing import Any

import pytest

from tests.net.parties import (
    KINDS,
    BufferedRecorder,
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

# The end of what the peer sends


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 1000, 100_000])
async def test_data_and_eof_that_arrive_together_are_both_told(
    net: Net, kind: str, size: int
) -> None:
    data = pattern(size)
    with pair(kind) as (ours, peer):
        await send(peer, data)
        peer.shutdown(socket.SHUT_WR)
        recorder = Recorder()
        await net.attach(ours, recorder)
        assert await recorder.lost is None
    assert recorder.received == data
    assert recorder.events == ["made", "data", "eof", "lost"]


@pytest.mark.parametrize("kind", KINDS)
async def test_data_and_eof_that_arrive_together_fill_a_buffered_protocol(
    net: Net, kind: str
) -> None:
    data = pattern(10_000)
    with pair(kind) as (ours, peer):
        await send(peer, data)
        peer.close()
        recorder = BufferedRecorder(size=1000)
        await net.attach(ours, recorder)
        assert await recorder.lost is None
    assert recorder.received == data
    assert recorder.events == ["made", "data", "eof", "lost"]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_eof_alone_closes_the_connection(net: Net, kind: str) -> None:
    recorder = Recorder()
    async with connected(net, recorder, kind) as peer:
        peer.shutdown(socket.SHUT_WR)
        assert await recorder.lost is None
        assert await receive_all(peer) == b""
    assert recorder.events == ["made", "eof", "lost"]


@pytest.mark.parametrize("kind", KINDS)
async def test_replies_go_out_after_the_peer_has_ended_its_half(net: Net, kind: str) -> None:
    recorder = Recorder(keep_open=True)
    async with connected(net, recorder, kind) as peer:
        await send(peer, b"question")
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "eof" in recorder.events)
        await turns(5)
        assert not recorder.transport.is_closing()
        answer = pattern(BIG)
        recorder.transport.write(answer)
        assert await receive(peer, BIG) == answer
        recorder.transport.write(b"later")
        await turns(5)
        recorder.transport.close()
        assert await receive_all(peer) == b"later"
        assert await recorder.lost is None
    steps = [event for event in recorder.events if event not in {"pause", "resume"}]
    assert steps == ["made", "data", "eof", "lost"]


async def test_an_eof_that_keeps_the_connection_costs_no_further_turns(net: Net) -> None:
    """Level-triggered readiness would report the EOF for ever."""
    recorder = Recorder(keep_open=True)
    async with connected(net, recorder) as peer:
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "eof" in recorder.events)
        used = time.thread_time()
        await asyncio.sleep(0.2)
        assert time.thread_time() - used < 0.1
    assert recorder.events == ["made", "eof", "lost"]


# The end of what we send


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 10, BIG])
async def test_write_eof_ends_our_half_after_all_that_was_written(
    net: Net, kind: str, size: int
) -> None:
    recorder = Recorder()
    async with connected(net, recorder, kind) as peer:
        transport = recorder.transport
        assert transport.can_write_eof()
        transport.write(pattern(size))
        transport.write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
            transport.write(b"more")
        assert await receive_all(peer) == pattern(size)
        await send(peer, b"an answer")
        await until(lambda: recorder.received)
        assert not transport.is_closing()
        peer.close()
        assert await recorder.lost is None
    assert recorder.received == b"an answer"


@pytest.mark.parametrize("kind", KINDS)
async def test_close_sends_what_was_written_first(net: Net, kind: str) -> None:
    recorder = Recorder()
    async with connected(net, recorder, kind) as peer:
        data = pattern(BIG)
        recorder.transport.write(data)
        recorder.transport.close()
        recorder.transport.close()
        assert recorder.transport.is_closing()
        assert not recorder.lost.done()
        assert await receive_all(peer) == data
        assert await recorder.lost is None


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_told_of_what_arrives_after_close(net: Net, kind: str) -> None:
    recorder = Recorder()
    async with connected(net, recorder, kind) as peer:
        recorder.transport.write(pattern(BIG))
        recorder.transport.close()
        await send(peer, b"too late")
        await receive(peer, BIG)
        await recorder.lost
    assert "data" not in recorder.events
    assert "eof" not in recorder.events


@pytest.mark.parametrize("kind", KINDS)
async def test_abort_drops_what_was_not_sent(net: Net, kind: str) -> None:
    recorder = Recorder()
    async with connected(net, recorder, kind) as peer:
        recorder.transport.write(pattern(BIG))
        assert recorder.transport.get_write_buffer_size() > 0
        recorder.transport.abort()
        assert recorder.transport.is_closing()
        assert recorder.transport.get_write_buffer_size() == 0
        assert await recorder.lost is None
        assert len(await receive_all(peer)) < BIG


async def test_what_was_written_before_an_abort_in_the_same_step_still_goes_out(net: Net) -> None:
    """asyncio hands a small write to the kernel at once, so an abort does not take it back."""
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        recorder.transport.write(b"last ")
        recorder.transport.write(b"words")
        recorder.transport.abort()
        assert await receive_all(peer) == b"last words"


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_connection_lost_is_never_called_from_within_the_end(net: Net, end: str) -> None:
    recorder = Recorder()
    async with connected(net, recorder):
        getattr(recorder.transport, end)()
        assert recorder.events == ["made"]
        await recorder.lost
    assert recorder.events == ["made", "lost"]


# Resets


async def test_a_reset_between_messages_is_told_as_one(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        await send(peer, b"hello")
        await until(lambda: recorder.received)
        reset(peer)
        lost = await recorder.lost
    assert isinstance(lost, ConnectionResetError)
    assert recorder.events == ["made", "data", "lost ConnectionResetError"]
    assert recorder.transport.get_write_buffer_size() == 0


async def test_a_reset_in_mid_send_ends_the_sending(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        recorder.transport.write(pattern(BIG))
        await receive(peer, 100_000)
        assert recorder.transport.get_write_buffer_size() > 0
        reset(peer)
        lost = await recorder.lost
    assert isinstance(lost, ConnectionResetError | BrokenPipeError)
    assert recorder.events.count("pause") == 1
    assert "resume" not in recorder.events
    assert recorder.events[-1].startswith("lost")


async def test_a_reset_while_reading_is_paused_is_found_by_the_next_write(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        recorder.transport.pause_reading()
        await turns(2)
        reset(peer)
        await asyncio.sleep(0.01)
        assert not recorder.lost.done()
        recorder.transport.write(b"anyone there?")
        lost = await recorder.lost
    assert isinstance(lost, ConnectionResetError | BrokenPipeError)


@pytest.mark.parametrize("kind", KINDS)
async def test_writing_to_a_peer_that_has_closed_loses_the_connection(net: Net, kind: str) -> None:
    recorder = Recorder(keep_open=True)
    async with connected(net, recorder, kind) as peer:
        peer.close()
        await until(lambda: "eof" in recorder.events)
        while not recorder.lost.done():
            recorder.transport.write(b"x")
            await asyncio.sleep(0.001)
        lost = recorder.lost.result()
    assert isinstance(lost, ConnectionResetError | BrokenPipeError)


async def test_a_unix_peer_that_closes_with_unread_data_resets(net: Net) -> None:
    recorder = Recorder()
    async with connected(net, recorder, "unix") as peer:
        recorder.transport.write(b"never read")
        await turns(3)
        peer.close()
        lost = await recorder.lost
    assert isinstance(lost, ConnectionResetError)


async def test_many_resets_at_once_are_each_told_once(net: Net) -> None:
    recorders = [Recorder() for _ in range(50)]
    async with contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(connected(net, one)) for one in recorders]
        for recorder in recorders:
            recorder.transport.write(pattern(BIG // 16))
        for peer in peers:
            reset(peer)
        lost = await asyncio.gather(*(recorder.lost for recorder in recorders))
    assert {type(one) for one in lost} <= {ConnectionResetError, BrokenPipeError}


# Small pieces


@pytest.mark.parametrize("kind", KINDS)
async def test_a_peer_that_sends_one_byte_at_a_time_loses_none(net: Net, kind: str) -> None:
    data = pattern(2000)
    recorder = Recorder()
    async with connected(net, recorder, kind) as peer:
        if kind == "tcp":
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(data)):
            peer.send(data[place : place + 1])
            await asyncio.sleep(0)
        await until(lambda: len(recorder.received) == len(data))
        peer.close()
        await recorder.lost
    assert recorder.received == data
    assert recorder.events == ["made", "data", "eof", "lost"]


async def test_one_byte_at_a_time_is_written_in_order(net: Net) -> None:
    data = pattern(2000)
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        for place in range(len(data)):
            recorder.transport.write(data[place : place + 1])
            if place % 7 == 0:
                await asyncio.sleep(0)
        assert await receive(peer, len(data)) == data


@pytest.mark.parametrize("kind", KINDS)
async def test_a_peer_with_tiny_buffers_gets_everything(net: Net, kind: str) -> None:
    recorder = Recorder()
    data = pattern(20_000 if kind == "tcp" else 1 << 20)  # TCP crawls with windows this small
    with pair(kind) as (ours, peer):
        shrink_buffers(ours, peer)
        transport = await net.attach(ours, recorder)
        transport.writelines([data[:1000], b"", memoryview(data)[1000:5000], data[5000:]])
        transport.close()
        assert await receive_all(peer) == data
        await recorder.lost


# A transport that is used after its end


async def ended(net: Net, stack: contextlib.AsyncExitStack, how: str) -> Recorder:
    """A recorder whose connection is over: closed here, aborted here, or lost to a reset."""
    recorder = Recorder()
    peer = await stack.enter_async_context(connected(net, recorder))
    if how == "reset":
        reset(peer)
    else:
        getattr(recorder.transport, how)()
    await recorder.lost
    await turns(2)
    return recorder


@pytest.mark.parametrize("how", ["close", "abort", "reset"])
async def test_a_transport_can_be_used_after_its_end(net: Net, how: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        transport = (await ended(net, stack, how)).transport
        assert transport.is_closing()
        assert not transport.is_reading()
        for call in (transport.close, transport.abort, transport.pause_reading):
            call()
        transport.resume_reading()
        transport.write(b"x")
        assert transport.get_write_buffer_size() == 0
        transport.set_write_buffer_limits(high=10)
        assert transport.get_write_buffer_limits() == (2, 10)
        assert transport.get_extra_info("peername") is not None
        assert transport.get_extra_info("nothing", "default") == "default"
        assert "closed" in repr(transport)
        with pytest.raises(TypeError, match="data argument must be a bytes"):
            transport.write("text")
        with contextlib.suppress(TypeError):  # 3.12 and 3.13.0 trip over it
            transport.writelines([b"x", b"y"])


@pytest.mark.parametrize("how", ["close", "abort", "reset"])
async def test_the_socket_of_an_ended_transport_is_closed(net: Net, how: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        transport = (await ended(net, stack, how)).transport
        assert transport.get_extra_info("socket").fileno() == -1


async def test_write_eof_after_the_end_is_taken(net: Net) -> None:
    async with contextlib.AsyncExitStack() as stack:
        closed = (await ended(net, stack, "close")).transport
        closed.write_eof()
        lost = (await ended(net, stack, "reset")).transport
        with contextlib.suppress(OSError) if sys.version_info < (3, 12) else _nothing():
            lost.write_eof()


def _nothing() -> Any:
    return contextlib.nullcontext()


async def test_writes_to_a_lost_connection_are_warned_about_from_the_fifth(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        transport = (await ended(net, stack, "reset")).transport
        for _ in range(8):
            transport.write(b"x")
            await turns(1)
    texts = [record.getMessage() for record in caplog.records]
    assert set(texts) == {"socket.send() raised exception."}
    assert 3 <= len(texts) <= 4


async def test_an_unclosed_transport_is_warned_about_and_its_socket_closed(net: Net) -> None:
    with pair() as (ours, peer):
        recorder = Recorder()
        transport = await net.attach(ours, recorder)
        transport.pause_reading()
        await turns(2)
        del transport
        with pytest.warns(ResourceWarning, match="unclosed transport"):
            recorder.forget()
        assert await receive_all(peer) == b""
