"""Put another engine into asyncio's places, before any test module is imported.

The tests reach asyncio's classes in many ways: ``asyncio.Task``, ``tasks._CTask``,
``futures._CFuture``, ``tasks._c_current_task``, ``asyncio.EventLoop``, and class bodies keep what
they found at import. So the rule is not a list of attributes per version but one sentence:
*whatever name in asyncio's modules is bound to the C object is bound to ours instead*. CPython
gives the C object to the public name and to the ``_C``/``_c_`` name alike, so one rule covers 3.11
to 3.14; the ``_Py`` names keep the pure Python classes, because they are other objects.
``BaseEventLoop`` stays: its tests judge CPython's code, running on our Task and Future.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from asyncio import futures, tasks, unix_events
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

#: The C functions that the tests exercise beside the classes, as (home module, name). A name that
#: the running version does not have in C has no ``_c_`` twin, and is left alone: what the stdlib
#: does in Python then has to be right about our objects.
C_FUNCTIONS = (
    ("tasks", "current_task"),
    ("tasks", "all_tasks"),
    ("tasks", "_register_task"),
    ("tasks", "_unregister_task"),
    ("tasks", "_register_eager_task"),
    ("tasks", "_unregister_eager_task"),
    ("tasks", "_enter_task"),
    ("tasks", "_leave_task"),
    ("tasks", "_swap_current_task"),
    ("futures", "future_add_to_awaited_by"),
    ("futures", "future_discard_from_awaited_by"),
)

#: Modules that asyncio imports lazily or not at all, but whose globals the tests read.
LAZY_MODULES = ("asyncio.unix_events", "asyncio.staggered", "asyncio.graph", "asyncio.tools")


@dataclass(frozen=True)
class Engine:
    """What to put where; ``None`` and absent names leave the stock object in place."""

    name: str
    loop: type | None = None
    task: type | None = None
    future: type | None = None
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    public: dict[str, object] = field(default_factory=dict)
    #: Puts itself into asyncio's places, so that nothing is left to do here.
    install: Callable[[], None] | None = None


def _stock() -> Engine:
    return Engine("stock")


def _uvloop() -> Engine:
    # A loop that others wrote: shows how much of a failure is the loop's, and how much the swap's.
    return Engine("uvloop", loop=importlib.import_module("uvloop").Loop)


def _aioxide() -> Engine:
    """Our loop, Task and Future, and those C functions that we have our own versions of."""
    aioxide = importlib.import_module("aioxide")
    aioxide.EventLoop().close()  # the first one replaces what asyncio itself has to know of us
    functions: dict[str, Callable[..., Any]] = {}
    for home, name in C_FUNCTIONS:
        stock = c_function(home, name)
        public = vars(importlib.import_module(f"asyncio.{home}")).get(name)
        # aioxide star-imports asyncio: what it has under a name may be the stock function.
        for ours in (getattr(aioxide, name, None), public):
            if ours is not None and ours is not stock:
                functions.setdefault(name, ours)
    return Engine("aioxide", aioxide.EventLoop, aioxide.Task, aioxide.Future, functions)


def _guest() -> Engine:
    """Ours as ``loop_factory`` gives it: the stdlib's functions stay, and must know our objects."""
    return replace(_aioxide(), name="aioxide-guest", functions={})


def _everything() -> Engine:
    """Ours with all that ``install()`` replaces besides: gather, sleep, Lock and the rest."""
    aioxide = importlib.import_module("aioxide")
    swapped = {"EventLoop", "SelectorEventLoop", "Task", "Future"}
    stock: frozenset[str] = importlib.import_module("aioxide.installation").STOCK_NAMES
    names = [name for name in asyncio.__all__ if name not in swapped | stock]
    public = {name: getattr(aioxide, name) for name in names}
    return replace(_aioxide(), name="aioxide-all", public=public)


def _installed() -> Engine:
    """Ours as a program has it that calls ``install()`` first, and nothing beyond that.

    So ``_CTask``, ``_CFuture`` and the ``_c_*`` functions stay the C ones: the tests that are made
    from them run the C Task and Future in a program whose loop, ``gather``, ``Lock`` and the rest
    are ours, which is what a library has that took hold of asyncio's classes before ``install()``.
    The same tests on our Task are what the other engines are for.
    """
    return Engine("aioxide-installed", install=importlib.import_module("aioxide").install)


