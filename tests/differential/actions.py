"""What the plain operations do that do not wait: in tasks and in callbacks alike."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from tests.differential.tidy import task_name
from tests.differential.world import (
    FAR,
    LAST_SLOT,
    MAX_ACTORS,
    Actor,
    World,
    own_context,
    var,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.differential.program import Block, Op

    Action = Callable[[World, Actor, Op], object]

MESSAGE: tuple[str | None, ...] = (None, "one", "two", "three")


class Interrupt(KeyboardInterrupt):
    """A program's own Ctrl-C, so that a person's still works."""


def make_error(number: int) -> Any:
    """ERROR[number]; past the ordinary ones, each of the kinds that engines treat apart."""
    if number < 8:
        return ValueError(number)
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: KeyError,
        lambda: asyncio.CancelledError("raised"),
        lambda: TimeoutError("raised"),
        lambda: StopIteration(1),
        lambda: LookupError("x"),
        lambda: SystemExit(3),
        lambda: Interrupt("program"),
        lambda: GeneratorExit("raised"),
    )
    return kinds[number - 8]()


def _callback(world: World, actor: Actor, block: Block) -> Callable[..., object]:
    """A callback that does a block's actions under a name of its own."""
    name = world.next_name("cb") or "cb-"
    doer = Actor(name, actor.body, actor.rank)

    def callback(*args: object) -> None:
        world.note(name, "called", args)
        if len(world.trace) < 2000:
            for op in block:
                world.act(doer, op)

    return callback


# -- futures -----------------------------------------------------------------------------------


def _set_result(w: World, _me: Actor, op: Op) -> object:
    w.future[op.a].set_result(op.b)
    return op.a


def _set_exception(w: World, _me: Actor, op: Op) -> object:
    w.future[op.a].set_exception(make_error(op.b))
    return op.a


def _cancel_future(w: World, _me: Actor, op: Op) -> object:
    return w.future[op.a].cancel(MESSAGE[op.b])


def _new_future(w: World, _me: Actor, op: Op) -> None:
    w.replace_future(op.a, w.new_future(op.b))


def _future_state(w: World, _me: Actor, op: Op) -> object:
    return w.show_future(w.future[op.a])


# -- tasks -------------------------------------------------------------------------------------


def _on_task(what: Callable[[World, asyncio.Task[Any], Op], object]) -> Action:
    """An action on task[a], which may not exist yet."""

    def action(w: World, _me: Actor, op: Op) -> object:
        task = w.some_task(op.a)
        return "no task" if task is None else (task_name(task), what(w, task, op))

    return action


def _task_set(_w: World, task: asyncio.Task[Any], op: Op) -> object:
    if op.b:
        task.set_exception(ValueError())
    else:
        task.set_result(1)
    return "allowed"


def _stack(_w: World, task: asyncio.Task[Any], _op: Op) -> object:
    """The coroutine's frames; below a running one lie those of the loop. Not of a task that
    failed: the second result() of a C task raises without the traceback of the first."""
    if task.done():
        return "done"
    names = [frame.f_code.co_name for frame in task.get_stack()]
    return [name for name in names if name in {"run_body", "_drive"}]


def _spawn(w: World, _me: Actor, op: Op) -> object:
    return spawn(w, op.a, op.b)


def spawn(
    w: World,
    body: int,
    how: int,
    create: Callable[[Coroutine[Any, Any, Any], str], asyncio.Task[Any]] | None = None,
) -> object:
    """Start a body as a new actor."""
    name = w.next_name("t")
    if name is None or body >= len(w.program.bodies):
        return "no more"
    rank = w.actors
    coro = w.run_body(name, body, rank)
    try:
        task = create(coro, name) if create else w.create_task(coro, name, how)
    except BaseException:
        coro.close()
        raise
    w.add_task(task, rank)
    return task


def _all_tasks(w: World, _me: Actor, _op: Op) -> object:
    return sorted(task_name(task) for task in asyncio.all_tasks(w.loop))


def _show(w: World, _me: Actor, op: Op) -> object:
    return repr(w.thing(op.a))


# -- callbacks and handles ---------------------------------------------------------------------


