"""Faults after the handshake: falsified and senseless records, and what a peer may try then.

A fault ends the connection with OpenSSL's error, which is told to connection_lost(), and not to the
loop's exception handler: a peer's fault is no program's.
"""

import asyncio
import gc
import socket
import ssl
import time
import weakref
from typing import Any

import pytest

from tests.leaks.memory import resident
from tests.net.parties import Net, Recorder, pattern, send, turns, until
from tests.tls.certificates import Certificates
from tests.tls.openssl import renegotiate, update_keys
from tests.tls.parties import SIDES, VERSION_NAMES, VERSIONS, TlsPeer, contexts, secured

both_sides = pytest.mark.parametrize("side", SIDES)
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=VERSION_NAMES)

TLS_1_2, TLS_1_3 = VERSIONS


def falsified(peer: TlsPeer) -> bytes:
    record = peer.encrypt(b"second")
    return record[:-1] + bytes([record[-1] ^ 1])


def displaced(peer: TlsPeer) -> bytes:
    one, other = peer.encrypt(b"second"), peer.encrypt(b"third")
    return other + one


def repeated(peer: TlsPeer) -> bytes:
    return peer.encrypt(b"second") * 2


FAULTS: dict[str, Any] = {
    "a bad checksum": (falsified, {"DECRYPTION_FAILED_OR_BAD_RECORD_MAC"}),
    "records out of order": (displaced, {"DECRYPTION_FAILED_OR_BAD_RECORD_MAC"}),
    "a record twice": (repeated, {"DECRYPTION_FAILED_OR_BAD_RECORD_MAC"}),
    "a huge record": (
        lambda _: b"\x17\x03\x03\xff\xff" + bytes(70_000),
        {"PACKET_LENGTH_TOO_LONG", "ENCRYPTED_LENGTH_TOO_LONG"},
    ),
    "no TLS": (lambda _: b"GET / HTTP/1.1\r\n\r\n", {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}),
    "a record of no known type": (
        lambda peer: b"\x99" + peer.encrypt(b"second")[1:],
        {"BAD_RECORD_TYPE", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "UNEXPECTED_MESSAGE"},
    ),
    "an alert in plain text": (lambda _: b"\x15\x03\x03\x00\x02\x02\x28", None),
}


@both_sides
@both_versions
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_record_that_is_wrong_ends_the_connection_with_its_error(
    net: Net, certificates: Certificates, side: str, version: Any, fault: str
) -> None:
    make, reasons = FAULTS[fault]
    recorder = Recorder()
    async with secured(net, contexts(certificates, version), recorder, side) as peer:
        await peer.send(b"first")
        await until(lambda: recorder.received)
        await send(peer.sock, make(peer))
        lost = await recorder.lost
        assert isinstance(lost, ssl.SSLError)
        assert reasons is None or lost.reason in reasons
        transport = recorder.transport
        assert transport.is_closing()
        assert transport.get_write_buffer_size() == 0
    assert bytes(recorder.received) in (b"first", b"firstsecond")
    assert recorder.events == ["made", "data", "lost SSLError"]


@both_sides
async def test_what_came_before_a_wrong_record_is_told_or_lost_with_it(
    net: Net, certificates: Certificates, side: str
) -> None:
    """asyncio joins the records of a packet first, and loses them with the last."""
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder, side) as peer:
        await send(peer.sock, peer.encrypt(b"good") + falsified(peer))
        assert isinstance(await recorder.lost, ssl.SSLError)
    assert bytes(recorder.received) in (b"", b"good")
    assert [event for event in recorder.events if event != "data"] == ["made", "lost SSLError"]


