"""Queues as objects: subclasses and their hooks, asyncio's private attributes, reprs, collection.

Ours keeps items and waiters natively for as long as nobody looks. What subclasses override, and
what is read, set or changed under asyncio's private names, has to count all the same.
"""

import asyncio
import collections
import copy
import gc
import heapq
import inspect
import pickle
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import aioxide
from tests.loops import Loop, run_turns

KINDS = ["Queue", "LifoQueue", "PriorityQueue"]
HOOKS = [
    "_init",
    "_get",
    "_put",
    "_wakeup_next",
    "_format",
    "qsize",
    "empty",
    "full",
    "put_nowait",
    "get_nowait",
]


def name_of(lib: ModuleType) -> str:
    return lib.__name__


@pytest.fixture(params=[asyncio, aioxide], ids=name_of)
def lib(request: pytest.FixtureRequest) -> Any:
    return request.param


def watching(base: Any, hook: str, calls: list[str]) -> Any:
    """A subclass with one hook of its own, which notes the call and asks its base."""

    def method(self: Any, *args: object) -> object:
        calls.append(hook)
        return getattr(base, hook)(self, *args)

    return type("Watching", (base,), {hook: method})


async def exercise(queue: Any) -> list[object]:
    """Uses a queue of one place in every way."""
    seen: list[object] = [str(queue), queue.full()]
    getting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    await queue.put(1)
    seen.append(await getting)
    await queue.put(2)
    putting = asyncio.ensure_future(queue.put(3))
    await asyncio.sleep(0)
    seen += [queue.get_nowait(), await putting, await queue.get(), queue.empty(), repr(queue)[:6]]
    return seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_called_exactly_when_asyncio_calls_it(loop: Loop, kind: str, hook: str) -> None:
    seen = []
    for lib in (asyncio, aioxide):
        calls: list[str] = []
        queue = watching(getattr(lib, kind), hook, calls)(1)
        seen.append((loop.run_until_complete(exercise(queue)), calls))
    assert seen[0] == seen[1]
    assert seen[1][1]


class UniqueHooks:
    """A queue of what it does not have yet, as people write them."""

    def _init(self, _: int) -> None:
        self._queue: dict[Any, None] = {}

    def _put(self, item: Any) -> None:
        self._queue[item] = None

    def _get(self) -> Any:
        item = next(iter(self._queue))
        del self._queue[item]
        return item


def test_a_subclass_can_keep_its_items_in_anything(loop: Loop, lib: Any) -> None:
    queue = type("Unique", (UniqueHooks, lib.Queue), {})()

    async def main() -> list[Any]:
        for item in "abab":
            await queue.put(item)
        assert queue.qsize() == 2
        return [await queue.get(), await queue.get()]

    assert loop.run_until_complete(main()) == ["a", "b"]
    assert str(queue) == "<Unique maxsize=0 tasks=4>"


def test_another_container_is_used_through_its_methods(lib: Any) -> None:
    class Recorder(collections.deque[Any]):
        taken = 0

        def popleft(self) -> Any:
            self.taken += 1
            return super().popleft()

    class Recording(lib.Queue):  # type: ignore[misc]
        def _init(self, maxsize: int) -> None:
            self._queue = Recorder()

    queue = Recording()
    queue.put_nowait(1)
    assert (queue.get_nowait(), queue._queue.taken) == (1, 1)


@pytest.mark.parametrize("where", ["class", "instance"])
def test_a_method_replaced_later_counts(loop: Loop, lib: Any, where: str) -> None:
    class Sub(lib.Queue):  # type: ignore[misc]
        pass

    queue, put = Sub(), []
    loop.run_until_complete(queue.put(1))
    if where == "class":
        Sub.put_nowait = lambda _, item: put.append(item)
    else:
        queue.put_nowait = put.append
    loop.run_until_complete(queue.put(2))
    assert (put, queue.qsize()) == ([2], 1)


def test_an_error_in_a_hook_reaches_the_caller(loop: Loop, lib: Any) -> None:
    class Broken(lib.Queue):  # type: ignore[misc]
        def _put(self, item: object) -> None:
            raise ZeroDivisionError(item)

    queue = Broken()
    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(queue.put(1))
    assert (queue.qsize(), queue._unfinished_tasks) == (0, 0)


def test_an_item_that_cannot_be_compared_stays_where_heapq_leaves_it(lib: Any) -> None:
    queue, heap = lib.PriorityQueue(), [1]
    queue.put_nowait(1)
    with pytest.raises(TypeError):
        queue.put_nowait("text")
    with pytest.raises(TypeError):
        heapq.heappush(heap, "text")  # type: ignore[misc]
    assert queue._queue == heap
    assert queue._unfinished_tasks == 1


def test_an_item_may_use_the_queue_while_it_is_compared(lib: Any) -> None:
    class Meddler:
        def __lt__(self, other: object) -> bool:
            queue._queue.clear()
            return True

    queue = lib.PriorityQueue()
    queue.put_nowait(1)
    with pytest.raises((RuntimeError, IndexError)):
        queue.put_nowait(Meddler())
    assert queue.empty()


