"""What a socket becomes on the loop: a transport, a listener, and the rule that it is only one.

`aioxide.network` ends in these methods, once a socket is connected or bound. They are asyncio's,
and so are the transports. These watch their descriptor with four private methods of the native half
(`_add_reader()` and so on), because the public ones refuse the descriptor of a transport.

`_transports` and `_selector` are what asyncio's transports read of their loop besides its methods.
"""

# ruff: noqa: SLF001  # what is borrowed is private

import selectors
import socket
import weakref
from asyncio.log import logger
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aioxide.stock import Declared, StockLoop


class Endpoints(Declared):
    """The part of the event loop that puts transports and listeners on sockets."""

    def __init__(self) -> None:
        self._made_transports: weakref.WeakValueDictionary[int, Any] | None = None
        # Listeners whose path has to go with them, and its inode; used from 3.13 on.
        self._unix_server_sockets: dict[socket.socket, int] = {}

    if not TYPE_CHECKING:
        _make_socket_transport = StockLoop._make_socket_transport
        _make_ssl_transport = StockLoop._make_ssl_transport
        _make_datagram_transport = StockLoop._make_datagram_transport
        _ensure_fd_no_transport = StockLoop._ensure_fd_no_transport

        _start_serving = StockLoop._start_serving
        _accept_connection = StockLoop._accept_connection
        _accept_connection2 = StockLoop._accept_connection2

    def _stop_serving(self, sock: socket.socket) -> None:
        inode = self._unix_server_sockets.pop(sock, None)
        path = None if inode is None else sock.getsockname()
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

    if TYPE_CHECKING:  # the native half has them

        def _remove_reader(self, fd: int) -> bool: ...
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
