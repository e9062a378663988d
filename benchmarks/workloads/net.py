"""Sockets and streams, client and server in one loop on the loopback device.

Marked `needs="net"`: an engine without transports says so in its cells. Both ends share the loop
under test, so these tell the engine's share of a round trip and not a server's throughput.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from benchmarks.workloads import workload

if TYPE_CHECKING:
    from types import ModuleType

SMALL = b"x" * 64
LARGE = b"x" * 65536


async def echo_streams(aio: ModuleType, message: bytes, n: int) -> None:
    """n round trips of `message` over one TCP connection, through streams at both ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(await reader.readexactly(len(message)))
        except asyncio.IncompleteReadError:
            writer.close()

    server = await aio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await aio.open_connection(*server.sockets[0].getsockname())
    for _ in range(n):
        writer.write(message)
        await reader.readexactly(len(message))
    writer.close()
    server.close()
    await aio.sleep(0)


@workload(500, needs="net")
async def streams_rtt(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """64-byte round trips over TCP streams."""
    await echo_streams(aio, SMALL, n)


@workload(200, needs="net")
async def streams_64k(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """64 KiB round trips over TCP streams: where copies and buffers show."""
    await echo_streams(aio, LARGE, n)


class EchoServer(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class EchoClient(asyncio.Protocol):
    """Sends, waits for the echo, sends again, n times."""

    def __init__(self, done: asyncio.Future[None], n: int) -> None:
        self.done = done
        self.left = n
        self.pending = len(SMALL)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(SMALL)

    def data_received(self, data: bytes) -> None:
        """One echo is complete when all its bytes are there."""
        self.pending -= len(data)
        if self.pending:
            return
        self.pending = len(SMALL)
        self.left -= 1
        if self.left:
            self.transport.write(SMALL)
        else:
            self.done.set_result(None)


@workload(1_000, needs="net")
async def protocol_rtt(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """64-byte round trips over TCP between two protocols: transports without streams."""
    done = loop.create_future()
    server = await loop.create_server(EchoServer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    transport, _ = await loop.create_connection(lambda: EchoClient(done, n), host, port)
    await done
    transport.close()
    server.close()
    await aio.sleep(0)


@workload(500, needs="net")
async def sock_rtt(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """64-byte round trips over a socket pair with sock_recv and sock_sendall."""
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)

    async def answer() -> None:
        for _ in range(n):
            await loop.sock_sendall(there, await loop.sock_recv(there, 64))

    async def ask() -> None:
        for _ in range(n):
            await loop.sock_sendall(here, SMALL)
            await loop.sock_recv(here, 64)

    try:
        await aio.gather(answer(), ask())
    finally:
        here.close()
        there.close()


class EchoDatagrams(asyncio.DatagramProtocol):
    """Sends datagrams back, and as a client counts them down."""

    def __init__(self, done: asyncio.Future[None] | None = None, n: int = 0) -> None:
        self.done = done
        self.left = n

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; the client, who counts, begins."""
        self.transport = cast("asyncio.DatagramTransport", transport)
        if self.done is not None:
            self.transport.sendto(SMALL)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Answer, until the count is down."""
        if self.done is None:
            self.transport.sendto(data, addr)
            return
        self.left -= 1
        if self.left:
            self.transport.sendto(data)
        else:
            self.done.set_result(None)


@workload(1_000, needs="net")
async def udp_rtt(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """64-byte round trips over UDP."""
    done = loop.create_future()
    server, _ = await loop.create_datagram_endpoint(EchoDatagrams, ("127.0.0.1", 0))
    client, _ = await loop.create_datagram_endpoint(
        lambda: EchoDatagrams(done, n), remote_addr=server.get_extra_info("sockname")
    )
    await done
    client.close()
    server.close()
    await aio.sleep(0)


@workload(100, needs="net")
async def connect(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
    """A connection opened, used once and closed: accept, transports and streams set up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(1))
        writer.close()

    server = await aio.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    for _ in range(n):
        reader, writer = await aio.open_connection(*address)
        writer.write(b"x")
        await reader.readexactly(1)
        writer.close()
    server.close()
    await aio.sleep(0)
