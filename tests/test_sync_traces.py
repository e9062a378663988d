"""Random programs on the primitives do the same, in the same turns, as on asyncio's own.

Each program is a handful of tasks that take, wait, notify, release and cancel each other, now and
then twice in one turn. What they do is written down with the number of the turn in which they do
it. The reference is asyncio's primitives on asyncio's loop; ours run there too, where stock tasks
drive them, and on our own loop.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

import aioxide
from tests.loops import Loop

Step = Callable[[], Awaitable[object]]

PROGRAMS = 150
TASKS = 6
STEPS = 8
TURNS = 100


class World:
    """One run of one program: the loop, its tasks, and what was seen."""

    def __init__(self, module: ModuleType, loop: Loop, seed: str) -> None:
        self.module = module
        self.loop = loop
        self.random = random.Random(seed)
        self.turn = 0
        self.seen: list[tuple[object, ...]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.free: Callable[[], object] = lambda: None

    def count_turns(self) -> None:
        self.turn += 1
        if self.is_over():
            self.free()
            for task in self.tasks:
                task.cancel()
        if not all(task.done() for task in self.tasks):
            self.loop.call_soon(self.count_turns)

    def is_over(self) -> bool:
        return self.turn > TURNS

    def see(self, *what: object) -> None:
        self.seen.append((self.turn, *what))

    def cancel_somebody(self) -> None:
        victim = self.random.randrange(TASKS)
        self.see("cancel", victim, self.tasks[victim].cancel(f"message {self.turn}"))

    async def run_task(self, number: int, choose: Callable[[int], tuple[str, Step]]) -> None:
        for _ in range(STEPS):
            name, step = choose(number)
            self.see(number, name)
            try:
                result = await step()
            except asyncio.CancelledError as error:
                self.see(number, name, "cancelled", error.args, describe(error.__context__))
                if self.is_over() or self.random.random() < 0.2:
                    raise
            except Exception as error:
                self.see(number, name, describe(error), describe(error.__context__))
            else:
                self.see(number, name, result)
            if self.random.random() < 0.25:
                self.cancel_somebody()
            for _ in range(self.random.randrange(3)):
                await asyncio.sleep(0)

    async def main(self, choose: Callable[[int], tuple[str, Step]]) -> None:
        self.tasks = [self.loop.create_task(self.run_task(n, choose)) for n in range(TASKS)]
        self.loop.call_soon(self.count_turns)
        await asyncio.wait(self.tasks)
        for number, task in enumerate(self.tasks):
            self.see(number, "cancelled" if task.cancelled() else repr(task.exception()))


def describe(error: BaseException | None) -> str | None:
    if error is None:
        return None
    # A message may name the object, whose module and address are its own.
    return f"{type(error).__name__}: {str(error).rpartition(' object at ')[0] or error}"


def state(primitive: Any) -> str:
    text = repr(primitive)
    return text[text.index("[") :]


def event_program(world: World) -> Callable[[int], tuple[str, Step]]:
    event = world.module.Event()

    async def change() -> str:
        for _ in range(world.random.randrange(1, 4)):
            world.random.choice([event.set, event.clear])()
        return state(event)

    return lambda _: world.random.choice([("wait", event.wait), ("change", change)])


@contextmanager
def noted(world: World, number: int, primitive: Any) -> Iterator[None]:
    world.see(number, "in", state(primitive))
    yield
    world.see(number, "out", state(primitive))


def lock_program(world: World) -> Callable[[int], tuple[str, Step]]:
    return holder_program(world, world.module.Lock())


def semaphore_program(world: World) -> Callable[[int], tuple[str, Step]]:
    return holder_program(world, world.module.Semaphore(world.random.randrange(1, 4)))


def bounded_program(world: World) -> Callable[[int], tuple[str, Step]]:
    return holder_program(world, world.module.BoundedSemaphore(world.random.randrange(1, 3)))


def holder_program(world: World, primitive: Any) -> Callable[[int], tuple[str, Step]]:
    async def hold(number: int) -> None:
        async with primitive:
            with noted(world, number, primitive):
                if world.random.random() < 0.3:
                    world.cancel_somebody()
                for _ in range(world.random.randrange(3)):
                    await asyncio.sleep(0)

    async def release() -> str:
        for _ in range(world.random.randrange(1, 4)):
            primitive.release()
            if world.random.random() < 0.4:
                world.cancel_somebody()
        return state(primitive)

    def choose(number: int) -> tuple[str, Step]:
        return world.random.choice(
            [
                ("hold", lambda: hold(number)),
                ("hold", lambda: hold(number)),
                ("acquire", primitive.acquire),
                ("release", release),
            ]
        )

    return choose


def condition_program(world: World) -> Callable[[int], tuple[str, Step]]:
    condition = world.module.Condition()
    counter = 0
    # Who takes a lock again does not give up when it is cancelled.
    world.free = lambda: condition.locked() and condition.release()

    def reached() -> bool:
        world.see("asked", state(condition))
        return counter % 3 == 0

    async def wait(number: int) -> object:
        async with condition:
            with noted(world, number, condition):
                if world.random.random() < 0.2:
                    condition.notify()
                if world.random.random() < 0.5:
                    return await condition.wait()
                return await condition.wait_for(reached)

    async def notify(number: int) -> None:
        nonlocal counter
        async with condition:
            with noted(world, number, condition):
                counter += 1
                for _ in range(world.random.randrange(1, 3)):
                    condition.notify(world.random.randrange(4))
                if world.random.random() < 0.3:
                    condition.notify_all()
                if world.random.random() < 0.3:
                    world.cancel_somebody()
                for _ in range(world.random.randrange(3)):
                    await asyncio.sleep(0)

    def choose(number: int) -> tuple[str, Step]:
        return world.random.choice(
            [
                ("wait", lambda: wait(number)),
                ("wait", lambda: wait(number)),
                ("notify", lambda: notify(number)),
                ("careless wait", condition.wait),
            ]
        )

    return choose


def foreign_condition_program(world: World) -> Callable[[int], tuple[str, Step]]:
    """The same over a lock that is a subclass and has methods of its own."""

    class Lock(world.module.Lock):  # type: ignore[name-defined,misc]
        async def acquire(self) -> bool:
            world.see("acquire")
            return bool(await super().acquire())

        def release(self) -> None:
            world.see("release")
            super().release()

    class Module(ModuleType):
        @staticmethod
        def Condition() -> Any:
            return original.Condition(Lock())

    original = world.module
    world.module = Module("module")
    return condition_program(world)


def barrier_program(world: World) -> Callable[[int], tuple[str, Step]]:
    barrier = world.module.Barrier(world.random.randrange(1, 5))

    async def enter() -> object:
        async with barrier as index:
            return index, state(barrier), barrier.n_waiting, barrier._count, barrier._state

    def choose(_: int) -> tuple[str, Step]:
        steps = [("wait", barrier.wait)] * 6 + [("enter", enter)] * 6 + [("reset", barrier.reset)]
        if world.random.random() < 0.2:
            steps.append(("abort", barrier.abort))
        return world.random.choice(steps)

    return choose


MAKERS = [
    lock_program,
    event_program,
    condition_program,
    foreign_condition_program,
    semaphore_program,
    bounded_program,
    barrier_program,
]


def trace(
    module: ModuleType, new_loop: Callable[[], Loop], maker: Callable[..., Any], seed: int
) -> list[tuple[object, ...]]:
    loop = new_loop()
    try:
        world = World(module, loop, f"{maker.__name__} {seed}")
        loop.run_until_complete(world.main(maker(world)))
        return world.seen
    finally:
        loop.close()


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
@pytest.mark.parametrize(
    "new_loop", [asyncio.SelectorEventLoop, aioxide.new_event_loop], ids=["asyncio", "aioxide"]
)
def test_the_trace_is_that_of_asyncio(
    maker: Callable[..., Any], new_loop: Callable[[], Loop]
) -> None:
    for seed in range(PROGRAMS):
        expected = trace(asyncio, asyncio.SelectorEventLoop, maker, seed)
        assert len(expected) > TASKS
        assert trace(aioxide, new_loop, maker, seed) == expected, f"program {seed}"
