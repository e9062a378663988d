"""Queues used wrongly end as asyncio's own do."""

import asyncio
import sys
from typing import Any

import pytest

import aioxide
from tests.misuse import OURS, Case, Cases, Library, attempt, attempt_await, check

CASES = Cases()
misuse = CASES.misuse

KINDS = ("Queue", "LifoQueue", "PriorityQueue")


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("case", CASES)
def test_a_misuse_ends_as_on_asyncio(case: Case, ours: Library) -> None:
    check(case, ours)


# Empty, full, done too often


@misuse(asyncio.QueueEmpty)
async def get_from_an_empty_queue(lib: Any) -> None:
    lib.Queue().get_nowait()


@misuse(asyncio.QueueFull)
async def put_into_a_full_queue(lib: Any) -> None:
    queue = lib.Queue(1)
    queue.put_nowait(1)
    queue.put_nowait(2)


@misuse(ValueError)
async def call_task_done_too_often(lib: Any) -> None:
    queue = lib.Queue()
    queue.put_nowait(1)
    queue.get_nowait()
    queue.task_done()
    queue.task_done()


@misuse(ValueError)
async def call_task_done_on_a_new_queue(lib: Any) -> None:
    lib.Queue().task_done()


@misuse()
async def call_task_done_before_getting(lib: Any) -> Any:
    queue = lib.Queue()
    queue.put_nowait(1)
    queue.task_done()
    await queue.join()
    return queue.get_nowait(), queue.qsize()


@misuse(TypeError)
async def put_what_cannot_be_compared(lib: Any) -> None:
    queue = lib.PriorityQueue()
    queue.put_nowait((1, object()))
    queue.put_nowait((1, object()))


@misuse()
async def what_could_not_be_compared_is_there_all_the_same(lib: Any) -> Any:
    """heapq appends before it compares; what failed then stays uncounted for join()."""
    queue = lib.PriorityQueue()
    queue.put_nowait(1)
    ends = [attempt(lambda: queue.put_nowait("one")), queue.qsize()]
    ends += [await attempt_await(lambda: queue.put("two")), queue.qsize()]
    return [*ends, attempt(queue.get_nowait), attempt(queue.get_nowait), queue.qsize()]


# Sizes and arguments


@misuse()
async def make_with_odd_sizes(lib: Any) -> Any:
    def use(kind: str, size: Any) -> Any:
        queue = getattr(lib, kind)(size)
        ends = [queue.maxsize, queue.full(), queue.empty()]
        ends += [attempt(lambda item=item: queue.put_nowait(item)) for item in range(3)]
        return [*ends, queue.full()]

    sizes = (-1, 0, -(10**30), 10**30, 1.5, True, float("inf"))
    return [attempt(lambda k=k, s=s: use(k, s)) for k in KINDS for s in sizes]


@misuse()
async def make_with_sizes_that_are_no_numbers(lib: Any) -> Any:
    def use(kind: str, size: Any) -> Any:
        queue = getattr(lib, kind)(size)
        return [attempt(queue.full), attempt(lambda: queue.put_nowait(1)), queue.qsize()]

    sizes: list[Any] = [None, "2", []]
    return [attempt(lambda k=k, s=s: use(k, s)) for k in KINDS for s in sizes]


@misuse()
def make_with_wrong_arguments(lib: Any) -> Any:
    uses = [
        lambda kind: kind(1, 2),
        lambda kind: kind(loop=None),
        lambda kind: kind(size=2),
        lambda kind: kind(1, maxsize=1),
    ]
    return [attempt(lambda u=u, k=k: u(getattr(lib, k))) for k in KINDS for u in uses]


@misuse()
async def call_with_wrong_arguments(lib: Any) -> Any:
    queue = lib.Queue()
    uses: dict[str, Any] = {
        "put": lambda: queue.put(),
        "put two": lambda: queue.put(1, 2),
        "put blocking": lambda: queue.put(1, block=False),
        "put_nowait": lambda: queue.put_nowait(),
        "put_nowait two": lambda: queue.put_nowait(1, 2),
        "get": lambda: queue.get(1),
        "get blocking": lambda: queue.get(block=False),
        "get_nowait": lambda: queue.get_nowait(1),
        "qsize": lambda: queue.qsize(1),
        "empty": lambda: queue.empty(1),
        "full": lambda: queue.full(1),
        "join": lambda: queue.join(1),
        "task_done": lambda: queue.task_done(1),
    }
    return {name: attempt(use) for name, use in uses.items()}


@misuse()
async def what_the_threads_queue_has_and_this_has_not(lib: Any) -> Any:
    queue = lib.Queue()

    def iterate() -> None:
        for _ in queue:
            pass

    async def iterate_later() -> None:
        async for _ in queue:
            pass

    ends = [attempt(use) for use in (lambda: len(queue), iterate, lambda: 1 in queue)]
    return [*ends, await attempt_await(iterate_later), bool(queue)]


# Two loops


async def _bind_by_getting(queue: Any) -> None:
    getter = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    getter.cancel()
    await asyncio.wait([getter])


