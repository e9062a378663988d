"""`Queue` and its kin: the same promises from asyncio's and from ours, on both loops.

Ours is native: a coroutine that waits stands in the queue's line itself, and a Task of ours parks
on it. So each promise is asked of every pair of queue and loop, with the loop's own tasks and with
the standard library's.
"""

import _asyncio
import asyncio
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import aioxide
from tests.loops import Loop, run_turns

Start = Callable[[Any], asyncio.Task[Any]]
KINDS = ["Queue", "LifoQueue", "PriorityQueue"]
#: Before 3.13 only ours can be shut down.
WITH_SHUTDOWN: list[Any] = [asyncio, aioxide] if sys.version_info >= (3, 13) else [aioxide]


def name_of(lib: ModuleType) -> str:
    return lib.__name__


@pytest.fixture(params=[asyncio, aioxide], ids=name_of)
def lib(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["own", "stock"])
def start(request: pytest.FixtureRequest, loop: Loop) -> Start:
    """Makes a task: the loop's own kind, or the standard library's."""
    if request.param == "own":
        return loop.create_task
    return lambda coro: _asyncio.Task(coro, loop=loop)


async def take(queue: Any, into: list[Any], name: object = None) -> None:
    item = await queue.get()
    into.append(item if name is None else (name, item))


async def feed(queue: Any, item: object, into: list[Any]) -> None:
    await queue.put(item)
    into.append(item)


def test_it_hands_items_over_in_the_order_of_its_kind(loop: Loop, lib: Any, start: Start) -> None:
    async def main(queue: Any) -> list[Any]:
        for item in (2, 3, 1):
            await queue.put(item)
        return [await queue.get() for _ in range(3)]

    orders = [loop.run_until_complete(start(main(getattr(lib, kind)()))) for kind in KINDS]
    assert orders == [[2, 3, 1], [1, 3, 2], [1, 2, 3]]


def test_what_need_not_wait_takes_no_turn(loop: Loop, lib: Any, start: Start) -> None:
    turns: list[str] = []

    async def main() -> None:
        queue = lib.Queue()
        loop.call_soon(turns.append, "another turn")
        await queue.join()
        await queue.put("item")
        assert await queue.get() == "item"
        queue.task_done()
        await queue.join()
        assert turns == []

    loop.run_until_complete(start(main()))


def test_getters_are_served_in_the_order_in_which_they_came(
    loop: Loop, lib: Any, start: Start
) -> None:
    queue, got = lib.Queue(), list[Any]()
    tasks = [start(take(queue, got, name)) for name in "abc"]
    run_turns(loop, 2)
    for item in range(3):
        queue.put_nowait(item)
    run_turns(loop, 2)
    assert got == [("a", 0), ("b", 1), ("c", 2)]
    assert all(task.done() for task in tasks)


def test_putters_wait_for_room_and_keep_their_order(loop: Loop, lib: Any, start: Start) -> None:
    queue, done = lib.Queue(1), list[Any]()
    tasks = [start(feed(queue, item, done)) for item in range(3)]
    run_turns(loop, 2)
    assert (done, queue.full(), queue.qsize()) == ([0], True, 1)
    assert queue.get_nowait() == 0
    run_turns(loop, 2)
    assert done == [0, 1]
    assert [queue.get_nowait(), loop.run_until_complete(start(queue.get()))] == [1, 2]
    assert all(task.done() for task in tasks)


def test_a_getter_that_finds_the_item_gone_waits_again(loop: Loop, lib: Any, start: Start) -> None:
    queue, got = lib.Queue(), list[Any]()
    task = start(take(queue, got))
    run_turns(loop, 2)
    queue.put_nowait("first")
    assert queue.get_nowait() == "first"  # before the getter that was woken for it
    run_turns(loop, 2)
    assert not task.done()
    queue.put_nowait("second")
    run_turns(loop, 2)
    assert got == ["second"]


def test_a_cancelled_getter_leaves_the_line(loop: Loop, lib: Any, start: Start) -> None:
    queue, got = lib.Queue(), list[Any]()
    first, second = start(take(queue, got, 1)), start(take(queue, got, 2))
    run_turns(loop, 2)
    first.cancel("enough")
    run_turns(loop, 2)
    assert first.cancelled()
    assert "_getters[1]" in str(queue)
    queue.put_nowait("item")
    run_turns(loop, 2)
    assert got == [(2, "item")]
    assert second.done()


