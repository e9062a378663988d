"""`create_subprocess_exec()` and `create_subprocess_shell()` with aioxide's readers and writers.

They are asyncio's, as is what they return, except for the streams. (After `install()` asyncio's own
functions make these as well, and stay in their places, as those of `aioxide.streaming` do.)
"""

import asyncio
from asyncio import events
from asyncio.subprocess import Process
from asyncio.subprocess import SubprocessStreamProtocol as _StockProtocol
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
else:
    from aioxide._core import StreamReader, StreamWriter

_DEFAULT_LIMIT = 2**16  # 64 KiB


class SubprocessStreamProtocol(_StockProtocol):
    """Hands what a child writes to readers, and has a writer for what it reads."""

    if TYPE_CHECKING:
        _loop: asyncio.AbstractEventLoop
        _limit: int
        _pipe_fds: list[int]

    def connection_made(self, transport: Any) -> None:
        """Make a stream for each pipe."""
        self._transport = transport
        self.stdout = self._reader_of(transport, 1)
        self.stderr = self._reader_of(transport, 2)
        stdin = transport.get_pipe_transport(0)
        if stdin is not None:
            self.stdin = StreamWriter(stdin, protocol=self, reader=None, loop=self._loop)

    def _reader_of(self, transport: Any, number: int) -> StreamReader | None:
        pipe = transport.get_pipe_transport(number)
        if pipe is None:
            return None
        reader = StreamReader(limit=self._limit, loop=self._loop)
        reader.set_transport(pipe)
        self._pipe_fds.append(number)
        return reader


async def create_subprocess_shell(
    cmd: str | bytes,
    stdin: Any = None,
    stdout: Any = None,
    stderr: Any = None,
    limit: int = _DEFAULT_LIMIT,
    **kwds: Any,
) -> Process:
    """Run a command in the shell and return it as a Process."""
    loop = events.get_running_loop()
    transport, protocol = await loop.subprocess_shell(
        lambda: SubprocessStreamProtocol(limit=limit, loop=loop),
        cmd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        **kwds,
    )
    return Process(transport, protocol, loop)


async def create_subprocess_exec(
    program: Any,
    *args: Any,
    stdin: Any = None,
    stdout: Any = None,
    stderr: Any = None,
    limit: int = _DEFAULT_LIMIT,
    **kwds: Any,
) -> Process:
    """Run a program and return it as a Process."""
    loop = events.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: SubprocessStreamProtocol(limit=limit, loop=loop),
        program,
        *args,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        **kwds,
    )
    return Process(transport, protocol, loop)
