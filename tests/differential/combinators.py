"""What the operations do that wait for several things, or within limits: gather, wait,
as_completed, wait_for, timeout, shield and TaskGroup.

Where the stdlib keeps what it waits for in a set, the order that an engine keeps cannot be
compared with any other: a set's is that of addresses. Such programs are steered clear of here,
each at the place where it would arise.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from tests.differential.actions import spawn
from tests.differential.catalogue import FUTURES
from tests.differential.primitives import show
from tests.differential.world import FAR, Actor, World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.differential.program import Op

FRESH = 7


def _target(w: World, me: Actor, number: int) -> Awaitable[Any]:
    """thing[number], or for the highest number a fresh coroutine of the next body."""
    if number == FRESH:
        fresh = _body(w, me, me.body + 1)
        if fresh is not None:
            return fresh
    return w.awaitable(number, me)


def _body(w: World, me: Actor, body: int) -> Awaitable[Any] | None:
    if me.body < body < len(w.program.bodies):
        name = w.next_name("c")
        if name is not None:
            return w.run_body(name, body, me.rank)
    return None


# -- gather and shield -------------------------------------------------------------------------


async def _gather(w: World, me: Actor, op: Op) -> object:
    targets = [_target(w, me, number) for number in (op.a, op.b)]
    if op.c // 2 == 1:
        targets.append(targets[0])
    elif op.c // 2 == 2:
        targets.insert(1, _target(w, me, FRESH))
    result: object = await w.lib.gather(*targets, return_exceptions=bool(op.c % 2))
    return result


async def _gather_nested(w: World, me: Actor, op: Op) -> object:
    inner = w.lib.gather(_target(w, me, op.a), w.future[0])
    result: object = await w.lib.gather(inner, _target(w, me, op.b), return_exceptions=bool(op.c))
    return result


def _gather_into(w: World, _me: Actor, op: Op) -> object:
    """Only of futures: a task in it could wait for it, and the two would cancel each other
    without end."""
    numbers = (op.b, (op.b + op.c) % FUTURES, 0)
    made = w.lib.gather(*(w.future[number] for number in numbers))
    w.replace_future(op.a, made)
    return repr(made)


async def _shield(w: World, me: Actor, op: Op) -> object:
    return await w.lib.shield(_target(w, me, op.a))


def _shield_into(w: World, _me: Actor, op: Op) -> object:
    made = w.lib.shield(w.future[op.b])
    w.replace_future(op.a, made)
    return repr(made)


# -- wait and as_completed ---------------------------------------------------------------------


def _settled_order(*things: asyncio.Future[Any]) -> list[asyncio.Future[Any]]:
    """wait and as_completed put things into a set; of two that are done already, its order,
    which is that of addresses, says which is looked at first. So only one may be done."""
    return [things[0]] if all(thing.done() for thing in things) else list(things)


async def _wait(w: World, me: Actor, op: Op) -> object:
    things = _settled_order(w.awaitable(op.a, me), w.awaitable(op.b, me))
    return await _wait_for_things(w, things, op.c)


async def _wait_all(w: World, me: Actor, op: Op) -> object:
    return await _wait_for_things(w, [*w.future, w.awaitable(op.a, me)], op.c)


async def _wait_for_things(w: World, things: list[asyncio.Future[Any]], how: int) -> object:
    kinds = ("ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION")
    timeout = w.delay((0, 0, 0, 1, 5, 6)[how])
    when = getattr(w.lib, kinds[how % 3])
    done, pending = await w.lib.wait(things, timeout=timeout, return_when=when)
    return [(thing in done, thing in pending) for thing in things]


async def _as_completed(w: World, me: Actor, op: Op) -> object:
    """To the end or only the first, with and without a limit, in the old way and in 3.13's."""
    things: list[Any] = list(_settled_order(w.awaitable(op.a, me), w.awaitable(op.b, me)))
    if op.c >= 5:
        fresh = _body(w, me, me.body + 1)
        things = things if fresh is None else [things[0], fresh]
    timeout = w.delay((0, 1, 0, 0, 1, 6, 0, 0)[op.c])
    came: list[object] = []
    if op.c in {3, 4, 6} and sys.version_info >= (3, 13):
        async for thing in w.lib.as_completed(things, timeout=timeout):
            w.note(me.name, "came", thing)
            came.append(await thing)
    else:
        for one in w.lib.as_completed(things, timeout=timeout):
            try:
                came.append(await one)
            except asyncio.CancelledError as error:
                if op.c != 7:
                    raise
                came.append(error)  # and see what is left
            w.note(me.name, "came", came[-1])
            if op.c == 2:
                break
    return came


# -- wait_for and timeout ----------------------------------------------------------------------


async def _wait_for(w: World, me: Actor, op: Op) -> object:
    return await w.lib.wait_for(_target(w, me, op.a), w.delay(op.b))


async def _wait_for_call(w: World, me: Actor, op: Op) -> object:
    inner = _body(w, me, op.a)
    return "no body" if inner is None else await w.lib.wait_for(inner, w.delay(op.b))


