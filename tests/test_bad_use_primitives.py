"""Locks, events, conditions, semaphores and barriers used wrongly end as asyncio's own do."""

import asyncio
from typing import Any

import pytest

from tests.misuse import OURS, Case, Cases, Library, attempt, attempt_await, check, plain

CASES = Cases()
misuse = CASES.misuse

PRIMITIVES: dict[str, Any] = {
    "Lock": lambda lib: lib.Lock(),
    "Event": lambda lib: lib.Event(),
    "Condition": lambda lib: lib.Condition(),
    "Semaphore": lambda lib: lib.Semaphore(1),
    "BoundedSemaphore": lambda lib: lib.BoundedSemaphore(1),
    "Barrier": lambda lib: lib.Barrier(2),
}


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("case", CASES)
def test_a_misuse_ends_as_on_asyncio(case: Case, ours: Library) -> None:
    check(case, ours)


# Giving back what one does not have


@misuse(RuntimeError)
async def release_an_unlocked_lock(lib: Any) -> None:
    lib.Lock().release()


@misuse(RuntimeError)
async def release_a_lock_twice(lib: Any) -> None:
    lock = lib.Lock()
    async with lock:
        lock.release()


@misuse(RuntimeError)
async def release_a_lock_that_was_handed_on(lib: Any) -> None:
    lock = lib.Lock()
    await lock.acquire()
    waiter = asyncio.ensure_future(lock.acquire())
    await asyncio.sleep(0)
    lock.release()
    try:
        lock.release()  # woken, but not yet run: nobody holds it
    finally:
        await waiter


@misuse()
async def release_a_lock_of_another_task(lib: Any) -> Any:
    lock = lib.Lock()
    await asyncio.ensure_future(lock.acquire())
    lock.release()
    return lock.locked()


@misuse(ValueError)
async def release_a_bounded_semaphore_too_often(lib: Any) -> None:
    semaphore = lib.BoundedSemaphore(1)
    await semaphore.acquire()
    semaphore.release()
    semaphore.release()


@misuse(ValueError)
async def release_a_bounded_semaphore_inside_its_block(lib: Any) -> None:
    semaphore = lib.BoundedSemaphore(2)
    async with semaphore:
        semaphore.release()


@misuse()
async def release_a_semaphore_too_often(lib: Any) -> Any:
    semaphore = lib.Semaphore(1)
    semaphore.release()
    return plain(repr(semaphore)).rsplit("[")[-1], await semaphore.acquire()


# Conditions without their lock


@misuse(RuntimeError)
async def wait_for_a_condition_without_its_lock(lib: Any) -> None:
    await lib.Condition().wait()


@misuse(RuntimeError)
async def wait_for_a_predicate_without_the_lock(lib: Any) -> None:
    await lib.Condition().wait_for(lambda: False)


@misuse()
async def wait_for_a_true_predicate_without_the_lock(lib: Any) -> Any:
    return await lib.Condition().wait_for(lambda: "true")


@misuse(ZeroDivisionError)
async def wait_for_a_predicate_that_fails(lib: Any) -> None:
    condition = lib.Condition()
    async with condition:
        await condition.wait_for(lambda: 1 / 0)


@misuse(TypeError)
async def wait_for_a_predicate_that_cannot_be_called(lib: Any) -> None:
    condition = lib.Condition()
    async with condition:
        await condition.wait_for(None)


@misuse()
async def notify_without_the_lock(lib: Any) -> Any:
    condition = lib.Condition()
    uses = (condition.notify, condition.notify_all, lambda: condition.notify(0), condition.release)
    return [attempt(use) for use in uses]


@misuse()
async def notify_odd_numbers(lib: Any) -> Any:
    condition = lib.Condition()
    ends = []
    for number in (-1, 0, 1.5, True, 10**30):
        waiters = [asyncio.ensure_future(_wait_once(condition)) for _ in range(3)]
        await asyncio.sleep(0)
        async with condition:
            ends.append(attempt(lambda number=number: condition.notify(number)))
        for _ in range(5):
            await asyncio.sleep(0)
        ends.append([waiter.done() for waiter in waiters])
        async with condition:
            condition.notify_all()
        await asyncio.gather(*waiters)
    return ends


@misuse()
async def notify_what_is_no_number(lib: Any) -> Any:
    """asyncio compares, we convert; so the TypeErrors have other texts."""
    condition = lib.Condition()
    waiter = asyncio.ensure_future(_wait_once(condition))
    await asyncio.sleep(0)
    async with condition:
        ends = [
            attempt(lambda wrong=wrong: condition.notify(wrong))[0].partition(":")[0]
            for wrong in (None, "2", object())
        ]
        condition.notify()
    await waiter
    return ends


async def _wait_once(condition: Any) -> None:
    async with condition:
        await condition.wait()


