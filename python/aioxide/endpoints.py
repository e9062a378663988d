"""What a socket becomes on the loop: a transport, a listener, and the rule that it is only one.

`aioxide.network` ends in these methods, once a socket is connected or bound. Transports, with TLS
or without, and listeners are native. What is no plain socket (a fake in a test, a subclass with a
`recv()` of its own) gets asyncio's transport, which calls its methods.

A transport of asyncio's that somebody makes by hand works, too. It watches its descriptor with four
private methods of the native half (`_add_reader()` and so on), because the public ones refuse the
descriptor of a transport; `_transports` and `_selector` are what it reads of its loop besides its
methods.
"""

# ruff: noqa: SLF001  # what is borrowed is private

import _socket
import asyncio
import selectors
import socket
import ssl
import sys
import weakref
from asyncio import sslproto
from asyncio.log import logger
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from aioxide import _core
from aioxide.stock import Declared, StockLoop
from aioxide.tls import listening_with, make_tls

# What the native half does with the descriptor instead of calling these.
_REPLACED = (
    "accept",
    "recv",
    "recv_into",
    "recvfrom",
    "send",
    "sendmsg",
    "sendto",
    "shutdown",
)

# Whose addresses the native half can read.
_NATIVE_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def _is_native(sock: object) -> bool:
    """Whether this is a socket whose methods are the system calls: no fake, nothing overridden."""
    kind = type(sock)  # a fake may pass for a socket by its `__class__`
    return issubclass(kind, _socket.socket) and all(
        getattr(kind, name) is getattr(socket.socket, name) for name in _REPLACED
    )


# Since 3.12 asyncio checks that no other transport has the socket.
_REFUSES_TAKEN_SOCKETS = sys.version_info >= (3, 12)


class Endpoints(Declared):
    """The part of the event loop that puts transports and listeners on sockets."""

    def __init__(self) -> None:
        self._made_transports: weakref.WeakValueDictionary[int, Any] | None = None
        # Listeners whose path has to go with them, and its inode; used from 3.13 on.
        self._unix_server_sockets: dict[socket.socket, int] = {}

    if not TYPE_CHECKING:
        _accept_connection = StockLoop._accept_connection
        _accept_connection2 = StockLoop._accept_connection2

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: "asyncio.Future[Any] | None" = None,
        *,
        extra: dict[str, Any] | None = None,
        server: asyncio.AbstractServer | None = None,
    ) -> asyncio.Transport:
        if not _is_native(sock):
            stock: Any = StockLoop
            made: asyncio.Transport = stock._make_socket_transport(
                self, sock, protocol, waiter, extra=extra, server=server
            )
            return made
        if _REFUSES_TAKEN_SOCKETS:
            self._ensure_fd_no_transport(sock)
        return _core.socket_transport(self, sock, protocol, waiter, extra, server)

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.DatagramProtocol,
        address: object = None,
        waiter: "asyncio.Future[Any] | None" = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.DatagramTransport:
        if not _is_native(sock) or sock.family not in _NATIVE_FAMILIES:
            return StockLoop._make_datagram_transport(  # type: ignore[attr-defined, no-any-return]
                self, sock, protocol, address, waiter, extra
            )
        if _REFUSES_TAKEN_SOCKETS:
            self._ensure_fd_no_transport(sock)
        return _core.datagram_transport(self, sock, protocol, address, waiter, extra)

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        waiter: "asyncio.Future[Any] | None" = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: asyncio.AbstractServer | None = None,
        **timeouts: float | None,
    ) -> asyncio.Transport:
        if _REFUSES_TAKEN_SOCKETS:
            self._ensure_fd_no_transport(rawsock)
        # Which timeouts there are depends on the version.
        make: Any = make_tls if _is_native(rawsock) else sslproto.SSLProtocol
        tls = make(self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts)
        self._make_socket_transport(rawsock, tls, extra=extra, server=server)
        transport: asyncio.Transport = tls._app_transport
        return transport

    def _start_serving(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: ssl.SSLContext | None = None,
        server: asyncio.AbstractServer | None = None,
        backlog: int = 100,
        *timeouts: float | None,
    ) -> None:
        # In debug mode asyncio reports every connection that could not be secured.
        if _is_native(sock) and (sslcontext is None or not self.get_debug()):
            secure = None if sslcontext is None else listening_with(sslcontext, *timeouts)
            self._listen(protocol_factory, sock, server, backlog, secure)
            return
        accept: Callable[..., object] = self._accept_connection
        self._add_reader(
            sock.fileno(),
            accept,
            protocol_factory,
            sock,
            sslcontext,
            server,
            backlog,
            *timeouts,
        )

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        self._refuse_transport(fd)
        if self._made_transports is not None:
            stock: Any = StockLoop
            stock._ensure_fd_no_transport(self, fd)

    async def _sendfile_native(
        self, transport: Any, file: IO[bytes], offset: int, count: int | None
    ) -> int:
        resume_reading = transport.is_reading()
        transport.pause_reading()
        await transport._make_empty_waiter()
        transport._let_go(True)
        try:
            sent = await self.sock_sendfile(transport._sock, file, offset, count, fallback=False)
        finally:
            transport._let_go(False)
            transport._reset_empty_waiter()
            if resume_reading:
                transport.resume_reading()
        return sent

    def _stop_serving(self, sock: socket.socket) -> None:
        inode = self._unix_server_sockets.pop(sock, None)
        path = None if inode is None else sock.getsockname()
        self._stop_listening(sock.fileno())
        self._remove_reader(sock.fileno())
        sock.close()
        if path is None:
            return
        try:
            # Another server may have taken the path since.
            if Path(path).stat().st_ino == inode:
                Path(path).unlink()
        except FileNotFoundError:
            pass
        except OSError as err:
            logger.error("Unable to clean up listening UNIX socket %r: %r", path, err)

    @property
    def _transports(self) -> "weakref.WeakValueDictionary[int, Any]":
        if self._made_transports is None:
            self._made_transports = weakref.WeakValueDictionary()
            # A loop that never asks for them has a faster add_reader().
            self._guard_transports()
        return self._made_transports

    @property
    def _selector(self) -> "_Watched":
        return _Watched(self)

    @property
    def _debug(self) -> bool:
        return self.get_debug()

    if TYPE_CHECKING:  # the native half has them, and asyncio

        def _accept_connection(self, *args: Any) -> None: ...

        def _add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> object: ...
        def _remove_reader(self, fd: int) -> bool: ...
        def _refuse_transport(self, fd: Any) -> None: ...
        def _listen(
            self,
            protocol_factory: object,
            sock: object,
            server: object,
            backlog: int,
            secure: tuple[object, float, float] | None,
        ) -> None: ...
        def _stop_listening(self, fd: int) -> None: ...
        def _guard_transports(self) -> None: ...
        def _watched(self, fd: int) -> tuple[bool, bool]: ...


class _Key(NamedTuple):
    events: int


class _Watched:
    """As much of a selector as the repr of asyncio's transports reads."""

    def __init__(self, loop: Endpoints) -> None:
        self._loop = loop

    def get_key(self, fd: int) -> _Key:
        read, write = self._loop._watched(fd)
        if not read and not write:
            raise KeyError(f"{fd!r} is not registered")
        return _Key(selectors.EVENT_READ * read | selectors.EVENT_WRITE * write)
