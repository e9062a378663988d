"""Channels for pipe transports, and a protocol that writes down what it hears."""

import asyncio
import contextlib
import gc
import os
import socket
import tempfile
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from tests.loops import LOOPS, Loop, run_turns

Trace = list[Any]
Ends = tuple[int, int]


class Recorder(asyncio.Protocol):
    """A protocol that writes down everything it hears; bytes that come in pieces are one entry."""

    def __init__(self) -> None:
        self.heard: Trace = []
        self.transport: Any = None
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.heard.append("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        if isinstance(self.heard[-1], bytes):
            self.heard[-1] += data
        else:
            self.heard.append(data)

    def eof_received(self) -> None:
        self.heard.append("eof")

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.heard.append(("lost", type(exc).__name__, str(exc)))

    @property
    def data(self) -> bytes:
        return b"".join(heard for heard in self.heard if isinstance(heard, bytes))


def a_pipe() -> Ends:
    return os.pipe()


def a_fifo() -> Ends:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "fifo"
        os.mkfifo(path)
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return reading, os.open(path, os.O_WRONLY)


def a_socket_pair() -> Ends:
    here, there = socket.socketpair()
    return here.detach(), there.detach()


def a_terminal() -> Ends:
    """What is written to the terminal's own side comes out of its master, unchanged."""
    master, own = os.openpty()
    tty.setraw(own)
    return master, own


CHANNELS: dict[str, Callable[[], Ends]] = {
    "pipe": a_pipe,
    "fifo": a_fifo,
    "socket": a_socket_pair,
    "terminal": a_terminal,
}


def reading_file(fd: int) -> IO[bytes]:
    return open(fd, "rb", buffering=0)  # the transport closes it


def writing_file(fd: int) -> IO[bytes]:
    return open(fd, "wb", buffering=0)


def read_from(loop: Loop, fd: int, factory: Callable[[], Any] = Recorder) -> tuple[Any, Any]:
    return loop.run_until_complete(loop.connect_read_pipe(factory, reading_file(fd)))


def write_to(loop: Loop, fd: int, factory: Callable[[], Any] = Recorder) -> tuple[Any, Any]:
    return loop.run_until_complete(loop.connect_write_pipe(factory, writing_file(fd)))


def run_until(loop: Loop, condition: Callable[[], Any]) -> None:
    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(poll(), 30))


def finish(loop: Loop, *protocols: Recorder) -> None:
    for protocol in protocols:
        if not protocol.lost:
            protocol.transport.close()
    run_turns(loop, 3)
    for protocol in protocols:
        assert protocol.lost


def drain(fd: int) -> int:
    """Read everything that is there; how much it was."""
    os.set_blocking(fd, False)
    found = 0
    with contextlib.suppress(BlockingIOError):
        while data := os.read(fd, 1 << 20):
            found += len(data)
    return found


def fill(fd: int) -> int:
    """Write until the descriptor takes no more."""
    os.set_blocking(fd, False)
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += os.write(fd, bytes(4096))
    return written


def drop(held: list[Any]) -> None:
    """Let go of what only this list holds, and of the cycles that it is part of."""
    held.clear()
    gc.collect()


@contextlib.contextmanager
def closing(*fds: int) -> Iterator[None]:
    """Close what the script has not closed by itself."""
    try:
        yield
    finally:
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)


def same_on_both(script: Callable[[Loop], Trace]) -> None:
    traces = []
    for make in LOOPS:
        loop = make()
        try:
            traces.append(script(loop))
        finally:
            loop.close()
    assert traces[0] == traces[1], f"asyncio:\n{traces[0]}\naioxide:\n{traces[1]}"
    assert traces[0], "the script shows nothing"
