"""Workloads: each way in which a connection, a server, a conversation or a lookup ends.

What an engine might forget here: the descriptor of a connection that was reset, the transport in
the loop's table, what was written and never sent, the Task whose read is cancelled, the listener of
a server that is closed while somebody knocks, the socket of a connect that failed, the question
that nobody waits for any more. A protocol and its transport are always a cycle.

Sockets cost more than tasks, so a twentieth of the lifetimes that are asked for are lived here.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.differential.engines import Engine

    Workload = Callable[[Engine, int], Awaitable[None]]

SHARE = 20
HOST = "127.0.0.1"
PACKET = b"x" * 1024
MUCH = b"x" * (4 << 20)  # more than any socket takes at once
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Payload:
    """Something big enough to be missed: 1 KiB."""

    def __init__(self) -> None:
        self.data = bytearray(1024)


class Side(asyncio.Protocol):
    """One end of a connection: counts what comes, and says when it is over."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.heard: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[Exception | None] = loop.create_future()
        self.payload = Payload()
        self.peer: socket.socket | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.heard.done():
            self.heard.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


class Echo(Side):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Buffered(asyncio.BufferedProtocol, Side):
    def get_buffer(self, hint: int) -> bytearray:
        return self.payload.data

    def buffer_updated(self, count: int) -> None:
        self.data_received(b"")


class Sides:
    """A factory that remembers the protocols it made."""

    def __init__(self, kind: type[Side]) -> None:
        self.kind = kind
        self.made: list[Side] = []

    def __call__(self) -> Side:
        self.made.append(self.kind())
        return self.made[-1]


def _address(server: Any) -> tuple[str, int]:
    address: tuple[str, int] = server.sockets[0].getsockname()
    return address


