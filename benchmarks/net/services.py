"""What the servers under test do: echo, take an upload, send a download, in each interface.

Written as a user would write it, with asyncio's public names alone, and without anything that an
engine could be better or worse at than at the thing in question.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

# As much as one read takes in any interface that is asked for a number.
READ = 65536
PIECE = b"x" * READ
# The client opens connections as fast as it can: nobody shall lose by a short queue.
BACKLOG = 4096


class EchoProtocol(asyncio.Protocol):
    """Sends back what arrives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


class EchoBuffered(asyncio.BufferedProtocol):
    """Sends back the filled part of its buffer, without a copy."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and have a buffer."""
        self.transport = cast("asyncio.Transport", transport)
        self.buffer = memoryview(bytearray(READ))

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer; another one if some of the last is still to be sent."""
        if self.transport.get_write_buffer_size():
            self.buffer = memoryview(bytearray(READ))
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Send it back."""
        self.transport.write(self.buffer[:nbytes])


class UploadProtocol(asyncio.Protocol):
    """Counts what arrives and tells the number at the end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing has come yet."""
        self.transport = cast("asyncio.Transport", transport)
        self.received = 0

    def data_received(self, data: bytes) -> None:
        """Count it."""
        self.received += len(data)

    def eof_received(self) -> None:
        """Say how much it was; the transport closes itself then."""
        self.transport.write(self.received.to_bytes(8, "big"))


class UploadBuffered(asyncio.BufferedProtocol):
    """The same into a buffer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing has come yet."""
        self.transport = cast("asyncio.Transport", transport)
        self.buffer = bytearray(READ)
        self.received = 0

    def get_buffer(self, sizehint: int) -> bytearray:
        """Always the same one."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Count it."""
        self.received += nbytes

    def eof_received(self) -> None:
        """Say how much it was; the transport closes itself then."""
        self.transport.write(self.received.to_bytes(8, "big"))


class DownloadProtocol(asyncio.Protocol):
    """Sends as many bytes as it is asked for, as fast as flow control lets it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is to be sent yet."""
        self.transport = cast("asyncio.Transport", transport)
        self.left = 0
        self.paused = False

    def data_received(self, data: bytes) -> None:
        """The number of bytes that are wanted."""
        self.left = int.from_bytes(data, "big")
        self.send()

    def send(self) -> None:
        """Write until told to stop."""
        while self.left and not self.paused:
            piece = PIECE[: self.left]
            self.left -= len(piece)
            self.transport.write(piece)

    def pause_writing(self) -> None:
        """Enough for now."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.paused = False
        self.send()


class EchoDatagrams(asyncio.DatagramProtocol):
    """Sends every datagram back where it came from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to send by."""
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Send it back."""
        self.transport.sendto(data, addr)


async def echo_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what arrives."""
    while data := await reader.read(READ):
        writer.write(data)
        await writer.drain()
    writer.close()


async def upload_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Counts what arrives and tells the number at the end."""
    received = 0
    while data := await reader.read(READ):
        received += len(data)
    writer.write(received.to_bytes(8, "big"))
    await writer.drain()
    writer.close()


async def download_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends as many bytes as it is asked for."""
    left = int.from_bytes(await reader.readexactly(8), "big")
    while left:
        piece = PIECE[:left]
        left -= len(piece)
        writer.write(piece)
        await writer.drain()
    await reader.read(READ)
    writer.close()


async def echo_sock(loop: asyncio.AbstractEventLoop, peer: socket.socket) -> None:
    """Sends back what arrives."""
    while data := await loop.sock_recv(peer, READ):
        await loop.sock_sendall(peer, data)


async def upload_sock(loop: asyncio.AbstractEventLoop, peer: socket.socket) -> None:
    """Counts what arrives and tells the number at the end."""
    received = 0
    while data := await loop.sock_recv(peer, READ):
        received += len(data)
    await loop.sock_sendall(peer, received.to_bytes(8, "big"))


async def download_sock(loop: asyncio.AbstractEventLoop, peer: socket.socket) -> None:
    """Sends as many bytes as it is asked for."""
    left = int.from_bytes(await loop.sock_recv(peer, 8), "big")
    while left:
        piece = PIECE[:left]
        left -= len(piece)
        await loop.sock_sendall(peer, piece)
    await loop.sock_recv(peer, READ)


PROTOCOLS: dict[tuple[str, str], Callable[[], asyncio.BaseProtocol]] = {
    ("protocol", "echo"): EchoProtocol,
    ("protocol", "upload"): UploadProtocol,
    ("protocol", "download"): DownloadProtocol,
    ("buffered", "echo"): EchoBuffered,
    ("buffered", "upload"): UploadBuffered,
}
STREAMS = {"echo": echo_streams, "upload": upload_streams, "download": download_streams}
SOCK = {"echo": echo_sock, "upload": upload_sock, "download": download_sock}


@dataclass(frozen=True)
class Where:
    """Where to listen: on a free port or at a path, in the clear or under TLS."""

    path: str | None = None
    tls: ssl.SSLContext | None = None


def identity(pem: str) -> ssl.SSLContext:
    """What Python makes of a key and a certificate by default."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def start(aio: ModuleType, interface: str, service: str, where: Where) -> tuple[Any, str]:
    """Start a server in the running loop: something to keep, and its address."""
    loop = asyncio.get_running_loop()
    if interface == "udp":
        transport, _ = await loop.create_datagram_endpoint(EchoDatagrams, ("127.0.0.1", 0))
        host, port = transport.get_extra_info("sockname")
        return transport, f"{host}:{port}"
    if interface == "sock":
        return start_sock(loop, SOCK[service], where.path)
    server: asyncio.Server
    path, tls = where.path, where.tls
    if interface == "streams":
        serve = STREAMS[service]
        if path:
            server = await aio.start_unix_server(serve, path, backlog=BACKLOG, ssl=tls)
        else:
            server = await aio.start_server(serve, "127.0.0.1", 0, backlog=BACKLOG, ssl=tls)
    elif path:
        factory = PROTOCOLS[interface, service]
        server = await loop.create_unix_server(factory, path, backlog=BACKLOG, ssl=tls)
    else:
        factory = PROTOCOLS[interface, service]
        server = await loop.create_server(factory, "127.0.0.1", 0, backlog=BACKLOG, ssl=tls)
    return server, path or address_of(server.sockets[0].getsockname())


def address_of(name: tuple[str, int]) -> str:
    """An address as the client takes it."""
    return f"{name[0]}:{name[1]}"


def start_sock(
    loop: asyncio.AbstractEventLoop,
    serve: Callable[[asyncio.AbstractEventLoop, socket.socket], Awaitable[None]],
    path: str | None,
) -> tuple[Any, str]:
    """A listener and the task that accepts from it; each connection is a task too."""
    if path:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(BACKLOG)
    else:
        listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listener.setblocking(False)
    tasks = set()

    async def attend(peer: socket.socket) -> None:
        with peer:
            if not path:  # as every transport does by itself
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await serve(loop, peer)

    async def accept() -> None:
        while True:
            peer, _ = await loop.sock_accept(listener)
            task = loop.create_task(attend(peer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    return loop.create_task(accept()), path or address_of(listener.getsockname())