@misuse()
async def conditions_on_what_is_no_lock(lib: Any) -> Any:
    return [
        attempt(lambda wrong=wrong: str(type(lib.Condition(wrong)).__name__))
        for wrong in (1, "lock", object(), lib.Event(), lib.Semaphore())
    ]


@misuse()
async def conditions_on_a_lock_that_is_held(lib: Any) -> Any:
    lock = lib.Lock()
    await lock.acquire()
    condition = lib.Condition(lock)
    waiting = asyncio.ensure_future(condition.wait())
    await asyncio.sleep(0)
    was_held = lock.locked()
    waiting.cancel()
    ends = [was_held, await attempt_await(lambda: waiting), lock.locked()]
    condition.release()
    return ends


@misuse(RuntimeError)
async def leave_a_condition_whose_lock_was_given_back(lib: Any) -> None:
    condition = lib.Condition()
    async with condition:
        condition.release()


# Sizes


@misuse()
def make_with_odd_sizes(lib: Any) -> Any:
    sizes: Any = (-1, 0, 1.5, True, None, "2", float("nan"), [])
    return [
        attempt(lambda make=make, size=size: type(make(size)).__name__)
        for make in (lib.Semaphore, lib.BoundedSemaphore, lib.Barrier)
        for size in sizes
    ]


@misuse()
async def a_semaphore_of_a_fraction(lib: Any) -> Any:
    semaphore = lib.Semaphore(1.5)
    ends = [await semaphore.acquire(), semaphore.locked()]
    second = asyncio.ensure_future(semaphore.acquire())
    await asyncio.sleep(0)
    return [*ends, second.done(), second.cancel()]


# Barriers


@misuse(asyncio.BrokenBarrierError)
async def wait_at_a_broken_barrier(lib: Any) -> None:
    barrier = lib.Barrier(2)
    await barrier.abort()
    await barrier.wait()


