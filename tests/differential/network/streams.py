"""A reader and a writer, with a plain peer that sends in pieces; or a reader that is fed by hand.

Reads and drains are tasks, one at a time each. What is asked for while another one is waiting comes
after it; but one that waits since an earlier round is cancelled, so that scripts get on and every
kind of wait is cancelled often. What each gave is noted when it ends.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any

from tests.differential.network.draw import text
from tests.differential.network.trace import told
from tests.differential.network.world import WRITELINES_BREAKS, World, execute, pair, reset

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.differential.engines import Engine
    from tests.differential.network.script import Act, Script

_SEPARATORS: tuple[Any, ...] = (
    b"\n",
    b"ab",
    b"\r\n",
    b"",
    (b"\n", b"\r", b"ab") if sys.version_info >= (3, 13) else b"\r",
)
READING, WRITING = 0, 1


class Waits:
    """Operations of one kind, one after the other."""

    def __init__(self, world: World, who: int, reader: Any = None) -> None:
        self.world = world
        self.who = who
        self.reader = reader
        self.queue: list[tuple[str, Callable[[], Coroutine[Any, Any, Any]]]] = []
        self.running: asyncio.Task[None] | None = None
        self.what = ""
        self.since = 0

    def add(self, what: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run an operation, when those before it are done."""
        self.queue.append((what, call))
        if self.running is not None and self.since < self.world.round:
            self.cancel()
        self._next()

    def cancel(self) -> None:
        """Cancel the one that runs."""
        if self.running is not None:
            self.running.cancel("by the script")

    def _next(self) -> None:
        if self.running is None and self.queue:
            self.since = self.world.round
            self.what, call = self.queue.pop(0)
            self.running = self.world.loop.create_task(self._run(self.what, call))

    async def _run(self, what: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        try:
            result = await call()
        except asyncio.CancelledError as error:
            self.world.note(self.who, f"{what} was cancelled: {error.args}")
            self._forget_blocks(what)
        except Exception as error:
            self.world.note(self.who, f"{what} ! {told(error)}{_attributes(error)}")
            self._forget_blocks(what)
        else:
            self.world.note(self.who, f"{what} = {short(result)}")
        self.running = None
        self._next()

    def _forget_blocks(self, what: str) -> None:
        # What a read() to the end had taken before it was cancelled, asyncio loses; here it is
        # given back. That is wanted, and must not make all that follows differ.
        if what == "read(-1)":
            self.reader._buffer.clear()

    async def end(self) -> None:
        """Cancel what is left."""
        self.queue.clear()
        if self.running is not None:
            self.cancel()
            await asyncio.wait([self.running])


def _attributes(error: Exception) -> str:
    names = ("partial", "expected", "consumed", "errno")
    values = {name: getattr(error, name) for name in names if hasattr(error, name)}
    return f" {short(values)}" if values else ""


def short(value: object) -> str:
    """A value, or its beginning and a checksum."""
    shown = repr(value)
    return shown if len(shown) < 200 else f"{shown[:150]}... {len(shown)} {hash_of(shown)}"


def hash_of(shown: str) -> int:
    """A checksum that is the same in each process."""
    import zlib

    return zlib.crc32(shown.encode())


class Acts:
    """What the acts of draw.STREAM and draw.FED do."""

    def __init__(self, world: World, reader: Any, writer: Any, peer: Any) -> None:
        self.world, self.reader, self.writer, self.peer = world, reader, writer, peer
        self.reads = Waits(world, READING, reader)
        self.writes = Waits(world, WRITING, reader)

    def act(self, act: Act) -> None:
        getattr(self, act.kind)(act.n)
        if act.kind.startswith("write") and self.peer.fileno() < 0:
            self._send_out()

    # the peer

    def _send(self, data: bytes) -> None:
        try:
            self.peer.send(data)
        except OSError:
            self.world.note(READING, "the peer cannot send")

    def send(self, n: int) -> None:
        self._send(text(n))

    def send_long(self, n: int) -> None:
        self._send(bytes(range(32, 127)) * (n // 95 + 1))

    def shut(self, _n: int) -> None:
        try:
            self.peer.shutdown(socket.SHUT_WR)
        except OSError:
            self.world.note(READING, "the peer cannot end")

    def end(self, _n: int) -> None:
        self.collect()
        self.peer.close()

    def reset(self, _n: int) -> None:
        self._send_out()
        reset(self.peer)

    def _send_out(self) -> None:
        """Have what was written sent. A transport may put it off to the end of the step, but here
        the peer acts in the same step, as nobody does in life."""
        self.writer.transport.get_write_buffer_size()

    def collect(self) -> None:
        self._send_out()
        got = bytearray()
        try:
            while data := self.peer.recv(1 << 16):
                got += data
            self.world.note(WRITING, f"the peer got {len(got)} bytes and the end")
        except BlockingIOError:
            self.world.note(WRITING, f"the peer got {len(got)} bytes")
        except OSError as error:
            self.world.note(WRITING, f"the peer got {len(got)} bytes and {type(error).__name__}")

    # a reader fed by hand

    def feed(self, n: int) -> None:
        self.world.attempt(READING, "feed", self.reader.feed_data, text(n))

    def feed_long(self, n: int) -> None:
        data = bytearray(bytes(range(32, 127)) * (n // 95 + 1))
        self.world.attempt(READING, "feed", self.reader.feed_data, data)

    def feed_eof(self, _n: int) -> None:
        self.world.attempt(READING, "feed_eof", self.reader.feed_eof)

    def set_exception(self, _n: int) -> None:
        self.reader.set_exception(LookupError("on purpose"))

    # reads

    def read(self, n: int) -> None:
        self.reads.add(f"read({n})", lambda: self.reader.read(n))

    def readexactly(self, n: int) -> None:
        self.reads.add(f"readexactly({n})", lambda: self.reader.readexactly(n))

    def readuntil(self, n: int) -> None:
        separator = _SEPARATORS[n]
        self.reads.add(f"readuntil({separator})", lambda: self.reader.readuntil(separator))

    def readline(self, _n: int) -> None:
        self.reads.add("readline()", lambda: self.reader.readline())

    def next(self, _n: int) -> None:
        self.reads.add("anext()", lambda: self.reader.__anext__())

    def cancel(self, n: int) -> None:
        (self.writes if n else self.reads).cancel()

    def state(self, _n: int) -> None:
        reader = self.reader
        self.world.note(READING, f"at_eof {reader.at_eof()}, {told(reader.exception())}")
        if self.writer is not None:
            closing, reading = self.writer.is_closing(), self.writer.transport.is_reading()
            self.world.note(WRITING, f"closing {closing}, reading {reading}")

    # writes

    def write(self, n: int) -> None:
        self.world.attempt(WRITING, "write", self.writer.write, b"x" * n)

    def writelines(self, n: int) -> None:
        if WRITELINES_BREAKS and self.writer.is_closing():
            return
        self.world.attempt(WRITING, "writelines", self.writer.writelines, [b"abc"] * n)

    def drain(self, _n: int) -> None:
        self.writes.add("drain()", self.writer.drain)

    def write_eof(self, _n: int) -> None:
        self.world.attempt(WRITING, "write_eof", self.writer.write_eof)

    def close(self, _n: int) -> None:
        self.world.attempt(WRITING, "close", self.writer.close)

    def wait_closed(self, _n: int) -> None:
        self.writes.add("wait_closed()", self.writer.wait_closed)


async def _connected(world: World) -> None:
    script = world.script
    with pair(script.wire) as (ours, peer):
        opening = (
            world.lib.open_unix_connection if script.wire == "unix" else world.lib.open_connection
        )
        reader, writer = await opening(sock=ours, limit=script.limit)
        acts = Acts(world, reader, writer, peer)
        await world.settle()
        await world.rounds(acts.act)
        if peer.fileno() >= 0:
            acts.collect()
        await acts.reads.end()
        await acts.writes.end()
        acts.state(0)
        writer.transport.abort() if not writer.is_closing() else None
        await world.settle()
        world.attempt(READING, "left", lambda: short(bytes(reader._buffer)))


async def _fed(world: World) -> None:
    reader = world.lib.StreamReader(limit=world.script.limit, loop=world.loop)
    acts = Acts(world, reader, None, None)
    await world.rounds(acts.act)
    await acts.reads.end()
    acts.state(0)
    world.attempt(READING, "left", lambda: short(bytes(reader._buffer)))


def run(engine: Engine, script: Script) -> list[str]:
    """The trace of a script."""
    return execute(engine, script, _fed if script.family == "fed" else _connected)