async def _bind_by_joining(queue: Any) -> None:
    queue.put_nowait(1)
    waiting = asyncio.ensure_future(queue.join())
    await asyncio.sleep(0)
    queue.get_nowait()
    queue.task_done()
    await waiting


@misuse()
def get_in_a_second_loop(lib: Any) -> Any:
    ends = []
    for kind in KINDS:
        queue = getattr(lib, kind)()
        lib.run(_bind_by_getting(queue))
        ends.append(attempt(lambda queue=queue: lib.run(asyncio.wait_for(queue.get(), 1))))
        queue.put_nowait("there")  # so that nobody has to wait
        ends.append(attempt(lambda queue=queue: lib.run(queue.get())))
    return ends


@misuse()
def put_in_a_second_loop(lib: Any) -> Any:
    queue = lib.Queue(1)
    lib.run(_bind_by_getting(queue))
    return [
        attempt(lambda: lib.run(queue.put(1))),
        attempt(lambda: lib.run(asyncio.wait_for(queue.put(2), 1))),
    ]


@misuse()
def join_in_a_second_loop(lib: Any) -> Any:
    queue = lib.Queue()
    lib.run(_bind_by_joining(queue))
    queue.put_nowait(1)
    return attempt(lambda: lib.run(asyncio.wait_for(queue.join(), 1)))


@misuse()
def wait_without_a_loop(lib: Any) -> Any:
    queue = lib.Queue(1)
    ends = [attempt(lambda: queue.get().send(None)), attempt(lambda: queue.put(1).send(None))]
    ends += [attempt(lambda: queue.put(2).send(None)), attempt(lambda: queue.join().send(None))]
    return [*ends, queue.qsize()]


# Closed queues: asyncio has had them since 3.13


async def _closed(lib: Any, immediate: bool, items: int = 1) -> Any:
    queue = lib.Queue()
    for item in range(items):
        queue.put_nowait(item)
    queue.shutdown(immediate)
    return queue


if sys.version_info >= (3, 13):

    @misuse(asyncio.QueueShutDown)
    async def put_into_a_closed_queue(lib: Any) -> None:
        await (await _closed(lib, False)).put(1)

    @misuse(asyncio.QueueShutDown)
    async def put_at_once_into_a_closed_queue(lib: Any) -> None:
        (await _closed(lib, False)).put_nowait(1)

    @misuse(asyncio.QueueShutDown)
    async def get_from_a_closed_queue_that_is_empty(lib: Any) -> None:
        await (await _closed(lib, False, 0)).get()

    @misuse(asyncio.QueueShutDown)
    async def get_at_once_from_a_queue_closed_at_once(lib: Any) -> None:
        (await _closed(lib, True)).get_nowait()

    @misuse()
    async def get_what_a_closed_queue_still_has(lib: Any) -> Any:
        queue = await _closed(lib, False, 2)
        ends = [await queue.get(), queue.get_nowait()]
        return [*ends, attempt(queue.get_nowait), await attempt_await(queue.get)]

    @misuse()
    async def close_twice(lib: Any) -> Any:
        queue = await _closed(lib, False, 2)
        queue.shutdown()
        ends = [queue.qsize()]
        queue.shutdown(immediate=True)
        return [*ends, queue.qsize(), await queue.join(), attempt(queue.task_done)]

    @misuse()
    async def close_while_others_wait(lib: Any) -> Any:
        empty, full = lib.Queue(), lib.Queue(1)
        full.put_nowait(0)
        waiting = [asyncio.ensure_future(empty.get()) for _ in range(2)]
        waiting += [asyncio.ensure_future(full.put(n)) for n in range(2)]
        waiting += [asyncio.ensure_future(full.join())]
        await asyncio.sleep(0)
        empty.shutdown()
        full.shutdown(immediate=True)
        return [await attempt_await(lambda task=task: task) for task in waiting]

    @misuse()
    async def close_with_wrong_arguments(lib: Any) -> Any:
        queue = lib.Queue()
        uses: list[Any] = [
            lambda: queue.shutdown(1, 2),
            lambda: queue.shutdown(now=True),
            lambda: queue.shutdown([]),
        ]
        return [attempt(use) for use in uses]

else:

    async def _use_closed(immediate: bool) -> None:
        queue = await _closed(aioxide, immediate)
        with pytest.raises(aioxide.QueueShutDown, match=r"^$"):
            await queue.put(1)
        with pytest.raises(aioxide.QueueShutDown, match=r"^$"):
            queue.put_nowait(1)
        if not immediate:
            assert await queue.get() == 0
        with pytest.raises(aioxide.QueueShutDown, match=r"^$"):
            await queue.get()
        with pytest.raises(aioxide.QueueShutDown, match=r"^$"):
            queue.get_nowait()

    @pytest.mark.parametrize("immediate", [False, True])
    def test_a_closed_queue_refuses_what_newer_versions_refuse(immediate: bool) -> None:
        aioxide.run(_use_closed(immediate))
