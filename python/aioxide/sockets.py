"""`sock_recv()` and its kin: what a program does with a socket of its own, and `sock_sendfile()`.

asyncio's own coroutines, borrowed as `aioxide.network` says, and the callbacks that they put on a
descriptor when the socket would block.
"""

# ruff: noqa: SLF001  # what is borrowed is private

from typing import TYPE_CHECKING

from aioxide.stock import Declared, StockLoop


class Sockets(Declared):
    """The part of the event loop that works on sockets of programs."""

    if not TYPE_CHECKING:
        sock_recv = StockLoop.sock_recv
        _sock_recv = StockLoop._sock_recv
        sock_recv_into = StockLoop.sock_recv_into
        _sock_recv_into = StockLoop._sock_recv_into
        sock_recvfrom = StockLoop.sock_recvfrom
        _sock_recvfrom = StockLoop._sock_recvfrom
        sock_recvfrom_into = StockLoop.sock_recvfrom_into
        _sock_recvfrom_into = StockLoop._sock_recvfrom_into
        _sock_read_done = StockLoop._sock_read_done
        sock_accept = StockLoop.sock_accept
        _sock_accept = StockLoop._sock_accept

        sock_sendall = StockLoop.sock_sendall
        _sock_sendall = StockLoop._sock_sendall
        sock_sendto = StockLoop.sock_sendto
        _sock_sendto = StockLoop._sock_sendto
        sock_connect = StockLoop.sock_connect
        _sock_connect = StockLoop._sock_connect
        _sock_connect_cb = StockLoop._sock_connect_cb
        _sock_write_done = StockLoop._sock_write_done

        sock_sendfile = StockLoop.sock_sendfile
        _sock_sendfile_native = StockLoop._sock_sendfile_native
        _sock_sendfile_native_impl = StockLoop._sock_sendfile_native_impl
        _sock_sendfile_update_filepos = StockLoop._sock_sendfile_update_filepos
        _sock_add_cancellation_callback = StockLoop._sock_add_cancellation_callback
        _sock_sendfile_fallback = StockLoop._sock_sendfile_fallback
        _check_sendfile_params = StockLoop._check_sendfile_params
