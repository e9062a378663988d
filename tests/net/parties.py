"""Who takes part in a network test: the loop under test, a protocol that remembers, a plain peer.

The peer is a plain non-blocking socket and not a transport: it does exactly what a test says, when
it says so, and cannot share a fault with what is tested. Waiting for it polls, for the same
reason. `pair()` connects two such sockets, over loopback TCP or as a Unix pair.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from tests.loops import Loop, Report

PATIENCE = 20.0
KINDS = ("tcp", "unix")
KERNEL_HOLDS = 1 << 17


@contextlib.contextmanager
def impatient(seconds: float) -> Iterator[None]:
    """End even what never comes back to the loop, by a signal (in the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError("the loop stands still")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Net:
    """One side of the comparison: its loop, and the module whose streams it has."""

    def __init__(self, name: str, new_loop: Callable[[], Loop], lib: Any) -> None:
        self.name = name
        self.new_loop = new_loop
        self.lib = lib
        self.loop = new_loop()
        self.reports: list[Report] = []
        # asyncio tries again once for each refused accept; what comes after the server was closed
        # is reported, and no fault of the test's.
        self.retries_late = False
        self.loop.set_exception_handler(lambda _, context: self.reports.append(context))

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end, or fail when that does not come."""

        async def patiently() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await main

        with impatient(PATIENCE + 5):
            return self.loop.run_until_complete(patiently())

    def finish(self) -> None:
        """Let the last callbacks run; nobody may still be waiting after them."""

        async def end() -> None:
            for _ in range(5):
                await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            assert not left, left

        self.loop.run_until_complete(end())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())

    def finish_quietly(self) -> None:
        """The same, with what an exit from the loop left behind cancelled first."""

        async def end() -> None:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        self.loop.run_until_complete(end())
        self.finish()

    def close(self) -> None:
        """Close the loop."""
        if not self.loop.is_closed():
            self.loop.close()

    def messages(self) -> list[str]:
        """What the exception handler was told so far."""
        messages = [report["message"] for report in self.reports]
        if self.retries_late:
            return [message for message in messages if "_start_serving" not in message]
        return messages

    def take_reports(self) -> list[Report]:
        """What the exception handler was told, which from now on counts as expected."""
        taken, self.reports[:] = list(self.reports), []
        return taken

    async def attach(self, sock: socket.socket, protocol: Any) -> Any:
        """A transport around a connected socket."""
        transport, _ = await self.loop.connect_accepted_socket(lambda: protocol, sock)
        return transport


class Recorder(asyncio.Protocol):
    """Remembers what it is told, in order; data that comes in several pieces is told once.

    `keep_open` is what eof_received() returns. `lost` is done when the connection is, with the
    exception that was given.
    """

    def __init__(self, *, keep_open: bool | None = None) -> None:
        self.events: list[str] = []
        self.received = bytearray()
        self.keep_open = keep_open
        self.transport: Any = None
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def forget(self) -> None:
        """Let the garbage collector have the transport."""
        self.transport = None
        gc.collect()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.received += data
        if self.events[-1] != "data":
            self.events.append("data")

    def eof_received(self) -> bool | None:
        self.events.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(f"lost {type(exc).__name__}" if exc else "lost")
        self.lost.set_result(exc)


class BufferedRecorder(asyncio.BufferedProtocol):
    """The same for a protocol that hands out the buffer, of `size` bytes."""

    def __init__(self, size: int = 1024) -> None:
        self.events: list[str] = []
        self.received = bytearray()
        self.buffer = bytearray(size)
        self.transport: Any = None
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.events.append("made")

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert nbytes > 0
        self.received += self.buffer[:nbytes]
        if self.events[-1] != "data":
            self.events.append("data")

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(f"lost {type(exc).__name__}" if exc else "lost")
        self.lost.set_result(exc)


@contextlib.contextmanager
def listening(*, backlog: int = 100) -> Iterator[socket.socket]:
    """A plain TCP listener on loopback."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        yield listener


@contextlib.contextmanager
def pair(kind: str = "tcp") -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected non-blocking sockets: one for the transport, one for the peer."""
    if kind == "unix":
        ours, peer = socket.socketpair()
    else:
        with listening() as listener:
            ours = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
    with ours, peer:
        for sock in (ours, peer):
            sock.setblocking(False)
            # Else the kernel takes megabytes, as many as it likes.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_HOLDS)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_HOLDS)
        yield ours, peer


@contextlib.asynccontextmanager
async def connected(net: Net, protocol: Any, kind: str = "tcp") -> AsyncIterator[socket.socket]:
    """A protocol's connection, from the peer's end. At the end the transport is aborted, if it
    still is open."""
    with pair(kind) as (ours, peer):
        transport = await net.attach(ours, protocol)
        try:
            yield peer
        finally:
            if not protocol.lost.done():
                transport.abort()
            await turns(3)


def reset(peer: socket.socket) -> None:
    """Close a TCP socket so that the other side is told of a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def shrink_buffers(*socks: socket.socket) -> None:
    """Have the kernel hold little, so that what does not fit is soon the transport's."""
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


async def turns(count: int) -> None:
    """So many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds; the test's time limit is the limit."""
    while not holds():
        await asyncio.sleep(0.001)


async def receive(peer: socket.socket, count: int) -> bytes:
    """Exactly so many bytes from a plain socket, fewer if its peer closed."""
    got = bytearray()
    while len(got) < count:
        try:
            piece = peer.recv(min(count - len(got), 1 << 16))
        except BlockingIOError:
            await asyncio.sleep(0.001)
            continue
        if not piece:
            break
        got += piece
    return bytes(got)


async def receive_all(peer: socket.socket) -> bytes:
    """Everything up to the end."""
    return await receive(peer, 1 << 40)


async def send(peer: socket.socket, data: bytes) -> None:
    """All of it, through a plain socket."""
    view = memoryview(data)
    while view:
        try:
            view = view[peer.send(view) :]
        except BlockingIOError:
            await asyncio.sleep(0.001)


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes in which a lost, doubled or displaced piece shows: a counter in 4-byte words."""
    first = seed << 24
    words = (size + 3) // 4
    return struct.pack(f"<{words}I", *(n & 0xFFFFFFFF for n in range(first, first + words)))[:size]
