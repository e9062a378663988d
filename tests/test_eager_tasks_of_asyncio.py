"""asyncio's eager Tasks, started in a step of one of ours.

Whoever took hold of `asyncio.eager_task_factory` or of `asyncio.Task` before `install()`, or calls
the primitives by aioxide's names, has both kinds in one program. Up to its first wait such a Task
is current, within the step of the Task that started it, and what it enters is its own: the wrong
Task would be cancelled by a timeout otherwise.
"""

import asyncio
import sys
from typing import Any

import pytest

import aioxide
from tests.loops import Loop

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")

EagerTask: Any = asyncio.Task
eager_task_factory: Any = vars(asyncio).get("eager_task_factory")


@pytest.fixture(params=[asyncio, aioxide])
def primitives(request: pytest.FixtureRequest) -> Any:
    return request.param


def start_eagerly(loop: Loop, coro: Any) -> Any:
    return EagerTask(coro, loop=loop, eager_start=True)


def start_by_factory(loop: Loop, coro: Any) -> Any:
    before = loop.get_task_factory()
    loop.set_task_factory(eager_task_factory)
    try:
        return loop.create_task(coro)
    finally:
        loop.set_task_factory(before)


async def result_of(loop: Loop, coro: Any, start: Any) -> Any:
    task = start(loop, coro)
    # Not waiting for it: a Task that waits hands a cancellation on, to where it should have gone.
    await asyncio.sleep(0.01)
    return await task


@pytest.mark.parametrize("start", [start_eagerly, start_by_factory])
def test_a_timeout_cancels_the_eager_task_that_entered_it(
    loop: Loop, primitives: Any, start: Any
) -> None:
    async def child() -> str:
        try:
            async with primitives.timeout(0.001):
                await asyncio.sleep(10)
        except TimeoutError:
            return "timed out"
        return "slept"

    assert loop.run_until_complete(result_of(loop, child(), start)) == "timed out"


@pytest.mark.parametrize("start", [start_eagerly, start_by_factory])
def test_a_task_group_cancels_the_eager_task_that_entered_it(
    loop: Loop, primitives: Any, start: Any
) -> None:
    async def fail() -> None:
        raise ValueError

    async def child() -> str:
        try:
            async with primitives.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.sleep(10)
        except ExceptionGroup:
            return "failed"
        return "slept"

    assert loop.run_until_complete(result_of(loop, child(), start)) == "failed"


def test_the_task_that_started_it_is_current_again(loop: Loop, primitives: Any) -> None:
    async def child() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        task = start_eagerly(loop, child())
        with pytest.raises(TimeoutError):
            async with primitives.timeout(0.001):
                await asyncio.sleep(10)
        await task

    loop.run_until_complete(main())
