"""What is agreed on in a handshake: names, certificates, protocols, sessions, and for how long.

The user's context decides all of it. Its callbacks are called, and the transport says what came of
it by the very object that the context made.
"""

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.net.parties import Net, Recorder, pair, turns, until
from tests.tls.certificates import ELSEWHERE, HOST, Certificates
from tests.tls.parties import (
    SIDES,
    VERSION_NAMES,
    VERSIONS,
    TlsPeer,
    attach,
    contexts,
    secured,
)

both_versions = pytest.mark.parametrize("version", VERSIONS, ids=VERSION_NAMES)
both_sides = pytest.mark.parametrize("side", SIDES)


async def refused(net: Net, peer: TlsPeer, attaching: Any) -> tuple[Any, Any]:
    """What a handshake that fails ends in, for the transport and for the peer."""
    ends = await asyncio.gather(attaching, peer.handshake(), return_exceptions=True)
    await turns(3)
    return ends[0], ends[1]


# Names


@both_versions
async def test_the_sni_callback_sees_the_name_and_chooses_the_context(
    net: Net, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    server, client = contexts(certificates, version)
    other = certificates.server_context(certificates.elsewhere)
    client.check_hostname = False
    seen: list[Any] = []

    def choose(secured: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        seen.append((secured, name, context))
        secured.context = other

    server.sni_callback = choose
    recorder = Recorder()
    async with secured(net, (server, client), recorder) as peer:
        certificate = peer.tls.getpeercert()
        assert certificate is not None
        assert certificate["subjectAltName"] == (("DNS", ELSEWHERE),)
        (call,) = seen
        assert call[0] is recorder.transport.get_extra_info("ssl_object")
        assert call[1:] == (HOST, server)
        assert call[0].context is other
        assert recorder.transport.get_extra_info("sslcontext") is server
        await peer.send(b"hello")
        await until(lambda: recorder.received)


@both_versions
async def test_an_sni_callback_that_refuses_ends_the_handshake(
    net: Net, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    server, client = contexts(certificates, version)
    server.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    recorder = Recorder()
    with pair() as (ours, theirs):
        peer = TlsPeer(theirs, client)
        end, other = await refused(net, peer, attach(net, recorder, ours, server))
    assert isinstance(end, ssl.SSLError)
    assert end.reason == "CALLBACK_FAILED"
    assert isinstance(other, ssl.SSLError)  # an alert or, as from asyncio, the end of the stream
    assert recorder.events == []


async def test_an_sni_callback_that_fails_ends_the_handshake(
    net: Net, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told_of: told.append(told_of.exc_type))

    def fail(*_: object) -> None:
        raise LookupError("no such name")

    server, client = contexts(certificates)
    server.sni_callback = fail
    recorder = Recorder()
    with pair() as (ours, theirs):
        peer = TlsPeer(theirs, client)
        end, _ = await refused(net, peer, attach(net, recorder, ours, server))
    assert isinstance(end, ssl.SSLError)
    assert end.reason == "CALLBACK_FAILED"
    assert told == [LookupError]


async def test_the_sni_callback_can_use_the_loop(net: Net, certificates: Certificates) -> None:
    server, client = contexts(certificates)
    called: list[str] = []

    def call(*_: object) -> None:
        net.loop.call_soon(called.append, "later")

    server.sni_callback = call
    async with secured(net, (server, client), Recorder()):
        await until(lambda: called)
    assert called == ["later"]


# Certificates of servers


@both_versions
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("elsewhere", "Hostname mismatch, certificate is not valid for 'localhost'."),
        ("expired", "certificate has expired"),
        ("not_yet", "certificate is not yet valid"),
        ("self_signed", "self-signed certificate"),
        ("foreign", "unable to get local issuer certificate"),
    ],
)
async def test_a_bad_certificate_is_refused_for_its_reason(
    net: Net, certificates: Certificates, kind: str, reason: str, version: ssl.TLSVersion
) -> None:
    _, client = contexts(certificates, version)
    server = certificates.server_context(getattr(certificates, kind))
    recorder = Recorder()
    with pair() as (ours, theirs):
        peer = TlsPeer(theirs, server, server_side=True)
        end, _ = await refused(net, peer, attach(net, recorder, ours, client, "client"))
        assert ours.fileno() == -1
    assert isinstance(end, ssl.SSLCertVerificationError)
    assert end.verify_message == reason
    assert recorder.events == []


async def test_an_rsa_certificate_is_taken(net: Net, certificates: Certificates) -> None:
    both = certificates.server_context(certificates.rsa), certificates.client_context()
    recorder = Recorder()
    async with secured(net, both, recorder, "client") as peer:
        await peer.send(b"hello")
        await until(lambda: recorder.received)


# Certificates of clients


@both_versions
async def test_a_clients_certificate_is_asked_for_and_shown(
    net: Net, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    server, client = contexts(certificates, version)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certificates.authority)
    client.load_cert_chain(certificates.client)
    recorder = Recorder()
    async with secured(net, (server, client), recorder):
        shown = recorder.transport.get_extra_info("peercert")
        assert shown["subject"] == ((("commonName", "a client"),),)


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (None, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ("foreign_client", "CERTIFICATE_VERIFY_FAILED"),
    ],
)
@both_versions
async def test_a_client_without_a_good_certificate_is_refused(
    net: Net, certificates: Certificates, version: ssl.TLSVersion, own: str | None, reason: str
) -> None:
    server, client = contexts(certificates, version)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(certificates.authority)
    if own:
        client.load_cert_chain(getattr(certificates, own))
    recorder = Recorder()
    with pair() as (ours, theirs):
        peer = TlsPeer(theirs, client)
        end, other = await refused(net, peer, attach(net, recorder, ours, server))
        if version is ssl.TLSVersion.TLSv1_3:
            assert other is None  # its handshake was over before its certificate was looked at
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                await peer.receive(1)
        else:
            assert isinstance(other, ssl.SSLError | ConnectionResetError)
    assert isinstance(end, ssl.SSLError)
    assert end.reason == reason
    assert recorder.events == []


