"""What the operations on primitives do: Lock, Event, Condition, Semaphore, Barrier and Queue.

Primitives are used as context managers and by hand, by tasks that hold them and by tasks and
callbacks that do not; what they refuse is part of their promise. A state is what a program can
ask for: the methods' answers, and the repr.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tests.differential.primitives import show

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.differential.program import Op
    from tests.differential.world import Actor, World


def _block(name: str) -> Callable[[World, Actor, Op], Awaitable[object]]:
    """A block inside a primitive."""

    async def wait(w: World, me: Actor, op: Op) -> object:
        primitive = getattr(w.kit, name)
        async with primitive as entered:
            w.note(me.name, f"{name} entered", entered)
            await w.run_block(me, op.body)
        return show(primitive)

    return wait


def _await(name: str, method: str) -> Callable[[World, Actor, Op], Awaitable[object]]:
    """A method that waits."""

    async def wait(w: World, _me: Actor, _op: Op) -> object:
        result: object = await getattr(getattr(w.kit, name), method)()
        return result

    return wait


def _call(name: str, method: str) -> Callable[[World, Actor, Op], object]:
    """A method that does not wait."""

    def action(w: World, _me: Actor, _op: Op) -> object:
        result: object = getattr(getattr(w.kit, name), method)()
        return result

    return action


def _state(name: str, *questions: str) -> Callable[[World, Actor, Op], object]:
    """What a primitive answers; some questions are methods, some properties."""

    def action(w: World, _me: Actor, _op: Op) -> object:
        primitive = getattr(w.kit, name)
        answers: list[Any] = [getattr(primitive, question) for question in questions]
        return [a() if callable(a) else a for a in answers], show(primitive)

    return action


async def _condition(w: World, me: Actor, op: Op) -> object:
    condition = w.kit.condition
    async with condition:
        if op.a == 0:
            w.note(me.name, "waited", await condition.wait())
        elif op.a == 1:
            condition.notify()
        elif op.a == 2:
            condition.notify_all()
        elif op.a == 3:
            condition.notify(2)
        else:
            w.note(me.name, "waited", await condition.wait_for(_counted(w, me)))
        await w.run_block(me, op.body)
    return condition.locked()


def _counted(w: World, me: Actor) -> Callable[[], bool]:
    """Whether the count has grown since now; each time somebody asks is noted."""
    before = w.kit.count

    def grown() -> bool:
        w.note(me.name, "predicate", w.kit.count)
        return bool(w.kit.count > before)

    return grown


def _count(w: World, _me: Actor, _op: Op) -> object:
    w.kit.count += 1
    return w.kit.count


async def _queue_put(w: World, _me: Actor, op: Op) -> object:
    return await w.kit.queue.put(op.a)


async def _queue_work(w: World, me: Actor, op: Op) -> object:
    item: object = await w.kit.queue.get()
    try:
        w.note(me.name, "works on", item)
        await w.run_block(me, op.body)
    finally:
        w.kit.queue.task_done()
    return item


def _queue_shutdown(w: World, _me: Actor, op: Op) -> object:
    if sys.version_info >= (3, 13):
        outcome = w.kit.queue.shutdown(immediate=bool(op.a))
    else:
        outcome = "before 3.13"  # where only ours has it
    return outcome


WAITS: dict[str, Callable[[World, Actor, Op], Awaitable[object]]] = {
    "lock": _block("lock"),
    "lock_acquire": _await("lock", "acquire"),
    "event_wait": _await("event", "wait"),
    "condition": _condition,
    "condition_wait": _await("condition", "wait"),
    "condition_acquire": _await("condition", "acquire"),
    "semaphore": _block("semaphore"),
    "semaphore_acquire": _await("semaphore", "acquire"),
    "barrier_wait": _await("barrier", "wait"),
    "barrier": _block("barrier"),
    "barrier_abort": _await("barrier", "abort"),
    "barrier_reset": _await("barrier", "reset"),
    "queue_get": _await("queue", "get"),
    "queue_put": _queue_put,
    "queue_join": _await("queue", "join"),
    "queue_work": _queue_work,
}
ACTIONS: dict[str, Callable[[World, Actor, Op], object]] = {
    "lock_release": _call("lock", "release"),
    "lock_state": _state("lock", "locked"),
    "event_set": _call("event", "set"),
    "event_clear": _call("event", "clear"),
    "event_state": _state("event", "is_set"),
    "notify": lambda w, _me, op: w.kit.condition.notify(op.a),
    "notify_all": _call("condition", "notify_all"),
    "condition_release": _call("condition", "release"),
    "condition_state": _state("condition", "locked"),
    "count": _count,
    "semaphore_release": _call("semaphore", "release"),
    "semaphore_state": _state("semaphore", "locked"),
    "barrier_state": _state("barrier", "parties", "n_waiting", "broken"),
    "put_nowait": lambda w, _me, op: w.kit.queue.put_nowait(op.a),
    "get_nowait": _call("queue", "get_nowait"),
    "task_done": _call("queue", "task_done"),
    "queue_shutdown": _queue_shutdown,
    "queue_state": _state("queue", "maxsize", "qsize", "empty", "full"),
}
