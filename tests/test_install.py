"""`install()` puts aioxide into asyncio's place, and `uninstall()` takes it out again.

What stays installed would change every test that runs afterwards, so most of this happens in
interpreters of its own.
"""

import subprocess
import sys
from textwrap import dedent

import pytest

import aioxide

PRELUDE = """
import asyncio, sys, warnings
from asyncio import events, tasks, futures, streams
stock_sleep, stock_task, stock_future, stock_loop = (
    asyncio.sleep, asyncio.Task, asyncio.Future, asyncio.SelectorEventLoop)
import aioxide

def raises(kind, function, *args):
    try:
        function(*args)
    except kind as exc:
        return str(exc)
    raise AssertionError(f"no {kind}")

def everything():
    "All that asyncio's modules and its policy hold."
    places = [m for n, m in sys.modules.items() if n.split(".")[0] == "asyncio"]
    places += [aioxide.policy.StockPolicy, *aioxide.policy.StockPolicy.__mro__[1:-1]]
    # 3.14's call graph is connected by the first loop, and stays so.
    return {(place.__name__, name): value for place in places for name, value in vars(place).items()
            if not name.startswith("__") and "awaited_by" not in name}
"""


def check(body: str, *options: str) -> str:
    """Run it in a new interpreter that turns warnings into errors; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", PRELUDE + dedent(body)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


def test_every_place_that_held_the_stock_object_holds_ours() -> None:
    check("""
    aioxide.install()
    for module in (asyncio, tasks, streams):
        assert module.sleep is aioxide.sleep
    assert asyncio.Task is tasks.Task is aioxide.Task
    assert asyncio.Future is futures.Future is aioxide.Future
    assert asyncio.SelectorEventLoop is aioxide.SelectorEventLoop
    assert asyncio.unix_events.SelectorEventLoop is aioxide.SelectorEventLoop
    if sys.version_info >= (3, 13):
        assert asyncio.EventLoop is asyncio.unix_events.EventLoop is aioxide.EventLoop
    # What is the record of how CPython was built stays that.
    assert tasks._CTask is stock_task and futures._CFuture is stock_future
    """)


def test_whatever_aioxide_has_of_its_own_is_installed() -> None:
    check("""
    from aioxide import installation
    before = {name: getattr(asyncio, name) for name in asyncio.__all__}
    own = {name for name in before if getattr(aioxide, name) is not before[name]}
    assert {"sleep", "Task", "Future"} <= own
    aioxide.install()
    replaced = {name for name in before if getattr(asyncio, name) is not before[name]}
    assert replaced == own - installation.STOCK_NAMES, replaced ^ own
    assert all(getattr(asyncio, name) is getattr(aioxide, name) for name in replaced)
    """)


def test_uninstall_restores_exactly_what_was_there() -> None:
    check("""
    before = everything()
    aioxide.install()
    aioxide.install()
    assert everything() != before
    aioxide.uninstall()
    assert everything() == before, set(everything()) ^ set(before)
    aioxide.uninstall()
    assert everything() == before
    aioxide.install()
    assert asyncio.sleep is aioxide.sleep
    aioxide.uninstall()
    assert everything() == before
    """)


def test_uninstall_reaches_modules_of_asyncio_imported_in_between() -> None:
    check("""
    del sys.modules["asyncio.streams"]
    aioxide.install()
    import asyncio.streams
    assert asyncio.streams.sleep is aioxide.sleep
    aioxide.uninstall()
    assert asyncio.streams.sleep is stock_sleep
    """)


def test_what_the_program_has_patched_is_left_alone() -> None:
    check("""
    def before(delay): ...
    def between(delay): ...
    asyncio.sleep = before
    aioxide.install()
    assert asyncio.sleep is before and tasks.sleep is aioxide.sleep
    tasks.sleep = between
    asyncio.Task = between
    aioxide.uninstall()
    assert asyncio.sleep is before and tasks.sleep is between and asyncio.Task is between
    assert streams.sleep is stock_sleep and tasks.Task is stock_task
    """)


def test_what_the_program_patched_before_the_import_is_not_taken_for_asyncios() -> None:
    check("""
    class Fake: ...
    tasks.sleep = asyncio.sleep = Fake()
    fake = asyncio.sleep
    aioxide.install()
    assert tasks.sleep is asyncio.sleep is fake
    aioxide.uninstall()
    assert tasks.sleep is asyncio.sleep is fake and asyncio.Task is stock_task
    """)


def test_merely_importing_installs_nothing() -> None:
    check("""
    for name in list(sys.modules):
        if name.split(".")[0] == "aioxide":
            del sys.modules[name]
    asyncio.new_event_loop().close()
    policy = type(events._event_loop_policy)
    aioxide = None
    class aioxide: policy = type("policy", (), {"StockPolicy": policy})
    before, path = everything(), list(sys.meta_path)
    import aioxide, aioxide.locks
    assert everything() == before and sys.meta_path == path
    assert not aioxide.installation.is_installed()
    """)


# Loops


def test_every_way_to_a_loop_leads_to_ours() -> None:
    check("""
    aioxide.install()
    async def main():
        return type(asyncio.get_running_loop())
    assert asyncio.run(main()) is aioxide.EventLoop
    with asyncio.Runner() as runner:
        assert runner.run(main()) is aioxide.EventLoop
    for make in (asyncio.new_event_loop, asyncio.SelectorEventLoop,
                 getattr(asyncio, "EventLoop", asyncio.new_event_loop)):
        loop = make()
        assert isinstance(loop, aioxide.EventLoop), make
        assert isinstance(loop, asyncio.SelectorEventLoop)
        assert loop.run_until_complete(main()) is type(loop)
        loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
        assert asyncio.run(main()) is aioxide.EventLoop
        asyncio.set_event_loop_policy(None)
        assert asyncio.run(main()) is aioxide.EventLoop
    aioxide.uninstall()
    assert asyncio.run(main()) is stock_loop
    """)


def test_a_selector_is_taken_and_not_used() -> None:
    check("""
    import selectors
    aioxide.install()
    selector = selectors.SelectSelector()
    loop = asyncio.SelectorEventLoop(selector)
    assert loop.run_until_complete(asyncio.sleep(0, 1)) == 1
    loop.close()
    selector.close()
    class Own(asyncio.SelectorEventLoop):
        def time(self): return 5.0
    own = Own()
    assert own.time() == 5.0 and isinstance(own, asyncio.SelectorEventLoop)
    assert not isinstance(loop, Own) and issubclass(Own, asyncio.SelectorEventLoop)
    assert issubclass(aioxide.EventLoop, asyncio.SelectorEventLoop)
    assert not issubclass(aioxide.EventLoop, Own) and not issubclass(stock_loop, Own)
    own.close()
    """)


def test_a_policy_that_the_program_sets_is_its_choice() -> None:
    check("""
    class Stock(events.BaseDefaultEventLoopPolicy if sys.version_info < (3, 14)
                else events._BaseDefaultEventLoopPolicy):
        _loop_factory = stock_loop
    async def main():
        return type(asyncio.get_running_loop())
    set_policy = aioxide.policy.set_current_policy
    # Before install(), which is the later word; uninstall() gives the policy back.
    early = Stock()
    set_policy(early)
    aioxide.install()
    assert asyncio.run(main()) is aioxide.EventLoop
    aioxide.uninstall()
    assert events._event_loop_policy is early
    set_policy(None)
    # After it.
    aioxide.install()
    late = Stock()
    set_policy(late)
    assert asyncio.run(main()) is stock_loop
    aioxide.uninstall()
    assert events._event_loop_policy is late
    """)


def test_a_program_s_own_policy_on_asyncios_is_kept_for_what_else_it_does() -> None:
    check("""
    class AnyThread(aioxide.policy.StockPolicy):
        def get_event_loop(self):
            try:
                return super().get_event_loop()
            except RuntimeError:
                self.set_event_loop(self.new_event_loop())
                return super().get_event_loop()
    import threading
    policy = AnyThread()
    aioxide.policy.set_current_policy(policy)
    aioxide.install()
    assert events._event_loop_policy is policy
    found = []
    def other():
        found.append(asyncio.get_event_loop())
        found[0].close()
    thread = threading.Thread(target=other)
    thread.start(); thread.join()
    assert type(found[0]) is aioxide.EventLoop
    """)


def test_the_main_thread_gets_a_loop_if_it_never_had_one() -> None:
    check("""
    import threading
    def other():
        print(raises(RuntimeError, asyncio.get_event_loop))
    aioxide.install()
    thread = threading.Thread(target=other, name="other")
    thread.start(); thread.join()
    loop = asyncio.get_event_loop()
    assert type(loop) is aioxide.EventLoop
    assert asyncio.get_event_loop() is loop is aioxide.get_event_loop()
    assert loop.run_until_complete(asyncio.sleep(0, 1)) == 1
    loop.close()
    """)


def test_after_run_there_is_no_current_loop_on_any_version() -> None:
    check("""
    aioxide.install()
    asyncio.run(asyncio.sleep(0))
    assert "no current event loop" in raises(RuntimeError, asyncio.get_event_loop)
    assert "no current event loop" in raises(RuntimeError, aioxide.get_event_loop)
    """)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="older versions give the main thread a loop")
def test_without_install_get_event_loop_refuses_as_asyncio_does() -> None:
    check("""
    aioxide.policy.set_current_policy(aioxide.EventLoopPolicy())
    raises(RuntimeError, asyncio.get_event_loop)
    aioxide.install()
    asyncio.get_event_loop().close()
    aioxide.uninstall()
    asyncio.set_event_loop(None)
    raises(RuntimeError, asyncio.get_event_loop)
    """)


# What was there before


def test_what_was_imported_or_derived_before_keeps_working() -> None:
    check("""
    class OldTask(asyncio.Task): ...
    class OldFuture(asyncio.Future): ...
    class OldQueue(asyncio.Queue): ...
    class OldCondition(asyncio.Condition): ...
    aioxide.install()
    async def main():
        loop = asyncio.get_running_loop()
        assert await stock_sleep(0, 1) == 1
        assert await stock_task(asyncio.sleep(0, 2)) == 2
        task = OldTask(asyncio.sleep(0.001, 3))
        assert {task} < asyncio.all_tasks() and await asyncio.shield(task) == 3
        for kind in (OldFuture, stock_future, asyncio.Future):
            future = kind(loop=loop)
            assert asyncio.isfuture(future) and asyncio.ensure_future(future) is future
            loop.call_soon(future.set_result, 4)
            assert await asyncio.wait_for(future, 5) == 4
        queue = OldQueue(1)
        async def producer():
            for n in range(3): await queue.put(n)
        feeding = asyncio.create_task(producer())
        assert [await queue.get() for _ in range(3)] == [0, 1, 2]
        await feeding
        condition = OldCondition()
        async def notify():
            async with condition: condition.notify_all()
        async with condition:
            notifying = asyncio.create_task(notify())
            await condition.wait()
        await notifying
        assert asyncio.current_task() is not None
        assert asyncio.all_tasks() == {asyncio.current_task()}
    asyncio.run(main())
    """)


def test_install_and_uninstall_inside_a_running_loop_hold_for_what_comes_then() -> None:
    check("""
    async def child():
        await asyncio.sleep(0)
        return asyncio.current_task()
    async def main():
        loop, me = asyncio.get_running_loop(), asyncio.current_task()
        old = asyncio.create_task(child())
        aioxide.install()
        assert asyncio.get_running_loop() is loop and asyncio.current_task() is me
        new = asyncio.create_task(child())
        assert {old, new, me} == asyncio.all_tasks()
        assert await asyncio.gather(old, new) == [old, new]
        assert await asyncio.sleep(0.001, 7) == 7
        lock = asyncio.Lock()
        async with lock: pass
        async with asyncio.timeout(5):
            async with asyncio.TaskGroup() as group:
                last = group.create_task(child())
        assert last.result() is last
        aioxide.uninstall()
        later = asyncio.create_task(child())
        assert await later is later
        return [type(task) for task in (old, new, later)]
    assert asyncio.run(main()) == [stock_task, aioxide.Task, stock_task]
    aioxide.install()
    assert asyncio.run(main()) == [aioxide.Task] * 3  # the loop is ours
    """)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_eager_tasks_are_ours() -> None:
    check("""
    aioxide.install()
    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        async def child(): return 1
        task = asyncio.create_task(child())
        assert type(task) is aioxide.Task and task.done() and await task == 1
        slow = asyncio.create_task(asyncio.sleep(0, 2))
        assert not slow.done() and await slow == 2
    asyncio.run(main())
    """)


def test_without_install_uninstall_does_nothing() -> None:
    aioxide.uninstall()
    assert not aioxide.installation.is_installed()
