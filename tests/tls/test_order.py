"""The order in which a program hears things over TLS, told as traces of both ends on one loop.

Each line is what one end was told, or what the program did. Where the two ends could be told in
either order, a trace does not say in which they were.
"""

import asyncio
import ssl
from typing import Any

import pytest

from tests.net.parties import Net, Recorder, pair, send, turns, until
from tests.tls.certificates import Certificates
from tests.tls.parties import SIDES, VERSIONS, TlsPeer, attach, contexts, secured

TLS_1_2, TLS_1_3 = VERSIONS


class Telling(Recorder):
    """Tells a trace, too."""

    def __init__(self, trace: list[str], name: str) -> None:
        super().__init__()
        self.trace = trace
        self.name = name

    def tell(self, what: str) -> None:
        self.trace.append(f"{self.name} {what}")

    def connection_made(self, transport: Any) -> None:
        self.tell("made")
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.tell(data.decode())
        super().data_received(data)

    def eof_received(self) -> bool | None:
        self.tell("eof")
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.tell("lost" if exc is None else f"lost {type(exc).__name__}")
        super().connection_lost(exc)


@pytest.mark.parametrize(
    ("version", "first", "second"),
    [(TLS_1_2, "server", "client"), (TLS_1_3, "client", "server")],
    ids=["1.2", "1.3"],
)
async def test_who_sends_the_last_flight_is_connected_first(
    net: Net, certificates: Certificates, version: Any, first: str, second: str
) -> None:
    theirs, ours = contexts(certificates, version)
    trace: list[str] = []
    server, client = Telling(trace, "server"), Telling(trace, "client")
    with pair() as (one, other):
        await asyncio.gather(
            attach(net, server, one, theirs), attach(net, client, other, ours, "client")
        )
        assert trace == [f"{first} made", f"{second} made"]
        client.transport.abort()
        await client.lost
        await server.lost


async def test_a_whole_conversation_is_told_in_its_order(
    net: Net, certificates: Certificates
) -> None:
    theirs, ours = contexts(certificates)
    trace: list[str] = []

    class Answering(Telling):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"answer")

    class Closing(Telling):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.close()
            trace.append("client closes")

    server, client = Answering(trace, "server"), Closing(trace, "client")
    with pair() as (one, other):
        await asyncio.gather(
            attach(net, server, one, theirs), attach(net, client, other, ours, "client")
        )
        client.transport.write(b"question")
        trace.append("client asked")
        await client.lost
        await server.lost
    assert trace[2:] == [
        "client asked",
        "server question",
        "client answer",
        "client closes",
        "server eof",
        *trace[-3:],
    ]
    assert sorted(trace[-3:]) == ["client eof", "client lost", "server lost"]
    assert client.events == ["made", "data", "eof", "lost"]


@pytest.mark.parametrize("side", SIDES)
async def test_connection_made_comes_before_who_waits_goes_on(
    net: Net, certificates: Certificates, side: str
) -> None:
    trace: list[str] = []
    recorder = Telling(trace, "it")
    ours, theirs = contexts(certificates)[:: 1 if side == "server" else -1]
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, theirs, server_side=side == "client")
        handshake = asyncio.ensure_future(peer.handshake())
        transport = await attach(net, recorder, sock, ours, side)
        trace.append("goes on")
        await handshake
        transport.abort()
        trace.append("aborted")
        await recorder.lost
    assert trace == ["it made", "goes on", "aborted", "it lost"]


async def test_data_with_the_last_flight_is_told_in_the_turn_of_the_connection(
    net: Net, certificates: Certificates
) -> None:
    """A TLS 1.3 client sends its request with its last flight; nobody waits in between."""
    trace: list[str] = []
    server, client = contexts(certificates, TLS_1_3)
    recorder = Telling(trace, "it")
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, client)
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        await peer.flush()
        attaching = asyncio.ensure_future(attach(net, recorder, sock, server))
        await peer.fill()
        peer.tls.do_handshake()
        request = peer.outgoing.read() + peer.encrypt(b"request") + peer.close_notify()
        await send(peer_sock, request)
        attaching.add_done_callback(lambda _: trace.append("goes on"))
        await recorder.lost
        await attaching
        peer.go()
    assert trace[:3] == ["it made", "it request", "it eof"]
    assert sorted(trace[3:]) == ["goes on", "it lost"]


async def test_lost_is_told_in_a_turn_of_its_own(net: Net, certificates: Certificates) -> None:
    trace: list[str] = []
    recorder = Telling(trace, "it")
    async with secured(net, contexts(certificates), recorder) as peer:
        recorder.transport.abort()
        trace.append("aborted")
        net.loop.call_soon(trace.append, "soon")
        await recorder.lost
        peer.go()
    assert trace[:2] == ["it made", "aborted"]
    assert sorted(trace[2:]) == ["it lost", "soon"]


async def test_resuming_tells_in_a_turn_of_its_own(net: Net, certificates: Certificates) -> None:
    trace: list[str] = []
    recorder = Telling(trace, "it")
    async with secured(net, contexts(certificates), recorder) as peer:
        await peer.send(b"before")
        await until(lambda: recorder.received)
        recorder.transport.pause_reading()
        await peer.send(b"during")
        await asyncio.sleep(0.01)
        recorder.transport.resume_reading()
        trace.append("resumed")
        await until(lambda: recorder.received == b"beforeduring")
    assert trace[:4] == ["it made", "it before", "resumed", "it during"]


async def test_a_pause_in_connection_made_holds_back_everything(
    net: Net, certificates: Certificates
) -> None:
    class Pausing(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()
            transport.write(b"welcome")

    recorder = Pausing()
    async with secured(net, contexts(certificates), recorder) as peer:
        assert await peer.receive(7) == b"welcome"
        await peer.send(b"early")
        await send(peer.sock, peer.close_notify())
        await turns(20)
        assert recorder.events == ["made"]
        recorder.transport.resume_reading()
        assert await recorder.lost is None
    assert recorder.events == ["made", "data", "eof", "lost"]


async def test_start_tls_goes_on_before_its_protocol_hears_anything(
    net: Net, certificates: Certificates
) -> None:
    """Or a program could not put a new protocol in place of the old one."""
    trace: list[str] = []
    server, client = contexts(certificates, TLS_1_3)
    plain, secret = Telling(trace, "plain"), Telling(trace, "secret")
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, client)
        transport = await net.attach(sock, plain)
        handshake = asyncio.ensure_future(peer.handshake())
        secured_transport = await net.loop.start_tls(transport, plain, server, server_side=True)
        trace.append("goes on")
        assert secured_transport is not None
        secured_transport.set_protocol(secret)
        secret.events.append("set")
        await handshake
        await peer.send(b"hello")
        await until(lambda: secret.received)
        secured_transport.abort()
        await secret.lost
        plain.lost.set_result(None)
    assert trace == ["plain made", "goes on", "secret hello", "secret lost"]
