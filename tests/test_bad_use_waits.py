"""gather, wait, as_completed, wait_for, shield, sleep and create_task used wrongly.

Each ends as asyncio's own does. A coroutine that was refused is closed here, unless it is the
warning about it that is compared.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.loops import forever
from tests.misuse import OURS, Case, Cases, Library, attempt, attempt_await, check

CASES = Cases()
misuse = CASES.misuse


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("case", CASES)
def test_a_misuse_ends_as_on_asyncio(case: Case, ours: Library) -> None:
    check(case, ours)


async def nothing() -> str:
    return "nothing"


@contextmanager
def a_coroutine() -> Iterator[Any]:
    coroutine = nothing()
    try:
        yield coroutine
    finally:
        coroutine.close()


async def outcome(use: Any) -> Any:
    """Call, and await what comes of it if it can be awaited."""

    async def both() -> Any:
        result = use()
        return await result if hasattr(result, "__await__") else type(result).__name__

    return await attempt_await(both)


WRONG = (None, 1, "text", print, nothing, object)


# What is no awaitable


@misuse()
async def await_together_what_cannot_be_awaited(lib: Any) -> Any:
    return [await outcome(lambda wrong=wrong: lib.gather(wrong)) for wrong in WRONG]


@misuse(TypeError)
async def gather_one_wrong_among_others(lib: Any) -> None:
    with a_coroutine() as coroutine:
        await lib.gather(asyncio.sleep(0), None, coroutine)


@misuse()
async def shield_what_cannot_be_awaited(lib: Any) -> Any:
    return [await outcome(lambda wrong=wrong: lib.shield(wrong)) for wrong in WRONG]


@misuse()
async def ensure_what_cannot_be_awaited(lib: Any) -> Any:
    return [await outcome(lambda wrong=wrong: lib.ensure_future(wrong)) for wrong in WRONG]


@misuse()
async def make_tasks_of_what_is_no_coroutine(lib: Any) -> Any:
    wrongs = (*WRONG, asyncio.get_running_loop().create_future())
    return [await outcome(lambda wrong=wrong: lib.create_task(wrong)) for wrong in wrongs]


@misuse()
async def wait_a_time_for_what_cannot_be_awaited(lib: Any) -> Any:
    """How `await` is refused inside depends on who awaits, so only the types are compared."""
    ends = []
    for wrong in WRONG:
        for timeout in (None, 0, 1):
            end = await outcome(lambda w=wrong, t=timeout: lib.wait_for(w, t))
            ends.append([line.partition(":")[0] for line in end][:1])
    return ends


# wait and as_completed


@misuse()
async def wait_for_wrong_sets(lib: Any) -> Any:
    with a_coroutine() as coroutine:
        future = asyncio.ensure_future(asyncio.sleep(0))
        sets: list[Any] = [[], set(), coroutine, future, [coroutine], 1, None, [1], [None], "text"]
        ends = [await outcome(lambda fs=fs: lib.wait(fs)) for fs in sets]
        await future
        return ends


@misuse()
async def wait_with_wrong_options(lib: Any) -> Any:
    future = asyncio.ensure_future(asyncio.sleep(0))
    uses: list[Any] = [
        lambda: lib.wait([future], return_when="SOMETIME"),
        lambda: lib.wait([future], return_when=1),
        lambda: lib.wait([], return_when="SOMETIME"),
        lambda: lib.wait(),
        lambda: lib.wait([future], 1),
        lambda: lib.wait([future], loop=None),
        lambda: lib.wait(future, return_when="SOMETIME"),
    ]
    ends = [await outcome(use) for use in uses]
    await future
    return ends


@misuse(ValueError)
async def wait_with_no_return_when(lib: Any) -> None:
    await lib.wait([asyncio.ensure_future(asyncio.sleep(0))], return_when=None)


@misuse()
async def gather_what_cannot_be_hashed(lib: Any) -> Any:
    return (await outcome(lambda: lib.gather([])))[0].partition(":")[0]


@misuse()
async def iterate_over_wrong_sets(lib: Any) -> Any:
    async def use(futures: Any) -> Any:
        return [await next_one for next_one in lib.as_completed(futures)]

    with a_coroutine() as coroutine:
        future = asyncio.ensure_future(asyncio.sleep(0, 1))
        sets: list[Any] = [[], coroutine, future, 1, None, [1], "text"]
        ends = [await attempt_await(lambda fs=fs: use(fs)) for fs in sets]
        await future
        return ends


@misuse()
async def iterate_with_wrong_options(lib: Any) -> Any:
    uses: list[Any] = [
        lib.as_completed,
        lambda: lib.as_completed([], 1),
        lambda: lib.as_completed([], loop=None),
    ]
    return [attempt(use) for use in uses]


@misuse()
async def iterate_further_than_there_is(lib: Any) -> Any:
    iterator = iter(lib.as_completed([asyncio.sleep(0, 1)]))
    ends = [await next(iterator)]
    return [*ends, attempt(lambda: next(iterator))]


# Other loops


@misuse()
def wait_for_futures_of_another_loop(lib: Any) -> Any:
    other = lib.make_loop()
    future = other.create_future()
    uses: dict[str, Any] = {
        "await": lambda: future,
        "gather two": lambda: lib.gather(asyncio.get_running_loop().create_future(), future),
        "shield": lambda: lib.shield(future),
        "ensure_future": lambda: lib.ensure_future(future, loop=asyncio.get_running_loop()),
    }
    ends = {name: attempt(lambda use=use: lib.run(outcome(use))) for name, use in uses.items()}
    other.close()
    return ends


@misuse(ValueError if sys.version_info >= (3, 14) else RuntimeError)
def gather_futures_of_another_loop(lib: Any) -> None:
    other = lib.make_loop()
    try:
        lib.run(outcome_of_gather(lib, other.create_future()))
    finally:
        other.close()


async def outcome_of_gather(lib: Any, future: Any) -> None:
    await lib.gather(future)


@misuse()
def create_outside_a_loop(lib: Any) -> Any:
    with a_coroutine() as coroutine:
        return attempt(lambda: lib.create_task(coroutine))


@misuse()
def wait_outside_a_loop(lib: Any) -> Any:
    loop = lib.make_loop()
    future = loop.create_future()
    coroutines = [lib.wait([future]), lib.wait_for(future, 1), lib.sleep(1), lib.sleep(1, "x")]
    coroutines.append(lib.to_thread(print))
    ends = [attempt(lambda coroutine=coroutine: coroutine.send(None)) for coroutine in coroutines]
    loop.close()
    return ends


# Times


@misuse()
async def sleep_for_what_is_no_time(lib: Any) -> Any:
    # Older versions take it into the heap, where it spoils the order.
    nan = [float("nan")] if sys.version_info >= (3, 13) else []
    times: list[Any] = [*nan, -1, -float("inf"), False]
    return [await outcome(lambda time=time: lib.sleep(time, "slept")) for time in times]


@misuse()
async def sleep_for_what_is_no_number(lib: Any) -> Any:
    """asyncio compares, we convert; so the TypeErrors have other texts."""
    times: list[Any] = ["1", None, [], 1j]
    ends = [await outcome(lambda time=time: lib.sleep(time)) for time in times]
    return [end[0].partition(":")[0] for end in ends]


@misuse()
async def wait_for_odd_times(lib: Any) -> Any:
    return [
        [
            await outcome(lambda t=t: lib.wait_for(nothing(), t))
            for t in (0, -1, -float("inf"), True, 1.5)
        ],
        [await outcome(lambda t=t: lib.wait_for(forever(), t)) for t in (0, -1, False)],
    ]


@misuse()
async def wait_for_what_is_no_time(lib: Any) -> Any:
    """Refused where it is compared or added; the types are compared."""
    ends = []
    times: list[Any] = ["1", [], 1j]
    for timeout in times:
        with a_coroutine() as coroutine:
            end = await outcome(lambda t=timeout, c=coroutine: lib.wait_for(c, t))
        ends.append([line.partition(":")[0] for line in end][:1])
    return ends


# Arguments


@misuse()
async def call_with_wrong_arguments(lib: Any) -> Any:
    uses: list[Any] = [
        lib.sleep,
        lambda: lib.sleep(1, 2, 3),
        lambda: lib.sleep(seconds=1),
        lib.shield,
        lambda: lib.shield(1, 2),
        lambda: lib.wait_for(1),
        lambda: lib.wait_for(1, 2, 3),
        lib.ensure_future,
        lambda: lib.ensure_future(1, None),
        lib.create_task,
        lambda: lib.gather(loop=None),
        lambda: lib.gather(timeout=1),
    ]
    return [attempt(use) for use in uses]


@misuse()
async def to_thread_without_a_function(lib: Any) -> Any:
    return [await outcome(use) for use in (lib.to_thread, lambda: lib.to_thread(None))]


@misuse()
async def create_with_wrong_arguments(lib: Any) -> Any:
    ends = []
    with a_coroutine() as coroutine:
        uses: list[Any] = [
            lambda: lib.create_task(coroutine, "name"),
        ]
        ends = [attempt(use)[0].partition(":")[0] for use in uses]
    return [*ends, lib.create_task(nothing(), name=1).get_name()]


# Coroutines that nobody awaits, or too many


@misuse()
async def never_await(lib: Any) -> None:
    lib.sleep(1)
    lib.sleep(0)
    lib.wait([])
    lib.wait_for(None, 1)
    lib.to_thread(print)
    lib.Lock().acquire()
    lib.Event().wait()
    lib.Condition().wait()
    lib.Condition().wait_for(bool)
    lib.Semaphore().acquire()
    lib.Barrier(1).wait()
    lib.Queue().get()
    lib.Queue().put(1)
    lib.Queue().join()
    lib.Lock().__aenter__()
    lib.Lock().__aexit__(None, None, None)
    lib.TaskGroup().__aenter__()


def _makers(lib: Any) -> dict[str, Any]:
    """Coroutines that wait once and those that do not."""
    full = lib.Queue(1)
    full.put_nowait(1)
    return {
        "sleep": lambda: lib.sleep(0.001, 1),
        "sleep(0)": lambda: lib.sleep(0, 1),
        "lock": lambda: lib.Lock().acquire(),
        "queue": lambda: lib.Queue().put(1),
        "semaphore": lambda: lib.Semaphore().acquire(),
        "event": lambda: lib.Event().wait(),
        "get": lambda: lib.Queue().get(),
        "put": lambda: full.put(2),
        "join": lambda: full.join(),
        "barrier": lambda: lib.Barrier(2).wait(),
        "wait_for": lambda: lib.wait_for(asyncio.sleep(60), 60),
    }


@misuse()
async def await_twice(lib: Any) -> Any:
    ends = {}
    for name in ("sleep", "sleep(0)", "lock", "queue", "semaphore"):
        coroutine = _makers(lib)[name]()
        await coroutine
        ends[name] = await attempt_await(lambda coroutine=coroutine: coroutine)
    return ends


@misuse()
async def await_in_two_tasks(lib: Any) -> Any:
    ends = {}
    for name in ("sleep", "event", "get", "put", "barrier"):
        coroutine = _makers(lib)[name]()

        async def wait(coroutine: Any = coroutine) -> Any:
            return await coroutine

        first = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        ends[name] = await attempt_await(wait)
        first.cancel()
        await asyncio.wait([first])
    return ends


@misuse()
async def close_by_hand(lib: Any) -> Any:
    ends = {}
    for name, make in _makers(lib).items():
        fresh, begun = make(), make()
        attempt(lambda begun=begun: begun.send(None))
        for coroutine in (fresh, begun):
            ends[name, coroutine is fresh] = [
                attempt(coroutine.close),
                attempt(coroutine.close),
                attempt(lambda coroutine=coroutine: coroutine.send(None)),
            ]
    return ends


@misuse()
async def throw_into_a_sleep_twice(lib: Any) -> Any:
    coroutine = lib.sleep(1)
    attempt(lambda: coroutine.throw(LookupError("thrown")))
    return attempt(lambda: coroutine.throw(LookupError("again")))


@misuse()
async def begin_a_sleep_with_a_value(lib: Any) -> Any:
    return str(attempt(lambda: lib.sleep(0).send(1)))


@misuse()
async def throw_by_hand(lib: Any) -> Any:
    ends = {}
    for name, make in _makers(lib).items():
        if name.startswith("sleep"):
            continue  # see above
        fresh, begun = make(), make()
        attempt(lambda begun=begun: begun.send(None))
        for coroutine in (fresh, begun):
            ends[name, coroutine is fresh] = [
                attempt(lambda coroutine=coroutine: coroutine.throw(LookupError("thrown"))),
                attempt(lambda coroutine=coroutine: coroutine.throw(LookupError("again"))),
                attempt(lambda coroutine=coroutine: coroutine.send(None)),
            ]
    return ends


@misuse()
async def throw_what_is_no_exception(lib: Any) -> Any:
    ends = []
    for wrong in (1, "text", None, object):
        coroutine = lib.Event().wait()
        coroutine.send(None)
        ends.append(attempt(lambda c=coroutine, wrong=wrong: c.throw(wrong)))
        attempt(coroutine.close)
    return ends


@misuse()
async def send_by_hand(lib: Any) -> Any:
    ends = {}
    for name, make in _makers(lib).items():
        if name.startswith("sleep"):
            continue  # see above
        coroutine = make()
        ends[name] = [
            attempt(lambda coroutine=coroutine: coroutine.send(1)),
            attempt(coroutine.close),
        ]
        coroutine = make()
        ends[f"{name} args"] = [
            attempt(use)[0].partition(":")[0]
            for use in (
                coroutine.send,
                lambda coroutine=coroutine: coroutine.send(1, 2),
                coroutine.throw,
            )
        ]
        coroutine.close()
    return ends
