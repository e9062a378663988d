"""How connections and servers are made: asyncio's own functions, on our loop.

What happens here happens once per connection or once per server: names are resolved, addresses are
tried one after the other, sockets are bound, arguments that contradict each other are refused. A
second version of it would gain nothing and lose much: which arguments there are, what they mean
together and how the errors read has changed with every Python. So the functions are borrowed, each
by its name, from the event loop of the Python that runs. What they ask of a loop are public methods
and a few private ones, which are here, in `aioxide.endpoints` and in `aioxide.sockets`.

Borrowed and not inherited: asyncio's class brings a ready queue, timers and a selector of its own,
and what we lack must be missing, not run on those.
"""

# ruff: noqa: SLF001  # what is borrowed is private

from typing import TYPE_CHECKING

from aioxide.stock import Declared, StockLoop


class Network(Declared):
    """The part of the event loop that makes connections, servers and datagram endpoints."""

    if not TYPE_CHECKING:
        create_connection = StockLoop.create_connection
        create_unix_connection = StockLoop.create_unix_connection
        connect_accepted_socket = StockLoop.connect_accepted_socket
        _connect_sock = StockLoop._connect_sock
        _create_connection_transport = StockLoop._create_connection_transport
        _ensure_resolved = StockLoop._ensure_resolved

        create_server = StockLoop.create_server
        create_unix_server = StockLoop.create_unix_server
        _create_server_getaddrinfo = StockLoop._create_server_getaddrinfo

        create_datagram_endpoint = StockLoop.create_datagram_endpoint

        sendfile = StockLoop.sendfile
        _sendfile_fallback = StockLoop._sendfile_fallback