async def _wait_for_stubborn(w: World, me: Actor, op: Op) -> object:
    """Limits on what does not simply end when it is cancelled, running already or not."""
    inner = _stubborn(w, me, op.a % 4, w.future[op.c])
    if op.a < 4:
        task: asyncio.Task[Any] = w.lib.create_task(inner, name="stubborn")
        await w.lib.sleep(0)
        return await w.lib.wait_for(task, w.delay(op.b))
    return await w.lib.wait_for(inner, w.delay(op.b))


async def _stubborn(w: World, me: Actor, how: int, future: asyncio.Future[Any]) -> object:
    """Cancelled, it returns, fails, takes its time or (later) gives in."""
    w.note_start(me.rank)
    try:
        return await future
    except asyncio.CancelledError as error:
        w.note(me.name, "stubborn", error)
        if how == 1:
            raise ValueError("stubborn") from error
        if how >= 2:
            await w.lib.sleep(0)
        if how == 3:
            raise
    return "in spite of it"


async def _wait_for_primitive(w: World, _me: Actor, op: Op) -> object:
    name, method = (
        ("lock", "acquire"),
        ("semaphore", "acquire"),
        ("event", "wait"),
        ("queue", "get"),
        ("barrier", "wait"),
        ("queue", "join"),
    )[op.a]
    inner = getattr(getattr(w.kit, name), method)()
    return await w.lib.wait_for(inner, w.delay(op.b))


async def _timeout(w: World, me: Actor, op: Op) -> object:
    return await _within(w, me, op, w.lib.timeout(w.delay(op.a)))


async def _timeout_at(w: World, me: Actor, op: Op) -> object:
    return await _within(w, me, op, w.lib.timeout_at(_deadline(w, op.a)))


async def _timeout_again(w: World, me: Actor, op: Op) -> object:
    return await _within(w, me, op, w.limits[-1]) if w.limits else "no limit"


async def _within(w: World, me: Actor, op: Op, limit: Any) -> object:
    w.limits.append(limit)
    async with limit as entered:
        w.note(me.name, "limit entered", entered is limit)
        await w.run_block(me, op.body)
    return limit.expired(), show(limit)


def _deadline(w: World, choice: int) -> float | None:
    delay = w.delay(choice)
    return None if delay is None else w.loop.time() + delay


def _reschedule(w: World, _me: Actor, op: Op) -> object:
    if not w.limits:
        return "no limit"
    return w.limits[-1 - op.a % len(w.limits)].reschedule(_deadline(w, op.b))


def _limit_state(w: World, _me: Actor, op: Op) -> object:
    if not w.limits:
        return "no limit"
    limit = w.limits[-1 - op.a % len(w.limits)]
    when = limit.when()
    if when is None:
        text = "never"
    elif when <= w.start:
        text = "long ago"
    elif when > w.start + FAR / 2:
        text = "far"
    else:  # without a clock these were due when they were made
        text = str(round((when - w.start) / w.slot)) if w.program.clocked else "due"
    return text, limit.expired(), show(limit)


# -- TaskGroup ---------------------------------------------------------------------------------


class Ordered(dict[Any, None]):
    """A set in order of insertion, for the stdlib's TaskGroup: it aborts its tasks in the
    order of a set, which is that of their addresses. An engine's own should keep this order."""

    add = dict.setdefault

    def discard(self, item: object) -> None:
        """Take an item out, if it is there."""
        self.pop(item, None)


async def _group(w: World, me: Actor, op: Op) -> object:
    group = w.lib.TaskGroup()
    if isinstance(vars(group).get("_tasks"), set):
        group._tasks = Ordered()
    w.groups.append(group)
    async with group as entered:
        w.note(me.name, "group entered", entered is group)
        for _ in range(op.b + 1):
            if op.a > me.body:
                _start_in(w, group, op.a)
        await w.run_block(me, op.body)
    return show(group)


async def _group_again(w: World, me: Actor, op: Op) -> object:
    if not w.groups:
        return "no group"
    async with w.groups[-1]:
        await w.run_block(me, op.body)
    return "entered twice"


def _start_in(w: World, group: Any, body: int) -> object:
    return spawn(w, body, 0, lambda coro, name: group.create_task(coro, name=name))


def _group_task(w: World, me: Actor, op: Op) -> object:
    if not w.groups or op.b <= me.body:
        return "no group or body"
    return _start_in(w, w.groups[-1 - op.a % len(w.groups)], op.b)


def _group_state(w: World, _me: Actor, op: Op) -> object:
    return show(w.groups[-1 - op.a % len(w.groups)]) if w.groups else "no group"


WAITS: dict[str, Callable[[World, Actor, Op], Awaitable[object]]] = {
    "shield": _shield,
    "gather": _gather,
    "gather_nested": _gather_nested,
    "wait": _wait,
    "wait_all": _wait_all,
    "as_completed": _as_completed,
    "wait_for": _wait_for,
    "wait_for_call": _wait_for_call,
    "wait_for_stubborn": _wait_for_stubborn,
    "wait_for_primitive": _wait_for_primitive,
    "timeout": _timeout,
    "timeout_at": _timeout_at,
    "timeout_again": _timeout_again,
    "group": _group,
    "group_again": _group_again,
}
ACTIONS: dict[str, Callable[[World, Actor, Op], object]] = {
    "gather_into": _gather_into,
    "shield_into": _shield_into,
    "reschedule": _reschedule,
    "limit_state": _limit_state,
    "group_task": _group_task,
    "group_state": _group_state,
}
