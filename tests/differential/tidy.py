"""Text without what differs from run to run, or is an engine's own affair.

What is normalised, and why:
  * addresses, paths, line numbers and the numbers of unnamed tasks;
  * a task's own entry in a future's callback list: how it is spelled is an engine's affair
    (`Task.task_wakeup()`, `TaskWakeupMethWrapper`, `Task.__wakeup()`);
  * the entries of gather, shield, wait, as_completed and threads in a callback list: functions in
    a function of the stdlib's, methods of native objects here. That they are there, and in which
    order, is compared;
  * where the coroutine around an awaitable is defined, which ours, without a code object, is not;
  * the arguments of a partial in a callback list, cut by reprlib at any point;
  * which callback failed: its repr is cut to a length that depends on addresses;
  * pure-Python futures say "FINISHED: <repr>" and "not ready" for "invalid state", "not set";
  * pure-Python tasks throw into a coroutine from inside an except block, so whatever it
    raises then has that exception as its context. Where they take part, `chains` is off.
  * what the garbage collector reports ("never retrieved", "destroyed but pending"), and what
    coroutines do that it ends: the order is the order of deallocation, so these lines are
    sorted and put last.
"""

from __future__ import annotations

import re
from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+|0x[0-9a-fA-F]+")
_SOURCE = re.compile(r" (?:created|defined|running) at [^>\s]+:\d+|[^\s<>'(]*/[^\s<>']+:\d+")
_BOUND = re.compile(r"_release_waiter\(.*?\)\(\)(?: at )?")
_UNNAMED = re.compile(r"\bTask-\d+")
_WAKEUP = re.compile(
    r"<TaskWakeupMethWrapper object>\(\)"
    r"|(?:<bound method )?(?:Task\.)?(?:task_wakeup|_Task__wakeup|Task\.__wakeup|__wakeup)\(\)"
)
#: A callback of the stdlib's, and ours in its place; which of them a future has is compared.
_WATCHERS = (
    (
        re.compile(
            r"gather\.<locals>\._done_callback\(\) at |_GatheringFuture\._done_callback\(\)"
        ),
        "gathered()",
    ),
    (
        re.compile(r"shield(?:\.<locals>)?\._clear_awaited_by_callback\(\)(?: at )?"),
        "shield-cleared()",
    ),
    (
        re.compile(r"shield(?:\.<locals>)?\._(?:inner|outer)_done_callback\(\)(?: at )?"),
        "shielded()",
    ),
    (re.compile(r"_wait\.<locals>\._on_completion\(\) at |wait\._on_completion\(\)"), "waited()"),
    (
        re.compile(
            r"as_completed\.<locals>\._on_completion\(\) at "
            r"|_AsCompletedIterator\._handle_completion\(\)"
        ),
        "completed()",
    ),
    (
        re.compile(r"_chain_future\.<locals>\._call_set_state\(\) at |bridge\._call_set_state\(\)"),
        "chained()",
    ),
    (re.compile(r"coroutine\._release_waiter\(\)"), "_release_waiter()"),
)
#: What such a callback's name ends in.
_WATCHED = ("_callback()", "_completion()", "_release_waiter()", "_call_set_state()")
_STATE = re.compile(r"^InvalidStateError\((?:FINISHED|CANCELLED): .*\)$", re.DOTALL)


def tidy(text: str) -> str:
    """Text without what differs from run to run."""
    if "0x" in text:
        text = _ADDRESS.sub("", text)
    if "/" in text:
        text = _SOURCE.sub("", text)
    if "_release_waiter(" in text:
        text = _BOUND.sub("_release_waiter()", text)
    if "akeup" in text:
        text = _WAKEUP.sub("wakeup()", text)
    text = text.replace("_wrap_awaitable() done,", "_wrap_awaitable()")
    if any(part in text for part in _WATCHED):
        for pattern, name in _WATCHERS:
            text = pattern.sub(name, text)
    if "name='None'" in text:
        text = text.replace("name='None'", "name='Task-?'")  # see task_name
    if "Task-" in text:
        text = _UNNAMED.sub("Task-?", text)
    return text


def task_name(task: Any) -> str:
    """A task's name; 3.13.0 calls unnamed tasks from a factory "None"."""
    name: str = task.get_name()
    return "Task-?" if name == "None" else tidy(name)


def tidy_state(text: str) -> str:
    """An InvalidStateError's text, whichever implementation it comes from."""
    return _STATE.sub("InvalidStateError(invalid state)", text).replace("ready", "set")
