"""asyncio's pure Python Task and Future under our primitives.

CPython keeps them beside the C ones, for debuggers and for its tests. Who wants them puts them, and
the functions that know of them, into `asyncio.tasks` and `asyncio.futures`, where asyncio's own
primitives look at each use; so have ours to. The tests run on asyncio's primitives too, which vouch
for what they assert.
"""

import asyncio
import sys
from asyncio import futures, tasks
from typing import Any

import pytest

import aioxide
from tests.loops import Loop

TWINS = {tasks: ("Task", "current_task"), futures: ("Future",)}
if sys.version_info >= (3, 14):
    TWINS[futures] += ("future_add_to_awaited_by", "future_discard_from_awaited_by")


@pytest.fixture(params=[asyncio, aioxide])
def primitives(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def _pure_python(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own objects in asyncio's places, for whatever runs on the loop."""
    for module, names in TWINS.items():
        for name in names:
            # Up to 3.11 some functions exist in Python only.
            twin = vars(module).get(f"_Py{name}") or vars(module).get(f"_py_{name}")
            monkeypatch.setattr(module, name, twin or getattr(module, name))
    make = vars(tasks)["_PyTask"]
    loop.set_task_factory(lambda loop, coro, **options: make(coro, loop=loop, **options))


def test_a_task_group_finds_its_parent(loop: Loop, primitives: Any) -> None:
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return n * 2

    async def main() -> list[int]:
        async with primitives.TaskGroup() as group:
            children = [group.create_task(double(n)) for n in range(3)]
        return [child.result() for child in children]

    assert loop.run_until_complete(main()) == [0, 2, 4]


def test_a_timeout_finds_its_task(loop: Loop, primitives: Any) -> None:
    async def main() -> None:
        async with primitives.timeout(10):
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with primitives.timeout(0):
                await asyncio.sleep(10)
        assert await primitives.wait_for(asyncio.sleep(0, "slept"), 10) == "slept"

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="new in 3.14")
def test_the_call_graph_shows_who_awaits_whom(loop: Loop, primitives: Any) -> None:
    graph: Any = vars(asyncio)["capture_call_graph"]

    async def wait_in(group: Any) -> list[str]:
        child = loop.create_task(asyncio.sleep(0), name="child")
        waiting = loop.create_task(group(child), name="waiting")
        awaiters: list[str] = []
        while not child.done():
            awaiters += [each.future.get_name() for each in graph(child).awaited_by]
            await asyncio.sleep(0)
        await waiting
        assert not graph(child).awaited_by
        return awaiters

    async def gather(child: Any) -> None:
        await primitives.gather(child)

    async def wait(child: Any) -> None:
        await primitives.wait([child])

    for group in (gather, wait):
        assert set(loop.run_until_complete(wait_in(group))) == {"waiting"}