async def test_a_tls_1_2_client_that_is_refused_never_is_connected(
    net: Net, certificates: Certificates
) -> None:
    end, events = await refused_by_a_server(net, certificates, ssl.TLSVersion.TLSv1_2)
    assert isinstance(end, ssl.SSLError)
    assert end.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    assert events == []


async def test_a_tls_1_3_client_that_is_refused_hears_of_it_after_it_is_connected(
    net: Net, certificates: Certificates
) -> None:
    end, events = await refused_by_a_server(net, certificates, ssl.TLSVersion.TLSv1_3)
    assert isinstance(end, ssl.SSLError)
    assert end.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert events == ["made", "lost SSLError"]


async def refused_by_a_server(
    net: Net, certificates: Certificates, version: ssl.TLSVersion
) -> tuple[Any, list[str]]:
    """A client that was asked for a certificate it does not have, and is told so."""
    server, client = contexts(certificates, version)
    server.verify_mode = ssl.CERT_REQUIRED
    recorder = Recorder()
    with pair() as (ours, theirs):
        peer = TlsPeer(theirs, server, server_side=True)
        end, other = await refused(net, peer, attach(net, recorder, ours, client, "client"))
        assert isinstance(other, ssl.SSLError)
        if not isinstance(end, Exception):
            end = await recorder.lost
    return end, recorder.events


async def test_an_optional_certificate_may_be_missing(net: Net, certificates: Certificates) -> None:
    server, client = contexts(certificates)
    server.verify_mode = ssl.CERT_OPTIONAL
    server.load_verify_locations(certificates.authority)
    recorder = Recorder()
    async with secured(net, (server, client), recorder):
        assert recorder.transport.get_extra_info("peercert", "none") is None


# Protocols, ciphers and versions


@both_sides
@both_versions
@pytest.mark.parametrize(
    ("of_server", "of_client", "chosen"),
    [
        (["h2", "http/1.1"], ["http/1.1", "h2"], "h2"),
        (["http/1.1"], ["h2", "http/1.1"], "http/1.1"),
        (["h2"], ["spdy"], None),
        ([], ["h2"], None),
        (["h2"], [], None),
    ],
)
async def test_the_application_protocol_is_the_servers_choice(
    net: Net,
    certificates: Certificates,
    side: str,
    version: ssl.TLSVersion,
    of_server: list[str],
    of_client: list[str],
    chosen: str | None,
) -> None:
    both = contexts(certificates, version)
    for context, names in zip(both, (of_server, of_client), strict=True):
        if names:
            context.set_alpn_protocols(names)
    recorder = Recorder()
    async with secured(net, both, recorder, side) as peer:
        secured_object = recorder.transport.get_extra_info("ssl_object")
        assert secured_object.selected_alpn_protocol() == chosen
        assert peer.tls.selected_alpn_protocol() == chosen


