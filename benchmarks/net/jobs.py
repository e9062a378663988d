"""Child processes and pipes: what is done, as a user would write it, and how it is checked.

A job is rehearsed on a few mebibytes that no shift or gap leaves as they were, and every byte is
compared. What is timed is larger and only counted, at the far end of the pipe where there is one:
comparing would take longer than the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

AT_ONCE = 50
READ = 256 * 1024
PIECE = 64 * 1024
REHEARSED = 8 << 20
# `cat` is given one file many times: a gibibyte need not be anywhere.
FILE = 16 << 20
PATTERN = bytes(range(251)) * (FILE // 251 + 1)


class WrongError(Exception):
    """The job was done, but not as asked; the message says how."""


@dataclass(frozen=True)
class Job:
    """What is done. `unit` is what the amount counts: "requests" or "bytes"."""

    do: Callable[[ModuleType, int], Awaitable[None]]
    rehearse: Callable[[ModuleType], Awaitable[None]]
    unit: str = "bytes"


def expect(what: str, found: object, wanted: object) -> None:
    """An error if it is not what was wanted."""
    if found != wanted:
        raise WrongError(f"wrong {what}: {found} instead of {wanted}")


def pieces(amount: int, size: int = PIECE) -> Iterator[bytes]:
    """The pattern in pieces, as often as it takes."""
    at = 0
    while amount:
        piece = PATTERN[at : at + min(size, amount)]
        at = (at + len(piece)) % 251
        amount -= len(piece)
        yield piece


def digest(amount: int) -> str:
    """What so many bytes of the pattern amount to."""
    return hashlib.sha256(b"".join(pieces(amount))).hexdigest()


@contextlib.contextmanager
def files(amount: int) -> Iterator[list[str]]:
    """The arguments with which `cat` says so many bytes."""
    with tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder) / "whole", Path(folder) / "part"
        whole.write_bytes(PATTERN[:FILE])
        part.write_bytes(PATTERN[: amount % FILE])
        yield [str(whole)] * (amount // FILE) + [str(part)] * bool(amount % FILE)


# --- spawning ------------------------------------------------------------------------------------


async def spawn(aio: ModuleType, count: int) -> None:
    """`true`, so many times, fifty at once."""
    left = iter(range(count))

    async def one_after_another() -> int:
        ended = 0
        for _ in left:
            child = await aio.create_subprocess_exec("true")
            expect("exit status", await child.wait(), 0)
            ended += 1
        return ended

    ended = await aio.gather(*(one_after_another() for _ in range(AT_ONCE)))
    expect("number of children", sum(ended), count)


async def spawn_a_few(aio: ModuleType) -> None:
    """Each with a status of its own, and then as many as are timed at once."""

    async def status(number: int) -> int:
        child = await aio.create_subprocess_exec("sh", "-c", f"exit {number}")
        return cast("int", await child.wait())

    found = await aio.gather(*map(status, range(20)))
    expect("exit statuses", found, list(range(20)))
    await spawn(aio, AT_ONCE)


# --- reading from a child ------------------------------------------------------------------------

Take = Callable[[bytes], Any]


async def read_streams(aio: ModuleType, arguments: list[str], take: Take) -> int | None:
    """All that a child says, by its StreamReader; its exit status."""
    pipe = asyncio.subprocess.PIPE
    child = await aio.create_subprocess_exec(*arguments, stdout=pipe, limit=READ)
    while data := await child.stdout.read(READ):
        take(data)
    return cast("int | None", await child.wait())


class Reading(asyncio.SubprocessProtocol):
    """Takes what a child says until all is over."""

    def __init__(self, take: Take) -> None:
        self.take = take
        self.over = asyncio.get_running_loop().create_future()
        self.parts_left = {"pipe", "process", "connection"}

    def part_is_over(self, part: str) -> None:
        """They come in any order, but the connection's end is the last."""
        self.parts_left.discard(part)
        if part == "connection":
            self.over.set_result(self.parts_left)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take it."""
        self.take(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """The child has closed it."""
        self.part_is_over("pipe")

    def process_exited(self) -> None:
        """The child has ended."""
        self.part_is_over("process")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self.part_is_over("connection")


async def read_protocol(aio: ModuleType, arguments: list[str], take: Take) -> int | None:
    """All that a child says, by its protocol; its exit status."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: Reading(take), *arguments, stdin=None, stderr=None
    )
    expect("order of ends: not told of", await protocol.over, set())
    status = transport.get_returncode()
    transport.close()
    return status


def cat(read: Callable[[ModuleType, list[str], Take], Awaitable[int | None]]) -> Job:
    """`cat` of files, read in this way."""

    async def do(aio: ModuleType, amount: int) -> None:
        received = 0

        def count(data: bytes) -> None:
            nonlocal received
            received += len(data)

        with files(amount) as names:
            expect("exit status", await read(aio, ["cat", *names], count), 0)
        expect("number of bytes", received, amount)

    async def rehearse(aio: ModuleType) -> None:
        whole = hashlib.sha256()
        with files(REHEARSED) as names:
            expect("exit status", await read(aio, ["cat", *names], whole.update), 0)
        expect("bytes", whole.hexdigest(), digest(REHEARSED))

    return Job(do, rehearse)