@misuse()
async def abort_a_barrier_while_others_wait(lib: Any) -> Any:
    barrier = lib.Barrier(3)
    waiters = [asyncio.ensure_future(barrier.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    await barrier.abort()
    ends = [await attempt_await(lambda waiter=waiter: waiter) for waiter in waiters]
    return [ends, barrier.broken, barrier.n_waiting, barrier.parties]


@misuse()
async def reset_a_barrier_while_others_wait(lib: Any) -> Any:
    barrier = lib.Barrier(3)
    waiters = [asyncio.ensure_future(barrier.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    await barrier.reset()
    ends = [await attempt_await(lambda waiter=waiter: waiter) for waiter in waiters]
    return [ends, barrier.broken, barrier.n_waiting]


@misuse(asyncio.BrokenBarrierError)
async def enter_a_barrier_that_breaks(lib: Any) -> None:
    barrier = lib.Barrier(2)
    asyncio.get_running_loop().call_soon(
        lambda: _kept.append(asyncio.ensure_future(barrier.abort()))
    )
    async with barrier:
        raise AssertionError


_kept: list[Any] = []


# The `with` that is not async, and other wrong ways in


@misuse()
async def enter_without_async(lib: Any) -> Any:
    def enter(primitive: Any) -> None:
        with primitive:
            pass

    return {name: attempt(lambda make=make: enter(make(lib))) for name, make in PRIMITIVES.items()}


@misuse()
async def await_the_object_itself(lib: Any) -> Any:
    async def wait(primitive: Any) -> None:
        await primitive

    return {
        name: await attempt_await(lambda make=make: wait(make(lib)))
        for name, make in PRIMITIVES.items()
    }


@misuse(TypeError)
async def enter_an_event(lib: Any) -> None:
    async with lib.Event():
        pass


@misuse()
def set_what_can_only_be_read(lib: Any) -> Any:
    barrier = lib.Barrier(1)

    def set_attribute(name: str) -> None:
        setattr(barrier, name, 2)

    names = ("parties", "n_waiting", "broken")
    return [attempt(lambda name=name: set_attribute(name)) for name in names]


# Arguments


@misuse()
def make_with_wrong_arguments(lib: Any) -> Any:
    return {
        name: [attempt(lambda use=use: type(use()).__name__) for use in uses]
        for name, uses in {
            "Lock": [lambda: lib.Lock(1), lambda: lib.Lock(loop=None), lambda: lib.Lock(1, 2)],
            "Event": [lambda: lib.Event(1), lambda: lib.Event(loop=None)],
            "Condition": [lambda: lib.Condition(None, 1), lambda: lib.Condition(loop=None)],
            "Semaphore": [
                lambda: lib.Semaphore(1, 2),
                lambda: lib.Semaphore(loop=None),
                lambda: lib.Semaphore(1, value=1),
            ],
            "BoundedSemaphore": [
                lambda: lib.BoundedSemaphore(1, 2),
                lambda: lib.BoundedSemaphore(size=2),
            ],
            "Barrier": [
                lib.Barrier,
                lambda: lib.Barrier(1, 2),
                lambda: lib.Barrier(parties=1, action=print),
            ],
        }.items()
    }


@misuse()
async def call_with_wrong_arguments(lib: Any) -> Any:
    lock, event, condition = lib.Lock(), lib.Event(), lib.Condition()
    semaphore, barrier = lib.Semaphore(), lib.Barrier(1)
    return {
        name: attempt(use)
        for name, use in {
            "acquire": lambda: lock.acquire(1),
            "acquire timeout": lambda: lock.acquire(timeout=1),
            "release": lambda: lock.release(1),
            "locked": lambda: lock.locked(1),
            "set": lambda: event.set(1),
            "clear": lambda: event.clear(1),
            "is_set": lambda: event.is_set(1),
            "event.wait": lambda: event.wait(1),
            "event.wait timeout": lambda: event.wait(timeout=1),
            "condition.wait": lambda: condition.wait(1),
            "wait_for": lambda: condition.wait_for(),
            "wait_for timeout": lambda: condition.wait_for(bool, timeout=1),
            "notify": lambda: condition.notify(1, 2),
            "notify all": lambda: condition.notify_all(1),
            "semaphore.acquire": lambda: semaphore.acquire(1),
            "semaphore.release": lambda: semaphore.release(2),
            "barrier.wait": lambda: barrier.wait(1),
            "barrier.reset": lambda: barrier.reset(1),
            "barrier.abort": lambda: barrier.abort(1),
        }.items()
    }


# Two loops


def _use_in_two_loops(lib: Any, primitive: Any, hold: Any, use: Any) -> Any:
    """Make one loop wait for the primitive, so that it is bound, and then use it in another."""

    async def bind() -> None:
        waiter = asyncio.ensure_future(hold(primitive))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])

    lib.run(bind())
    return attempt(lambda: lib.run(asyncio.wait_for(use(primitive), 1)))


async def _wait_for_held_lock(lock: Any) -> None:
    if not lock.locked():
        await lock.acquire()
    await lock.acquire()


async def _wait_in_condition(condition: Any) -> None:
    async with condition:
        await condition.wait()


async def _wait_event(event: Any) -> None:
    await event.wait()


@misuse()
def use_in_a_second_loop(lib: Any) -> Any:
    return {
        "Lock": _use_in_two_loops(lib, lib.Lock(), _wait_for_held_lock, _wait_for_held_lock),
        "Semaphore": _use_in_two_loops(
            lib, lib.Semaphore(1), _wait_for_held_lock, _wait_for_held_lock
        ),
        "BoundedSemaphore": _use_in_two_loops(
            lib, lib.BoundedSemaphore(1), _wait_for_held_lock, _wait_for_held_lock
        ),
        "Event": _use_in_two_loops(lib, lib.Event(), _wait_event, _wait_event),
        "Condition": _use_in_two_loops(
            lib, lib.Condition(), _wait_in_condition, _wait_in_condition
        ),
        "Barrier": _use_in_two_loops(lib, lib.Barrier(2), _wait_event, _wait_event),
    }


@misuse()
def share_while_free_between_loops(lib: Any) -> Any:
    """Nothing waits, so nothing is bound: asyncio notices only waiting."""
    lock, semaphore, event = lib.Lock(), lib.Semaphore(1), lib.Event()
    event.set()

    async def use() -> Any:
        async with lock, semaphore:
            return await event.wait()

    return [lib.run(use()), lib.run(use())]


@misuse()
def a_condition_and_its_lock_in_two_loops(lib: Any) -> Any:
    lock = lib.Lock()
    _use_in_two_loops(lib, lock, _wait_for_held_lock, _wait_for_held_lock)
    lock.release()

    async def make() -> Any:
        return await attempt_await(lambda: _wait_in_condition(lib.Condition(lock)))

    return attempt(lambda: lib.run(asyncio.wait_for(make(), 0.05)))


@misuse()
def wait_without_a_loop(lib: Any) -> Any:
    """Driven by hand, outside a loop, each asks for the loop when it has to wait."""
    ends = {}
    for name, make in PRIMITIVES.items():
        primitive = make(lib)
        if name in {"Lock", "Semaphore", "BoundedSemaphore"}:
            coroutine = primitive.acquire()
            ends[f"{name} free"] = attempt(lambda coroutine=coroutine: coroutine.send(None))
            coroutine = primitive.acquire()
        elif name == "Condition":
            attempt(lambda primitive=primitive: primitive.acquire().send(None))
            coroutine = primitive.wait()
        else:
            coroutine = primitive.wait()
        ends[name] = attempt(lambda coroutine=coroutine: coroutine.send(None))
        ends[f"{name} after"] = primitive.locked() if hasattr(primitive, "locked") else None
    return ends