@pytest.mark.parametrize("kind", KINDS)
def test_the_items_behind_queue_can_be_changed(loop: Loop, lib: Any, kind: str) -> None:
    queue = getattr(lib, kind)()
    for item in (2, 1, 3):
        queue.put_nowait(item)
    assert type(queue._queue) is (collections.deque if kind == "Queue" else list)
    assert sorted(queue._queue) == [1, 2, 3]
    queue._queue.remove(2)
    assert queue._queue is queue._queue
    queue.put_nowait(4)
    assert [queue.qsize(), *sorted(queue.get_nowait() for _ in range(3))] == [3, 1, 3, 4]
    queue._queue = collections.deque("x") if kind == "Queue" else ["x"]
    assert loop.run_until_complete(queue.get()) == "x"


def test_the_lines_can_be_looked_at_and_changed(loop: Loop, lib: Any) -> None:
    queue, full = lib.Queue(), lib.Queue(1)
    full.put_nowait(1)
    assert not queue._getters
    assert not queue._putters
    getting = [loop.create_task(queue.get()) for _ in range(2)]
    putting = loop.create_task(full.put(2))
    run_turns(loop, 2)
    assert [len(queue._getters), len(full._putters)] == [2, 1]
    assert type(queue._getters) is collections.deque
    assert [getter.done() for getter in queue._getters] == [False, False]
    queue._getters[0].cancel()
    run_turns(loop, 2)
    assert getting[0].cancelled()
    assert len(queue._getters) == 1
    full._queue.clear()
    full._putters.popleft().set_result(None)
    run_turns(loop, 2)
    assert putting.done()
    queue.put_nowait("item")
    run_turns(loop, 2)
    assert getting[1].result() == "item"


def test_a_waiter_that_others_put_there_is_woken_in_its_turn(loop: Loop, lib: Any) -> None:
    queue, mine = lib.Queue(), loop.create_future()
    getting = loop.create_task(queue.get())
    run_turns(loop, 2)
    queue._getters.appendleft(mine)
    queue.put_nowait(1)
    assert mine.done()
    queue.put_nowait(2)
    assert loop.run_until_complete(getting) == 1


def test_unfinished_tasks_and_finished_answer_and_can_be_set(loop: Loop, lib: Any) -> None:
    queue = lib.Queue()
    assert queue._finished.is_set()
    queue._unfinished_tasks = 2
    assert str(queue) == "<Queue maxsize=0 tasks=2>"
    queue.put_nowait("item")
    assert not queue._finished.is_set()
    join = loop.create_task(queue.join())
    run_turns(loop, 2)
    for _ in range(3):
        queue.task_done()
    assert queue._finished.is_set()
    loop.run_until_complete(join)


def test_finished_set_by_others_ends_joins(loop: Loop, lib: Any) -> None:
    queue = lib.Queue()
    queue.put_nowait("item")
    join = loop.create_task(queue.join())
    run_turns(loop, 2)
    queue._finished.set()
    loop.run_until_complete(join)


def test_the_repr_says_what_asyncios_says(loop: Loop) -> None:
    texts = []
    for lib in (asyncio, aioxide):
        queue = lib.Queue(2)
        texts.append([str(queue)])
        putting = [loop.create_task(queue.put(item)) for item in ("a", "b", "c")]
        run_turns(loop, 2)
        texts[-1] += [str(queue), repr(queue).replace(f"{id(queue):#x}", "HERE")]
        putting[-1].cancel()
        run_turns(loop, 2)
    assert texts[0] == texts[1]
    assert texts[1][2] == "<Queue at HERE maxsize=2 _queue=['a', 'b'] _putters[1] tasks=2>"


def test_an_item_whose_repr_fails_fails_the_repr(lib: Any) -> None:
    class Shy:
        def __repr__(self) -> str:
            raise LookupError

    queue = lib.Queue()
    queue.put_nowait(Shy())
    with pytest.raises(LookupError):
        repr(queue)


def test_its_methods_pass_for_functions() -> None:
    for name in ("get", "put", "join"):
        ours, stock = getattr(aioxide.Queue, name), getattr(asyncio.Queue, name)
        assert inspect.iscoroutinefunction(ours)
        assert inspect.signature(ours) == inspect.signature(stock)
        assert (ours.__qualname__, bool(ours.__doc__)) == (stock.__qualname__, True)
    assert str(inspect.signature(aioxide.Queue)) == str(inspect.signature(asyncio.Queue))
    queue: Any = aioxide.Queue()
    assert str(inspect.signature(queue.put_nowait)) == "(item)"
    assert str(inspect.signature(queue.shutdown)) == "(immediate=False)"


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_generic_and_a_queue(lib: Any, kind: str) -> None:
    class Sub(getattr(lib, kind)[int]):  # type: ignore[misc]
        pass

    assert getattr(lib, kind)[int].__args__ == (int,)
    assert issubclass(Sub, lib.Queue)
    assert str(Sub(maxsize=3)) == "<Sub maxsize=3>"


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_nobody_waits_for_is_copied_and_pickled(lib: Any, kind: str) -> None:
    queue = getattr(lib, kind)(3)
    queue.put_nowait([1])
    queue.note = "kept"
    copies = [copy.deepcopy(queue), pickle.loads(pickle.dumps(queue)), copy.copy(queue)]
    for copied in copies:
        assert str(copied) == str(queue) == f"<{kind} maxsize=3 _queue=[[1]] tasks=1>"
        assert copied.note == "kept"
    assert [copied.get_nowait() for copied in copies] == [[1], [1], [1]]
    assert queue.empty()  # a shallow copy shares the items


