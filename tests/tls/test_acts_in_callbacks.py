"""Protocols that act on their TLS transport from inside each callback, on asyncio and on aioxide.

Every act in every callback: the transport is in the middle of something whenever it calls, and what
it goes on with afterwards must not depend on what it knew before. The same conversation is had on
both loops, and has to be told in the same way.
"""

import asyncio
import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.loops import count_descriptors
from tests.net import conftest
from tests.net.parties import Net, pair, send, turns, until
from tests.tls.certificates import Certificates
from tests.tls.parties import SIDES, TlsPeer, attach, contexts

MUCH = b"x" * (1 << 20)

ACTS: dict[str, Callable[[Any], object]] = {
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "write": lambda transport: transport.write(b"written"),
    "write much": lambda transport: [transport.write(MUCH[:50_000]) for _ in range(20)],
    "pause": lambda transport: transport.pause_reading(),
    "pause and resume": lambda transport: (transport.pause_reading(), transport.resume_reading()),
    "write and close": lambda transport: (transport.write(b"written"), transport.close()),
    "write and abort": lambda transport: (transport.write(b"written"), transport.abort()),
    "set a protocol": lambda transport: transport.set_protocol(transport.get_protocol()),
    "lower the marks": lambda transport: transport.set_write_buffer_limits(high=0),
    "raise an error": lambda _: 1 / 0,
    "raise an OSError": lambda _: _raise(OSError("on purpose")),
    "raise a cancellation": lambda _: _raise(asyncio.CancelledError()),
}
OF_BUFFERS = ("get_buffer", "buffer_updated")
ON_ARRIVAL = ("buffer_updated", "data_received", "eof_received")
CALLBACKS = (
    *OF_BUFFERS,
    "connection_made",
    "data_received",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
)


def _raise(error: BaseException) -> None:
    raise error


class Acting(asyncio.Protocol):
    """Remembers what it is told, and does one thing in one callback, once."""

    def __init__(self, callback: str, act: Callable[[Any], object]) -> None:
        self.callback = callback
        self.act = act
        self.events: list[str] = []
        self.received = bytearray()
        self.lost = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def told(self, callback: str, what: str) -> None:
        self.events.append(what)
        if callback == self.callback:
            self.callback = ""
            self.act(self.transport)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.told("connection_made", "made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.told("data_received", f"data {data.decode()}")

    def eof_received(self) -> None:
        self.told("eof_received", "eof")

    def pause_writing(self) -> None:
        self.told("pause_writing", "pause")

    def resume_writing(self) -> None:
        self.told("resume_writing", "resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)
        self.told("connection_lost", f"lost {type(exc).__name__}")


class ActingOnBuffers(Acting, asyncio.BufferedProtocol):
    """The same with a buffer of its own."""

    def __init__(self, callback: str, act: Callable[[Any], object]) -> None:
        super().__init__(callback, act)
        self.buffer = memoryview(bytearray(100))

    def get_buffer(self, sizehint: int) -> memoryview:
        if self.callback == "get_buffer":
            self.told("get_buffer", "asked")
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]
        self.told("buffer_updated", f"data {bytes(self.buffer[:nbytes]).decode()}")


async def conversation(
    net: Net, certificates: Certificates, side: str, callback: str, act: Callable[[Any], object]
) -> list[Any]:
    """What is told in it: to the protocol, to who waits, to the peer, and to the handler."""
    ours, theirs = contexts(certificates)[:: 1 if side == "server" else -1]
    acting = (ActingOnBuffers if callback in OF_BUFFERS else Acting)(callback, act)
    with pair("unix") as (sock, peer_sock):
        peer = TlsPeer(peer_sock, theirs, server_side=side == "client")
        filling = "writing" in callback
        speaking = asyncio.ensure_future(speak(peer, acting if filling else None))
        try:
            await attach(net, acting, sock, ours, side, ssl_shutdown_timeout=5)
            attached = "attached"
        except BaseException as error:
            attached = type(error).__name__
        if filling:
            await fill(acting)
        if acting.transport is not None:
            await asyncio.wait([acting.lost], timeout=0.05)
            if not acting.lost.done():
                acting.transport.resume_reading()
            await acting.lost
        await turns(5)
        heard = await speaking
        closed = sock.fileno() == -1
    reports = [(one["message"], type(one.get("exception"))) for one in net.take_reports()]
    assert not filling or "pause" in acting.events
    # When it is told to pause and to go on is the kernel's affair as well.
    events = [event for event in acting.events if event not in {"pause", "resume"}]
    return [attached, events, heard, closed, reports]


def is_full(acting: Acting) -> bool:
    return "pause" in acting.events or acting.lost.done()


async def fill(acting: Acting) -> None:
    """Write until there is a pause."""
    while not is_full(acting):
        acting.transport.write(MUCH[:50_000])
        await asyncio.sleep(0)


async def speak(peer: TlsPeer, filling: Acting | None) -> bool:
    """Say something and goodbye, and hear everything; whether that was ended properly.

    Nothing is heard before who fills the connection has had to pause.
    """
    try:
        await peer.handshake()
        await peer.send(b"hello")
        if filling is not None:
            await until(lambda: is_full(filling))
        await turns(10)
        await send(peer.sock, peer.close_notify())
        await peer.receive_all()
    except OSError:
        return False
    finally:
        peer.go()
    return True


def tell(name: str, *arguments: Any) -> list[Any]:
    """The conversation on one of the loops, which leaves nothing."""
    gc.collect()
    before = count_descriptors()
    net = Net(name, *conftest.SIDES[name])
    try:
        told: list[Any] = net.run(conversation(net, *arguments))
        net.finish()
    finally:
        net.reports.clear()
        net.close()
        gc.collect()
    assert count_descriptors() == before
    return told


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("callback", CALLBACKS)
def test_an_act_in_a_callback_has_asyncios_consequences(
    certificates: Certificates, callback: str, act: str, side: str
) -> None:
    arguments = (certificates, side, callback, ACTS[act])
    *told, reports = tell("aioxide", *arguments)
    if act == "write much" and callback in ON_ARRIVAL and sys.version_info >= (3, 12):
        # asyncio gets stuck with half of it to send and the goodbye behind it, and never ends.
        expected: list[Any] = [
            "attached",
            ["made", "data hello", "eof", "lost NoneType"],
            True,
            True,
        ]
        expected_reports: list[Any] = []
    else:
        *expected, expected_reports = tell("asyncio", *arguments)
    assert told == expected
    if callback == "resume_writing" and "abort" in act:
        expected_reports = []  # asyncio's own AttributeError
    assert reports == expected_reports