async def connections_by_protocol(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    sides = Sides(Echo)
    server = await loop.create_server(sides, HOST, 0)
    for number in range(count // SHARE):
        kind = Buffered if number % 2 else Side
        transport, client = await loop.create_connection(kind, *_address(server))
        transport.write(PACKET)
        await client.heard
        (sides.made[0].transport if number % 3 else transport).close()
        await client.lost
        await sides.made.pop().lost
    server.close()
    await server.wait_closed()


async def connections_by_streams(engine: Engine, count: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(line)
        writer.close()
        await writer.wait_closed()

    server = await engine.lib.start_server(serve, HOST, 0)
    for number in range(count // SHARE):
        reader, writer = await engine.lib.open_connection(*_address(server))
        writer.writelines([PACKET, b"\n"])
        await writer.drain()
        await reader.readuntil(b"\n")
        if number % 2:
            writer.write_eof()
            await reader.read()
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def servers_opened_and_closed(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for number in range(count // SHARE):
        sides = Sides(Side)
        server = await loop.create_server(sides, HOST, 0, start_serving=number % 2 == 0)
        if number % 2:
            server.close()  # it never served
            continue
        knocking = socket.create_connection(_address(server))
        if number % 4:
            await asyncio.sleep(0)  # accepted, and still open when the server closes
        server.close()
        knocking.close()
        for side in sides.made:
            await side.lost


async def connections_reset(engine: Engine, count: int) -> None:
    """One end goes without a word while the other has much to send."""
    loop = asyncio.get_running_loop()
    sides = Sides(Side)
    server = await loop.create_server(sides, HOST, 0)
    for number in range(count // SHARE):
        peer = socket.create_connection(_address(server))
        while not (sides.made and hasattr(sides.made[-1], "transport")):
            await asyncio.sleep(0)
        side = sides.made.pop()
        side.transport.write(MUCH if number % 10 == 0 else PACKET)
        if number % 2:
            side.transport.abort()
        else:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
        await side.lost
        peer.close()
    server.close()


async def transports_that_nobody_closes(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for number in range(count // SHARE):
        ours, theirs = socket.socketpair()
        transport, side = await loop.create_connection(Side, sock=ours)
        transport.pause_reading()  # while it reads, the loop keeps it
        if number % 2:
            transport.write(PACKET)
        del transport, side
        theirs.close()
        del ours
    gc.collect()
    await asyncio.sleep(0)


async def reads_cancelled(engine: Engine, count: int) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await engine.lib.open_connection(sock=ours)
    loop = asyncio.get_running_loop()
    for number in range(count // SHARE):
        for read in (reader.read(), reader.readexactly(4096), reader.readline()):
            task = loop.create_task(read)
            await asyncio.sleep(0)
            if number % 2:
                theirs.send(b"part of it")
            task.cancel(Payload())
            with suppress(asyncio.CancelledError):
                await task
        if number % 2:
            await reader.readexactly(30)
        with suppress(TimeoutError):
            await engine.lib.wait_for(reader.read(1), 0)
    writer.close()
    await writer.wait_closed()
    theirs.close()


async def writes_that_wait(engine: Engine, count: int) -> None:
    """The peer does not read; who drains is cancelled, or hears that the connection is lost."""
    loop = asyncio.get_running_loop()
    for number in range(count // SHARE // 2):
        ours, theirs = socket.socketpair()
        _, writer = await engine.lib.open_connection(sock=ours)
        writer.write(MUCH)
        drains = [loop.create_task(writer.drain()) for _ in range(3)]
        await asyncio.sleep(0)
        drains[0].cancel()
        if number % 2:
            writer.transport.abort()
        theirs.close()
        await engine.lib.gather(*drains, return_exceptions=True)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def connects_that_fail(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as bound:  # and listens to nobody
        bound.bind((HOST, 0))
        address = bound.getsockname()
        for _ in range(count // SHARE):
            with suppress(ConnectionRefusedError):
                await loop.create_connection(Side, *address)
            with suppress(ConnectionRefusedError):
                await engine.lib.open_connection(*address)
            with suppress(FileNotFoundError):
                await engine.lib.open_unix_connection("/nowhere/at/all")
            connecting = loop.create_task(loop.create_connection(Side, *address))
            await asyncio.sleep(0)
            connecting.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await connecting


class Mailbox(asyncio.DatagramProtocol, Side):
    def datagram_received(self, data: bytes, address: Any) -> None:
        self.data_received(data)

    def error_received(self, error: Exception) -> None:
        self.data_received(b"")


async def datagram_endpoints(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for number in range(count // SHARE // 2):
        transport, box = await loop.create_datagram_endpoint(Mailbox, local_addr=(HOST, 0))
        address = transport.get_extra_info("sockname")
        if number % 3 == 0:  # nobody is there, of which the kernel tells only who is connected
            transport.close()
            await box.lost
        sender, sending = await loop.create_datagram_endpoint(Mailbox, remote_addr=address)
        sender.sendto(PACKET)
        await (sending.heard if number % 3 == 0 else box.heard)
        sender.sendto(PACKET)
        (sender.abort if number % 2 else sender.close)()
        transport.close()
        await sending.lost
        await box.lost


async def sock_conversations(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as listening:
        listening.setblocking(False)
        listening.bind((HOST, 0))
        listening.listen()
        for number in range(count // SHARE):
            client = socket.socket()
            client.setblocking(False)
            accepting = loop.create_task(loop.sock_accept(listening))
            await loop.sock_connect(client, listening.getsockname())
            server, _ = await accepting
            reading = loop.create_task(loop.sock_recv(server, 2048))
            await asyncio.sleep(0)
            if number % 3 == 0:
                reading.cancel()  # with the socket watched, and closed below
                with suppress(asyncio.CancelledError):
                    await reading
            else:
                await loop.sock_sendall(client, PACKET)
                await reading
                await loop.sock_sendall(server, PACKET)
                await loop.sock_recv_into(client, bytearray(2048))
            client.close()
            server.close()


async def names_looked_up(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for number in range(count // SHARE):
        await loop.getaddrinfo(HOST, 80)
        await loop.getnameinfo((HOST, 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        asked = [loop.create_task(loop.getaddrinfo("localhost", 80 + n)) for n in range(2)]
        if number % 2:
            await asyncio.sleep(0)
            asked[0].cancel()
        await engine.lib.gather(*asked, return_exceptions=True)


NETWORK: dict[str, Workload] = {
    work.__name__: work
    for work in (
        connections_by_protocol,
        connections_by_streams,
        servers_opened_and_closed,
        connections_reset,
        transports_that_nobody_closes,
        reads_cancelled,
        writes_that_wait,
        connects_that_fail,
        datagram_endpoints,
        sock_conversations,
        names_looked_up,
    )
}


# -- what a loop is closed with --------------------------------------------------------------------


async def leave_open(engine: Engine) -> None:
    """A server, both ends of a connection, a datagram endpoint, a read and a lookup, all alive."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, HOST, 0)
    transport, _ = await loop.create_connection(Side, *_address(server))
    transport.write(MUCH)
    await loop.create_datagram_endpoint(Mailbox, local_addr=(HOST, 0))
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    # The task is let go with the socket; nothing of it may outlive the loop.
    reading = loop.sock_recv(ours, 1)
    with suppress(TimeoutError):
        await engine.lib.wait_for(reading, 0)
    theirs.close()
    ours.close()
