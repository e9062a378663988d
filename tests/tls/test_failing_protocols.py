"""Protocols whose callbacks raise over TLS: what is reported, and what becomes of the connection.

asyncio's answers, callback by callback; they are not those of a plain connection.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from tests.net.parties import (
    BufferedRecorder,
    Net,
    Recorder,
    pair,
    pattern,
    reset,
    send,
    turns,
    until,
)
from tests.net.test_failing_protocols import Fault, failing
from tests.tls.certificates import Certificates
from tests.tls.parties import SIDES, TlsPeer, attach, contexts, secured

BIG = 4 << 20
REPORT = {"message", "exception", "transport", "protocol"}

both_sides = pytest.mark.parametrize("side", SIDES)


def check_report(net: Net, message: str) -> None:
    (report,) = net.take_reports()
    assert report["message"] == message
    assert isinstance(report["exception"], Fault)
    assert set(report) == REPORT


@both_sides
async def test_a_failing_connection_made_ends_the_connection_and_is_told_to_who_waits(
    net: Net, certificates: Certificates, side: str
) -> None:
    ours, theirs = contexts(certificates)[:: 1 if side == "server" else -1]
    recorder = failing(Recorder, "connection_made")()
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, theirs, server_side=side == "client")
        handshake = asyncio.ensure_future(peer.handshake())
        with pytest.raises(Fault):
            await attach(net, recorder, sock, ours, side)
        await asyncio.wait([handshake])
        handshake.exception()
        assert isinstance(await recorder.lost, Fault)
        await turns(3)
        assert sock.fileno() == -1
    assert recorder.events == ["made", "lost Fault"]
    check_report(net, "Fatal error: protocol.buffer_updated() call failed.")


@both_sides
async def test_a_failing_data_received_closes_the_connection_with_the_exception(
    net: Net, certificates: Certificates, side: str
) -> None:
    recorder = failing(Recorder, "data_received")()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        await peer.send(b"x")
        assert isinstance(await recorder.lost, Fault)
    assert recorder.events == ["made", "data", "lost Fault"]
    check_report(net, "Fatal error on SSL protocol")


@pytest.mark.parametrize("callback", ["get_buffer", "buffer_updated"])
async def test_a_failing_buffer_closes_the_connection_with_the_exception(
    net: Net, certificates: Certificates, callback: str
) -> None:
    recorder = BufferedRecorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        # Not from the start: asyncio asks for a buffer at the end of the handshake already.
        bad = failing(BufferedRecorder, callback)()
        bad.connection_made(recorder.transport)
        recorder.transport.set_protocol(bad)
        await peer.send(b"x")
        assert isinstance(await bad.lost, Fault)
        recorder.lost.set_result(None)
    check_report(net, "Fatal error on SSL protocol")


@pytest.mark.parametrize("given", ["text", None])
async def test_a_buffer_that_is_none_closes_the_connection(
    net: Net, certificates: Certificates, given: Any
) -> None:
    class Broken(BufferedRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            return given

    recorder = BufferedRecorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        broken = Broken()
        broken.connection_made(recorder.transport)
        recorder.transport.set_protocol(broken)
        await peer.send(b"x")
        assert isinstance(await broken.lost, TypeError)
        recorder.lost.set_result(None)
    (report,) = net.take_reports()
    assert report["message"] == "Fatal error on SSL protocol"
    assert isinstance(report["exception"], TypeError)


@both_sides
async def test_a_failing_eof_received_closes_the_connection_with_the_exception(
    net: Net, certificates: Certificates, side: str
) -> None:
    recorder = failing(Recorder, "eof_received")()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        await send(peer.sock, peer.close_notify())
        assert isinstance(await recorder.lost, Fault)
    assert recorder.events == ["made", "eof", "lost Fault"]
    check_report(net, "Error calling eof_received()")


@pytest.mark.parametrize("callback", ["connection_made", "data_received", "eof_received"])
async def test_what_was_written_before_a_failure_is_sent(
    net: Net, certificates: Certificates, callback: str
) -> None:
    class Answering(Recorder):
        def answer(self) -> None:
            self.transport.write(b"goodbye")
            raise Fault

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if callback == "connection_made":
                self.answer()

        def data_received(self, data: bytes) -> None:
            self.answer()

        def eof_received(self) -> None:
            self.answer()

    server, client = contexts(certificates)
    answering = Answering()
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, client)
        handshake = asyncio.ensure_future(peer.handshake())
        with contextlib.suppress(Fault):
            await attach(net, answering, sock, server)
        await handshake
        if callback == "data_received":
            await peer.send(b"x")
        elif callback == "eof_received":
            await send(peer_sock, peer.close_notify())
        assert await peer.receive(7) == b"goodbye"
        assert isinstance(await answering.lost, Fault)
        await turns(3)
    assert len(net.take_reports()) == 1


async def test_an_empty_buffer_is_the_end(net: Net, certificates: Certificates) -> None:
    asked = 0

    class Empty(BufferedRecorder):
        def get_buffer(self, sizehint: int) -> bytearray:
            nonlocal asked
            asked += 1
            return bytearray()

    recorder = BufferedRecorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        empty = Empty()
        empty.connection_made(recorder.transport)
        recorder.transport.set_protocol(empty)
        await peer.send(b"x")
        assert isinstance(await empty.lost, ssl.SSLError)
        recorder.lost.set_result(None)
    assert empty.events == ["made", "eof", "lost SSLError"]
    assert asked < 5


async def test_lines_that_are_no_bytes_close_the_connection(
    net: Net, certificates: Certificates
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder):
        recorder.transport.writelines([b"bytes", "text"])
        assert isinstance(await recorder.lost, TypeError)
    (report,) = net.take_reports()
    assert report["message"] == "Fatal error on SSL protocol"
    assert recorder.events == ["made", "lost TypeError"]


def write_until_paused(recorder: Recorder) -> int:
    written = 0
    while "pause" not in recorder.events:
        recorder.transport.write(pattern(50_000))
        written += 50_000
    return written


async def test_a_failing_pause_writing_is_reported_and_writing_goes_on(
    net: Net, certificates: Certificates
) -> None:
    recorder = failing(Recorder, "pause_writing")()
    async with secured(net, contexts(certificates), recorder) as peer:
        written = write_until_paused(recorder)
        check_report(net, "protocol.pause_writing() failed")
        assert len(await peer.receive(written)) == written
        await until(lambda: "resume" in recorder.events)
    assert recorder.events == ["made", "pause", "resume", "lost"]


async def test_a_failing_resume_writing_is_reported_and_writing_goes_on(
    net: Net, certificates: Certificates
) -> None:
    recorder = failing(Recorder, "resume_writing")()
    async with secured(net, contexts(certificates), recorder) as peer:
        written = write_until_paused(recorder)
        assert len(await peer.receive(written)) == written
        await until(lambda: net.reports)
        check_report(net, "protocol.resume_writing() failed")
        recorder.transport.write(b"more")
        assert await peer.receive(4) == b"more"


@pytest.mark.parametrize("how", ["close", "abort", "reset", "goodbye"])
async def test_a_failing_connection_lost_is_reported_and_the_socket_is_closed(
    net: Net, certificates: Certificates, how: str
) -> None:
    recorder = failing(Recorder, "connection_lost")()
    async with secured(net, contexts(certificates), recorder) as peer:
        below = recorder.transport.get_extra_info("socket")
        if how == "reset":
            reset(peer.sock)
        elif how == "goodbye":
            await peer.close()
        else:
            getattr(recorder.transport, how)()
            peer.go()
        await recorder.lost
        await turns(3)
        assert below.fileno() == -1
    (report,) = net.take_reports()
    assert report["message"].startswith("Exception in callback ")
    assert isinstance(report["exception"], Fault)
    assert "handle" in report


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exit_in_data_received_leaves_the_loop(
    net: Net, certificates: Certificates, kind: type[BaseException]
) -> None:
    class Exiting(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            raise kind("on purpose")

    async def make() -> tuple[Any, Any, bytes]:
        recorder = Exiting()
        server, client = contexts(certificates)
        peer = TlsPeer(peer_sock, client)
        transport, _ = await asyncio.gather(attach(net, recorder, sock, server), peer.handshake())
        return recorder, transport, peer.encrypt(b"x")

    with pair() as (sock, peer_sock):
        recorder, transport, packet = net.run(make())
        peer_sock.send(packet)
        with pytest.raises(kind, match="on purpose"):
            net.run(asyncio.sleep(5))
        assert recorder.received == b"x"
        transport.abort()
        net.finish_quietly()


@pytest.mark.parametrize(
    "start",
    [
        lambda transport: transport.write(b"x" * BIG),
        lambda transport: transport.close(),
        lambda transport: transport.abort(),
        lambda transport: transport.pause_reading(),
    ],
    ids=["write", "close", "abort", "pause"],
)
async def test_a_failure_after_another_act_of_the_same_callback_is_reported_once(
    net: Net, certificates: Certificates, start: Callable[[Any], None]
) -> None:
    class ActsAndFails(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            start(self.transport)
            raise Fault("after acting")

    recorder = ActsAndFails()
    async with secured(net, contexts(certificates), recorder) as peer:
        await peer.send(b"x")
        await recorder.lost
        await turns(3)
    (report,) = net.take_reports()
    assert isinstance(report["exception"], Fault)
    assert [event for event in recorder.events if event.startswith("lost")] in (
        ["lost"],
        ["lost Fault"],
    )


async def test_a_failing_protocol_of_a_server_is_dropped_and_others_served(
    net: Net, certificates: Certificates
) -> None:
    theirs, ours = contexts(certificates)
    kinds: list[Any] = [
        failing(Recorder, "connection_made"),
        failing(Recorder, "data_received"),
        Recorder,
    ]
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(kinds[len(made)]())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    for number in range(3):
        transport, client = await net.loop.create_connection(Recorder, *address, ssl=ours)
        transport.write(b"hello")
        await until(lambda number=number: len(made) > number and made[number].events)  # type: ignore[misc]
        if number < 2:
            assert isinstance(await made[number].lost, Fault)
            await client.lost
    await until(lambda: made[2].received == b"hello")
    transport.close()
    await client.lost
    await made[2].lost
    assert [type(report["exception"]) for report in net.take_reports()] == [Fault, Fault]
    server.close()
    await server.wait_closed()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_a_factory_that_fails_leaves_the_server_serving(
    net: Net, certificates: Certificates
) -> None:
    """asyncio leaves the socket to the garbage collector."""
    theirs, ours = contexts(certificates)
    failing_first = [True, False]
    made: list[Recorder] = []

    def factory() -> Recorder:
        if failing_first.pop(0):
            raise LookupError("no protocol today")
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    with pytest.raises(OSError):
        await net.loop.create_connection(Recorder, *address, ssl=ours)
    transport, client = await net.loop.create_connection(Recorder, *address, ssl=ours)
    await until(lambda: made)
    transport.close()
    await client.lost
    await made[0].lost
    server.close()
    await server.wait_closed()
