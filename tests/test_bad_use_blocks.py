"""Task groups and timeouts used wrongly end as asyncio's own do."""

import asyncio
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


async def nothing() -> None:
    pass


async def fail() -> None:
    raise LookupError("lost")


def create(group: Any, coroutine: Any, **options: Any) -> Any:
    """Try to make a task; a coroutine that was refused without being closed is a difference."""
    end = attempt(lambda: type(group.create_task(coroutine, **options)).__name__)
    closed = coroutine.cr_frame is None
    coroutine.close()
    return end, closed


# Task groups


@misuse(BaseExceptionGroup)
async def enter_a_group_inside_itself(lib: Any) -> None:
    async with lib.TaskGroup() as group:
        async with group:
            pass


@misuse(RuntimeError)
async def enter_a_group_again(lib: Any) -> None:
    group = lib.TaskGroup()
    async with group:
        pass
    async with group:
        pass


@misuse()
async def create_before_entering(lib: Any) -> Any:
    return create(lib.TaskGroup(), nothing())


@misuse()
async def create_after_leaving(lib: Any) -> Any:
    async with lib.TaskGroup() as group:
        pass
    return create(group, nothing())


@misuse()
async def create_while_shutting_down(lib: Any) -> Any:
    ends: list[Any] = []

    async def late(group: Any) -> None:
        try:
            await forever()
        finally:
            ends.append(create(group, nothing()))

    async def use() -> None:
        async with lib.TaskGroup() as group:
            group.create_task(late(group))
            await asyncio.sleep(0)
            group.create_task(fail())

    return await attempt_await(use), ends


@misuse()
async def create_while_leaving(lib: Any) -> Any:
    """The block is over but tasks still run: they may bring in more."""
    done: list[str] = []

    async def more(group: Any) -> None:
        await asyncio.sleep(0)
        group.create_task(nothing()).add_done_callback(lambda _: done.append("inner"))

    async with lib.TaskGroup() as group:
        group.create_task(more(group))
    return done


@misuse()
async def create_what_is_no_coroutine(lib: Any) -> Any:
    ends = []
    for wrong in (None, 1, nothing, print, asyncio.get_running_loop().create_future()):

        async def use(wrong: Any = wrong) -> None:
            async with lib.TaskGroup() as group:
                group.create_task(wrong)

        ends.append([line.partition(" at ")[0] for line in await attempt_await(use)])
    return ends


@misuse()
async def wrong_arguments_of_a_group(lib: Any) -> Any:
    async with lib.TaskGroup() as group:
        ends = [
            attempt(lambda: lib.TaskGroup(1)),
            attempt(lambda: lib.TaskGroup(name="x")),
            attempt(lambda: group.create_task()),
            attempt(lambda: group.__aexit__()),
        ]
        coroutine = nothing()
        ends.append(attempt(lambda: group.create_task(coroutine, "name")))
        coroutine.close()
    return ends


@misuse(TypeError)
async def enter_a_group_without_async(lib: Any) -> None:
    with lib.TaskGroup():
        pass


@misuse(RuntimeError)
def enter_a_group_outside_a_loop(lib: Any) -> None:
    lib.TaskGroup().__aenter__().send(None)


@misuse(RuntimeError)
async def enter_a_group_outside_a_task(lib: Any) -> None:
    await _outside_a_task(lambda: lib.TaskGroup().__aenter__().send(None))


async def _outside_a_task(use: Any) -> Any:
    """Call it from a callback, where a loop runs but no task."""
    loop = asyncio.get_running_loop()
    result = loop.create_future()

    def call() -> None:
        try:
            result.set_result(use())
        except Exception as error:
            result.set_exception(error)

    loop.call_soon(call)
    return await result


@misuse()
async def a_group_whose_body_fails_and_a_task_too(lib: Any) -> Any:
    async def use() -> None:
        async with lib.TaskGroup() as group:
            group.create_task(fail())
            raise ValueError("body")

    return await attempt_await(use)


@misuse(KeyboardInterrupt)
async def a_task_that_raises_keyboard_interrupt(lib: Any) -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    async with lib.TaskGroup() as group:
        group.create_task(interrupt())
        await forever()


