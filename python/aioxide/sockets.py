"""`sock_sendfile()`: asyncio's own coroutine, borrowed as `aioxide.network` says.

`sock_recv()` and its kin are native (`src/net/sock.rs`): they run once per packet.
"""

# ruff: noqa: SLF001  # what is borrowed is private

from typing import TYPE_CHECKING

from aioxide.stock import Declared, StockLoop


class Sockets(Declared):
    """The part of the event loop that works on sockets of programs."""

    if not TYPE_CHECKING:
        sock_sendfile = StockLoop.sock_sendfile
        _sock_sendfile_native = StockLoop._sock_sendfile_native
        _sock_sendfile_native_impl = StockLoop._sock_sendfile_native_impl
        _sock_sendfile_update_filepos = StockLoop._sock_sendfile_update_filepos
        _sock_add_cancellation_callback = StockLoop._sock_add_cancellation_callback
        _sock_sendfile_fallback = StockLoop._sock_sendfile_fallback
        _check_sendfile_params = StockLoop._check_sendfile_params
