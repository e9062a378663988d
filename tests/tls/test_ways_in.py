"""Every function that takes `ssl=`: what it connects, what it refuses, and with which words.

Both ends are loops' own here, so that each way in meets each other one.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.net.parties import Net, Recorder, pair, pattern, receive_all, send, turns, until
from tests.tls.certificates import HOST, Certificates
from tests.tls.parties import VERSION_NAMES, VERSIONS, contexts

MESSAGE = pattern(100_000)


class Echo(Recorder):
    """Sends back what comes."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


class Echoes:
    """A factory of them, that remembers what it made."""

    def __init__(self) -> None:
        self.made: list[Echo] = []

    def __call__(self) -> Echo:
        self.made.append(Echo())
        return self.made[-1]


async def converse(client: Recorder, transport: Any) -> None:
    """The message there and back, then a proper end on both sides."""
    transport.write(MESSAGE)
    await until(lambda: len(client.received) == len(MESSAGE))
    assert client.received == MESSAGE
    transport.close()
    assert transport.is_closing()
    assert await client.lost is None
    assert client.events == ["made", "data", "eof", "lost"]


async def check_server(server: Any, echoes: Echoes) -> None:
    (echo,) = echoes.made
    assert await echo.lost is None
    steps = [event for event in echo.events if event not in {"pause", "resume"}]
    assert steps == ["made", "data", "eof", "lost"]
    server.close()
    await server.wait_closed()


# Protocols