def _add_callback(w: World, me: Actor, op: Op) -> None:
    callback, thing = _callback(w, me, op.body), w.thing(op.a)
    w.callback.append((callback, thing))
    if op.b == 1:
        thing.add_done_callback(callback, context=own_context())
    else:
        thing.add_done_callback(callback)
    if op.b == 2:
        thing.add_done_callback(callback)


def _add_again(w: World, _me: Actor, op: Op) -> object:
    if not w.callback or w.actors >= MAX_ACTORS:
        return "no callback"
    w.actors += 1
    w.thing(op.a).add_done_callback(w.callback[-1 - op.b % len(w.callback)][0])
    return "added"


def _remove_callback(w: World, _me: Actor, op: Op) -> object:
    if not w.callback:
        return "no callback"
    callback, thing = w.callback[-1 - op.b % len(w.callback)]
    return (w.thing(op.a) if op.c else thing).remove_done_callback(callback)


def _call_soon(w: World, me: Actor, op: Op) -> None:
    callback = _callback(w, me, op.body)
    if op.a:
        w.handle.append(w.loop.call_soon(callback, 1, context=own_context()))
    else:
        w.handle.append(w.loop.call_soon(callback))


def _threadsafe(w: World, me: Actor, op: Op) -> None:
    w.handle.append(w.loop.call_soon_threadsafe(_callback(w, me, op.body), 2))


def _call_later(w: World, me: Actor, op: Op) -> None:
    w.handle.append(w.loop.call_later(0, _callback(w, me, op.body)))


def _call_far(w: World, me: Actor, op: Op) -> None:
    w.handle.append(w.loop.call_later(FAR, _callback(w, me, op.body)))


def _call_past(w: World, me: Actor, op: Op) -> None:
    """Overdue by an amount no other handle has: equal deadlines have no defined order."""
    when = w.start - 100 + op.a + len(w.handle) * 1e-3
    w.handle.append(w.loop.call_at(when, _callback(w, me, op.body), "past"))


def _call_slot(w: World, me: Actor, op: Op) -> object:
    when = w.take_slot(op.a)
    if when is None:
        return "no slot"
    w.handle.append(w.loop.call_at(when, _callback(w, me, op.body)))
    return round((when - w.start) * 1000)


def _stall(w: World, _me: Actor, op: Op) -> object:
    """Keep the loop busy, so that timers of several slots are due in the same turn."""
    if w.ending or not w.program.clocked:
        return "no clock"
    until = w.start + (min(w.slot_now() + op.a, LAST_SLOT) + 1.5) * w.slot
    time.sleep(max(0, until - w.loop.time()))
    return "late"


def _cancel_handle(w: World, _me: Actor, op: Op) -> object:
    if not w.handle:
        return "no handle"
    handle = w.handle[-1 - op.a % len(w.handle)]
    before = handle.cancelled()
    handle.cancel()
    return before, handle.cancelled()


def _set_var(_w: World, _me: Actor, op: Op) -> object:
    var.set(op.a)
    return None


ACTIONS: dict[str, Action] = {
    "set_result": _set_result,
    "set_exception": _set_exception,
    "cancel_future": _cancel_future,
    "new_future": _new_future,
    "future_state": _future_state,
    "cancel_task": _on_task(lambda _w, task, op: task.cancel(MESSAGE[op.b])),
    "uncancel": _on_task(lambda _w, task, _op: task.uncancel()),
    "cancelling": _on_task(lambda _w, task, _op: task.cancelling()),
    "task_state": _on_task(lambda w, task, _op: w.show_future(task)),
    "task_set": _on_task(_task_set),
    "rename": _on_task(lambda _w, task, op: task.set_name(f"n{op.b}")),
    "retrieve": lambda w, _me, op: w.thing(op.a).exception(),
    "result": lambda w, _me, op: w.thing(op.a).result(),
    "show": _show,
    "stack": _on_task(_stack),
    "all_tasks": _all_tasks,
    "spawn": _spawn,
    "add_callback": _add_callback,
    "add_again": _add_again,
    "remove_callback": _remove_callback,
    "call_soon": _call_soon,
    "threadsafe": _threadsafe,
    "call_later": _call_later,
    "call_past": _call_past,
    "call_far": _call_far,
    "call_slot": _call_slot,
    "stall": _stall,
    "cancel_handle": _cancel_handle,
    "set_var": _set_var,
    "stop": lambda w, _me, _op: w.loop.stop(),
}