def test_a_getter_cancelled_in_the_turn_it_was_woken_passes_its_turn_on(
    loop: Loop, lib: Any, start: Start
) -> None:
    queue, got = lib.Queue(), list[Any]()
    first, second = start(take(queue, got, 1)), start(take(queue, got, 2))
    run_turns(loop, 2)
    queue.put_nowait("item")
    first.cancel()
    run_turns(loop, 3)
    assert first.cancelled()
    assert got == [(2, "item")]
    assert second.done()


def test_a_putter_cancelled_in_the_turn_it_was_woken_passes_its_turn_on(
    loop: Loop, lib: Any, start: Start
) -> None:
    queue, done = lib.Queue(1), list[Any]()
    queue.put_nowait("full")
    first, second = start(feed(queue, 1, done)), start(feed(queue, 2, done))
    run_turns(loop, 2)
    assert queue.get_nowait() == "full"
    first.cancel()
    run_turns(loop, 3)
    assert first.cancelled()
    assert done == [2]
    assert second.done()


def test_a_getter_woken_in_vain_wakes_nobody_when_cancelled(
    loop: Loop, lib: Any, start: Start
) -> None:
    queue, got = lib.Queue(), list[Any]()
    first, second = start(take(queue, got)), start(take(queue, got))
    run_turns(loop, 2)
    queue.put_nowait("item")
    queue.get_nowait()
    first.cancel()
    run_turns(loop, 3)
    assert "_getters[1]" in str(queue)  # the second one still stands there
    second.cancel()
    run_turns(loop, 2)


def test_the_cancellation_brings_its_message(loop: Loop, lib: Any, start: Start) -> None:
    queue = lib.Queue()

    async def main() -> Any:
        try:
            await queue.get()
        except asyncio.CancelledError as error:
            return error.args

    task = start(main())
    run_turns(loop, 2)
    task.cancel("the reason")
    assert loop.run_until_complete(task) == ("the reason",)


def test_join_waits_until_every_item_is_done(loop: Loop, lib: Any, start: Start) -> None:
    queue = lib.Queue()
    for item in range(2):
        queue.put_nowait(item)
    joins = [start(queue.join()) for _ in range(2)]
    run_turns(loop, 2)
    queue.task_done()
    run_turns(loop, 2)
    assert not any(join.done() for join in joins)
    queue.task_done()
    run_turns(loop, 3)
    assert [join.result() for join in joins] == [None, None]
    queue.put_nowait("more")
    again = start(queue.join())
    run_turns(loop, 2)
    assert not again.done()
    queue.task_done()
    loop.run_until_complete(again)


def test_a_cancelled_join_hurts_nobody(loop: Loop, lib: Any, start: Start) -> None:
    queue = lib.Queue()
    queue.put_nowait("item")
    first, second = start(queue.join()), start(queue.join())
    run_turns(loop, 2)
    first.cancel()
    run_turns(loop, 2)
    queue.task_done()
    loop.run_until_complete(second)
    assert first.cancelled()


def test_task_done_too_often_is_an_error(lib: Any) -> None:
    queue = lib.Queue()
    queue.put_nowait("item")
    queue.task_done()
    with pytest.raises(ValueError, match=r"^task_done\(\) called too many times$"):
        queue.task_done()


def test_nowait_says_why_it_cannot(lib: Any) -> None:
    queue = lib.Queue(1)
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()
    queue.put_nowait("item")
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait("another")
    assert queue.qsize() == 1


