"""The event loop of the running Python, from which ours borrows what runs seldom.

Once per connection, server, pipe or child process; `aioxide.network` says why it is borrowed.

Type checkers are told that we inherit from it, so that each borrowed method has the declaration
that programs know; at run time the class is only where the functions come from.
"""

import asyncio
from asyncio.unix_events import _UnixSelectorEventLoop as StockLoop
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Declared = StockLoop
else:
    Declared = asyncio.AbstractEventLoop

__all__ = ["Declared", "StockLoop"]
