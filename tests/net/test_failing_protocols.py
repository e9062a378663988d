"""Protocols whose callbacks raise: what is reported, what becomes of the connection and the others.

For each callback asyncio has its own answer (closing the connection with the exception, closing it
as if nothing had been, or carrying on), and programs have come to rely on each.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.net.parties import (
    BufferedRecorder,
    Net,
    Recorder,
    connected,
    pair,
    receive,
    receive_all,
    reset,
    send,
    turns,
    until,
)

BIG = 4 << 20


class Fault(Exception):
    """What the protocols here raise."""


def failing(base: type[Any], name: str) -> type[Any]:
    """A protocol that does what `base` does and then raises."""

    def callback(self: Any, *args: Any) -> Any:
        getattr(base, name)(self, *args)
        raise Fault(name)

    return type("Failing", (base,), {name: callback})


def check_report(net: Net, message: str, *, keys: set[str]) -> None:
    (report,) = net.take_reports()
    assert report["message"] == message
    assert isinstance(report["exception"], Fault)
    assert set(report) == keys


FATAL = {"message", "exception", "transport", "protocol"}


async def test_a_failing_connection_made_is_reported_and_data_still_arrives(net: Net) -> None:
    recorder = failing(Recorder, "connection_made")()
    with pair() as (ours, peer):
        transport = await net.attach(ours, recorder)
        await turns(2)
        (report,) = net.take_reports()
        assert report["message"].startswith("Exception in callback ")
        assert isinstance(report["exception"], Fault)
        report.clear()
        await send(peer, b"hello")
        await until(lambda: recorder.received)
        transport.close()
        await recorder.lost
    assert recorder.events == ["made", "data", "lost"]


async def test_a_failing_data_received_closes_the_connection_with_the_exception(net: Net) -> None:
    recorder = failing(Recorder, "data_received")()
    async with connected(net, recorder) as peer:
        await send(peer, b"x")
        assert isinstance(await recorder.lost, Fault)
        assert await receive_all(peer) == b""
    check_report(net, "Fatal error: protocol.data_received() call failed.", keys=FATAL)


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        ("get_buffer", "Fatal error: protocol.get_buffer() call failed."),
        ("buffer_updated", "Fatal error: protocol.buffer_updated() call failed."),
    ],
)
async def test_a_failing_buffer_closes_the_connection_with_the_exception(
    net: Net, callback: str, message: str
) -> None:
    recorder = failing(BufferedRecorder, callback)()
    async with connected(net, recorder) as peer:
        await send(peer, b"x")
        assert isinstance(await recorder.lost, Fault)
    check_report(net, message, keys=FATAL)


async def test_an_empty_buffer_closes_the_connection(net: Net) -> None:
    recorder = BufferedRecorder(size=0)
    async with connected(net, recorder) as peer:
        await send(peer, b"x")
        lost = await recorder.lost
        assert isinstance(lost, RuntimeError)
        assert str(lost) == "get_buffer() returned an empty buffer"
    (report,) = net.take_reports()
    assert report["message"] == "Fatal error: protocol.get_buffer() call failed."


async def test_a_buffer_that_is_none_closes_the_connection(net: Net) -> None:
    class Broken(BufferedRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            return "text"

    recorder = Broken()
    async with connected(net, recorder) as peer:
        await send(peer, b"x")
        assert isinstance(await recorder.lost, TypeError)
    (report,) = net.take_reports()
    assert isinstance(report["exception"], TypeError)


async def test_a_failing_eof_received_closes_the_connection_with_the_exception(net: Net) -> None:
    recorder = failing(Recorder, "eof_received")()
    async with connected(net, recorder) as peer:
        peer.shutdown(socket.SHUT_WR)
        assert isinstance(await recorder.lost, Fault)
    check_report(net, "Fatal error: protocol.eof_received() call failed.", keys=FATAL)


async def test_a_failing_pause_writing_is_reported_and_writing_goes_on(net: Net) -> None:
    recorder = failing(Recorder, "pause_writing")()
    async with connected(net, recorder) as peer:
        recorder.transport.write(b"x" * BIG)
        check_report(net, "protocol.pause_writing() failed", keys=FATAL)
        assert len(await receive(peer, BIG)) == BIG
        await turns(3)
    assert recorder.events == ["made", "pause", "resume", "lost"]


async def test_a_failing_resume_writing_is_reported_and_writing_goes_on(net: Net) -> None:
    recorder = failing(Recorder, "resume_writing")()
    async with connected(net, recorder) as peer:
        recorder.transport.write(b"x" * BIG)
        assert len(await receive(peer, BIG)) == BIG
        await until(lambda: net.reports)
        check_report(net, "protocol.resume_writing() failed", keys=FATAL)
        recorder.transport.write(b"more")
        assert await receive(peer, 4) == b"more"


@pytest.mark.parametrize("how", ["close", "abort", "reset", "eof"])
async def test_a_failing_connection_lost_is_reported_and_the_socket_is_closed(
    net: Net, how: str
) -> None:
    recorder = failing(Recorder, "connection_lost")()
    async with connected(net, recorder) as peer:
        if how == "reset":
            reset(peer)
        elif how == "eof":
            peer.shutdown(socket.SHUT_WR)
        else:
            getattr(recorder.transport, how)()
        await recorder.lost
        await turns(2)
        if how != "reset":
            assert await receive_all(peer) == b""
        assert recorder.transport.get_extra_info("socket").fileno() == -1
    (report,) = net.take_reports()
    assert report["message"].startswith("Exception in callback ")
    assert isinstance(report["exception"], Fault)
    assert "handle" in report


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exit_in_data_received_leaves_the_loop(net: Net, kind: type[BaseException]) -> None:
    class Exiting(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            raise kind("on purpose")

    async def make() -> tuple[Any, Any]:
        recorder = Exiting()
        return recorder, await net.attach(ours, recorder)

    with pair() as (ours, peer):
        recorder, transport = net.run(make())
        peer.send(b"x")
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
        lambda transport: transport.write_eof(),
    ],
    ids=["write", "close", "abort", "pause", "write_eof"],
)
async def test_a_failure_after_another_act_of_the_same_callback_is_reported_once(
    net: Net, start: Callable[[Any], None]
) -> None:
    class ActsAndFails(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            start(self.transport)
            raise Fault("after acting")

    recorder = ActsAndFails()
    async with connected(net, recorder) as peer:
        await send(peer, b"x")
        await recorder.lost
    (report,) = net.take_reports()
    assert isinstance(report["exception"], Fault)
    assert [event for event in recorder.events if event.startswith("lost")] in (
        ["lost"],
        ["lost Fault"],
    )


async def test_one_failing_connection_leaves_the_others_alone(net: Net) -> None:
    bad, good = failing(Recorder, "data_received")(), Recorder()
    async with connected(net, bad) as bad_peer, connected(net, good) as good_peer:
        await send(bad_peer, b"x")
        await send(good_peer, b"y")
        await bad.lost
        await until(lambda: good.received)
        good.transport.write(b"z")
        assert await receive(good_peer, 1) == b"z"
    assert len(net.take_reports()) == 1


async def test_a_handler_that_fails_while_a_failure_is_reported_does_no_harm(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(_: object, context: object) -> None:
        raise LookupError("in the handler")

    net.loop.set_exception_handler(handler)
    recorder = failing(Recorder, "data_received")()
    async with connected(net, recorder) as peer:
        await send(peer, b"x")
        assert isinstance(await recorder.lost, Fault)
    assert caplog.records[0].getMessage().startswith("Unhandled error in exception handler")