@pytest.mark.parametrize("version", VERSIONS, ids=VERSION_NAMES)
async def test_create_connection_meets_create_server(
    net: Net, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    theirs, ours = contexts(certificates, version)
    echoes = Echoes()
    server = await net.loop.create_server(echoes, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    transport, client = await net.loop.create_connection(
        Recorder, *address, ssl=ours, server_hostname=HOST
    )
    assert transport is client.transport
    assert (
        transport.get_extra_info("ssl_object").version()
        == f"TLSv{version.name[-3]}.{version.name[-1]}"
    )
    await converse(client, transport)
    await check_server(server, echoes)


async def test_the_name_to_look_for_is_the_host_if_none_is_given(
    net: Net, certificates: Certificates
) -> None:
    theirs, ours = contexts(certificates)
    echoes = Echoes()
    server = await net.loop.create_server(echoes, "127.0.0.1", 0, ssl=theirs)
    host, port = server.sockets[0].getsockname()
    transport, client = await net.loop.create_connection(Recorder, host, port, ssl=ours)
    assert transport.get_extra_info("ssl_object").server_hostname == host
    await converse(client, transport)
    await check_server(server, echoes)


async def test_unix_connections_meet_unix_servers(
    net: Net, certificates: Certificates, tmp_path: Path
) -> None:
    theirs, ours = contexts(certificates)
    path = str(tmp_path / "socket")
    echoes = Echoes()
    server = await net.loop.create_unix_server(echoes, path, ssl=theirs)
    transport, client = await net.loop.create_unix_connection(
        Recorder, path, ssl=ours, server_hostname=HOST
    )
    await converse(client, transport)
    await check_server(server, echoes)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_sockets_of_ones_own_can_be_secured(
    net: Net, certificates: Certificates, kind: str
) -> None:
    theirs, ours = contexts(certificates)
    echo, client = Echo(), Recorder()
    with pair(kind) as (one, other):
        connect: Any = (
            net.loop.create_connection if kind == "tcp" else net.loop.create_unix_connection
        )
        await asyncio.gather(
            net.loop.connect_accepted_socket(lambda: echo, one, ssl=theirs),
            connect(lambda: client, sock=other, ssl=ours, server_hostname=HOST),
        )
        await converse(client, client.transport)
        assert await echo.lost is None


async def test_a_listening_socket_of_ones_own_can_be_secured(
    net: Net, certificates: Certificates
) -> None:
    theirs, ours = contexts(certificates)
    echoes = Echoes()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = await net.loop.create_server(echoes, sock=listener, ssl=theirs, backlog=5)
        transport, client = await net.loop.create_connection(
            Recorder, *listener.getsockname(), ssl=ours
        )
        await converse(client, transport)
        await check_server(server, echoes)


async def test_a_server_that_starts_later_serves_tls(net: Net, certificates: Certificates) -> None:
    theirs, ours = contexts(certificates)
    echoes = Echoes()
    server = await net.loop.create_server(echoes, "127.0.0.1", 0, ssl=theirs, start_serving=False)
    await server.start_serving()
    transport, client = await net.loop.create_connection(
        Recorder, *server.sockets[0].getsockname(), ssl=ours
    )
    await converse(client, transport)
    await check_server(server, echoes)


async def test_ssl_true_trusts_what_the_system_does(
    net: Net, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default context is asked for at each connection, so the environment is looked at."""
    echoes = Echoes()
    server = await net.loop.create_server(echoes, "127.0.0.1", 0, ssl=certificates.server_context())
    address = server.sockets[0].getsockname()
    with pytest.raises(ssl.SSLCertVerificationError):
        await net.loop.create_connection(Recorder, *address, ssl=True)
    assert len(echoes.made) == 1
    echoes.made.clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    transport, client = await net.loop.create_connection(Recorder, *address, ssl=True)
    context = transport.get_extra_info("sslcontext")
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    await converse(client, transport)
    await check_server(server, echoes)


@pytest.mark.parametrize("given", ["ssl=True", "a context that looks for names"])
async def test_an_empty_name_is_not_looked_for(
    net: Net, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """The name may be waived, by a caller who says so; the authority is still asked."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    context: Any = True if given == "ssl=True" else certificates.client_context()
    echoes = Echoes()
    server = await net.loop.create_server(
        echoes, "127.0.0.1", 0, ssl=certificates.server_context(certificates.elsewhere)
    )
    address = server.sockets[0].getsockname()
    with pytest.raises(ssl.SSLCertVerificationError):
        await net.loop.create_connection(Recorder, *address, ssl=context)
    echoes.made.clear()
    transport, client = await net.loop.create_connection(
        Recorder, *address, ssl=context, server_hostname=""
    )
    assert transport.get_extra_info("ssl_object").server_hostname is None
    if context is True:
        assert not transport.get_extra_info("sslcontext").check_hostname
    await converse(client, transport)
    await check_server(server, echoes)


async def test_small_packets_need_not_wait_for_an_answer_to_the_last(
    net: Net, certificates: Certificates
) -> None:
    """TCP_NODELAY on both ends: without it each second packet of a request takes 40 ms."""
    theirs, ours = contexts(certificates)
    echoes = Echoes()
    server = await net.loop.create_server(echoes, "127.0.0.1", 0, ssl=theirs)
    transport, client = await net.loop.create_connection(
        Recorder, *server.sockets[0].getsockname(), ssl=ours
    )
    await until(lambda: echoes.made[0].events)
    socks = [end.get_extra_info("socket") for end in (transport, echoes.made[0].transport)]
    options = [sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for sock in socks]
    await converse(client, transport)
    await check_server(server, echoes)
    assert options == [1, 1]


# Streams


@contextlib.asynccontextmanager
async def stream_server(
    net: Net, certificates: Certificates, path: Path | None = None
) -> AsyncIterator[Any]:
    """A server that sends back line after line."""
    handlers: list[asyncio.Task[Any] | None] = []

    async def handle(reader: Any, writer: Any) -> None:
        handlers.append(asyncio.current_task())
        async for line in reader:
            writer.write(line)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    context = certificates.server_context()
    if path is None:
        server = await net.lib.start_server(handle, "127.0.0.1", 0, ssl=context, limit=1 << 20)
    else:
        server = await net.lib.start_unix_server(handle, path, ssl=context, limit=1 << 20)
    yield server
    for handler in handlers:
        assert handler is not None
        await handler
    server.close()
    await server.wait_closed()


async def converse_by_lines(reader: Any, writer: Any) -> None:
    lines = [b"one\n", b"x" * 200_000 + b"\n", b"three\n"]
    for line in lines:
        writer.write(line)
        await writer.drain()
        assert await reader.readline() == line
    writer.writelines(lines)
    assert await reader.readexactly(200_000 + 11) == b"".join(lines)
    assert not writer.can_write_eof()
    writer.close()
    await writer.wait_closed()
    assert writer.is_closing()
    assert await reader.read() == b""
    assert reader.at_eof()


async def test_streams_are_secured(net: Net, certificates: Certificates) -> None:
    async with stream_server(net, certificates) as server:
        address = server.sockets[0].getsockname()
        reader, writer = await net.lib.open_connection(
            *address, ssl=certificates.client_context(), limit=1 << 20
        )
        assert writer.get_extra_info("peercert")["subject"] == ((("commonName", HOST),),)
        await converse_by_lines(reader, writer)


async def test_unix_streams_are_secured(
    net: Net, certificates: Certificates, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    async with stream_server(net, certificates, path):
        reader, writer = await net.lib.open_unix_connection(
            path, ssl=certificates.client_context(), server_hostname=HOST, limit=1 << 20
        )
        await converse_by_lines(reader, writer)


async def test_many_streams_at_once_keep_their_bytes_apart(
    net: Net, certificates: Certificates
) -> None:
    async with stream_server(net, certificates) as server:
        address = server.sockets[0].getsockname()
        context = certificates.client_context()

        async def one(number: int) -> None:
            reader, writer = await net.lib.open_connection(*address, ssl=context)
            for turn in range(5):
                line = b"%d %d " % (number, turn) * (number * 30 + 1) + b"\n"
                writer.write(line)
                assert await reader.readline() == line
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(one(number) for number in range(20)))


async def test_a_handler_that_fails_is_reported_and_its_client_let_go(
    net: Net, certificates: Certificates
) -> None:
    async def handle(reader: Any, writer: Any) -> None:
        await reader.readline()
        try:
            raise LookupError("no answer today")
        finally:
            writer.close()

    server = await net.lib.start_server(handle, "127.0.0.1", 0, ssl=certificates.server_context())
    reader, writer = await net.lib.open_connection(
        *server.sockets[0].getsockname(), ssl=certificates.client_context()
    )
    writer.write(b"hello\n")
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    await until(lambda: net.reports)
    (report,) = net.take_reports()
    assert report["message"] == "Unhandled exception in client_connected_cb"
    assert isinstance(report["exception"], LookupError)


# What is refused


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (
            {"server_hostname": "x", "host": "127.0.0.1", "port": 1},
            ValueError,
            "server_hostname is only meaningful with ssl",
        ),
        (
            {"ssl_handshake_timeout": 1, "host": "127.0.0.1", "port": 1},
            ValueError,
            "ssl_handshake_timeout is only meaningful with ssl",
        ),
        (
            {"ssl_shutdown_timeout": 1, "host": "127.0.0.1", "port": 1},
            ValueError,
            "ssl_shutdown_timeout is only meaningful with ssl",
        ),
        (
            {"ssl": True},
            ValueError,
            "You must set server_hostname when using ssl without a host",
        ),
    ],
)
async def test_create_connection_refuses_what_makes_no_sense(
    net: Net, given: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        await net.loop.create_connection(Recorder, **given)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"server_hostname": "x", "path": "/x"}, "server_hostname is only meaningful with ssl"),
        ({"ssl": True, "path": "/x"}, "you have to pass server_hostname when using ssl"),
        (
            {"ssl_handshake_timeout": 1, "path": "/x"},
            "ssl_handshake_timeout is only meaningful with ssl",
        ),
        (
            {"ssl_shutdown_timeout": 1, "path": "/x"},
            "ssl_shutdown_timeout is only meaningful with ssl",
        ),
    ],
)
async def test_create_unix_connection_refuses_what_makes_no_sense(
    net: Net, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError) as caught:
        await net.loop.create_unix_connection(Recorder, **given)
    assert str(caught.value) == text


