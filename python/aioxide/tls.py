"""How TLS is put on connections: the rules of asyncio's `sslproto`, checked once per connection.

Over a native transport TLS is native, too (`src/tls`). Over anything else, a fake in a test, a
transport of another kind or TLS itself, it is asyncio's own `SSLProtocol`.
"""

# ruff: noqa: SLF001  # what is borrowed is private

import asyncio
import ssl
from asyncio import constants, sslproto
from types import FunctionType, SimpleNamespace
from typing import Any

from aioxide import _core
from aioxide.stock import Declared, StockLoop


def listening_with(
    context: ssl.SSLContext,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> tuple[ssl.SSLContext, float, float]:
    """What a listener needs to know to secure what it accepts."""
    return (
        context,
        positive("ssl_handshake_timeout", ssl_handshake_timeout, constants.SSL_HANDSHAKE_TIMEOUT),
        positive("ssl_shutdown_timeout", ssl_shutdown_timeout, constants.SSL_SHUTDOWN_TIMEOUT),
    )


def positive(name: str, timeout: float | None, default: float) -> float:
    """The timeout to use; ValueError if it is none."""
    if timeout is None:
        return default
    if timeout <= 0:
        raise ValueError(f"{name} should be a positive number, got {timeout}")
    return timeout


def make_tls(  # noqa: PLR0917  # asyncio's order
    loop: asyncio.AbstractEventLoop,
    protocol: asyncio.BaseProtocol,
    context: ssl.SSLContext | None,
    waiter: "asyncio.Future[Any] | None",
    server_side: bool = False,
    server_hostname: str | None = None,
    *,
    call_connection_made: bool = True,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> _core.TlsTransport:
    """Make the native equivalent of `SSLProtocol`, which is its own `_app_transport`."""
    handshake_timeout = positive(
        "ssl_handshake_timeout", ssl_handshake_timeout, constants.SSL_HANDSHAKE_TIMEOUT
    )
    shutdown_timeout = positive(
        "ssl_shutdown_timeout", ssl_shutdown_timeout, constants.SSL_SHUTDOWN_TIMEOUT
    )
    if not context:
        context = sslproto._create_transport_context(server_side, server_hostname)
    return _core.tls_transport(
        loop,
        protocol,
        context,
        waiter,
        server_side,
        server_hostname if server_hostname and not server_side else None,
        call_connection_made,
        handshake_timeout,
        shutdown_timeout,
    )


def _in_place_of_sslproto(function: Any) -> Any:
    """Make asyncio's own function again, with our SSLProtocol where it names asyncio's."""
    names = {**function.__globals__, "sslproto": SimpleNamespace(SSLProtocol=make_tls)}
    return FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )


_start_native_tls = _in_place_of_sslproto(StockLoop.start_tls)
_start_native_tls.__kwdefaults__ = StockLoop.start_tls.__kwdefaults__


class Tls(Declared):
    """The part of the event loop that secures connections which are there already."""

    async def start_tls(
        self,
        transport: Any,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport | None:
        """Upgrade a transport to TLS; the protocol has to use the one returned from then on."""
        native = type(transport) is _core.SocketTransport
        start: Any = _start_native_tls if native else StockLoop.start_tls
        secured: asyncio.Transport | None = await start(
            self,
            transport,
            protocol,
            sslcontext,
            server_side=server_side,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        return secured
