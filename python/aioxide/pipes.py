"""Pipes: asyncio's own functions, borrowed as `aioxide.network` says, over native transports."""

import asyncio
from typing import TYPE_CHECKING, Any

from aioxide import _core
from aioxide.stock import Declared, StockLoop


class Pipes(Declared):
    """The part of the event loop that reads and writes pipes, FIFOs and terminals."""

    if not TYPE_CHECKING:
        connect_read_pipe = StockLoop.connect_read_pipe
        connect_write_pipe = StockLoop.connect_write_pipe

    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: "asyncio.Future[Any] | None" = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.ReadTransport:
        return _core.read_pipe_transport(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: "asyncio.Future[Any] | None" = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.WriteTransport:
        return _core.write_pipe_transport(self, pipe, protocol, waiter, extra)
