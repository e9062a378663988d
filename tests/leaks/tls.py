"""Workloads: each way in which a TLS connection ends, and handshakes that come to nothing.

What an engine might forget here: the connection inside OpenSSL and its buffers, the SSLObject that
the context made, the timer of a handshake that was over in time, who waits for one that failed,
the plain transport under one that was aborted.

A handshake costs as much as hundreds of tasks, so a hundredth of the lifetimes that are asked for
are lived here.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import socket
import ssl
import struct
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from tests.tls.certificates import HOST, Certificates, temporary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.differential.engines import Engine

    Workload = Callable[[Engine, int], Awaitable[None]]

SHARE = 100
ADDRESS = "127.0.0.1"
PACKET = b"x" * 1024
MUCH = b"x" * (1 << 20)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


@functools.cache
def _certificates() -> Certificates:
    """Made at the first use and removed when the process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(temporary())


@functools.cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's. They are kept, since a program's are."""
    certificates = _certificates()
    return certificates.server_context(), certificates.client_context()


class Side(asyncio.Protocol):
    """One end of a connection: counts what comes, and says when it is over."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.heard: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[Exception | None] = loop.create_future()
        self.payload = bytearray(1024)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.heard.done():
            self.heard.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


class Echo(Side):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Buffered(asyncio.BufferedProtocol, Side):
    def get_buffer(self, hint: int) -> bytearray:
        return self.payload

    def buffer_updated(self, count: int) -> None:
        self.data_received(b"")


class Sides:
    """A factory that remembers the protocol it made last."""

    def __init__(self) -> None:
        self.last: Side | None = None

    def __call__(self) -> Side:
        self.last = Echo()
        return self.last

    async def end(self) -> None:
        """Wait for the end of the last one, if it ever was connected."""
        if self.last is not None and hasattr(self.last, "transport"):
            await self.last.lost
        self.last = None


async def tls_connections_by_protocol(engine: Engine, count: int) -> None:
    """Closed here, closed there, aborted, reset while there is much to send."""
    loop = asyncio.get_running_loop()
    theirs, ours = _contexts()
    sides = Sides()
    server = await loop.create_server(sides, ADDRESS, 0, ssl=theirs)
    for number in range(count // SHARE):
        kind = Buffered if number % 2 else Side
        transport, client = await loop.create_connection(
            kind, *server.sockets[0].getsockname(), ssl=ours
        )
        transport.write(PACKET)
        await client.heard
        assert sides.last is not None
        if number % 5 == 0:
            sides.last.transport.close()
        elif number % 5 == 1:
            transport.write(MUCH)
            transport.abort()
        elif number % 5 == 2:
            sides.last.transport.write(MUCH)
            below = transport.get_extra_info("socket")
            below.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()
        else:
            transport.close()
        await client.lost
        await sides.end()
    server.close()
    await server.wait_closed()


async def tls_connections_by_streams(engine: Engine, count: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(line)
        writer.close()
        await writer.wait_closed()

    theirs, ours = _contexts()
    server = await engine.lib.start_server(serve, ADDRESS, 0, ssl=theirs)
    for number in range(count // SHARE):
        reader, writer = await engine.lib.open_connection(
            *server.sockets[0].getsockname(), ssl=ours
        )
        writer.writelines([PACKET, b"\n"])
        await writer.drain()
        await reader.readuntil(b"\n")
        if number % 2:
            with suppress(TimeoutError):
                await engine.lib.wait_for(reader.read(1), 0)
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def tls_handshakes_that_fail(engine: Engine, count: int) -> None:
    """Garbage, a client that goes, one that does not trust, and one that is cancelled."""
    loop = asyncio.get_running_loop()
    theirs, ours = _contexts()
    distrusting = ssl.create_default_context(cafile=_certificates().other_authority)
    server = await loop.create_server(Sides(), ADDRESS, 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    for number in range(count // SHARE):
        if number % 4 == 0:
            with suppress(ssl.SSLCertVerificationError):
                await loop.create_connection(Side, *address, ssl=distrusting)
        elif number % 4 == 1:
            connecting = loop.create_task(loop.create_connection(Side, *address, ssl=ours))
            for _ in range(5):
                await asyncio.sleep(0)
            connecting.cancel()
            with suppress(asyncio.CancelledError):
                await connecting
        else:
            with socket.create_connection(address) as knocking:
                if number % 4 == 2:
                    knocking.send(b"GET / HTTP/1.1\r\n\r\n")
                for _ in range(5):
                    await asyncio.sleep(0)
    server.close()
    await server.wait_closed()
    if accepting := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(accepting)  # asyncio has one for each handshake


async def tls_handshakes_that_take_too_long(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    _, ours = _contexts()
    for _ in range(count // SHARE):
        one, silent = socket.socketpair()
        with suppress(ConnectionAbortedError):
            await loop.create_connection(
                Side, sock=one, ssl=ours, server_hostname=HOST, ssl_handshake_timeout=0.001
            )
        silent.close()


async def tls_upgrades(engine: Engine, count: int) -> None:
    """start_tls on both ends of a pair; every third one fails."""
    loop = asyncio.get_running_loop()
    theirs, ours = _contexts()
    for number in range(count // SHARE):
        ends: list[Any] = []
        for sock in socket.socketpair():
            transport, side = await loop.create_connection(Echo if not ends else Side, sock=sock)
            transport.pause_reading()
            ends.append(side)
        server, client = ends
        if number % 3 == 0:
            server.transport.write(b"this is no handshake")
            with suppress(ssl.SSLError):
                await loop.start_tls(client.transport, client, ours, server_hostname=HOST)
            server.transport.abort()
            await server.lost
            continue
        server.transport, client.transport = await engine.lib.gather(
            loop.start_tls(server.transport, server, theirs, server_side=True),
            loop.start_tls(client.transport, client, ours, server_hostname=HOST),
        )
        client.transport.write(PACKET)
        await client.heard
        (client.transport.close if number % 3 == 1 else server.transport.abort)()
        await client.lost
        await server.lost


TLS: dict[str, Workload] = {
    work.__name__: work
    for work in (
        tls_connections_by_protocol,
        tls_connections_by_streams,
        tls_handshakes_that_fail,
        tls_handshakes_that_take_too_long,
        tls_upgrades,
    )
}