@both_sides
async def test_who_is_told_what_came_before_a_wrong_record_may_do_anything(
    net: Net, certificates: Certificates, side: str
) -> None:
    """The error is known then, but it is not raised yet."""
    failures: list[BaseException] = []

    class Thinking(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            try:
                gc.collect()
                weakref.ref(self)()
                self.transport.get_extra_info("cipher")
            except BaseException as error:
                failures.append(error)

    thinking = Thinking()
    async with secured(net, contexts(certificates), thinking, side) as peer:
        await send(peer.sock, peer.encrypt(b"good") + falsified(peer))
        lost = await thinking.lost
    assert failures == []
    assert isinstance(lost, ssl.SSLError)
    assert lost.reason == "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"


async def test_streams_are_told_of_a_wrong_record(net: Net, certificates: Certificates) -> None:
    theirs, ours = contexts(certificates)
    ends: list[Any] = []

    async def handle(reader: Any, writer: Any) -> None:
        ends.append(await reader.readline())
        try:
            await reader.readline()
        except ssl.SSLError as error:
            ends.append(error.reason)
        writer.close()
        with pytest.raises(ssl.SSLError):
            await writer.wait_closed()
        ends.append("closed")

    server = await net.lib.start_server(handle, "127.0.0.1", 0, ssl=theirs)
    with socket.create_connection(server.sockets[0].getsockname()) as sock:
        sock.setblocking(False)
        peer = TlsPeer(sock, ours)
        await peer.handshake()
        await peer.send(b"first\n")
        await until(lambda: ends)
        await send(sock, falsified(peer))
        await until(lambda: "closed" in ends)
    assert ends == [b"first\n", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "closed"]
    server.close()
    await server.wait_closed()


async def test_half_a_record_and_silence_costs_no_time(
    net: Net, certificates: Certificates
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        record = peer.encrypt(b"late")
        await send(peer.sock, record[:-1])
        await turns(5)
        used = time.thread_time()
        await asyncio.sleep(0.15)
        assert time.thread_time() - used < 0.1, "the loop spins"
        assert recorder.events == ["made"]
        await send(peer.sock, record[-1:])
        await until(lambda: recorder.received == b"late")


async def test_a_peer_that_never_finishes_a_record_costs_bounded_memory(
    net: Net, certificates: Certificates
) -> None:
    """Many connections with most of a record each: no more than a buffer for each."""
    recorder = Recorder()
    async with secured(net, contexts(certificates), recorder) as peer:
        before = resident()
        for _ in range(200):
            await send(peer.sock, peer.encrypt(pattern(1 << 14)))
        await until(lambda: len(recorder.received) == 200 << 14)
        recorder.received.clear()
        record = peer.encrypt(pattern(1 << 14))
        await send(peer.sock, record[:-1])
        await turns(20)
        assert recorder.received == b""
        assert resident() - before < 32 << 20


# What a peer may try


@pytest.mark.skipif(
    ssl.OPENSSL_VERSION_INFO < (3, 0), reason="clients may ask for it up to OpenSSL 1.1"
)
async def test_a_client_that_wants_to_renegotiate_is_refused(
    net: Net, certificates: Certificates
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates, TLS_1_2), recorder) as peer:
        await peer.send(b"before")
        await until(lambda: recorder.received)
        renegotiate(peer.tls)
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        await peer.flush()
        await peer.fill()
        with pytest.raises(ssl.SSLError, match="NO_RENEGOTIATION"):
            peer.tls.do_handshake()
        await turns(5)
        assert recorder.events == ["made", "data"]
        assert not recorder.transport.is_closing()
        recorder.transport.write(b"still here")
        peer.go()
        await recorder.lost


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_server_that_wants_to_renegotiate_is_answered_as_the_context_says(
    net: Net, certificates: Certificates, allowed: bool
) -> None:
    server, client = contexts(certificates, TLS_1_2)
    if not allowed:
        client.options |= ssl.OP_NO_RENEGOTIATION
    recorder = Recorder()
    async with secured(net, (server, client), recorder, "client") as peer:
        await peer.send(b"before ")
        await until(lambda: recorder.received)
        renegotiate(peer.tls)
        await peer.do(peer.tls.do_handshake)  # only asks
        if allowed:
            asking = asyncio.ensure_future(peer.receive(8))
            await turns(5)
            recorder.transport.write(b"answered")
            assert await asking == b"answered"
            await peer.send(b"after")
            await until(lambda: recorder.received == b"before after")
        else:
            with pytest.raises(ssl.SSLError, match="NO_RENEGOTIATION"):
                await peer.receive(1)
            assert not recorder.transport.is_closing()


@both_sides
async def test_keys_can_be_changed_in_flight(
    net: Net, certificates: Certificates, side: str
) -> None:
    recorder = Recorder()
    async with secured(net, contexts(certificates, TLS_1_3), recorder, side) as peer:
        for number in range(1, 6):
            update_keys(peer.tls)
            await peer.send(b"x" * 1000)
            await until(lambda number=number: len(recorder.received) == 1000 * number)  # type: ignore[misc]
            recorder.transport.write(b"y" * 1000)
            assert await peer.receive(1000) == b"y" * 1000
    assert recorder.events == ["made", "data", "lost"]


async def test_a_server_may_ask_for_a_certificate_later(
    net: Net, certificates: Certificates
) -> None:
    server, _ = contexts(certificates, TLS_1_3)
    client = certificates.client_context(certificates.client)
    server.load_verify_locations(certificates.authority)
    for context in (server, client):
        context.post_handshake_auth = True
    server.verify_mode = ssl.CERT_REQUIRED
    recorder = Recorder()
    async with secured(net, (server, client), recorder, "client") as peer:
        assert peer.tls.getpeercert() is None
        peer.tls.verify_client_post_handshake()
        await peer.send(b"who are you?")
        await until(lambda: recorder.received)
        recorder.transport.write(b"me")
        assert await peer.receive(2) == b"me"
        certificate = peer.tls.getpeercert()
        assert certificate is not None
        assert certificate["subject"] == ((("commonName", "a client"),),)
