"""How programs that name no loop factory get an aioxide loop: the policy and the names for a loop.

The stdlib deprecates policies in 3.14 and warns whoever sets one, which is the user's call to make
and not ours: neither importing nor making this one warns. Everything but the loop's type is the
stdlib's own policy, under the name that the running Python has for it; so the child watchers that
3.11 to 3.13 hang on the policy are there too.

A program may also ask for the current loop before it made one. asyncio gave the main thread one
for years, deprecated that in 3.12 and dropped it in 3.14; `get_event_loop()` here still gives it.
"""

import asyncio
import sys
import threading
from asyncio import events
from collections.abc import Callable

from aioxide import _core
from aioxide.event_loop import EventLoop, new_event_loop

if sys.version_info >= (3, 14):
    from asyncio.events import _BaseDefaultEventLoopPolicy as _BasePolicy
    from asyncio.unix_events import _DefaultEventLoopPolicy as StockPolicy
else:
    from asyncio import DefaultEventLoopPolicy as StockPolicy
    from asyncio.events import BaseDefaultEventLoopPolicy as _BasePolicy

__all__ = [
    "EventLoopPolicy",
    "SelectorEventLoop",
    "StockPolicy",
    "get_event_loop",
    "provide_loop",
    "set_current_policy",
]


class EventLoopPolicy(StockPolicy):
    """asyncio's default policy, except that new loops are aioxide's."""

    _loop_factory = EventLoop


class _SelectorEventLoopType(type):
    """Lets every aioxide loop pass for a SelectorEventLoop, as every default loop is on Unix."""

    def __instancecheck__(cls, instance: object) -> bool:
        return (
            isinstance(instance, EventLoop)
            if _is_named(cls)
            else super().__instancecheck__(instance)
        )

    def __subclasscheck__(cls, subclass: type) -> bool:
        return (
            issubclass(subclass, EventLoop)
            if _is_named(cls)
            else super().__subclasscheck__(subclass)
        )


class SelectorEventLoop(EventLoop, metaclass=_SelectorEventLoopType):
    """An EventLoop under asyncio's older name for it, which takes a selector.

    The selector is not used: what a program wants by naming one is a loop.
    """

    __slots__ = ()

    def __init__(self, selector: object = None) -> None:  # noqa: ARG002
        super().__init__()


_core.adopt_methods(SelectorEventLoop)


def _is_named(cls: type) -> bool:
    return cls is SelectorEventLoop  # and not a program's subclass of it


def get_event_loop() -> asyncio.AbstractEventLoop:
    """Return the running loop, or the one that is set for this thread.

    The main thread gets a new aioxide loop if none was ever set there, on every Python version and
    without a warning; elsewhere asyncio's RuntimeError says that there is none.
    """
    if events._get_running_loop() is None:  # noqa: SLF001
        provide_loop(current_policy(), new_event_loop)
    return asyncio.get_event_loop()


def provide_loop(policy: object, make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Set a new loop in the main thread if `policy` is asyncio's and never had one set there."""
    if not isinstance(policy, _BasePolicy):
        return
    if threading.current_thread() is not threading.main_thread():
        return
    local = vars(policy)["_local"]
    if local._loop is None and not getattr(local, "_set_called", False):  # noqa: SLF001
        policy.set_event_loop(make())


if sys.version_info >= (3, 14):
    # The public functions warn that policies will go, which is no news to tell a program that did
    # not ask for one.
    current_policy = events._get_event_loop_policy  # noqa: SLF001
    set_current_policy = events._set_event_loop_policy  # noqa: SLF001
else:
    current_policy = asyncio.get_event_loop_policy
    set_current_policy = asyncio.set_event_loop_policy
