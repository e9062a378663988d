"""Pipes: asyncio's own functions, borrowed as `aioxide.network` says."""

# ruff: noqa: SLF001  # what is borrowed is private

from typing import TYPE_CHECKING

from aioxide.stock import Declared, StockLoop


class Pipes(Declared):
    """The part of the event loop that reads and writes pipes, FIFOs and terminals."""

    if not TYPE_CHECKING:
        connect_read_pipe = StockLoop.connect_read_pipe
        connect_write_pipe = StockLoop.connect_write_pipe
        _make_read_pipe_transport = StockLoop._make_read_pipe_transport
        _make_write_pipe_transport = StockLoop._make_write_pipe_transport
