"""A cancellation from outside, at one exact point of a run.

Whoever cancels a task inside a program does it where the generator happened to put the call. The
faults that count are elsewhere: between the moment in which a waiter is woken and the moment in
which it runs, after the last line of a body, in the turn in which a timer fires. So every event
that a run notes, and every turn of its driver, is a *point*; points are numbered, and a program
can name one at which a task is cancelled, whoever is running. `compare.py` sweeps a program: it
cancels each task at each point in which that task was alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Cancel(NamedTuple):
    """At which point, which task (counted as in the world's list), and how."""

    point: int = 0
    task: int = 0
    how: int = 0


def _plain(task: asyncio.Task[Any]) -> object:
    return task.cancel()


def _with_message(task: asyncio.Task[Any]) -> object:
    return task.cancel("injected")


def _twice(task: asyncio.Task[Any]) -> object:
    return task.cancel("first"), task.cancel("second")


def _next_turn(task: asyncio.Task[Any]) -> object:
    task.get_loop().call_soon(task.cancel, "in a callback")
    return "soon"


def _taken_back(task: asyncio.Task[Any]) -> object:
    return task.cancel("taken back"), task.uncancel()


def _now_and_next_turn(task: asyncio.Task[Any]) -> object:
    task.get_loop().call_soon(task.cancel, "again")
    return task.cancel("now")


_HOWS: tuple[tuple[str, Callable[[asyncio.Task[Any]], object]], ...] = (
    ("cancel()", _plain),
    ("cancel('injected')", _with_message),
    ("cancel() twice", _twice),
    ("cancel() by call_soon", _next_turn),
    ("cancel() and uncancel()", _taken_back),
    ("cancel() now and by call_soon", _now_and_next_turn),
)
HOWS = len(_HOWS)
POINTS = 60
TASKS = 5


def describe(cancel: Cancel) -> str:
    """The cancellation as a report names it."""
    return f"task[{cancel.task}]: {_HOWS[cancel.how][0]} at point {cancel.point}"


def inject(cancel: Cancel, tasks: list[asyncio.Task[Any]]) -> object:
    """Do it; the answer is what there is to note."""
    if cancel.task >= len(tasks):
        return "no task"
    return _HOWS[cancel.how][1](tasks[cancel.task])
