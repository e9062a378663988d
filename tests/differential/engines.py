"""The engines that can be compared, each behind the same three names.

An engine is what a program needs to run: a loop, a Task, a Future, and the module whose
primitives (sleep, gather, Lock ...) it uses. `stock` is what Python ships. `python` is
asyncio's own pure-Python Task and Future, an independent second implementation of the same
promise: that it agrees with `stock` shows that the traces are fair.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Engine:
    """What runs a program."""

    name: str
    new_event_loop: Callable[[], asyncio.AbstractEventLoop]
    Task: Callable[..., asyncio.Task[Any]]
    Future: Callable[..., asyncio.Future[Any]]
    lib: Any = asyncio


def _share_bookkeeping() -> None:
    """From 3.14 pure-Python tasks keep lists of their own, which current_task() and all_tasks()
    do not read. Have them use those of the C module, as they did before."""
    names = vars(asyncio.tasks)
    for name in [name for name in names if name.startswith("_py_")]:
        native = names.get("_c_" + name.removeprefix("_py_"))
        if native is not None:
            setattr(asyncio.tasks, name, native)


if sys.version_info >= (3, 14):
    _share_bookkeeping()

PyTask: Any = vars(asyncio.tasks)["_PyTask"]
PyFuture: Any = vars(asyncio.futures)["_PyFuture"]


def loop_type(
    task: Callable[..., asyncio.Task[Any]],
    future: Callable[..., asyncio.Future[Any]],
    base: type[asyncio.SelectorEventLoop] = asyncio.SelectorEventLoop,
) -> Callable[[], asyncio.AbstractEventLoop]:
    """A maker of stock loops that create the given tasks and futures."""

    class Loop(base):  # type: ignore[valid-type,misc]
        def create_future(self) -> asyncio.Future[Any]:
            return future(loop=self)

        def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
            if self.get_task_factory() is not None:
                made: asyncio.Task[Any] = super().create_task(coro, **kwargs)
                return made
            return task(coro, loop=self, **kwargs)

    return Loop


STOCK = Engine("stock", asyncio.SelectorEventLoop, asyncio.Task, asyncio.Future)
PYTHON = Engine("python", loop_type(PyTask, PyFuture), PyTask, PyFuture)


def _aioxide(name: str) -> Engine:
    """`aioxide` runs everything natively; `aioxide-stdlib` the stdlib's primitives on top;
    `aioxide-loop` stock tasks on the native loop."""
    module: Any = import_module("aioxide")
    if name == "aioxide-loop":

        def stock_tasks() -> asyncio.AbstractEventLoop:
            loop: asyncio.AbstractEventLoop = module.new_event_loop()
            loop.set_task_factory(lambda loop, coro, **kw: asyncio.Task(coro, loop=loop, **kw))
            return loop

        return Engine(name, stock_tasks, asyncio.Task, asyncio.Future)
    lib = module if name == "aioxide" else asyncio
    return Engine(name, module.new_event_loop, module.Task, module.Future, lib)


NATIVE = ("aioxide", "aioxide-stdlib", "aioxide-loop")


def names() -> list[str]:
    """Every engine's name, mutants included."""
    from tests.differential.mutants import MUTANTS
    from tests.differential.primitive_mutants import PRIMITIVE_MUTANTS

    return ["stock", "python", *NATIVE, *MUTANTS, *PRIMITIVE_MUTANTS]


def engine(name: str) -> Engine:
    """The engine of that name; ImportError when it is native and not built."""
    from tests.differential.mutants import MUTANTS
    from tests.differential.primitive_mutants import PRIMITIVE_MUTANTS

    if name in NATIVE:
        return _aioxide(name)
    if name in PRIMITIVE_MUTANTS:
        return PRIMITIVE_MUTANTS[name].engine(name)
    return {"stock": STOCK, "python": PYTHON}.get(name) or MUTANTS[name]()
