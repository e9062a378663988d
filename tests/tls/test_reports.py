"""What a TLS transport says of itself: extra information, reprs, warnings, debugging messages."""

import asyncio
import gc
import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.net.parties import (
    Net,
    Recorder,
    connected,
    pair,
    receive_all,
    reset,
    send,
    turns,
    until,
)
from tests.tls.certificates import HOST, Certificates
from tests.tls.parties import SIDES, VERSION_NAMES, VERSIONS, TlsPeer, attach, contexts, secured

both_sides = pytest.mark.parametrize("side", SIDES)


@pytest.fixture
def debugging(net: Net, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Debug mode, and everything that is logged in it."""
    caplog.set_level(logging.DEBUG, logger="asyncio")
    net.loop.set_debug(True)
    yield
    net.loop.set_debug(False)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages about TLS so far, without addresses and durations."""
    texts = [record.getMessage() for record in caplog.records]
    plain = [re.sub(r"0x[0-9a-f]+|[\d.]+ ms", "?", text) for text in texts]
    return [text for text in plain if "asyncio.sslproto.SSLProtocol object" in text]


def ends_with(caplog: pytest.LogCaptureFixture, *texts: str) -> bool:
    return tuple(logged(caplog)[-len(texts) :]) == texts


# Extra information


@both_sides
@pytest.mark.parametrize("version", VERSIONS, ids=VERSION_NAMES)
async def test_everything_that_asyncio_knows_of_a_connection_is_told(
    net: Net, certificates: Certificates, side: str, version: Any
) -> None:
    both = contexts(certificates, version)
    recorder = Recorder()
    async with secured(net, both, recorder, side) as peer:
        info = recorder.transport.get_extra_info
        assert info("sslcontext") is both[SIDES.index(side)]
        assert isinstance(info("ssl_object"), ssl.SSLObject)
        assert info("ssl_object").version() == version.name.replace("v1_", "v1.")
        assert info("ssl_object").server_side == (side == "server")
        assert info("cipher") == peer.tls.cipher()
        assert info("compression", "none") is None
        if side == "client":
            assert info("peercert")["subject"] == ((("commonName", HOST),),)
            assert info("peercert")["notAfter"]
        else:
            assert info("peercert", "none") is None
        assert info("sockname") == peer.sock.getpeername()
        assert info("peername") == peer.sock.getsockname()
        assert info("socket").getsockname() == peer.sock.getpeername()
        assert info("socket").family is socket.AF_INET
        assert info("nothing") is None
        assert info("nothing", "default") == "default"


async def test_a_certificate_that_was_not_verified_is_told_as_asyncio_does(
    net: Net, certificates: Certificates
) -> None:
    server, client = contexts(certificates)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    recorder = Recorder()
    async with secured(net, (server, client), recorder, "client"):
        info = recorder.transport.get_extra_info
        assert info("peercert") == {}
        certificate = info("ssl_object").getpeercert(binary_form=True)
        assert ssl.DER_cert_to_PEM_cert(certificate) in certificates.server.read_text()


@pytest.mark.parametrize("how", ["close", "abort", "reset"])
async def test_what_was_agreed_on_is_still_told_after_the_end(
    net: Net, certificates: Certificates, how: str
) -> None:
    both = contexts(certificates)
    recorder = Recorder()
    async with secured(net, both, recorder) as peer:
        transport = recorder.transport
        cipher = transport.get_extra_info("cipher")
        if how == "reset":
            reset(peer.sock)
        else:
            getattr(transport, how)()
            if how == "close":
                await peer.receive_all()
                await peer.close()
        await recorder.lost
        await turns(2)
        assert transport.get_extra_info("cipher") == cipher
        assert transport.get_extra_info("sslcontext") is both[0]
        assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
        # What belongs to the transport below is gone with it.
        assert transport.get_extra_info("peername", "gone") == "gone"
        assert transport.get_extra_info("socket", "gone") == "gone"


@both_sides
async def test_connection_made_already_finds_everything(
    net: Net, certificates: Certificates, side: str
) -> None:
    found: dict[str, Any] = {}

    class Asking(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            for name in ("cipher", "ssl_object", "sslcontext", "peername", "socket"):
                found[name] = transport.get_extra_info(name)

    async with secured(net, contexts(certificates), Asking(), side):
        pass
    assert all(found.values()), found


# What it is


@both_sides
async def test_it_is_a_transport_with_asyncios_repr(
    net: Net, certificates: Certificates, side: str
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder, side):
        transport = recorder.transport
        assert isinstance(transport, asyncio.Transport)
        assert re.fullmatch(
            r"<asyncio\.sslproto\._SSLProtocolTransport object at 0x[0-9a-f]+>", repr(transport)
        )
        assert not transport.is_closing()
        assert transport.get_protocol() is recorder


# Warnings


def test_a_transport_that_is_open_when_its_loop_closes_is_warned_about(
    net: Net, certificates: Certificates
) -> None:
    other = Net(net.name, net.new_loop, net.lib)

    async def make() -> Recorder:
        recorder = Recorder()
        server, client = contexts(certificates)
        peer = TlsPeer(peer_sock, client)
        await asyncio.gather(attach(other, recorder, sock, server), peer.handshake())
        return recorder

    with pair() as (sock, peer_sock):
        recorder = other.run(make())
        other.finish()
        other.close()
        with pytest.warns(ResourceWarning, match="unclosed transport") as warned:
            recorder.forget()
    assert "unclosed transport <asyncio._SSLProtocolTransport object>" in [
        str(warning.message) for warning in warned
    ]


async def test_writes_to_a_lost_connection_are_warned_about_from_the_fifth(
    net: Net, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        reset(peer.sock)
        await recorder.lost
        for _ in range(8):
            recorder.transport.write(b"x")
        assert recorder.transport.get_write_buffer_size() == 0
    assert [record.getMessage() for record in caplog.records] == ["SSL connection is closed"] * 4


async def test_keeping_a_connection_open_after_its_end_is_warned_about_and_refused(
    net: Net, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(keep_open=True)
    async with secured(net, contexts(certificates), recorder) as peer:
        await send(peer.sock, peer.close_notify())
        assert await peer.receive_all() == b""
        assert await recorder.lost is None
        assert await receive_all(peer.sock) == b""
    assert recorder.events == ["made", "eof", "lost"]
    assert [record.getMessage() for record in caplog.records] == [
        "returning true from eof_received() has no effect when using ssl"
    ]


# Messages for debugging


@both_sides
async def test_a_handshake_is_logged_in_debug_mode(
    net: Net,
    certificates: Certificates,
    side: str,
    debugging: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        assert ends_with(
            caplog,
            "<asyncio.sslproto.SSLProtocol object at ?> starts SSL handshake",
            "<asyncio.sslproto.SSLProtocol object at ?>: SSL handshake took ?",
        )
        await peer.send(b"x")
        await until(lambda: recorder.received)
        peer.sock.shutdown(socket.SHUT_WR)
        await recorder.lost
        assert ends_with(caplog, "<asyncio.sslproto.SSLProtocol object at ?> received EOF")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("garbage", "SSL handshake failed"),
        ("certificate", "SSL handshake failed on verifying the certificate"),
    ],
)
async def test_a_handshake_that_fails_is_logged_in_debug_mode(
    net: Net,
    certificates: Certificates,
    kind: str,
    text: str,
    debugging: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = certificates.server_context(certificates.expired)
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, server, server_side=True)
        other = peer.handshake() if kind == "certificate" else send(peer_sock, b"garbage" * 10)
        ends = await asyncio.gather(
            attach(net, Recorder(), sock, certificates.client_context(), "client"),
            other,
            return_exceptions=True,
        )
    assert isinstance(ends[0], ssl.SSLError)
    assert logged(caplog)[-1] == f"<asyncio.sslproto.SSLProtocol object at ?>: {text}"
    (record,) = (one for one in caplog.records if one.getMessage().endswith(f": {text}"))
    assert record.levelno == logging.DEBUG
    assert record.exc_info is not None
    assert record.exc_info[1] is ends[0]
    caplog.clear()  # which holds the exception, and that the transport


async def test_nothing_is_logged_outside_debug_mode(
    net: Net, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="asyncio")
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        await peer.close()
        await recorder.lost
    with pair() as (sock, peer_sock):
        await send(peer_sock, b"garbage" * 10)
        with pytest.raises(ssl.SSLError):
            await attach(net, Recorder(), sock, certificates.server_context())
        await turns(3)
    gc.collect()
    assert caplog.records == []


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_slow_protocol_is_warned_about_in_debug_mode(
    net: Net, certificates: Certificates, caplog: pytest.LogCaptureFixture, tls: bool
) -> None:
    class Slow(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            time.sleep(0.05)

    net.loop.set_debug(True)
    net.loop.slow_callback_duration = 0.02
    slow = Slow()
    with caplog.at_level(logging.WARNING, "asyncio"):
        if tls:
            async with secured(net, contexts(certificates), slow) as peer:
                await peer.send(b"x")
                await until(lambda: slow.received)
                await turns(2)
        else:
            async with connected(net, slow) as sock:
                await send(sock, b"x")
                await until(lambda: slow.received)
                await turns(2)
    assert any(
        message.startswith("Executing ") and "SocketTransport" in message
        for message in caplog.messages
    )