@pytest.mark.parametrize("lib", WITH_SHUTDOWN, ids=name_of)
class TestShutdown:
    def test_items_can_still_be_gotten_but_none_be_put(
        self, loop: Loop, lib: Any, start: Start
    ) -> None:
        queue = lib.Queue()
        queue.put_nowait("item")
        queue.shutdown()
        for put in (queue.put_nowait, lambda item: loop.run_until_complete(start(queue.put(item)))):
            with pytest.raises(lib.QueueShutDown):
                put("another")
        assert loop.run_until_complete(start(queue.get())) == "item"
        with pytest.raises(lib.QueueShutDown):
            loop.run_until_complete(start(queue.get()))
        with pytest.raises(lib.QueueShutDown):
            queue.get_nowait()
        assert str(queue) == "<Queue maxsize=0 tasks=1 shutdown>"

    def test_it_ends_the_waiting_of_all(self, loop: Loop, lib: Any, start: Start) -> None:
        empty, full = lib.Queue(), lib.Queue(1)
        full.put_nowait("item")
        tasks = [start(empty.get()), start(empty.get()), start(full.put(1)), start(full.put(2))]
        run_turns(loop, 2)
        empty.shutdown()
        full.shutdown()
        run_turns(loop, 2)
        assert [type(task.exception()) for task in tasks] == [lib.QueueShutDown] * 4
        assert full.get_nowait() == "item"

    def test_immediate_empties_the_queue_and_ends_joins(
        self, loop: Loop, lib: Any, start: Start
    ) -> None:
        queue = lib.LifoQueue()
        for item in range(3):
            queue.put_nowait(item)
        assert queue.get_nowait() == 2
        join = start(queue.join())
        run_turns(loop, 2)
        queue.shutdown(immediate=True)
        run_turns(loop, 2)
        assert queue.empty()
        assert not join.done()  # one item was taken out and not yet done
        queue.task_done()
        loop.run_until_complete(join)
        with pytest.raises(lib.QueueShutDown):
            queue.get_nowait()

    def test_it_can_be_repeated_and_made_immediate_later(self, loop: Loop, lib: Any) -> None:
        queue = lib.Queue()
        queue.put_nowait("item")
        queue.shutdown()
        queue.shutdown()
        assert queue.qsize() == 1
        queue.shutdown(True)
        assert queue.empty()


def test_the_exception_of_shutdown_is_asyncios_where_there_is_one() -> None:
    assert aioxide.QueueShutDown.__mro__ == (
        aioxide.QueueShutDown,
        Exception,
        BaseException,
        object,
    )
    assert aioxide.QueueShutDown.__name__ == "QueueShutDown"
    if sys.version_info >= (3, 13):
        assert aioxide.QueueShutDown is asyncio.QueueShutDown


def test_a_queue_belongs_to_the_loop_in_which_somebody_first_waits(
    loop: Loop, lib: Any, start: Start
) -> None:
    queue = lib.Queue()
    task = start(queue.get())
    run_turns(loop, 2)
    other = asyncio.SelectorEventLoop()
    try:
        other.run_until_complete(queue.put("no need to wait"))
        other.run_until_complete(queue.get())
        with pytest.raises(RuntimeError, match=r"<Queue at .*> is bound to a different event loop"):
            other.run_until_complete(queue.get())
    finally:
        other.close()
    task.cancel()
    run_turns(loop, 2)


def test_by_hand_it_is_a_coroutine_like_any(lib: Any) -> None:
    queue = lib.Queue()
    putting = queue.put("item")
    with pytest.raises(TypeError, match="can't send non-None value"):
        putting.send("early")
    with pytest.raises(StopIteration) as put:
        putting.send(None)
    assert put.value.value is None
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        putting.send(None)
    with pytest.raises(StopIteration) as got:
        queue.get().send(None)
    assert got.value.value == "item"
    queue.get().close()
    thrown = queue.get()
    with pytest.raises(KeyError):
        thrown.throw(KeyError("mine"))


def test_by_hand_a_wait_is_a_future(loop: Loop, lib: Any) -> None:
    queue = lib.Queue()

    async def main() -> None:
        getting, closed, thrown = queue.get(), queue.get(), queue.get()
        waits = [coro.send(None) for coro in (closed, thrown, getting)]
        assert [wait.done() for wait in waits] == [False, False, False]
        closed.close()
        with pytest.raises(KeyError):
            thrown.throw(KeyError("mine"))
        assert "_getters[1]" in str(queue)
        queue.put_nowait("item")
        assert waits[2].done()
        with pytest.raises(StopIteration) as got:
            getting.send(None)
        assert got.value.value == "item"

    loop.run_until_complete(main())


def test_a_producer_and_consumers_under_asyncio_run(lib: Any) -> None:
    async def consume(queue: Any, into: list[int]) -> None:
        while True:
            into.append(await queue.get())
            await asyncio.sleep(0)
            queue.task_done()

    async def main() -> list[int]:
        queue, seen = lib.Queue(3), list[int]()
        consumers = [asyncio.create_task(consume(queue, seen)) for _ in range(4)]
        for item in range(50):
            await queue.put(item)
        await queue.join()
        for task in consumers:
            task.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
        return seen

    assert asyncio.run(main()) == list(range(50))
