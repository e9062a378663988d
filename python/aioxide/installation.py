"""`install()` and `uninstall()`: asyncio's own names stand for aioxide's objects.

Three things change, and nothing is wrapped:

- Names. A name that aioxide has its own object for is bound to it in every loaded module of
  asyncio that holds the stock object under that name: in `asyncio`, where it is defined
  (`asyncio.tasks.sleep`) and where asyncio itself imported it (`asyncio.streams.sleep`). Modules
  of asyncio that are imported later find ours there. What the program bound to such a name itself
  is not the stock object, and stays.
- Loops. `asyncio.new_event_loop()`, `run()` and `Runner` ask the policy, and the stock policy asks
  its class attribute `_loop_factory`; so that attribute is set. A policy that a program sets
  afterwards is its choice and makes the loops that it makes.
- `asyncio.get_event_loop()` asks the policy too; it gives the main thread a loop if it never had
  one, as asyncio did up to 3.11. From 3.12 on it warned of that, from 3.14 on it refuses.

`uninstall()` takes back exactly what still is as `install()` left it.
"""

import sys
import threading
from asyncio import events
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from aioxide.event_loop import EventLoop
from aioxide.policy import (
    EventLoopPolicy,
    StockPolicy,
    provide_loop,
    set_current_policy,
)

# Not replaced, though aioxide has its own:
# - Only loops make Handles, and each makes its own kind; to isinstance() ours are asyncio's.
# - run, Runner and the two for loops ask the policy, whose loops are ours; aioxide's versions
#   would ignore a policy that the program sets.
# - asyncio's open_connection, create_subprocess_exec and their like make what asyncio.streams has
#   under the classes' names, which then is ours, or the program's.
STOCK_NAMES = frozenset(
    {
        "Handle",
        "Runner",
        "TimerHandle",
        "create_subprocess_exec",
        "create_subprocess_shell",
        "get_event_loop",
        "new_event_loop",
        "open_connection",
        "open_unix_connection",
        "run",
        "start_server",
        "start_unix_server",
    }
)

_ABSENT = object()
_lock = threading.Lock()
_installed: "_Installation | None" = None
_own: dict[str, object] = {}


def offer(own: Mapping[str, object]) -> None:
    """Say what aioxide has its own version of; `install()` goes by it."""
    _own.update(own)


def own_names() -> frozenset[str]:
    """Return the names that `offer()` was told."""
    return frozenset(_own)


def install() -> None:
    """Put aioxide into asyncio's place, for everything that is looked up or made from now on.

    Programs and libraries stay as they are: `asyncio.sleep`, `asyncio.Task`, `asyncio.run()` and
    the rest are aioxide's. What was imported before (`from asyncio import sleep`), subclasses and
    loops that exist keep working as they did. May be called at any time, also while a loop runs;
    calling it again changes nothing.
    """
    global _installed
    with _lock:
        if _installed is None:
            _installed = _Installation(_own)


def uninstall() -> None:
    """Undo `install()`, however often it was called; without it, do nothing.

    What the program itself has put into asyncio since then stays, and so does what was made in the
    meantime: loops, tasks, locks keep working.
    """
    global _installed
    with _lock:
        if _installed is not None:
            _installed.undo()
            _installed = None


def is_installed() -> bool:
    """Tell whether asyncio's names stand for aioxide's objects."""
    return _installed is not None


class _Pair(NamedTuple):
    stock: object
    own: object


class _Change(NamedTuple):
    place: Any
    name: str
    before: object
    after: object


class _Installation:
    """What one `install()` has changed."""

    def __init__(self, own: Mapping[str, object]) -> None:
        self.pairs = _pairs(own)
        self.modules = list(_asyncio_modules())
        self.changes: list[_Change] = []
        for module in self.modules:
            for name, pair in self.pairs.items():
                if vars(module).get(name, _ABSENT) is pair.stock:
                    self._set(module, name, pair.own)
        for name, value in _POLICY_ATTRIBUTES.items():
            self._set(StockPolicy, name, value)
        self.replaced_policy: Any = None
        self.policy: EventLoopPolicy | None = None
        policy = vars(events)["_event_loop_policy"]  # None: asyncio's, made when it is needed
        if policy is not None and not _makes_our_loops(policy):
            self.replaced_policy = policy
            self.policy = EventLoopPolicy()
            set_current_policy(self.policy)

    def _set(self, place: Any, name: str, value: object) -> None:
        self.changes.append(_Change(place, name, vars(place).get(name, _ABSENT), value))
        setattr(place, name, value)

    def undo(self) -> None:
        for place, name, before, after in reversed(self.changes):
            if vars(place).get(name, _ABSENT) is not after:
                continue  # the program's own doing
            if before is _ABSENT:
                delattr(place, name)
            else:
                setattr(place, name, before)
        # Imported since, these took our objects for asyncio's.
        for module in _asyncio_modules():
            if module not in self.modules:
                for name, pair in self.pairs.items():
                    if vars(module).get(name, _ABSENT) is pair.own:
                        setattr(module, name, pair.stock)
        if self.policy is not None and vars(events)["_event_loop_policy"] is self.policy:
            set_current_policy(self.replaced_policy)


def _asyncio_modules() -> Iterator[ModuleType]:
    loaded: dict[str, object] = dict(sys.modules)  # with None for what must not be imported
    for name, module in loaded.items():
        if isinstance(module, ModuleType) and name.partition(".")[0] == "asyncio":
            yield module


def _pairs(own: Mapping[str, object]) -> dict[str, _Pair]:
    """Find the stock object of each name that is to be replaced, in the module that defines it."""
    pairs: dict[str, _Pair] = {}
    for module in _asyncio_modules():
        if module.__name__ == "asyncio":
            continue  # its names come from the others
        for name in own.keys() & set(getattr(module, "__all__", ())) - STOCK_NAMES:
            stock = vars(module).get(name)
            if _is_stock(stock):
                pairs[name] = _Pair(stock, own[name])
    return pairs


def _is_stock(value: object) -> bool:
    """Tell asyncio's own objects from what a program has put there before us."""
    home = str(getattr(value, "__module__", ""))
    return home == "_asyncio" or home.startswith("asyncio.")


def _makes_our_loops(policy: object) -> bool:
    # Also a program's subclass of asyncio's policy, for what else it does.
    return isinstance(policy, StockPolicy) and getattr(policy, "_loop_factory", None) is EventLoop


def _get_event_loop(self: Any) -> Any:
    """Return the loop set for this thread; the main thread gets one if none was ever set there."""
    provide_loop(self, self.new_event_loop)
    return super(StockPolicy, self).get_event_loop()


def _set_event_loop(self: Any, loop: Any) -> None:
    """Set the loop for this thread."""
    # 3.14 does not remember that one was set. Without that, a program that asks for a loop after
    # asyncio.run() would get one, where it gets a RuntimeError on every version of asyncio.
    self._local._set_called = True  # noqa: SLF001
    super(StockPolicy, self).set_event_loop(loop)


_POLICY_ATTRIBUTES: dict[str, object] = {
    "_loop_factory": EventLoop,
    "get_event_loop": _get_event_loop,
}
if sys.version_info >= (3, 14):
    _POLICY_ATTRIBUTES["set_event_loop"] = _set_event_loop
