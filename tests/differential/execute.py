"""A program and an engine to a trace.

The driver is a coroutine that counts turns by sleeping zero (or, beside a clock, waits for
the last slot in use), until nothing has happened for a few turns. Then it cancels what is
left, again and again, since a program may swallow cancellation. Thus a deadlock is an
outcome like any other: after a fixed number of turns, the trace says who hung on.

Loops are used for many programs, a new one costs more than a program does; one on which
something survived is closed and replaced.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import warnings
from contextvars import Context
from typing import TYPE_CHECKING, Any

from tests.differential import interpret
from tests.differential.actions import Interrupt, spawn
from tests.differential.threads import InlineExecutor, settled
from tests.differential.tidy import task_name, tidy
from tests.differential.world import World, var

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.differential.engines import Engine
    from tests.differential.program import Program

SLOT = 0.002
MOST_TURNS = 60
IDLE_TURNS = 4
ROUNDS = 40
PROGRAMS_PER_LOOP = 50


async def _drive(world: World) -> None:
    """The main task of a run."""
    var.set(0)
    world.start = world.loop.time()
    for body in (0, *world.program.roots):
        try:
            spawn(world, body, 0)
        except (SystemExit, Interrupt) as error:  # an eager task raises them here
            world.note("main", "spawn !", error)
    if world.program.clocked:
        await _until_no_slot_is_used(world)
    else:
        await _until_nothing_happens(world)
    world.ending = True
    world.note("main", "ending")
    for handle in world.handle:
        handle.cancel()
    for _ in range(ROUNDS):
        left = _pending(world)
        if not left:
            break
        for task in left:
            task.cancel("ending")
        world.kit.rescue()
        for _ in range(4):
            world.turn += 1
            await world.lib.sleep(0)


async def _until_nothing_happens(world: World) -> None:
    idle = length = 0
    for _ in range(MOST_TURNS):
        world.turn += 1
        world.point()
        await world.lib.sleep(0)
        idle = idle + 1 if len(world.trace) == length else 0
        length = len(world.trace)
        if idle > IDLE_TURNS:
            break


async def _until_no_slot_is_used(world: World) -> None:
    seen = -1
    while len(world.used_slots) > seen:
        deadline = world.take_slot(max(world.used_slots, default=0) - world.slot_now())
        seen = len(world.used_slots)
        if deadline is None:
            deadline = world.last_deadline()
        await world.lib.sleep(deadline - world.loop.time())


def _pending(world: World) -> list[asyncio.Task[Any]]:
    """Who is not done: known tasks, then those that primitives made, oldest first."""
    for concurrent in world.concurrent:
        world.note("concurrent", "is", settled(concurrent))
    for name, state in world.kit.states():
        world.note(name, "is", state)
    left = [task for task in world.task if not task.done()]
    known = {id(task) for task in world.task}
    main = asyncio.current_task()
    others = [
        task for task in asyncio.all_tasks(world.loop) if id(task) not in known and task is not main
    ]
    return left + sorted(others, key=lambda task: _age(world, task))


def _age(world: World, task: asyncio.Task[Any]) -> tuple[int, int]:
    """By when they started; those that have not, by number. Names alone will not do: 3.13.0
    calls all unnamed tasks from a factory "None"."""
    number = task.get_name().removeprefix("Task-")
    return world.started.get(task, 10**6), int(number) if number.isdigit() else 0


class Runner:
    """Runs programs on one engine, one after the other.

    `chains` says whether traces show what exceptions were raised in the middle of.
    """

    def __init__(self, engine: Engine, *, chains: bool = True) -> None:
        self.engine = engine
        self.chains = chains
        self._loop: asyncio.AbstractEventLoop | None = None
        self._executor = InlineExecutor()
        self._runs = 0

    def run(self, program: Program, slot: float = SLOT) -> list[str]:
        """The trace of one run; a clocked program's timers are `slot` seconds apart."""
        return self._run(program, slot, None)

    def watch(self, program: Program) -> list[list[int]]:
        """The tasks that are alive at each point of a run."""
        watched: list[list[int]] = []
        self._run(program, SLOT, watched)
        return watched

    def _run(self, program: Program, slot: float, watched: list[list[int]] | None) -> list[str]:
        loop = self._loop
        if loop is None or self._runs >= PROGRAMS_PER_LOOP:
            self.close()
            loop = self._loop = self.engine.new_event_loop()
            loop.set_default_executor(self._executor)
        self._runs += 1
        world = World(
            self.engine,
            loop,
            program,
            interpret,
            self._executor,
            chains=self.chains,
            slot=slot,
        )
        world.watched = watched
        trace, clean = _execute(world)
        if not clean:
            self._loop = None
        return trace

    def close(self) -> None:
        """Close the loop in use."""
        if self._loop is not None:
            self._loop.close()
        self._loop = None
        self._runs = 0


