"""Engines whose pipes, children or signals are wrong on purpose, as those of mutants.py are.

Each is asyncio's own transport or loop with one fault, and belongs to the family of scripts that
has to notice it.
"""

from __future__ import annotations

import asyncio
import signal
from asyncio import base_subprocess, unix_events
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.differential.engines import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

Reading: Any = vars(unix_events)["_UnixReadPipeTransport"]
Writing: Any = vars(unix_events)["_UnixWritePipeTransport"]
Subprocess: Any = vars(unix_events)["_UnixSubprocessTransport"]
Process: Any = asyncio.subprocess.Process
Base: Any = asyncio.SelectorEventLoop


class Mutant(NamedTuple):
    """What makes the engine, and whose scripts notice it."""

    family: str
    engine: Callable[[], Engine]


def _loop(name: str, **methods: Any) -> Engine:
    changed: Callable[[], Any] = type("Loop", (Base,), methods)
    return Engine(name, changed, asyncio.Task, asyncio.Future)


def _reading(name: str, **methods: Any) -> Engine:
    """Transports that read, with some methods replaced."""
    changed = type("_UnixReadPipeTransport", (Reading,), methods)

    def make(self: Any, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None) -> Any:
        return changed(self, pipe, protocol, waiter, extra)

    return _loop(name, _make_read_pipe_transport=make)


def _writing(name: str, **methods: Any) -> Engine:
    """Transports that write, with some methods replaced."""
    changed = type("_UnixWritePipeTransport", (Writing,), methods)

    def make(self: Any, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None) -> Any:
        return changed(self, pipe, protocol, waiter, extra)

    return _loop(name, _make_write_pipe_transport=make)


def _child(name: str, **methods: Any) -> Engine:
    """Transports of child processes with some methods replaced."""
    changed = type("_UnixSubprocessTransport", (Subprocess,), methods)

    async def make(self: Any, *args: Any, **kwargs: Any) -> Any:
        vars(unix_events)["_UnixSubprocessTransport"] = changed
        try:
            return await Base._make_subprocess_transport(self, *args, **kwargs)
        finally:
            vars(unix_events)["_UnixSubprocessTransport"] = Subprocess

    return _loop(name, _make_subprocess_transport=make)


# -- pipes -------------------------------------------------------------------------------------


def a_pipe_that_ends_is_only_lost() -> Engine:
    """eof_received() is not called."""

    def read(self: Any) -> None:
        before = self._closing
        told = self._protocol.eof_received
        self._protocol.eof_received = lambda: None
        Reading._read_ready(self)
        if self._closing == before:
            self._protocol.eof_received = told

    return _reading("a_pipe_that_ends_is_only_lost", _read_ready=read)


def a_paused_pipe_is_read() -> Engine:
    """pause_reading() takes effect a turn later."""

    def pause(self: Any) -> None:
        self._loop.call_soon(lambda: self._loop and Reading.pause_reading(self))

    return _reading("a_paused_pipe_is_read", pause_reading=pause)


def a_failing_protocol_loses_its_pipe() -> Engine:
    """What data_received() raises closes the pipe, as it does a connection."""

    def ready(self: Any) -> None:
        try:
            Reading._read_ready(self)
        except Exception as error:
            self._fatal_error(error, "Fatal error: protocol.data_received() call failed.")

    return _reading("a_failing_protocol_loses_its_pipe", _read_ready=ready)


def close_of_a_pipe_drops_its_buffer() -> Engine:
    """close() does not wait for what was written."""

    def close(self: Any) -> None:
        if not self._closing:
            Writing.abort(self)

    return _writing("close_of_a_pipe_drops_its_buffer", close=close)


def a_reader_that_goes_is_not_noticed() -> Engine:
    """Only a write finds out."""

    def ready(self: Any) -> None:
        self._loop._remove_reader(self._fileno)

    return _writing("a_reader_that_goes_is_not_noticed", _read_ready=ready)


def a_broken_pipe_is_lost_without_its_error() -> Engine:
    """connection_lost() is always told None."""

    def lost(self: Any, exc: Any) -> None:
        Writing._call_connection_lost(self, None)

    return _writing("a_broken_pipe_is_lost_without_its_error", _call_connection_lost=lost)


def a_full_pipe_does_not_pause() -> Engine:
    """The high mark is ignored."""
    return _writing("a_full_pipe_does_not_pause", _maybe_pause_protocol=lambda self: None)


def a_pipe_stays_open_at_its_end() -> Engine:
    """write_eof() waits for the other end, as a connection would."""

    def write_eof(self: Any) -> None:
        self._closing = True

    return _writing("a_pipe_stays_open_at_its_end", write_eof=write_eof)


def anything_is_a_pipe() -> Engine:
    """Files are not refused."""

    async def connect(self: Any, factory: Any, pipe: Any) -> Any:
        try:
            return await Base.connect_write_pipe(self, factory, pipe)
        except ValueError as error:
            raise OSError from error

    return _loop("anything_is_a_pipe", connect_write_pipe=connect)


# -- children ----------------------------------------------------------------------------------


def kill_is_gentle() -> Engine:
    """kill() does what terminate() does."""
    return _child("kill_is_gentle", kill=Subprocess.terminate)


