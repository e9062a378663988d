"""`sleep`: the same promises from asyncio's and from ours, on both loops.

Our sleep is one native object: a Task of ours parks on it, and anybody else gets a Future from it.
So each promise is asked of every pair of sleep and loop, and of a stock Task on our loop.
"""

import _asyncio
import asyncio
import collections.abc
import gc
import math
import sys
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import aioxide
from tests.loops import Loop

Sleep = Callable[..., Any]


@pytest.fixture(params=[asyncio.sleep, aioxide.sleep], ids=["asyncio.sleep", "aioxide.sleep"])
def sleep(request: pytest.FixtureRequest) -> Sleep:
    made: Sleep = request.param
    return made


@pytest.fixture(params=["own", "stock"])
def start(request: pytest.FixtureRequest, loop: Loop) -> Callable[[Any], asyncio.Task[Any]]:
    """Makes a task: the loop's own kind, or the standard library's."""
    if request.param == "own":
        return loop.create_task
    return lambda coro: _asyncio.Task(coro, loop=loop)


def test_it_sleeps_that_long_and_gives_the_result(
    loop: Loop, sleep: Sleep, start: Callable[[Any], asyncio.Task[Any]]
) -> None:
    async def main() -> Any:
        return await sleep(0.02, "rested")

    begin = time.monotonic()
    assert loop.run_until_complete(start(main())) == "rested"
    assert time.monotonic() - begin >= 0.02


def test_sleep_zero_gives_way_for_one_turn(loop: Loop, sleep: Sleep) -> None:
    seen: list[str] = []

    async def main() -> None:
        loop.call_soon(seen.append, "others")
        assert await sleep(0) is None
        assert await sleep(-1, "value") == "value"
        seen.append("main")

    loop.run_until_complete(main())
    assert seen == ["others", "main"]


def test_a_sleeper_wakes_a_turn_after_its_timer(loop: Loop, sleep: Sleep) -> None:
    seen: list[str] = []

    async def sleeper() -> None:
        await sleep(0.01)
        seen.append("sleeper")

    async def main() -> None:
        task = loop.create_task(sleeper())
        await asyncio.sleep(0)
        loop.call_later(0.01, seen.append, "later timer")
        time.sleep(0.03)  # both are due in the same turn
        await task

    loop.run_until_complete(main())
    assert seen == ["later timer", "sleeper"]


def test_cancelling_ends_it_at_once_with_the_message(
    loop: Loop, sleep: Sleep, start: Callable[[Any], asyncio.Task[Any]]
) -> None:
    async def main() -> None:
        task = start(sleep(60))
        await asyncio.sleep(0)
        assert task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert task.cancelled()

    begin = time.monotonic()
    loop.run_until_complete(main())
    assert time.monotonic() - begin < 5


def test_a_sleeper_cancelled_when_it_is_due_is_cancelled(loop: Loop, sleep: Sleep) -> None:
    async def main() -> None:
        task = loop.create_task(sleep(0.01))
        await asyncio.sleep(0)
        loop.call_later(0.005, task.cancel)
        time.sleep(0.03)
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run_until_complete(main())


def test_a_cancellation_that_is_swallowed_leaves_the_task_running(loop: Loop, sleep: Sleep) -> None:
    async def stubborn() -> str:
        try:
            await sleep(60)
        except asyncio.CancelledError:
            await sleep(0.001)
        return "still here"

    async def main() -> None:
        task = loop.create_task(stubborn())
        await asyncio.sleep(0)
        task.cancel()
        assert await task == "still here"

    loop.run_until_complete(main())


def test_timeouts_and_gather_take_it(loop: Loop, sleep: Sleep) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await sleep(60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sleep(60), 0.005)
        together = await asyncio.gather(sleep(0.002, 1), sleep(0.001, 2), sleep(0, 3))
        assert list(together) == [1, 2, 3]

    loop.run_until_complete(main())


def test_it_is_a_coroutine_and_no_future(sleep: Sleep) -> None:
    made = sleep(1)
    assert asyncio.iscoroutine(made)
    assert isinstance(made, collections.abc.Coroutine)
    assert not asyncio.isfuture(made)
    assert not isinstance(made, collections.abc.Iterator)
    made.close()


def test_one_that_is_never_awaited_warns(sleep: Sleep) -> None:
    with pytest.warns(RuntimeWarning, match="coroutine 'sleep' was never awaited"):
        sleep(1)


def test_one_that_dies_unawaited_while_its_warning_collects_garbage(sleep: Sleep) -> None:
    def collect(*_: object, **__: object) -> None:
        gc.collect()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = collect
        for _ in range(100):
            sleep(1, [{}])  # its result makes it known to the collector


def test_it_cannot_be_awaited_twice(loop: Loop, sleep: Sleep) -> None:
    async def main() -> None:
        made = sleep(0.001)
        await made
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await made

    loop.run_until_complete(main())


def test_it_needs_a_running_loop(sleep: Sleep) -> None:
    made = sleep(1)
    with pytest.raises(RuntimeError, match="no running event loop"):
        made.send(None)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio refuses NaN since 3.13")
def test_nan_is_refused(loop: Loop, sleep: Sleep) -> None:
    with pytest.raises(ValueError, match=r"Invalid delay: NaN \(not a number\)"):
        loop.run_until_complete(sleep(math.nan))


def test_driven_by_hand_it_yields_something_to_wait_for(loop: Loop, sleep: Sleep) -> None:
    async def main() -> None:
        made = sleep(0.001, "by hand")
        waited = made.send(None)
        assert waited._asyncio_future_blocking
        waited._asyncio_future_blocking = False
        done = asyncio.Event()
        waited.add_done_callback(lambda _: done.set())
        await done.wait()
        with pytest.raises(StopIteration) as stop:
            made.send(None)
        assert stop.value.value == "by hand"

    loop.run_until_complete(main())


def test_nothing_keeps_a_sleeper_of_a_dead_loop(sleep: Sleep) -> None:
    loop = aioxide.new_event_loop()
    task = loop.create_task(sleep(60))
    loop.call_soon(loop.stop)
    loop.run_forever()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    alive = weakref.ref(task)
    del task
    loop.close()
    del loop
    gc.collect()
    assert alive() is None
