"""The event loop policy: how programs that name no loop factory get an aioxide loop.

The stdlib deprecates policies in 3.14 and warns whoever sets one, which is the user's call to make
and not ours: neither importing nor making this one warns. Everything but the loop's type is the
stdlib's own policy, under the name that the running Python has for it; so the child watchers that
3.11 to 3.13 hang on the policy are there too.
"""

import sys

from aioxide.event_loop import EventLoop

if sys.version_info >= (3, 14):
    from asyncio.unix_events import _DefaultEventLoopPolicy as _StockPolicy
else:
    from asyncio import DefaultEventLoopPolicy as _StockPolicy


class EventLoopPolicy(_StockPolicy):
    """asyncio's default policy, except that new loops are aioxide's."""

    _loop_factory = EventLoop
