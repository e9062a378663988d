"""isinstance() and issubclass() across the two kinds of Future and Task, in both directions."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable
from typing import Generic, TypeVar

import aioxide
from tests.loops import Loop

T = TypeVar("T")


def test_asyncios_objects_pass_for_ours_and_ours_for_asyncios(loop: Loop) -> None:
    future: asyncio.Future[int] = loop.create_future()
    task = loop.create_task(asyncio.sleep(0))
    for futures, tasks in ((asyncio.Future, asyncio.Task), (aioxide.Future, aioxide.Task)):
        assert isinstance(future, futures)
        assert isinstance(task, futures)
        assert isinstance(task, tasks)
        assert not isinstance(future, tasks)
        assert not isinstance(task.get_coro(), futures)
    loop.run_until_complete(task)


def test_the_classes_are_related_as_their_instances_are() -> None:
    assert issubclass(asyncio.Future, aioxide.Future)
    assert issubclass(asyncio.Task, aioxide.Task)
    assert issubclass(asyncio.Task, aioxide.Future)
    assert issubclass(aioxide.Task, aioxide.Future)
    assert not issubclass(asyncio.Future, aioxide.Task)
    assert not issubclass(int, aioxide.Future)


def test_a_subclass_admits_only_its_own(loop: Loop) -> None:
    class Abstract(aioxide.Future[T], Awaitable[T], Generic[T]):
        pass

    made: Abstract[int] = Abstract(loop=loop)
    assert isinstance(made, aioxide.Future)
    assert not isinstance(loop.create_future(), Abstract)
    assert not isinstance(asyncio.Future(loop=loop), Abstract)


def test_after_install_what_others_made_is_still_a_future() -> None:
    source = """
import _asyncio, asyncio, aioxide
from asyncio.tasks import _GatheringFuture
class Old(asyncio.Future): ...
aioxide.install()
async def main():
    loop = asyncio.get_running_loop()
    futures = [_asyncio.Future(loop=loop), Old(loop=loop), asyncio.Future(loop=loop),
               asyncio.gather(asyncio.sleep(0))]
    assert _GatheringFuture is type(futures[-1]) or isinstance(futures[-1], aioxide.Future)
    tasks = [_asyncio.Task(asyncio.sleep(0), loop=loop), asyncio.create_task(asyncio.sleep(0))]
    for each in futures + tasks:
        assert isinstance(each, asyncio.Future), each
        assert isinstance(each, asyncio.futures.Future) and asyncio.isfuture(each)
        assert asyncio.ensure_future(each) is each
        assert isinstance(each, asyncio.Task) == (each in tasks)
    await asyncio.gather(*tasks, futures[-1])
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-W", "error", "-c", source], check=True, timeout=30)
