"""Engines whose network is wrong on purpose: proof that the comparison can fail.

Each is asyncio's own selector transport, reader or socket method with one fault of a kind that a
rewrite could have.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import selector_events
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.differential.engines import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

Transport: Any = vars(selector_events)["_SelectorSocketTransport"]
Reader: Any = asyncio.StreamReader


def _transport(name: str, **methods: Any) -> Engine:
    """Stream transports with some methods replaced."""
    changed = type("_SelectorSocketTransport", (Transport,), methods)

    class Loop(asyncio.SelectorEventLoop):
        def _make_socket_transport(
            self,
            sock: Any,
            protocol: Any,
            waiter: Any = None,
            *,
            extra: Any = None,
            server: Any = None,
        ) -> Any:
            return changed(self, sock, protocol, waiter, extra, server)

    return Engine(name, Loop, asyncio.Task, asyncio.Future)


def _reader(name: str, **methods: Any) -> Engine:
    """Stream readers with some methods replaced."""
    changed: Any = type("StreamReader", (Reader,), methods)

    async def opening(*, sock: Any, limit: int) -> Any:
        loop = asyncio.get_running_loop()
        reader = changed(limit=limit, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport: Any
        if sock.family == 1:
            transport, _ = await loop.create_unix_connection(lambda: protocol, sock=sock)
        else:
            transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    lib = SimpleNamespace(
        sleep=asyncio.sleep,
        StreamReader=changed,
        open_connection=opening,
        open_unix_connection=opening,
    )
    return Engine(name, asyncio.SelectorEventLoop, asyncio.Task, asyncio.Future, lib)


def _loop(name: str, **methods: Any) -> Engine:
    """A loop with some methods replaced."""
    changed: Callable[[], Any] = type("Loop", (asyncio.SelectorEventLoop,), methods)
    return Engine(name, changed, asyncio.Task, asyncio.Future)


def faultless() -> list[Engine]:
    """The same replacements without a fault."""
    return [_transport("faultless"), _reader("faultless"), _loop("faultless")]


# -- transports --------------------------------------------------------------------------------


def eof_always_closes() -> Engine:
    """What eof_received() answers is ignored."""

    def on_eof(self: Any) -> None:
        with contextlib.suppress(Exception):
            self._protocol.eof_received()
        self.close()

    return _transport("eof_always_closes", _read_ready__on_eof=on_eof)


def close_drops_what_was_written() -> Engine:
    """close() does what abort() does."""
    return _transport("close_drops_what_was_written", close=Transport.abort)


def pausing_takes_a_turn() -> Engine:
    """What is ready when reading is paused is still told."""

    def pause(self: Any) -> None:
        self._loop.call_soon(Transport.pause_reading, self)

    return _transport("pausing_takes_a_turn", pause_reading=pause)


def lost_within_close() -> Engine:
    """connection_lost() is called from within close()."""

    def close(self: Any) -> None:
        if not self._closing and not self._buffer:
            self._loop._remove_reader(self._sock_fd)
            self._closing = True
            self._conn_lost += 1
            self._call_connection_lost(None)
        else:
            Transport.close(self)

    return _transport("lost_within_close", close=close)


def never_pauses_writing() -> Engine:
    """The high mark is ignored."""
    return _transport("never_pauses_writing", _maybe_pause_protocol=lambda self: None)


def never_resumes_writing() -> Engine:
    """The low mark is ignored."""
    return _transport("never_resumes_writing", _maybe_resume_protocol=lambda self: None)


def lost_without_its_exception() -> Engine:
    """connection_lost() is always told None."""

    def lost(self: Any, exc: Any) -> None:
        Transport._call_connection_lost(self, None)

    return _transport("lost_without_its_exception", _call_connection_lost=lost)


def a_failure_is_not_reported() -> Engine:
    """A protocol that raises closes its connection, silently."""

    def fatal(self: Any, exc: Any, message: str = "") -> None:
        self._force_close(exc)

    return _transport("a_failure_is_not_reported", _fatal_error=fatal)


def write_after_eof_is_sent() -> Engine:
    """write() after write_eof() is no error."""

    def write(self: Any, data: Any) -> None:
        if not self._eof:
            Transport.write(self, data)

    return _transport("write_after_eof_is_sent", write=write)


def eof_overtakes_data() -> Engine:
    """write_eof() does not wait for what was written before."""

    def write_eof(self: Any) -> None:
        if not self._closing and not self._eof:
            self._eof = True
            self._sock.shutdown(1)

    return _transport("eof_overtakes_data", write_eof=write_eof)


def callbacks_see_the_first_context() -> Engine:
    """data_received() is called in the context in which the transport was made."""

    def init(self: Any, *args: Any) -> None:
        import contextvars

        self._first = contextvars.copy_context()
        Transport.__init__(self, *args)

    def ready(self: Any) -> None:
        self._first.copy().run(Transport._read_ready, self)

    return _transport("callbacks_see_the_first_context", __init__=init, _read_ready=ready)


# -- readers -----------------------------------------------------------------------------------


def a_cancelled_read_loses_what_is_there() -> Engine:
    """Bytes belong to the read, and go with it."""

    async def readexactly(self: Any, n: int) -> Any:
        try:
            return await Reader.readexactly(self, n)
        except asyncio.CancelledError:
            self._buffer.clear()
            raise

    return _reader("a_cancelled_read_loses_what_is_there", readexactly=readexactly)


def an_incomplete_read_keeps_its_bytes() -> Engine:
    """IncompleteReadError leaves its partial bytes in the buffer."""

    async def readexactly(self: Any, n: int) -> Any:
        before = bytes(self._buffer)
        try:
            return await Reader.readexactly(self, n)
        except asyncio.IncompleteReadError:
            self._buffer.extend(before)
            raise

    return _reader("an_incomplete_read_keeps_its_bytes", readexactly=readexactly)


def limits_are_not_kept() -> Engine:
    """Reading is never paused, and no line is too long."""

    def init(self: Any, limit: int, loop: Any) -> None:
        Reader.__init__(self, limit=1 << 20, loop=loop)

    return _reader("limits_are_not_kept", __init__=init)


def readline_keeps_a_line_that_is_too_long() -> Engine:
    """The ValueError leaves the line in the buffer."""

    async def readline(self: Any) -> Any:
        before = bytes(self._buffer)
        try:
            return await Reader.readline(self)
        except ValueError:
            self._buffer[:0] = before
            raise

    return _reader("readline_keeps_a_line_that_is_too_long", readline=readline)


# -- sockets -----------------------------------------------------------------------------------


def a_cancelled_receive_still_receives() -> Engine:
    """The bytes go to the read that is no more."""

    async def sock_recv(self: Any, sock: Any, n: int) -> Any:
        return await asyncio.shield(asyncio.SelectorEventLoop.sock_recv(self, sock, n))

    return _loop("a_cancelled_receive_still_receives", sock_recv=sock_recv)


def a_receive_always_waits() -> Engine:
    """A receive of nothing waits for something."""

    async def sock_recv(self: Any, sock: Any, n: int) -> Any:
        return await asyncio.SelectorEventLoop.sock_recv(self, sock, n or 1)

    return _loop("a_receive_always_waits", sock_recv=sock_recv)


NETWORK_MUTANTS: dict[str, Callable[[], Engine]] = {
    make.__name__: make
    for make in (
        eof_always_closes,
        close_drops_what_was_written,
        pausing_takes_a_turn,
        lost_within_close,
        never_pauses_writing,
        never_resumes_writing,
        lost_without_its_exception,
        a_failure_is_not_reported,
        write_after_eof_is_sent,
        eof_overtakes_data,
        callbacks_see_the_first_context,
        a_cancelled_read_loses_what_is_there,
        an_incomplete_read_keeps_its_bytes,
        limits_are_not_kept,
        readline_keeps_a_line_that_is_too_long,
        a_cancelled_receive_still_receives,
        a_receive_always_waits,
    )
}