# Timeouts


@misuse()
async def reschedule_outside_the_block(lib: Any) -> Any:
    timeout = lib.timeout(10)
    ends = [attempt(lambda: timeout.reschedule(1))]
    async with timeout:
        ends.append(attempt(lambda: timeout.reschedule(None)))
    return [*ends, attempt(lambda: timeout.reschedule(1))]


@misuse()
async def reschedule_when_it_is_too_late(lib: Any) -> Any:
    ends: list[Any] = []

    async def use() -> None:
        async with lib.timeout(0) as timeout:
            try:
                await forever()
            finally:
                ends.append(attempt(lambda: timeout.reschedule(1)))
                ends.append(timeout.expired())

    ends.append(await attempt_await(use))
    return ends


@misuse()
async def reschedule_after_it_has_expired(lib: Any) -> Any:
    timeout = lib.timeout(0)

    async def use() -> None:
        async with timeout:
            await forever()

    return [await attempt_await(use), attempt(lambda: timeout.reschedule(1)), timeout.expired()]


@misuse()
async def reschedule_to_what_is_no_time(lib: Any) -> Any:
    async def use(when: Any) -> str:
        async with lib.timeout(None) as timeout:
            return str(attempt(lambda: timeout.reschedule(when))[0]).partition(":")[0]

    wrongs: list[Any] = ["1", [], 1j]
    return [await attempt_await(lambda wrong=wrong: use(wrong)) for wrong in wrongs]


@misuse(RuntimeError)
async def enter_a_timeout_inside_itself(lib: Any) -> None:
    timeout = lib.timeout(10)
    async with timeout, timeout:
        pass


@misuse(RuntimeError)
async def enter_a_timeout_again(lib: Any) -> None:
    timeout = lib.timeout(10)
    async with timeout:
        pass
    async with timeout:
        pass


@misuse(RuntimeError)
async def enter_a_timeout_outside_a_task(lib: Any) -> None:
    timeout = lib.timeout_at(None)
    await _outside_a_task(lambda: timeout.__aenter__().send(None))


@misuse(RuntimeError)
def make_a_timeout_outside_a_loop(lib: Any) -> None:
    lib.timeout(1)


@misuse(RuntimeError)
def enter_a_timeout_outside_a_loop(lib: Any) -> None:
    lib.timeout_at(1).__aenter__().send(None)


@misuse(TypeError)
async def enter_a_timeout_without_async(lib: Any) -> None:
    with lib.timeout(1):
        pass


@misuse()
async def wrong_arguments_of_a_timeout(lib: Any) -> Any:
    uses: list[Any] = [
        lib.timeout,
        lambda: lib.timeout(1, 2),
        lambda: lib.timeout(seconds=1),
        lib.timeout_at,
        lambda: lib.timeout_at(1, 2),
        lib.Timeout,
        lambda: lib.Timeout(1, 2),
    ]
    ends = [attempt(use) for use in uses]
    # asyncio adds, we convert; so the TypeErrors have other texts.
    for wrong in ("1", [], object()):
        end = attempt(lambda wrong=wrong: type(lib.timeout(wrong)).__name__)
        ends.append(end if isinstance(end, str) else end[0].partition(":")[0])
    return ends


@misuse()
async def timeouts_that_are_no_times(lib: Any) -> Any:
    async def use(when: Any) -> str:
        async with lib.timeout_at(when):
            await asyncio.sleep(0)
        return "left"

    ends = [await attempt_await(lambda when=when: use(when)) for when in (float("inf"), 10**9, 0)]
    wrongs: list[Any] = ["1", [], 1j]
    refused = [await attempt_await(lambda wrong=wrong: use(wrong)) for wrong in wrongs]
    return ends, [end[0].partition(":")[0] for end in refused]


@misuse()
async def set_what_a_timeout_does_not_have(lib: Any) -> Any:
    timeout = lib.timeout(None)
    return [timeout.when(), timeout.expired(), attempt(lambda: timeout.when(1))]