@both_sides
async def test_the_contexts_ciphers_are_used(
    net: Net, certificates: Certificates, side: str
) -> None:
    both = contexts(certificates, ssl.TLSVersion.TLSv1_2)
    both[1].set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")
    recorder = Recorder()
    async with secured(net, both, recorder, side) as peer:
        name, version, bits = recorder.transport.get_extra_info("cipher")
        assert (name, version, bits) == ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2", 256)
        await peer.send(b"hello")
        await until(lambda: recorder.received)


@both_sides
async def test_sides_without_a_common_version_part(
    net: Net, certificates: Certificates, side: str
) -> None:
    server, client = contexts(certificates)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    ours, theirs = (server, client) if side == "server" else (client, server)
    recorder = Recorder()
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, theirs, server_side=side == "client")
        end, _ = await refused(net, peer, attach(net, recorder, sock, ours, side))
    assert isinstance(end, ssl.SSLError)
    assert end.reason in {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"}
    assert recorder.events == []


@both_sides
async def test_sides_without_a_common_cipher_part(
    net: Net, certificates: Certificates, side: str
) -> None:
    server, client = contexts(certificates, ssl.TLSVersion.TLSv1_2)
    server.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    client.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    ours, theirs = (server, client) if side == "server" else (client, server)
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, theirs, server_side=side == "client")
        end, _ = await refused(net, peer, attach(net, Recorder(), sock, ours, side))
    assert isinstance(end, ssl.SSLError)
    assert end.reason in {"NO_SHARED_CIPHER", "SSLV3_ALERT_HANDSHAKE_FAILURE"}


# Sessions


