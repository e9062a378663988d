"""Streams over real connections that end early, stand still, are reset or cancelled.

The promise that matters most: a read that is cancelled or times out loses no bytes; they belong to
the reader, and the next read gets them.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.net.parties import (
    KERNEL_HOLDS,
    Net,
    listening,
    pattern,
    receive,
    receive_all,
    reset,
    send,
    turns,
    until,
)

BIG = 4 << 20


@contextlib.asynccontextmanager
async def streams(net: Net, **given: Any) -> AsyncIterator[tuple[Any, Any, socket.socket]]:
    """A reader, a writer, and their plain peer."""
    with listening() as listener:
        reader, writer = await net.lib.open_connection(*listener.getsockname(), **given)
        peer, _ = listener.accept()
    with peer:
        peer.setblocking(False)
        ours = writer.get_extra_info("socket")
        for sock in (ours, peer):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_HOLDS)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_HOLDS)
        try:
            yield reader, writer, peer
        finally:
            with contextlib.suppress(AttributeError):
                writer.transport.abort()  # asyncio's may have let go of its loop by now
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            await turns(3)


# Ends that come too early


async def test_readexactly_says_what_it_got_when_the_peer_ends_early(net: Net) -> None:
    async with streams(net) as (reader, _, peer):
        await send(peer, b"part")
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(10)
        assert (caught.value.partial, caught.value.expected) == (b"part", 10)
        assert str(caught.value) == "4 bytes read on a total of 10 expected bytes"
        assert await reader.read() == b""
        assert reader.at_eof()


async def test_readuntil_says_what_it_got_when_the_peer_ends_early(net: Net) -> None:
    async with streams(net) as (reader, _, peer):
        await send(peer, b"no separator")
        peer.close()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readuntil(b"\r\n")
        assert (caught.value.partial, caught.value.expected) == (b"no separator", None)
        assert reader.at_eof()


async def test_readline_gives_a_last_line_without_its_end(net: Net) -> None:
    async with streams(net) as (reader, _, peer):
        await send(peer, b"one\ntwo\nthree")
        peer.close()
        assert [line async for line in reader] == [b"one\n", b"two\n", b"three"]
        assert await reader.readline() == b""


# Limits


async def test_a_separator_beyond_the_limit_is_left_in_the_buffer(net: Net) -> None:
    async with streams(net, limit=10) as (reader, _, peer):
        await send(peer, b"0123456789abc\nrest")
        await until(lambda: len(reader._buffer) == 18)
        with pytest.raises(asyncio.LimitOverrunError) as caught:
            await reader.readuntil(b"\n")
        assert caught.value.consumed == 13
        assert str(caught.value) == "Separator is found, but chunk is longer than limit"
        assert await reader.readexactly(13) == b"0123456789abc"
        assert await reader.readuntil(b"\n") == b"\n"
        assert await reader.read(10) == b"rest"


async def test_no_separator_within_the_limit_says_how_much_may_be_skipped(net: Net) -> None:
    async with streams(net, limit=10) as (reader, _, peer):
        await send(peer, b"0123456789abc\r")
        await until(lambda: len(reader._buffer) == 14)
        with pytest.raises(asyncio.LimitOverrunError) as caught:
            await reader.readuntil(b"\r\n")
        assert caught.value.consumed == 13
        assert str(caught.value) == "Separator is not found, and chunk exceed the limit"
        assert await reader.readexactly(13) == b"0123456789abc"


async def test_a_line_beyond_the_limit_is_a_value_error_and_skipped(net: Net) -> None:
    async with streams(net, limit=10) as (reader, _, peer):
        await send(peer, b"0123456789abc\nshort\n")
        await until(lambda: len(reader._buffer) == 20)
        with pytest.raises(ValueError, match="Separator is found, but chunk is longer than limit"):
            await reader.readline()
        assert await reader.readline() == b"short\n"


async def test_a_reader_that_nobody_reads_holds_about_twice_its_limit(net: Net) -> None:
    async with streams(net, limit=1000) as (reader, writer, peer):
        sending = asyncio.ensure_future(send(peer, pattern(BIG)))
        await asyncio.sleep(0.05)
        assert not sending.done()
        held = len(reader._buffer)
        assert 2000 < held <= 2000 + (256 << 10)
        assert not writer.transport.is_reading()
        assert await reader.readexactly(BIG) == pattern(BIG)
        await sending


# Cancellation and time limits


@pytest.mark.parametrize("read", ["read", "readexactly", "readuntil", "readline"])
async def test_a_read_cancelled_in_flight_loses_nothing(net: Net, read: str) -> None:
    lines = [b"%d-%s\n" % (number, b"x" * (number % 30)) for number in range(200)]
    whole = b"".join(lines)
    arguments: dict[str, tuple[Any, ...]] = {
        "read": (7,),
        "readexactly": (7,),
        "readuntil": (b"\n",),
        "readline": (),
    }
    got = bytearray()
    async with streams(net) as (reader, _, peer):
        place = 0
        while len(got) + 7 <= len(whole):
            task = asyncio.ensure_future(getattr(reader, read)(*arguments[read]))
            await turns(1 + place % 3)
            if place < len(whole):
                peer.send(whole[place : place + 5])
                place += 5
            await turns(place % 4)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                got += await task
        peer.shutdown(socket.SHUT_WR)
        got += await reader.read()
    assert got == whole


async def test_a_read_cancelled_in_the_turn_its_data_arrives_loses_nothing(net: Net) -> None:
    async with streams(net) as (reader, _, peer):
        for number in range(100):
            task = asyncio.ensure_future(reader.readexactly(4))
            await turns(1)
            peer.send(b"%04d" % number)
            if number % 2:
                net.loop.call_soon(task.cancel)
            else:
                task.cancel()
            try:
                got = await task
            except asyncio.CancelledError:
                got = await reader.readexactly(4)
            assert got == b"%04d" % number


@pytest.mark.parametrize("seconds", [0.001, 0.02])
async def test_a_read_that_times_out_loses_nothing(net: Net, seconds: float) -> None:
    got = bytearray()
    misses = 0
    async with streams(net) as (reader, _, peer):

        async def trickle() -> None:
            for number in range(40):
                peer.send(b"%03d" % number)
                await asyncio.sleep(0.002)
            peer.shutdown(socket.SHUT_WR)

        sending = asyncio.ensure_future(trickle())
        while not reader.at_eof():
            try:
                got += await net.lib.wait_for(reader.readexactly(5), seconds)
            except TimeoutError:
                misses += 1
                await asyncio.sleep(0)
            except asyncio.IncompleteReadError as error:
                got += error.partial
        await sending
    assert got == b"".join(b"%03d" % number for number in range(40))
    assert misses or seconds == 0.02


async def test_only_one_task_may_wait_for_a_reader(net: Net) -> None:
    async with streams(net) as (reader, _, peer):
        first = asyncio.ensure_future(reader.readline())
        await turns(1)
        with pytest.raises(
            RuntimeError,
            match=r"readuntil\(\) called while another coroutine is already waiting",
        ):
            await reader.readline()
        peer.send(b"mine\n")
        assert await first == b"mine\n"


# Resets


async def test_a_reset_is_raised_by_the_read_that_waits_and_by_those_after(net: Net) -> None:
    async with streams(net) as (reader, writer, peer):
        waiting = asyncio.ensure_future(reader.read(100))
        await turns(2)
        reset(peer)
        with pytest.raises(ConnectionResetError):
            await waiting
        with pytest.raises(ConnectionResetError):
            await reader.read(100)
        assert isinstance(reader.exception(), ConnectionResetError)
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        with pytest.raises(ConnectionResetError):
            await writer.wait_closed()
        assert writer.is_closing()


async def test_what_came_before_a_reset_is_lost_only_to_reads_after_it(net: Net) -> None:
    """asyncio raises the error before it gives what is still in the buffer."""
    async with streams(net) as (reader, _, peer):
        await send(peer, b"early")
        assert await reader.read(2) == b"ea"
        reset(peer)
        await until(reader.exception)
        with pytest.raises(ConnectionResetError):
            await reader.read(3)


# Writing


async def test_drain_waits_for_a_slow_peer_and_bounds_memory(net: Net) -> None:
    async with streams(net) as (_, writer, peer):
        most = written = 0

        async def write() -> None:
            nonlocal most, written
            for number in range(40):
                writer.write(pattern(100_000, number))
                written += 100_000
                await writer.drain()
                most = max(most, writer.transport.get_write_buffer_size())
            writer.close()
            await writer.wait_closed()

        writing = asyncio.ensure_future(write())
        await asyncio.sleep(0.05)
        assert not writing.done()
        assert written < 2_000_000
        got = await receive_all(peer)
        await writing
        assert got == b"".join(pattern(100_000, number) for number in range(40))
        assert most <= 64 << 10


async def test_several_tasks_may_drain_at_once(net: Net) -> None:
    async with streams(net) as (_, writer, peer):
        writer.write(pattern(BIG))
        drains = [asyncio.ensure_future(writer.drain()) for _ in range(5)]
        await turns(3)
        assert not any(drain.done() for drain in drains)
        drains[2].cancel()
        await receive(peer, BIG)
        ends = await asyncio.gather(*drains, return_exceptions=True)
        assert [type(end) for end in ends] == [
            asyncio.CancelledError if number == 2 else type(None) for number in range(5)
        ]


async def test_a_reset_ends_a_drain_that_waits(net: Net) -> None:
    async with streams(net) as (_, writer, peer):
        writer.write(pattern(BIG))
        drain = asyncio.ensure_future(writer.drain())
        await turns(3)
        assert not drain.done()
        reset(peer)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await drain


async def test_drain_after_the_peer_has_closed_is_an_error_in_the_end(net: Net) -> None:
    async with streams(net) as (reader, writer, peer):
        peer.close()
        assert await reader.read() == b""
        with pytest.raises((ConnectionResetError, BrokenPipeError)) as caught:
            while True:
                writer.write(b"x" * 1000)
                await writer.drain()
                await asyncio.sleep(0.001)
        assert str(caught.value) in {
            "Connection lost",
            "[Errno 32] Broken pipe",
            "[Errno 104] Connection reset by peer",
        }


async def test_drain_of_a_closing_writer_lets_others_run(net: Net) -> None:
    async with streams(net) as (_, writer, __):
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            for _ in range(5):
                await writer.drain()
        await writer.wait_closed()


# Servers


async def test_a_handler_that_fails_is_reported_and_its_connection_closed(net: Net) -> None:
    async def handle(reader: Any, writer: Any) -> None:
        raise LookupError("in the handler")

    server = await net.lib.start_server(handle, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.setblocking(False)
        await until(lambda: net.reports)
        (report,) = net.take_reports()
        assert report["message"] == "Unhandled exception in client_connected_cb"
        assert isinstance(report["exception"], LookupError)
        if sys.version_info >= (3, 12):
            assert await receive_all(client) == b""
        else:  # up to 3.11 asyncio leaves the transport open
            report["transport"].close()
        report.clear()
        await turns(3)
    server.close()
    await server.wait_closed()


async def test_a_servers_handler_may_close_the_server(net: Net) -> None:
    async def handle(reader: Any, writer: Any) -> None:
        server.close()
        writer.write(await reader.readline())
        writer.close()

    server = await net.lib.start_server(handle, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.setblocking(False)
        client.send(b"last one\n")
        assert await receive_all(client) == b"last one\n"
    await server.wait_closed()


async def test_many_clients_at_once_each_get_their_own(net: Net) -> None:
    async def handle(reader: Any, writer: Any) -> None:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def client(number: int) -> None:
        reader, writer = await net.lib.open_connection(*server.sockets[0].getsockname())
        for count in range(10):
            line = b"%d %d %s\n" % (number, count, b"x" * (number * 10))
            writer.write(line)
            assert await reader.readline() == line
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    server = await net.lib.start_server(handle, "127.0.0.1", 0)
    await asyncio.gather(*map(client, range(50)))
    server.close()
    await server.wait_closed()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
async def test_abort_clients_is_an_error_to_a_handler_that_waits(net: Net) -> None:
    ends: list[Any] = []

    async def handle(reader: Any, writer: Any) -> None:
        try:
            ends.append(await reader.read())
        except Exception as error:
            ends.append(error)
        writer.close()

    server: Any = await net.lib.start_server(handle, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.setblocking(False)
        await until(lambda: len(asyncio.all_tasks()) > 1)
        await turns(2)
        server.close()
        server.abort_clients()
        await server.wait_closed()
        await turns(3)
        assert ends == [b""]
        with contextlib.suppress(ConnectionResetError):
            assert await receive_all(client) == b""
