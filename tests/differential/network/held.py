"""Pipes and their like as files, and ends of them that are held by hand and not by a transport.

The kernel hands on what is written to a terminal in its own time, so each act of a hand that holds
one waits until it has.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import tempfile
import termios
import time
import tty
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.differential.network.trace import told
from tests.differential.network.world import KERNEL_HOLDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.differential.network.transports import End

WRITES, READS = 0, 1
_PATIENCE = 20.0
_SMALL = 4096


@contextlib.contextmanager
def odd_file(kind: int) -> Iterator[Any]:
    """Something that is not quite a pipe."""
    file: Any
    if kind == 0:
        with Path(__file__).open("rb") as file:
            yield file
    elif kind == 1:
        with open("/dev/null", "r+b", buffering=0) as file:  # noqa: PTH123
            yield file
    elif kind == 2:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            yield sock
    elif kind == 3:
        fd = os.open("/", os.O_RDONLY)
        try:

            class File:
                closed = False

                def fileno(self) -> int:
                    return fd

                def close(self) -> None:
                    File.closed = True

            yield File()
        finally:
            os.close(fd)
    else:
        fd, other = os.pipe()
        with open(fd, "rb", buffering=0) as file:  # noqa: PTH123
            os.close(other)
            yield file


@contextlib.contextmanager
def opened(wire: str, *, bulk: bool) -> Iterator[tuple[Any, Any, Any]]:
    """The writing end and the reading end as files; a terminal's other side, and this one again,
    to look at."""
    reading: Any
    writing: Any
    with contextlib.ExitStack() as stack:
        if wire == "socket":
            reading, writing = socket.socketpair()
            for sock in (reading, writing):
                stack.enter_context(sock)
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_HOLDS)
            yield writing, reading, None
            return
        other = None
        if wire == "pipe":
            read_fd, write_fd = os.pipe()
        elif wire == "fifo":
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            os.mkfifo(f"{directory}/fifo")
            read_fd = os.open(f"{directory}/fifo", os.O_RDONLY | os.O_NONBLOCK)
            write_fd = os.open(f"{directory}/fifo", os.O_WRONLY)
        else:
            master, read_fd = os.openpty()
            tty.setraw(read_fd)
            os.set_blocking(master, False)
            write_fd, side = os.dup(read_fd), os.dup(read_fd)
            stack.callback(os.close, side)
            other = master, side
        if bulk:
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, _SMALL)
        reading = stack.enter_context(open(read_fd, "rb", buffering=0))  # noqa: PTH123
        writing = stack.enter_context(open(write_fd, "wb", buffering=0))  # noqa: PTH123
        yield writing, reading, other


def taken(file: Any) -> int:
    """A file's descriptor, for a hand to hold."""
    if isinstance(file, socket.socket):
        fd = file.detach()
    else:
        fd = os.dup(file.fileno())
        file.close()
    os.set_blocking(fd, False)
    return fd


class Held:
    """An end held by hand, of which the script does what it says at once."""

    transport = None

    def __init__(self, end: End, fd: int) -> None:
        self.end, self.fd = end, fd
        self.world, self.who = end.world, end.who
        self.draining = False

    def feed(self, n: int) -> None:
        """Write something."""
        if self.fd >= 0:
            try:
                os.write(self.fd, self.end.next_bytes(n))
            except OSError as error:
                self.end.written -= n
                self._failed(error)

    def feed_bulk(self, _n: int) -> None:
        """Write until the kernel takes no more."""
        if self.fd < 0:
            return
        try:
            while True:
                start = self.end.written
                self.end.written = start + os.write(self.fd, self.end.next_bytes(_SMALL))
        except BlockingIOError:
            self.end.written = start
        except OSError as error:
            self.end.written = start
            self._failed(error)

    def take(self, n: int) -> None:
        """Read so many bytes at most."""
        if self.fd >= 0:
            try:
                data = os.read(self.fd, n)
            except BlockingIOError:
                return
            except OSError as error:
                self._failed(error)
                return
            if data:
                self.end.arrived(data)
            else:
                self.world.note(self.who, "the end")

    def drain(self, _n: int) -> None:
        """Read all there is from now on, until nothing more comes."""
        self.draining = True

    def go_on(self) -> bool:
        """Drain a little more; whether there may still be something."""
        before = self.end.got
        while self.draining and self.fd >= 0:
            last = self.end.got
            try:
                data = os.read(self.fd, 1 << 16)
            except OSError:
                break
            if not data:
                break
            self.end.arrived(data)
            if self.end.got == last:
                break
        return self.end.got != before

    def shut(self, _n: int) -> None:
        """Be gone."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _failed(self, error: OSError) -> None:
        if self.world.script.bulk:
            self.world.note(self.who, "fails")
        else:
            self.world.note(self.who, f"! {told(error)}")


class Master(Held):
    """The other side of a terminal. The kernel hands on what is written there in its own time, so
    each act waits until it has."""

    def __init__(self, writer: End, reader: End, fd: int, side: int) -> None:
        super().__init__(writer, fd)
        self.writer, self.reader, self.side = writer, reader, side
        self.end = reader

    def feed(self, n: int) -> None:
        if self.fd < 0:
            return
        there = _unread(self.side)
        super().feed(n)
        self._wait(lambda: _unread(self.side) >= there + n)

    def take(self, n: int) -> None:
        if self.fd < 0 or self.writer.transport is None:
            return
        left = self.writer.transport.get_write_buffer_size() if not self.writer.lost else 0
        due = self.writer.written - left - self.reader_of_ours
        self._wait(lambda: _unread(self.fd) >= due)
        data = os.read(self.fd, n) if due else b""
        self.reader_of_ours += len(data)
        self.world.note(WRITES, f"the terminal shows {len(data)} bytes")

    reader_of_ours = 0

    def _wait(self, done: Any) -> None:
        until = time.monotonic() + _PATIENCE
        while not done():
            if time.monotonic() > until:
                raise AssertionError("the terminal swallows bytes")
            time.sleep(0)


def _unread(fd: int) -> int:
    """How many bytes could be read at once."""
    count: int = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0]
    return count


class Peer:
    """The other ends of two pipes, with the face of a socket."""

    def __init__(self, writes: int, reads: int) -> None:
        self.writes, self.reads = writes, reads

    def fileno(self) -> int:
        return self.reads

    def send(self, data: bytes) -> int:
        return os.write(self.writes, data)

    def recv(self, n: int) -> bytes:
        return os.read(self.reads, n)

    def shutdown(self, _how: int) -> None:
        os.close(self.writes)
        self.writes = -1

    def close(self) -> None:
        for fd in (self.writes, self.reads):
            if fd >= 0:
                os.close(fd)
        self.writes = self.reads = -1