# --- writing to a child --------------------------------------------------------------------------


async def write(aio: ModuleType, arguments: list[str], amount: int) -> str:
    """The pattern into a child's stdin with drain; what the child says of it in the end."""
    pipe = asyncio.subprocess.PIPE
    child = await aio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe)
    for piece in pieces(amount):
        child.stdin.write(piece)
        await child.stdin.drain()
    child.stdin.close()
    said = await child.stdout.read()
    expect("exit status", await child.wait(), 0)
    return cast("str", said.decode().split()[0])


async def feed(aio: ModuleType, amount: int) -> None:
    """Let the child count: what the engine believes to have written is no proof."""
    expect("number of bytes", await write(aio, ["wc", "-c"], amount), str(amount))


async def feed_a_little(aio: ModuleType) -> None:
    """Let the child look at every byte."""
    expect("bytes", await write(aio, ["sha256sum"], REHEARSED), digest(REHEARSED))


# --- pipes ---------------------------------------------------------------------------------------


class Source(asyncio.BaseProtocol):
    """Writes pieces as fast as flow control lets it."""

    def __init__(self, amount: int) -> None:
        self.pieces = pieces(amount)
        self.paused = False
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.WriteTransport", transport)
        self.send()

    def send(self) -> None:
        """Write until told to stop; close after the last."""
        while not self.paused:
            piece = next(self.pieces, None)
            if piece is None:
                # Not from within resume_writing: asyncio then drops what is still in its buffer.
                asyncio.get_running_loop().call_soon(self.transport.close)
                return
            self.transport.write(piece)

    def pause_writing(self) -> None:
        """Enough for now."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.paused = False
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        """All is written, or cannot be."""
        end(self.over, exc)


def end(over: asyncio.Future[None], exc: Exception | None) -> None:
    """Tell whoever waits how it has ended."""
    if exc:
        over.set_exception(exc)
    else:
        over.set_result(None)


class Sink(asyncio.Protocol):
    """Takes what comes."""

    def __init__(self, take: Take) -> None:
        self.take = take
        self.over = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Take it."""
        self.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """That was all."""
        end(self.over, exc)


@contextlib.contextmanager
def pipe_ends() -> Iterator[tuple[Any, Any]]:
    """A pipe as two files. Transports close them, but not every engine's do."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as source:
        with os.fdopen(writing, "wb", buffering=0) as sink:
            yield source, sink


async def through_protocols(aio: ModuleType, amount: int, take: Take) -> None:
    """A pipe's both ends in this loop, each with a protocol."""
    loop = asyncio.get_running_loop()
    with pipe_ends() as (reading, writing):
        _, sink = await loop.connect_read_pipe(lambda: Sink(take), reading)
        _, source = await loop.connect_write_pipe(lambda: Source(amount), writing)
        await source.over
        writing.close()
        await sink.over


async def through_streams(aio: ModuleType, amount: int, take: Take) -> None:
    """A pipe's both ends in this loop, each with a stream."""
    loop = asyncio.get_running_loop()
    with pipe_ends() as (reading, writing):
        reader = aio.StreamReader(limit=READ)
        await loop.connect_read_pipe(lambda: aio.StreamReaderProtocol(reader), reading)
        # As asyncio's own child processes make theirs: a stream that is only written to.
        unread = aio.StreamReader()
        made, protocol = await loop.connect_write_pipe(
            lambda: aio.StreamReaderProtocol(unread), writing
        )
        writer = aio.StreamWriter(made, protocol, None, loop)

        async def send() -> None:
            for piece in pieces(amount):
                writer.write(piece)
                await writer.drain()
            writer.close()
            await writer.wait_closed()
            writing.close()

        sending = loop.create_task(send())
        while data := await reader.read(READ):
            take(data)
        await sending


def pipe(through: Callable[[ModuleType, int, Take], Awaitable[None]]) -> Job:
    """Through a pipe in this way."""

    async def do(aio: ModuleType, amount: int) -> None:
        received = 0

        def count(data: bytes) -> None:
            nonlocal received
            received += len(data)

        await through(aio, amount, count)
        expect("number of bytes", received, amount)

    async def rehearse(aio: ModuleType) -> None:
        whole = hashlib.sha256()
        await through(aio, REHEARSED, whole.update)
        expect("bytes", whole.hexdigest(), digest(REHEARSED))

    return Job(do, rehearse)


JOBS = {
    "spawn": Job(spawn, spawn_a_few, "requests"),
    "cat-streams": cat(read_streams),
    "cat-protocol": cat(read_protocol),
    "feed-streams": Job(feed, feed_a_little),
    "pipe-protocol": pipe(through_protocols),
    "pipe-streams": pipe(through_streams),
}
