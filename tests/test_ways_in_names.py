"""`import aioxide as asyncio`: every name that programs reach through asyncio is there."""

import asyncio
import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

import aioxide

SUBMODULES = sorted(
    name.removeprefix("asyncio.")
    for name, module in sys.modules.items()
    if name.startswith("asyncio.") and isinstance(module, types.ModuleType)
)


def own_or_stock(name: str, stock: object) -> object:
    return getattr(aioxide, name) if name in aioxide.installation.own_names() else stock


@pytest.mark.parametrize("name", SUBMODULES)
def test_every_submodule_answers_for_every_name_of_asyncios(name: str) -> None:
    ours, stock = getattr(aioxide, name), getattr(asyncio, name)
    assert importlib.import_module(f"aioxide.{name}") is ours
    public = set(getattr(stock, "__all__", ()))
    assert public <= set(dir(ours))
    for each in public:
        assert getattr(ours, each) is own_or_stock(each, getattr(stock, each))
    if name != "runners":  # a module of our own, with the public names
        assert set(dir(stock)) <= set(dir(ours))
        for each in dir(stock):
            getattr(ours, each)


def test_own_names_come_first_however_they_are_reached() -> None:
    source = """
import aioxide as asyncio
import aioxide.tasks
import aioxide.locks as locks
from aioxide.tasks import sleep, Task, _enter_task
from aioxide.futures import Future
from aioxide.subprocess import PIPE
from aioxide.queues import *
from aioxide.exceptions import CancelledError
from aioxide.timeouts import timeout
assert aioxide.tasks is asyncio.tasks and locks is asyncio.locks
assert sleep is asyncio.tasks.sleep is asyncio.streams.sleep is asyncio.sleep
assert sleep.__module__.startswith("aioxide") and Future is asyncio.Future is asyncio.futures.Future
assert Task is asyncio.Task and Task.__module__ == "aioxide"
assert locks.Lock is asyncio.Lock and Queue is asyncio.Queue is asyncio.queues.Queue
assert QueueShutDown is asyncio.QueueShutDown is asyncio.queues.QueueShutDown
assert CancelledError is asyncio.exceptions.CancelledError is asyncio.CancelledError
assert PIPE == asyncio.subprocess.PIPE == -1
import asyncio as stock
assert CancelledError is stock.CancelledError and stock.sleep is not sleep
assert asyncio.log.logger is stock.log.logger and asyncio.timeouts.timeout is timeout
"""
    subprocess.run([sys.executable, "-W", "error", "-c", source], check=True, timeout=30)


def test_a_name_that_no_submodule_has_is_refused_in_our_name() -> None:
    with pytest.raises(AttributeError, match=r"^module 'aioxide\.tasks' has no attribute 'spam'$"):
        aioxide.tasks.spam  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match=r"cannot import name 'spam' from 'aioxide\.tasks'"):
        exec("from aioxide.tasks import spam")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'aioxide\.spam'"):
        importlib.import_module("aioxide.spam")


def test_what_a_program_patches_in_asyncio_shows_where_nothing_is_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patched = object()
    monkeypatch.setattr(asyncio.streams, "_DEFAULT_LIMIT", patched)
    assert vars(asyncio.streams)["_DEFAULT_LIMIT"] is patched
    assert getattr(aioxide.streams, "_DEFAULT_LIMIT") is patched


def test_star_import_gives_what_asyncios_gives() -> None:
    source = "from {} import *\nprint(*sorted(n for n in dir() if not n.startswith('__')))"
    names = [
        set(
            subprocess.run(
                [sys.executable, "-c", source.format(module)],
                capture_output=True,
                text=True,
                check=True,
                timeout=30,
            ).stdout.split()
        )
        for module in ("asyncio", "aioxide")
    ]
    assert names[0] - names[1] == set()
    ours = {"EventLoop", "EventLoopPolicy", "QueueShutDown", "install", "uninstall"}
    # 3.11 forgets TaskGroup in asyncio.__all__.
    assert names[1] - names[0] <= ours | set(dir(asyncio))


def test_queue_shut_down_is_asyncios_where_it_has_one() -> None:
    assert issubclass(aioxide.QueueShutDown, Exception)
    stock = getattr(asyncio, "QueueShutDown", None)
    assert (aioxide.QueueShutDown is stock) == (sys.version_info >= (3, 13))


def test_eager_tasks_are_there_exactly_where_asyncio_has_them() -> None:
    for name in ("eager_task_factory", "create_eager_task_factory"):
        assert hasattr(aioxide, name) == hasattr(asyncio, name) == (sys.version_info >= (3, 12))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_eager_tasks_are_ours() -> None:
    async def child() -> int:
        return 1

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(getattr(aioxide, "eager_task_factory"))
        task = asyncio.create_task(child(), name="eager")
        assert type(task) is aioxide.Task
        assert task.done()
        assert task.get_name() == "eager"
        assert await task == 1
        slow = asyncio.create_task(asyncio.sleep(0, 2))
        assert not slow.done()
        assert await slow == 2

    aioxide.run(main())


def test_an_old_program_that_asks_for_a_loop_first_gets_ours() -> None:
    source = """
import aioxide as asyncio
loop = asyncio.get_event_loop()
assert type(loop) is asyncio.EventLoop and asyncio.get_event_loop() is loop
async def main():
    assert asyncio.get_event_loop() is loop is asyncio.get_running_loop()
    return await asyncio.gather(asyncio.sleep(0, 1), asyncio.wait_for(asyncio.sleep(0, 2), 5))
assert loop.run_until_complete(main()) == [1, 2]
loop.close()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", source], check=True, timeout=30)


def test_every_stub_names_a_submodule_that_is_there() -> None:
    folder = Path(aioxide.__file__).parent
    stubs = {path.stem for path in folder.glob("*.pyi")} - {"_core"}
    if sys.version_info < (3, 14):
        stubs.remove("graph")
    assert stubs <= set(SUBMODULES)
    assert {"locks", "queues", "tasks", "futures", "timeouts", "exceptions"} <= stubs