def signals_are_not_told_from_codes() -> Engine:
    """A process that died of a signal has a positive code."""

    def exited(self: Any, code: int) -> None:
        Subprocess._process_exited(self, abs(code))

    return _child("signals_are_not_told_from_codes", _process_exited=exited)


def lost_before_its_pipes() -> Engine:
    """connection_lost() comes with the end of the process."""

    def try_finish(self: Any) -> None:
        if self._returncode is not None and not self._finished:
            self._finished = True
            self._call(self._call_connection_lost, None)

    def pipe_lost(self: Any, fd: int, exc: Any) -> None:
        if self._protocol is not None:
            Subprocess._pipe_connection_lost(self, fd, exc)

    return _child("lost_before_its_pipes", _try_finish=try_finish, _pipe_connection_lost=pipe_lost)


def errors_are_output() -> Engine:
    """What comes from stderr is told as stdout's."""

    def received(self: Any, fd: int, data: bytes) -> None:
        Subprocess._pipe_data_received(self, 1, data)

    return _child("errors_are_output", _pipe_data_received=received)


def a_signal_to_the_dead_is_ignored() -> Engine:
    """send_signal() after the end raises nothing."""

    def send_signal(self: Any, number: int) -> None:
        if self._proc is not None:
            Subprocess.send_signal(self, number)

    return _child("a_signal_to_the_dead_is_ignored", send_signal=send_signal)


def flow_of_stdin_is_not_told() -> Engine:
    """The protocol is not paused when the child reads too slowly."""

    def connected(self: Any, waiter: Any) -> Any:
        self._protocol.pause_writing = lambda: None
        self._protocol.resume_writing = lambda: None
        return base_subprocess.BaseSubprocessTransport._connect_pipes(self, waiter)

    return _child("flow_of_stdin_is_not_told", _connect_pipes=connected)


def close_leaves_the_child() -> Engine:
    """close() does not kill."""

    def close(self: Any) -> None:
        self._closed = True
        for proto in self._pipes.values():
            if proto is not None:
                proto.pipe.close()

    return _child("close_leaves_the_child", close=close)


# -- signals -----------------------------------------------------------------------------------


def the_first_handler_stays() -> Engine:
    """A second handler for a signal is ignored."""

    def add(self: Any, number: int, callback: Any, *args: Any) -> None:
        if number not in self._signal_handlers:
            Base.add_signal_handler(self, number, callback, *args)

    return _loop("the_first_handler_stays", add_signal_handler=add)


def a_signal_sees_the_latest_context() -> Engine:
    """A handler runs in the context of whoever sends the signal."""

    def add(self: Any, number: int, callback: Any, *args: Any) -> None:
        Base.add_signal_handler(self, number, self.call_soon, callback, *args)

    return _loop("a_signal_sees_the_latest_context", add_signal_handler=add)


def removal_always_succeeds() -> Engine:
    """remove_signal_handler() is always True."""

    def remove(self: Any, number: int) -> bool:
        Base.remove_signal_handler(self, number)
        return True

    return _loop("removal_always_succeeds", remove_signal_handler=remove)


def equal_signals_are_one() -> Engine:
    """A signal that comes twice before the loop looks is handled once."""

    def handled(self: Any, data: bytes) -> None:
        for number in dict.fromkeys(data):
            if number:
                self._handle_signal(number)

    return _loop("equal_signals_are_one", _process_self_data=handled)


def removed_handlers_leave_the_signal() -> Engine:
    """The default is not restored."""

    def remove(self: Any, number: int) -> bool:
        before = signal.getsignal(number)
        result: bool = Base.remove_signal_handler(self, number)
        if result:
            signal.signal(number, before)
        return result

    return _loop("removed_handlers_leave_the_signal", remove_signal_handler=remove)


_MADE: dict[str, tuple[Callable[[], Engine], ...]] = {
    "pipes": (
        a_pipe_that_ends_is_only_lost,
        a_paused_pipe_is_read,
        a_failing_protocol_loses_its_pipe,
        close_of_a_pipe_drops_its_buffer,
        a_reader_that_goes_is_not_noticed,
        a_broken_pipe_is_lost_without_its_error,
        a_full_pipe_does_not_pause,
        a_pipe_stays_open_at_its_end,
        anything_is_a_pipe,
    ),
    "children": (
        kill_is_gentle,
        signals_are_not_told_from_codes,
        lost_before_its_pipes,
        errors_are_output,
        a_signal_to_the_dead_is_ignored,
        flow_of_stdin_is_not_told,
        close_leaves_the_child,
    ),
    "signals": (
        the_first_handler_stays,
        a_signal_sees_the_latest_context,
        removal_always_succeeds,
        equal_signals_are_one,
        removed_handlers_leave_the_signal,
    ),
}

PIPE_MUTANTS = {
    make.__name__: Mutant(family, make) for family, makers in _MADE.items() for make in makers
}


def faultless() -> list[Mutant]:
    """The same replacements without a fault."""
    return [
        Mutant("pipes", lambda: _reading("faultless")),
        Mutant("pipes", lambda: _writing("faultless")),
        Mutant("children", lambda: _child("faultless")),
        Mutant("signals", lambda: _loop("faultless")),
    ]