def test_one_that_is_waited_for_cannot_be_pickled(loop: Loop, lib: Any) -> None:
    queue = lib.Queue()
    task = loop.create_task(queue.get())
    run_turns(loop, 2)
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(queue)
    task.cancel()
    run_turns(loop, 2)
    assert task.cancelled()


@pytest.mark.parametrize("maxsize", [-1, 0, 2, True, 1.5, 10**30, -(10**30)])
def test_any_number_is_a_limit(lib: Any, maxsize: Any) -> None:
    queue = lib.Queue(maxsize)
    assert queue.maxsize is maxsize
    for item in range(2):
        if not queue.full():
            queue.put_nowait(item)
    assert (queue.qsize(), queue.full()) == (1, True) if maxsize is True else (2, 0 < maxsize <= 2)


def test_a_limit_that_is_no_number_is_an_error_when_it_matters(lib: Any) -> None:
    queue = lib.Queue("many")
    assert str(queue) == "<Queue maxsize='many'>"
    with pytest.raises(TypeError, match="'<=' not supported between instances of 'str' and 'int'"):
        queue.put_nowait(1)


def test_wrong_arguments_are_type_errors(lib: Any) -> None:
    wrong: list[Callable[[], object]] = [
        lambda: lib.Queue(1, 2),
        lambda: lib.Queue(size=1),
        lambda: lib.Queue().put_nowait(),
        lambda: lib.Queue().put(),
        lambda: lib.Queue().get(1),
        lambda: lib.Queue.get(),
        lambda: lib.Queue.put_nowait(1, 2, 3),
    ]
    for call in wrong:
        with pytest.raises(TypeError):
            call()
    queue = lib.Queue()
    queue.put_nowait(item=1)
    assert queue.get_nowait() == 1


def test_taking_from_an_empty_one_by_its_hook_is_an_index_error(lib: Any) -> None:
    for kind in KINDS:
        with pytest.raises(IndexError):
            getattr(lib, kind)()._get()


def test_a_coroutine_that_was_never_awaited_is_reported(lib: Any) -> None:
    with pytest.warns(RuntimeWarning, match=r"coroutine 'Queue\.get' was never awaited"):
        lib.Queue().get()


class Item:
    """Something that can be in a cycle and be watched."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("looked_at", [False, True])
def test_cycles_through_items_are_collected(lib: Any, kind: str, looked_at: bool) -> None:
    queue, item = getattr(lib, kind)(), Item()
    vars(item)["queue"] = queue
    queue.put_nowait(item)
    if looked_at:
        assert list(queue._queue) == [item]
    watch = weakref.ref(item)
    del queue, item
    gc.collect()
    assert watch() is None


@pytest.mark.parametrize("looked_at", [False, True])
def test_cycles_through_waiters_are_collected(lib: Any, looked_at: bool) -> None:
    async def wait_by_hand(queue: Any, item: Item) -> None:
        waiting = queue.put(item)
        waiting.send(None)
        vars(item)["waiting"] = waiting

    queue, item = lib.Queue(1), Item()
    queue.put_nowait(1)
    asyncio.run(wait_by_hand(queue, item))
    if looked_at:
        assert len(queue._putters) == 1
    watch = weakref.ref(item)
    del queue, item
    gc.collect()
    assert watch() is None


def test_very_many_items_and_queues_in_queues_die_quietly() -> None:
    wide, deep = aioxide.Queue[Any](), aioxide.Queue[Any]()
    item = Item()
    watch = weakref.ref(item)
    deep.put_nowait(item)
    for number in range(200_000):
        wide.put_nowait(number)
        outer = aioxide.Queue[Any]()
        outer.put_nowait(deep)
        deep = outer
    del wide, deep, outer, item
    assert watch() is None


def test_thousands_of_waiters_die_with_the_queue() -> None:
    async def wait_by_hand(queue: Any) -> None:
        for _ in range(5000):
            queue.get().send(None)
        assert "_getters[5000]" in str(queue)

    queue: Any = aioxide.Queue()
    asyncio.run(wait_by_hand(queue))
    watch = weakref.ref(queue)
    del queue
    gc.collect()
    assert watch() is None