@both_versions
async def test_a_server_takes_up_a_session(
    net: Net, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    both = contexts(certificates, version)
    session = None
    for again in (False, True):
        recorder = Recorder()
        async with secured(net, both, recorder, session=session) as peer:
            assert recorder.transport.get_extra_info("ssl_object").session_reused is again
            recorder.transport.write(b"hello")  # after the tickets of TLS 1.3
            assert await peer.receive(5) == b"hello"
            session = peer.tls.session
            await peer.close()
            await recorder.lost
    assert both[0].session_stats()["hits"] == 1


class Resuming(ssl.SSLContext):
    """A client's context whose connections take up a session."""

    resumed: ssl.SSLSession | None = None

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return super().wrap_bio(*args, **{**options, "session": self.resumed})


@both_versions
async def test_a_client_takes_up_a_session(
    net: Net, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    server, _ = contexts(certificates, version)
    client = Resuming(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(certificates.authority)
    for again in (False, True):
        recorder = Recorder()
        async with secured(net, (server, client), recorder, "client") as peer:
            used = recorder.transport.get_extra_info("ssl_object")
            assert used.session_reused is again
            assert recorder.transport.get_extra_info("peercert")["subject"]
            await peer.send(b"hello")
            await until(lambda recorder=recorder: recorder.received)  # type: ignore[misc]
            client.resumed = used.session
            assert client.resumed.has_ticket
            await peer.close()
            await recorder.lost


# Contexts and objects of the program's own


@both_sides
async def test_the_contexts_class_of_ssl_objects_is_honoured(
    net: Net, certificates: Certificates, side: str
) -> None:
    class Counting(ssl.SSLObject):
        calls: set[str] = set()  # noqa: RUF012 - of all of them

        def do_handshake(self) -> None:
            self.calls.add("do_handshake")
            super().do_handshake()

        def read(self, *args: Any) -> Any:
            self.calls.add("read")
            return super().read(*args)

        def write(self, data: Any) -> int:
            self.calls.add("write")
            return super().write(data)

        def unwrap(self) -> None:
            self.calls.add("unwrap")
            super().unwrap()

    both = contexts(certificates)
    own = both[SIDES.index(side)]
    own.sslobject_class = Counting
    recorder = Recorder()
    async with secured(net, both, recorder, side) as peer:
        own.sslobject_class = ssl.SSLObject
        assert type(recorder.transport.get_extra_info("ssl_object")) is Counting
        recorder.transport.write(b"ping")
        assert await peer.receive(4) == b"ping"
        await peer.send(b"pong")
        await until(lambda: recorder.received)
        recorder.transport.close()
        assert await peer.receive_all() == b""
        await peer.do(peer.tls.unwrap)
        assert await recorder.lost is None
    assert Counting.calls == {"do_handshake", "read", "write", "unwrap"}


@both_sides
async def test_wrap_bio_may_return_something_that_only_behaves_like_an_ssl_object(
    net: Net, certificates: Certificates, side: str
) -> None:
    """As the shims do that put another library behind ssl's face."""

    class Shim:
        def __init__(self, inner: ssl.SSLObject) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    class Shimming(ssl.SSLContext):
        def wrap_bio(self, *args: Any, **options: Any) -> Any:
            return Shim(super().wrap_bio(*args, **options))

    server, client = contexts(certificates)
    if side == "server":
        server = Shimming(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificates.server)
        peers: tuple[ssl.SSLContext, ssl.SSLContext] = (server, client)
    else:
        client = Shimming(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(certificates.authority)
        peers = (server, client)
    recorder = Recorder()
    with pair() as (sock, peer_sock):
        plain = certificates.client_context() if side == "server" else server
        peer = TlsPeer(peer_sock, plain, server_side=side == "client")
        handshake = asyncio.ensure_future(peer.handshake())
        transport = await attach(net, recorder, sock, peers[SIDES.index(side)], side)
        await handshake
        assert type(transport.get_extra_info("ssl_object")) is Shim
        transport.write(b"ping")
        assert await peer.receive(4) == b"ping"
        await peer.send(b"pong")
        await until(lambda: recorder.received)
        transport.close()
        assert await peer.receive_all() == b""
        await peer.do(peer.tls.unwrap)
        assert await recorder.lost is None


@both_sides
async def test_keys_are_logged_if_the_context_says_so(
    net: Net, certificates: Certificates, side: str, tmp_path: Path
) -> None:
    both = contexts(certificates, ssl.TLSVersion.TLSv1_3)
    log = tmp_path / "keys"
    both[SIDES.index(side)].keylog_filename = str(log)
    async with secured(net, both, Recorder(), side):
        pass
    labels = {line.split()[0] for line in log.read_text().splitlines() if line[0] != "#"}
    assert {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"} <= labels


@both_sides
async def test_messages_are_shown_to_the_contexts_callback(
    net: Net, certificates: Certificates, side: str
) -> None:
    both = contexts(certificates)
    seen: list[tuple[Any, str]] = []
    own: Any = both[SIDES.index(side)]
    own._msg_callback = lambda conn, direction, *_: seen.append((conn, direction))
    recorder = Recorder()
    async with secured(net, both, recorder, side):
        assert {direction for _, direction in seen} == {"read", "write"}
        assert {conn for conn, _ in seen} == {recorder.transport.get_extra_info("ssl_object")}


# Time


@both_sides
async def test_a_handshake_that_takes_too_long_is_given_up(
    net: Net, certificates: Certificates, side: str
) -> None:
    context = contexts(certificates)[SIDES.index(side)]
    recorder = Recorder()
    with pair() as (sock, _):
        with pytest.raises(ConnectionAbortedError) as caught:
            await attach(net, recorder, sock, context, side, ssl_handshake_timeout=0.05)
        assert str(caught.value) == (
            "SSL handshake is taking longer than 0.05 seconds: aborting the connection"
        )
        await turns(3)
        assert sock.fileno() == -1
    assert recorder.events == []


async def test_a_servers_handshake_that_takes_too_long_is_given_up_silently(
    net: Net, certificates: Certificates
) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(
        factory, "127.0.0.1", 0, ssl=certificates.server_context(), ssl_handshake_timeout=0.05
    )
    reader, writer = await net.lib.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    assert [one.events for one in made] == [[]]


async def test_the_time_of_the_handshake_ends_with_it(net: Net, certificates: Certificates) -> None:
    recorder = Recorder()
    both = contexts(certificates)
    async with secured(net, both, recorder, ssl_handshake_timeout=1.0) as peer:
        await asyncio.sleep(1.1)
        await peer.send(b"still here")
        await until(lambda: recorder.received == b"still here")
    assert recorder.events == ["made", "data", "lost"]
