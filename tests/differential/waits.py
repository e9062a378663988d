"""What the operations do that wait: the bodies of coroutines.

What an operation came to is noted, result or exception, and exceptions go on: they unwind
the body through its try blocks, context managers and nested coroutines as in real code.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.differential.actions import act, spawn
from tests.differential.catalogue import ACTIONS, FUTURES
from tests.differential.world import MAX_ACTORS, Actor, World

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from tests.differential.program import Block, Op


async def run_body(world: World, name: str, number: int, rank: int) -> int:
    """The coroutine of an actor."""
    actor = Actor(name, number, rank)
    world.note_start()
    world.note(name, "start", number)
    try:
        await run_block(world, actor, world.program.bodies[number])
    except BaseException as error:
        world.note(name, "end !", error)
        raise
    world.note(name, "end")
    return number


async def run_block(world: World, actor: Actor, block: Block) -> None:
    """A block's operations in order."""
    for op in block:
        if op.kind in ACTIONS:
            act(world, actor, op)
            continue
        try:
            value = await WAITS[op.kind](world, actor, op)
        except BaseException as error:
            world.note(actor.name, f"{op.kind} !", error)
            raise
        world.note(actor.name, op.kind, value)


class Yields:
    """Awaiting it yields one thing to the task, as no stdlib awaitable would."""

    def __init__(self, value: object = None) -> None:
        self.value = value

    def __await__(self) -> Generator[object, object, object]:
        return (yield self.value)


# -- single waits ------------------------------------------------------------------------------


async def _yield0(w: World, _me: Actor, _op: Op) -> object:
    return await w.lib.sleep(0, "slept")


async def _bare(_w: World, _me: Actor, _op: Op) -> object:
    return await Yields()


async def _bad_yield(w: World, _me: Actor, op: Op) -> object:
    """A number, a future not asked to block, the task itself, an iterator.

    The task that awaits itself is one of its own: until the refusal reaches it a C task
    believes that it is being awaited, and refuses others who try; a pure-Python one does not.
    """
    if op.a == 2:
        task: asyncio.Task[object] = w.loop.create_task(_await_itself(), name="self")
        return await task
    return await Yields((42, w.future[0], None, iter(()))[op.a])


async def _await_itself() -> object:
    await asyncio.sleep(0)  # until its maker awaits it, should tasks start at once
    task: asyncio.Task[object] | None = asyncio.current_task()
    assert task is not None
    return await task


async def _await_future(w: World, _me: Actor, op: Op) -> object:
    return await w.future[op.a]


async def _await_task(w: World, me: Actor, op: Op) -> object:
    return await w.awaitable(FUTURES + op.a, me)


async def _call(w: World, me: Actor, op: Op) -> object:
    if op.a <= me.body or w.actors >= MAX_ACTORS:
        return "no body"
    return await run_body(w, f"{me.name}.{op.a}", op.a, me.rank)


async def _sleep(w: World, _me: Actor, op: Op) -> object:
    deadline = w.take_slot(op.a)
    return await w.lib.sleep(0 if deadline is None else deadline - w.loop.time(), "woke")


# -- waits for several, and within limits ------------------------------------------------------


def _target(w: World, me: Actor, number: int) -> Awaitable[Any]:
    """thing[number], or for the highest number a fresh coroutine of the next body."""
    if number == 7 and me.body + 1 < len(w.program.bodies):
        name = w.next_name("c")
        if name is not None:
            return run_body(w, name, me.body + 1, me.rank)
    return w.awaitable(number, me)


async def _shield(w: World, me: Actor, op: Op) -> object:
    return await w.lib.shield(_target(w, me, op.a))


async def _gather(w: World, me: Actor, op: Op) -> object:
    targets = [_target(w, me, number) for number in (op.a, op.b)]
    result: object = await w.lib.gather(*targets, return_exceptions=bool(op.c))
    return result


def _settled_order(*things: asyncio.Future[Any]) -> list[asyncio.Future[Any]]:
    """wait and as_completed put things into a set; of two that are done already, its order,
    which is that of addresses, says which is looked at first. So only one may be done."""
    return [things[0]] if all(thing.done() for thing in things) else list(things)


async def _wait(w: World, me: Actor, op: Op) -> object:
    things = _settled_order(w.awaitable(op.a, me), w.awaitable(op.b, me))
    kinds = ("ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED")
    timeout = (None, None, None, 0, w.delay(5))[op.c]
    when = getattr(w.lib, kinds[op.c % 4])
    done, pending = await w.lib.wait(things, timeout=timeout, return_when=when)
    return [(thing in done, thing in pending) for thing in things]


async def _wait_for(w: World, me: Actor, op: Op) -> object:
    return await w.lib.wait_for(_target(w, me, op.a), w.delay(op.b))