def _execute(world: World) -> tuple[list[str], bool]:
    loop = world.loop
    collecting = gc.isenabled()
    gc.disable()
    factory = loop.get_task_factory()
    hook = sys.unraisablehook
    logging.getLogger("concurrent.futures").disabled = True  # reports what traces show as well
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Context().run(_run, world)
    finally:
        loop.set_task_factory(factory)
        loop.set_exception_handler(None)
        loop.set_debug(False)
        sys.unraisablehook = hook
        logging.getLogger("concurrent.futures").disabled = False
        if collecting:
            gc.enable()


def _run(world: World) -> tuple[list[str], bool]:
    engine, loop, program = world.engine, world.loop, world.program
    loop.set_debug(program.debug)
    loop.set_exception_handler(world.on_exception)
    sys.unraisablehook = lambda args: world.note_collected(
        tidy(f"unraisable {world.show(args.exc_value)}")
    )
    main = loop.create_task(_drive(world), name="main")
    if program.eager and sys.version_info >= (3, 12):
        loop.set_task_factory(_eager_factory(engine))
    _finish(world, loop, main)
    clean = _epilogue(world, loop)
    world.over = True
    if not clean:
        world.torn_down = True
        loop.close()  # before the world goes, so that what dies with it is still reported here
    del main
    trace, collected = world.trace, world.collected
    world.drop()
    gc.collect()
    return trace + sorted(collected), clean


def _eager_factory(engine: Engine) -> Any:
    make: Callable[..., Any] = engine.lib.create_eager_task_factory
    return make(engine.Task)


def _finish(world: World, loop: asyncio.AbstractEventLoop, main: asyncio.Task[None]) -> None:
    """Run the driver to its end, through whatever stops the loop on the way."""
    for _ in range(100):
        try:
            loop.run_until_complete(main)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and not isinstance(error, Interrupt):
                raise
            world.note("loop", "stopped", error)
            if not main.done():
                continue
            if main.cancelled() or main.exception() is not None:
                raise RuntimeError(f"the driver failed on {world.engine.name}") from error
            return
        else:
            return
    raise RuntimeError(f"the driver never ended on {world.engine.name}")


def _epilogue(world: World, loop: asyncio.AbstractEventLoop) -> bool:
    """Let the last callbacks run, and say what everything has come to."""
    for _ in range(3):
        loop.call_soon(loop.stop)
        try:
            loop.run_forever()
        except (SystemExit, Interrupt) as error:
            world.note("loop", "stopped", error)
    for task in world.task:
        world.note(task_name(task), "is", (world.show_future(task), task.cancelling()))
    for future in world.future:
        world.note("future", "is", world.show_future(future))
    for concurrent in world.concurrent:
        world.note("concurrent", "is", settled(concurrent))
    for name, state in world.kit.states():
        world.note(name, "is", state)
    left = [task for task in asyncio.all_tasks(loop) if not task.done()]
    world.note("left", str(len(left)))
    return not left
