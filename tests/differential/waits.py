"""What the plain operations do that wait: for a turn, for a future or a task, for a block."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.differential.catalogue import FUTURES
from tests.differential.world import MAX_ACTORS, Actor, World

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from tests.differential.program import Op


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
    return await w.run_body(f"{me.name}.{op.a}", op.a, me.rank)


async def _sleep(w: World, _me: Actor, op: Op) -> object:
    deadline = w.take_slot(op.a)
    return await w.lib.sleep(0 if deadline is None else deadline - w.loop.time(), "woke")


# -- control -----------------------------------------------------------------------------------


async def _try_cancel(w: World, me: Actor, op: Op) -> object:
    try:
        await w.run_block(me, op.body)
    except asyncio.CancelledError as error:
        w.note(me.name, "swallowed", error)
        await w.run_block(me, op.other)
    return None


async def _try_error(w: World, me: Actor, op: Op) -> object:
    try:
        await w.run_block(me, op.body)
    except Exception as error:
        w.note(me.name, "handled", error)
        await w.run_block(me, op.other)
    return None


async def _try_finally(w: World, me: Actor, op: Op) -> object:
    try:
        await w.run_block(me, op.body)
    finally:
        await w.run_block(me, op.other)
    return None


async def _repeat(w: World, me: Actor, op: Op) -> object:
    for _ in range(op.a + 2):
        await w.run_block(me, op.body)
    return None


async def _numbers(w: World, me: Actor, op: Op) -> AsyncGenerator[int, None]:
    inner = Actor(f"{me.name}.g", me.body, me.rank)
    try:
        for number in range(op.b + 1):
            await w.run_block(inner, op.body)
            yield number
    finally:
        w.note_start(me.rank)  # the loop's hook may have made a task for this
        w.note(inner.name, "finally")
        await w.run_block(inner, op.other)


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
    "try_cancel": _try_cancel,
    "try_error": _try_error,
    "try_finally": _try_finally,
    "repeat": _repeat,
    "generator": _generator,
}