async def _as_completed(w: World, me: Actor, op: Op) -> object:
    things = _settled_order(w.awaitable(op.a, me), w.awaitable(op.b, me))
    return [await one for one in w.lib.as_completed(things)]


async def _timeout(w: World, me: Actor, op: Op) -> object:
    async with w.lib.timeout(w.delay(op.a)) as limit:
        await run_block(w, me, op.body)
    return limit.expired()


class Ordered(dict[Any, None]):
    """A set in order of insertion, for the stdlib's TaskGroup: it aborts its tasks in the
    order of a set, which is that of their addresses. An engine's own should keep this order."""

    add = dict.setdefault

    def discard(self, item: object) -> None:
        """Take an item out, if it is there."""
        self.pop(item, None)


async def _group(w: World, me: Actor, op: Op) -> object:
    group = w.lib.TaskGroup()
    if isinstance(getattr(group, "_tasks", None), set):
        group._tasks = Ordered()
    async with group:
        for _ in range(op.b + 1):
            if op.a > me.body:
                spawn(w, op.a, 0, lambda coro, name: group.create_task(coro, name=name))
        await run_block(w, me, op.body)
    return None


# -- primitives --------------------------------------------------------------------------------


async def _lock(w: World, me: Actor, op: Op) -> object:
    async with w.lock:
        await run_block(w, me, op.body)
    return w.lock.locked()


async def _semaphore(w: World, me: Actor, op: Op) -> object:
    async with w.semaphore:
        await run_block(w, me, op.body)
    return w.semaphore.locked()


async def _condition(w: World, me: Actor, op: Op) -> object:
    async with w.condition:
        if op.a == 0:
            await w.condition.wait()
        elif op.a == 1:
            w.condition.notify()
        else:
            w.condition.notify_all()
        await run_block(w, me, op.body)
    return w.condition.locked()


async def _event_wait(w: World, _me: Actor, _op: Op) -> object:
    return await w.event.wait()


async def _queue_get(w: World, _me: Actor, _op: Op) -> object:
    return await w.queue.get()


async def _queue_put(w: World, _me: Actor, op: Op) -> object:
    return await w.queue.put(op.a)


async def _queue_join(w: World, _me: Actor, _op: Op) -> object:
    return await w.queue.join()


# -- control -----------------------------------------------------------------------------------


async def _try_cancel(w: World, me: Actor, op: Op) -> object:
    try:
        await run_block(w, me, op.body)
    except asyncio.CancelledError as error:
        w.note(me.name, "swallowed", error)
        await run_block(w, me, op.other)
    return None


async def _try_error(w: World, me: Actor, op: Op) -> object:
    try:
        await run_block(w, me, op.body)
    except Exception as error:
        w.note(me.name, "handled", error)
        await run_block(w, me, op.other)
    return None


async def _try_finally(w: World, me: Actor, op: Op) -> object:
    try:
        await run_block(w, me, op.body)
    finally:
        await run_block(w, me, op.other)
    return None


async def _repeat(w: World, me: Actor, op: Op) -> object:
    for _ in range(op.a + 2):
        await run_block(w, me, op.body)
    return None


async def _numbers(w: World, me: Actor, op: Op) -> AsyncGenerator[int, None]:
    inner = Actor(f"{me.name}.g", me.body, me.rank)
    try:
        for number in range(op.b + 1):
            await run_block(w, inner, op.body)
            yield number
    finally:
        w.note_start()  # the loop's hook may have made a task for this
        w.note(inner.name, "finally")
        await run_block(w, inner, op.other)


async def _generator(w: World, me: Actor, op: Op) -> object:
    """Run to the end, close early, throw into it, or leave it to the loop's hooks."""
    numbers = _numbers(w, me, op)
    seen = 0
    async for _ in numbers:
        seen += 1
        if op.a == 1:
            await numbers.aclose()
        elif op.a == 2:
            await numbers.athrow(ValueError("thrown"))
        elif op.a == 3:
            break
    return seen


WAITS: dict[str, Callable[[World, Actor, Op], Awaitable[object]]] = {
    "yield0": _yield0,
    "bare": _bare,
    "bad_yield": _bad_yield,
    "await_future": _await_future,
    "await_task": _await_task,
    "call": _call,
    "sleep": _sleep,
    "shield": _shield,
    "gather": _gather,
    "wait": _wait,
    "wait_for": _wait_for,
    "as_completed": _as_completed,
    "timeout": _timeout,
    "group": _group,
    "lock": _lock,
    "semaphore": _semaphore,
    "event_wait": _event_wait,
    "condition": _condition,
    "queue_get": _queue_get,
    "queue_put": _queue_put,
    "queue_join": _queue_join,
    "try_cancel": _try_cancel,
    "try_error": _try_error,
    "try_finally": _try_finally,
    "repeat": _repeat,
    "generator": _generator,
}
