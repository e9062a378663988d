"""What makes stock asyncio give right answers about aioxide's tasks.

Most of asyncio needs no help: our types answer to `isinstance` through `__class__`, and the engine
keeps `asyncio.current_task()` right. Three things cannot be had that way, because asyncio keeps
the answer in a place of its own:

- `asyncio.all_tasks()` walks a WeakSet. Registering each task there costs 214 ns per task, more
  than everything else about making one. The loop already has a list of its tasks, so instead the
  WeakSet's class is swapped for one that walks those lists too when somebody asks.
- 3.14's call graph (`asyncio.print_call_graph()`) is told who awaits whom by two C functions that
  ignore what is not their own type by layout. Native ones replace them that know ours, and leave
  the rest to the two.
- A forked child has a copy of the loop, but shares the kernel's half of it with its parent. The
  copy is told, and gets a kernel half of its own when it is used; it would steal events otherwise.

Nothing here happens on import: a program that merely has aioxide installed runs untouched asyncio.
The first EventLoop connects the two; nothing disconnects them, since tasks outlive loops.
"""

import _asyncio
import asyncio
import gc
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from aioxide import _core

_lock = threading.Lock()
_connected = False


def connect() -> None:
    """Make stock asyncio see our tasks, once per process. Cheap to call again."""
    global _connected
    with _lock:
        if not _connected:
            for tasks in _sets_of_tasks():
                tasks.__class__ = _AllTasks
            if sys.version_info >= (3, 14):
                _connect_call_graph()
            os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
            _connected = True


class _AllTasks(weakref.WeakSet[Any]):
    """asyncio's set of tasks, with the tasks of live aioxide loops in it.

    Only asking is changed: asyncio adds and discards its own tasks as ever.
    """

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        yield from _our_tasks()

    def __len__(self) -> int:
        return super().__len__() + len(_our_tasks())

    def __contains__(self, task: object) -> bool:
        return super().__contains__(task) or any(task is ours for ours in _our_tasks())


def _our_tasks() -> list[asyncio.Task[Any]]:
    return [task for loop in _core.live_loops() for task in loop._tasks()]  # noqa: SLF001


def _sets_of_tasks() -> list[weakref.WeakSet[Any]]:
    """Return the WeakSets that `asyncio.all_tasks()` and its pure Python twin read."""
    name = "_scheduled_tasks" if sys.version_info >= (3, 12) else "_all_tasks"
    found: list[object] = [getattr(asyncio.tasks, name, None)]
    if sys.version_info >= (3, 14):
        # The above is the twin's. asyncio's own tasks are in linked lists, all others in a WeakSet
        # that only C can name; but it is the one WeakSet that the module object refers to.
        found += [held for held in gc.get_referents(_asyncio) if isinstance(held, weakref.WeakSet)]
    sets = [held for held in found if isinstance(held, weakref.WeakSet)]
    expected = 2 if sys.version_info >= (3, 14) else 1
    if not len(sets) == len(found) == expected:
        raise RuntimeError(
            f"aioxide does not know this Python: asyncio keeps {len(sets)} sets of tasks, "
            f"not {expected} ({sys.version})"
        )
    return sets


def _connect_call_graph() -> None:
    """Let asyncio's gather(), wait(), TaskGroup and so on record who awaits our tasks."""
    for name in ("future_add_to_awaited_by", "future_discard_from_awaited_by"):
        for module in (asyncio.futures, asyncio, sys.modules["aioxide"]):
            setattr(module, name, getattr(_core, name))


def _before_fork() -> None:
    # Else both processes would send what the callback that forks has written.
    loop: Any = asyncio._get_running_loop()  # noqa: SLF001
    if isinstance(loop, _core.Loop):
        loop._send_written()  # noqa: SLF001


def _after_fork_in_child() -> None:
    for loop in _core.live_loops():
        loop._forked()  # noqa: SLF001