@pytest.mark.parametrize("value", [True, False])
async def test_a_server_needs_a_context(net: Net, value: Any, tmp_path: Path) -> None:
    text = "ssl argument must be an SSLContext or None"
    with pytest.raises(TypeError, match=text):
        await net.loop.create_server(Recorder, "127.0.0.1", 0, ssl=value)
    with pytest.raises(TypeError, match=text):
        await net.loop.create_unix_server(Recorder, str(tmp_path / "x"), ssl=value)


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
async def test_servers_and_accepted_sockets_refuse_timeouts_without_tls(
    net: Net, name: str, tmp_path: Path
) -> None:
    text = f"{name} is only meaningful with ssl"
    options: Any = {name: 1}
    with pair() as (sock, _), pytest.raises(ValueError, match=text):
        await net.loop.connect_accepted_socket(Recorder, sock, **options)
    with pytest.raises(ValueError, match=text):
        await net.loop.create_server(Recorder, "127.0.0.1", 0, **options)
    with pytest.raises(ValueError, match=text):
        await net.loop.create_unix_server(Recorder, str(tmp_path / "x"), **options)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("value", [0, -1, -0.5])
@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
async def test_timeouts_have_to_be_positive(
    net: Net, certificates: Certificates, name: str, value: float
) -> None:
    text = f"{name} should be a positive number, got {value}"
    options: Any = {name: value}
    with pair() as (one, other):
        with pytest.raises(ValueError) as caught:
            await net.loop.create_connection(
                Recorder, sock=one, ssl=True, server_hostname=HOST, **options
            )
        assert str(caught.value) == text
        with pytest.raises(ValueError) as caught:
            await net.loop.connect_accepted_socket(
                Recorder, other, ssl=certificates.server_context(), **options
            )
        assert str(caught.value) == text


async def test_a_context_for_the_other_side_is_refused(
    net: Net, certificates: Certificates
) -> None:
    with pair() as (one, other):
        with pytest.raises(
            ssl.SSLError, match="Cannot create a client socket with a PROTOCOL_TLS_SERVER"
        ):
            await net.loop.create_connection(
                Recorder, sock=one, ssl=certificates.server_context(), server_hostname=HOST
            )
        with pytest.raises(
            ssl.SSLError, match="Cannot create a server socket with a PROTOCOL_TLS_CLIENT"
        ):
            await net.loop.connect_accepted_socket(
                Recorder, other, ssl=certificates.client_context()
            )


async def test_a_plain_client_of_a_tls_server_is_dropped_and_others_served(
    net: Net, certificates: Certificates
) -> None:
    theirs, ours = contexts(certificates)
    echoes = Echoes()
    server = await net.loop.create_server(echoes, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    with socket.create_connection(address) as plain:
        plain.setblocking(False)
        await send(plain, b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            await receive_all(plain)
    await turns(3)
    assert echoes.made.pop().events == []
    transport, client = await net.loop.create_connection(Recorder, *address, ssl=ours)
    await converse(client, transport)
    await check_server(server, echoes)