ENGINES: dict[str, Callable[[], Engine]] = {
    "stock": _stock,
    "uvloop": _uvloop,
    "aioxide": _aioxide,
    "aioxide-guest": _guest,
    "aioxide-all": _everything,
    "aioxide-installed": _installed,
}


def find(name: str) -> Engine:
    """The engine of that name, or what ``module:function`` makes (the runner's tests do that)."""
    if name in ENGINES:
        return ENGINES[name]()
    module, _, function = name.partition(":")
    if not function:
        raise SystemExit(f"no engine named {name!r}; there are {', '.join(ENGINES)}")
    engine: Engine = getattr(importlib.import_module(module), function)()
    return engine


def c_function(home: str, name: str) -> object:
    """The C version of a function, where the running version has one; the tests find it as this."""
    twin = f"_c_{name.removeprefix('_')}"
    return vars(importlib.import_module(f"asyncio.{home}")).get(twin)


class _IgnoresSelector(type):
    """Makes a class that stands for ``asyncio.SelectorEventLoop``.

    The tests call it with a selector, which ours has no use for, and ask ``isinstance`` of running
    loops. A subclass of the engine's loop would answer both as well, but then no test would run on
    the loop's exact type.
    """

    made: type

    def __call__(cls, selector: object = None) -> Any:
        return cls.made()

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.made)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return subclass is cls or issubclass(subclass, cls.made)


def loop_class(made: type) -> type:
    """``made``, as a class that accepts and ignores a selector argument."""

    def refuse(**_: object) -> None:
        # Its methods would be dropped without a word, and a test pass or fail for a wrong reason.
        raise TypeError("a test subclasses SelectorEventLoop, which swap.py cannot serve yet")

    names = {
        "made": made,
        "__init_subclass__": refuse,
        "__doc__": f"{made.__name__} in SelectorEventLoop's place.",
    }
    return _IgnoresSelector("SelectorEventLoop", (), names)


def rebind(old: object, new: object) -> list[str]:
    """Bind to ``new`` each name in asyncio's modules that ``old`` has; returns the dotted names."""
    changed: list[str] = []
    for module_name, module in sorted(sys.modules.items()):
        if module_name == "asyncio" or module_name.startswith("asyncio."):
            for name, value in list(vars(module).items()):
                if value is old:
                    setattr(module, name, new)
                    changed.append(f"{module_name}.{name}")
    if not changed:
        raise RuntimeError(f"no name in asyncio has {old!r}: swap.py does not know this version")
    return changed


def swap(engine: Engine) -> list[str]:
    """Put ``engine`` into asyncio's places and return the names that it now stands behind."""
    if engine.install is not None:
        return _changes(engine.install)
    for name in LAZY_MODULES:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)

    changed: list[str] = []
    if engine.future is not None:
        changed += rebind(vars(futures)["_CFuture"], engine.future)
    if engine.task is not None:
        changed += rebind(vars(tasks)["_CTask"], engine.task)
    for home, name in C_FUNCTIONS:
        stock = c_function(home, name)
        if stock is not None and name in engine.functions:
            changed += rebind(stock, engine.functions[name])
    factory = vars(tasks).get("eager_task_factory")
    if factory is not None and engine.task is not None:
        # It closed over the C Task when asyncio was imported, where no rebinding reaches.
        changed += rebind(factory, vars(tasks)["create_eager_task_factory"](engine.task))
    if engine.loop is not None:
        changed += _swap_loop(engine.loop)
    for name, value in engine.public.items():
        if getattr(asyncio, name) is not value:
            changed += rebind(getattr(asyncio, name), value)
    return changed


def _changes(install: Callable[[], None]) -> list[str]:
    """Call ``install`` and return the names in asyncio's modules that it gave another object."""
    before = _names()
    install()
    return [name for name, value in _names().items() if before.get(name) is not value]


def _names() -> dict[str, object]:
    return {
        f"{module_name}.{name}": value
        for module_name, module in sorted(sys.modules.items())
        if module_name == "asyncio" or module_name.startswith("asyncio.")
        for name, value in vars(module).items()
    }


def _swap_loop(made: type) -> list[str]:
    stock = unix_events.SelectorEventLoop
    ours = loop_class(made)
    changed = rebind(stock, ours)
    # new_event_loop(), and so run() and Runner, go by a class attribute, which no global shows.
    for name, value in list(vars(unix_events).items()):
        if isinstance(value, type) and vars(value).get("_loop_factory") is stock:
            type.__setattr__(value, "_loop_factory", ours)
            changed.append(f"asyncio.unix_events.{name}._loop_factory")
    return changed
