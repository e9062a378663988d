"""Engines whose TLS is wrong on purpose: asyncio's own with one fault, as in mutants.py."""

from __future__ import annotations

import asyncio
import ssl
from asyncio import base_events, selector_events, sslproto
from types import SimpleNamespace
from typing import Any

from tests.differential.engines import Engine
from tests.differential.network.pipe_mutants import Mutant

Protocol: Any = sslproto.SSLProtocol


def _tls(name: str, **methods: Any) -> Engine:
    """Loops whose protocol of TLS has some methods replaced, while they run."""
    changed = SimpleNamespace(**vars(sslproto))
    changed.SSLProtocol = type("SSLProtocol", (Protocol,), methods)
    base: Any = asyncio.SelectorEventLoop

    def run_forever(self: Any) -> None:
        users: tuple[Any, ...] = (base_events, selector_events)
        for user in users:
            user.sslproto = changed
        try:
            base.run_forever(self)
        finally:
            for user in users:
                user.sslproto = sslproto

    loop: Any = type("Loop", (base,), {"run_forever": run_forever})
    return Engine(name, loop, asyncio.Task, asyncio.Future)


def faultless() -> list[Mutant]:
    """The same replacement without a fault."""
    return [Mutant("tls", lambda: _tls("faultless"))]


def pausing_is_ignored() -> Engine:
    """What comes while reading is paused is told at once."""
    return _tls("pausing_is_ignored", _pause_reading=lambda self: None)


def close_says_no_goodbye() -> Engine:
    """close() ends the connection under TLS."""

    def start_shutdown(self: Any) -> None:
        if self._state.name == "WRAPPED":
            self._app_transport._closed = True
            self._set_state(sslproto.SSLProtocolState.FLUSHING)
            self._transport.close()

    return _tls("close_says_no_goodbye", _start_shutdown=start_shutdown)


def goodbyes_are_not_told() -> Engine:
    """eof_received() is not called."""
    return _tls("goodbyes_are_not_told", _call_eof_received=lambda self: None)


def a_cut_is_an_error() -> Engine:
    """A connection that ends without a goodbye is lost with an SSLError, as TLS would have it."""

    def eof_received(self: Any) -> Any:
        if self._state.name == "WRAPPED":
            self._fatal_error(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
            return None
        return Protocol.eof_received(self)

    return _tls("a_cut_is_an_error", eof_received=eof_received)


def errors_are_not_passed_on() -> Engine:
    """connection_lost() is always told None."""

    def connection_lost(self: Any, exc: Any) -> None:
        wakeup = self._wakeup_waiter
        self._wakeup_waiter = lambda _: wakeup(exc)
        Protocol.connection_lost(self, None)

    return _tls("errors_are_not_passed_on", connection_lost=connection_lost)


def failures_are_not_reported() -> Engine:
    """A protocol that raises loses its connection, silently."""

    def fatal(self: Any, exc: Any, message: str = "") -> None:
        if self._transport:
            self._transport._force_close(exc)

    return _tls("failures_are_not_reported", _fatal_error=fatal)


def flow_is_not_told() -> Engine:
    """pause_writing() is not called."""
    return _tls("flow_is_not_told", _control_app_writing=lambda self: None)


def handshakes_fail_with_resets() -> Engine:
    """The error of a handshake is ConnectionResetError."""

    def complete(self: Any, exc: Any) -> None:
        Protocol._on_handshake_complete(self, exc and ConnectionResetError("handshake"))

    return _tls("handshakes_fail_with_resets", _on_handshake_complete=complete)


def made_after_the_caller_knows() -> Engine:
    """connection_made() takes another turn."""

    def complete(self: Any, exc: Any) -> None:
        self._loop.call_soon(Protocol._on_handshake_complete, self, exc)

    return _tls("made_after_the_caller_knows", _on_handshake_complete=complete)


def a_new_protocol_gets_nothing() -> Engine:
    """Data goes to the first protocol."""

    def set_protocol(self: Any, protocol: Any) -> None:
        if getattr(self, "_app_protocol", None) is None:
            Protocol._set_app_protocol(self, protocol)

    return _tls("a_new_protocol_gets_nothing", _set_app_protocol=set_protocol)


def a_write_after_close_is_sent() -> Engine:
    """What is written while the goodbyes are said goes out."""

    def write(self: Any, pieces: Any) -> None:
        if self._state.name in {"FLUSHING", "SHUTDOWN"}:
            for piece in pieces:
                self._sslobj.write(piece)
            self._process_outgoing()
        else:
            Protocol._write_appdata(self, pieces)

    return _tls("a_write_after_close_is_sent", _write_appdata=write)


TLS_MUTANTS = {
    make.__name__: Mutant("tls", make)
    for make in (
        pausing_is_ignored,
        close_says_no_goodbye,
        goodbyes_are_not_told,
        a_cut_is_an_error,
        errors_are_not_passed_on,
        failures_are_not_reported,
        flow_is_not_told,
        handshakes_fail_with_resets,
        made_after_the_caller_knows,
        a_new_protocol_gets_nothing,
        a_write_after_close_is_sent,
    )
}
