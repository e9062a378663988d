"""The interpreter: what runs a program's blocks, in coroutines and in callbacks.

What an operation came to is noted, result or exception. An action's exception goes no further,
so one refused call (InvalidStateError, say) does not end its actor; only `raise` raises. The
exception of a wait goes on: it unwinds the body through its try blocks, context managers and
nested coroutines as in real code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.differential import actions, combinators, coordination, threads, waits
from tests.differential.world import Actor, World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.differential.program import Block, Op

ACTIONS: dict[str, Callable[[World, Actor, Op], object]] = {
    **actions.ACTIONS,
    **combinators.ACTIONS,
    **coordination.ACTIONS,
    **threads.ACTIONS,
}
WAITS: dict[str, Callable[[World, Actor, Op], Awaitable[object]]] = {
    **waits.WAITS,
    **combinators.WAITS,
    **coordination.WAITS,
    **threads.WAITS,
}


def act(world: World, actor: Actor, op: Op) -> None:
    """Do an action and note what came of it."""
    if op.kind == "raise":
        world.note(actor.name, "raise", op.a)
        raise actions.make_error(op.a)
    try:
        value = ACTIONS[op.kind](world, actor, op)
    except BaseException as error:
        if type(error) is KeyboardInterrupt:
            raise
        world.note(actor.name, f"{op.kind} !", error)
    else:
        world.note(actor.name, op.kind, value)


async def run_body(world: World, name: str, number: int, rank: int) -> int:
    """The coroutine of an actor."""
    actor = Actor(name, number, rank)
    world.note_start(rank)
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
        if op.kind not in WAITS:
            act(world, actor, op)
            continue
        try:
            value = await WAITS[op.kind](world, actor, op)
        except BaseException as error:
            world.note(actor.name, f"{op.kind} !", error)
            raise
        world.note(actor.name, op.kind, value)
