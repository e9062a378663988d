"""What locks, events, conditions, semaphores and barriers promise, by name: asyncio's and ours.

How they order wake-ups is asked of random programs in `test_sync_traces`; here is what such
programs do not reach: subclasses, foreign locks, coroutines driven by hand, bad use, what tools ask
an object, and that nothing is kept alive.
"""

import asyncio
import gc
import inspect
import math
import sys
import warnings
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import aioxide
from tests.loops import Loop, run_turns

NAMES = ["Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"]
HOLDERS = ["Lock", "Condition", "Semaphore", "BoundedSemaphore"]


@pytest.fixture(params=[asyncio, aioxide], ids=["asyncio's", "aioxide's"])
def module(request: pytest.FixtureRequest) -> Any:
    return request.param


def make(module: ModuleType, name: str) -> Any:
    arguments = [3] if name == "Barrier" else []
    return getattr(module, name)(*arguments)


def after_module(text: str) -> str:
    """A repr without the module that it names and without the address."""
    name, _, rest = text.partition(" object at ")
    return f"{name.rpartition('.')[2]} {rest.partition(' ')[2]}"


def wait_method(primitive: Any) -> Any:
    return primitive.wait if hasattr(primitive, "wait") else primitive.acquire


async def block(primitive: Any) -> Any:
    """Waits where nobody will wake, whatever kind of primitive it is."""
    if isinstance(primitive, asyncio.Condition | aioxide.Condition):
        async with primitive:
            return await primitive.wait()
    if hasattr(primitive, "acquire"):
        await primitive.acquire()
    return await wait_method(primitive)()


@pytest.mark.parametrize("name", NAMES)
def test_tools_get_the_answers_of_asyncio(name: str) -> None:
    ours, stock = getattr(aioxide, name), getattr(asyncio, name)
    assert str(inspect.signature(ours)) == str(inspect.signature(stock))
    assert ours.__name__ == stock.__name__
    for attribute, method in inspect.getmembers(stock, inspect.iscoroutinefunction):
        if attribute in ("_block", "_release", "_wait"):
            continue  # How asyncio cuts Barrier.wait() into pieces.
        assert inspect.iscoroutinefunction(getattr(ours, attribute))
        assert inspect.signature(getattr(ours, attribute)) == inspect.signature(method)
    own, original = make(aioxide, name), make(asyncio, name)
    for attribute in dir(original):
        if callable(getattr(original, attribute)) and not attribute.startswith("_"):
            method = getattr(own, attribute)
            expected = getattr(original, attribute)
            assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(expected)
            assert str(inspect.signature(method)) == str(inspect.signature(expected))


@pytest.mark.parametrize("name", NAMES)
def test_the_repr_is_that_of_asyncio(loop: Loop, name: str) -> None:
    reprs = []
    for module in (asyncio, aioxide):
        primitive = make(module, name)
        seen = [after_module(repr(primitive))]
        tasks = [loop.create_task(block(primitive)) for _ in range(2)]
        for _ in range(4):
            run_turns(loop)
            seen.append(after_module(repr(primitive)))
        for task in tasks:
            task.cancel()
        run_turns(loop, 4)
        seen.append(after_module(repr(primitive)))
        assert all(task.done() for task in tasks)
        reprs.append(seen)
    assert reprs[0] == reprs[1]


@pytest.mark.parametrize("name", NAMES)
def test_who_waits_on_another_loop_is_told(module: Any, loop: Loop, name: str) -> None:
    primitive = make(module, name)
    task = loop.create_task(block(primitive))
    run_turns(loop, 2)

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"\]> is bound to a different event loop$"):
            await block(primitive)

    asyncio.run(main())
    task.cancel()
    run_turns(loop, 3)
    assert task.done()


@pytest.mark.parametrize("name", NAMES)
def test_a_coroutine_that_is_never_awaited_is_reported(module: Any, name: str) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        wait_method(make(module, name))()
        gc.collect()
    expected = wait_method(make(asyncio, name))
    assert [str(warning.message) for warning in seen] == [
        f"coroutine '{expected.__qualname__}' was never awaited"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_cycle_through_it_is_collected(module: Any, loop: Loop, name: str) -> None:
    class Derived(getattr(module, name)):  # type: ignore[misc]
        pass

    for kind in (getattr(module, name), Derived):
        primitive = kind(3) if name == "Barrier" else kind()
        primitive.itself = primitive
        coroutine = block(primitive)
        # Suspended where it waits, with no task that would keep it.
        loop.call_soon(coroutine.send, None)
        run_turns(loop)
        primitive.coroutine = coroutine
        gone = weakref.ref(primitive)
        del primitive, coroutine
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
            gc.collect()
        assert gone() is None


def test_by_hand_it_yields_a_future_and_goes_on_when_that_is_done(module: Any, loop: Loop) -> None:
    async def main() -> None:
        event = module.Event()
        coroutine = event.wait()
        future = coroutine.send(None)
        assert future._asyncio_future_blocking is True
        assert not future.done()
        event.set()
        assert future.done()
        with pytest.raises(StopIteration) as stop:
            coroutine.send(None)
        assert stop.value.value is True
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            coroutine.send(None)

        event.clear()
        thrown = event.wait()
        thrown.send(None)
        assert len(event._waiters) == 1
        with pytest.raises(ZeroDivisionError):
            thrown.throw(ZeroDivisionError())
        assert len(event._waiters) == 0

        closed = event.wait()
        closed.send(None)
        closed.close()
        assert len(event._waiters) == 0

    loop.run_until_complete(main())


def test_a_condition_takes_its_lock_again_even_if_it_is_closed(module: Any, loop: Loop) -> None:
    async def main() -> None:
        condition = module.Condition()
        await condition.acquire()
        waiting = condition.wait()
        waiting.send(None)
        assert not condition.locked()
        waiting.close()
        assert condition.locked()

        waiting = condition.wait()
        waiting.send(None)
        await condition.acquire()
        with pytest.raises(RuntimeError, match="coroutine ignored GeneratorExit"):
            waiting.close()

    loop.run_until_complete(main())


@pytest.mark.parametrize("name", HOLDERS)
def test_async_with_uses_the_methods_of_a_subclass(module: Any, loop: Loop, name: str) -> None:
    seen: list[str] = []

    class Derived(getattr(module, name)):  # type: ignore[misc]
        async def acquire(self) -> bool:
            seen.append("acquire")
            return bool(await super().acquire())

        def release(self) -> None:
            seen.append("release")
            super().release()

    async def main() -> None:
        async with Derived() as entered:
            assert entered is None

    loop.run_until_complete(main())
    # A Condition takes these methods over from its lock, which hides a subclass's own.
    assert seen == ([] if name == "Condition" else ["acquire", "release"])


@pytest.mark.parametrize("name", HOLDERS)
def test_async_with_uses_what_an_instance_was_given(module: Any, loop: Loop, name: str) -> None:
    seen: list[str] = []
    primitive = make(module, name)

    async def acquire() -> bool:
        seen.append("acquire")
        return True

    primitive.acquire = acquire
    primitive.release = lambda: seen.append("release")

    async def main() -> None:
        async with primitive:
            assert seen == ["acquire"]

    loop.run_until_complete(main())
    assert seen == ["acquire", "release"]


class ForeignLock:
    """All that a Condition asks of a lock."""

    def __init__(self) -> None:
        self.held = False
        self.seen: list[str] = []

    def locked(self) -> bool:
        return self.held

    async def acquire(self) -> bool:
        while self.held:
            await asyncio.sleep(0)
        self.held = True
        self.seen.append("acquire")
        return True

    def release(self) -> None:
        self.held = False
        self.seen.append("release")


def test_a_condition_uses_any_lock(module: Any, loop: Loop) -> None:
    lock = ForeignLock()
    condition = module.Condition(lock)
    assert condition._lock is lock
    assert condition.acquire == lock.acquire
    assert condition.locked == lock.locked
    assert condition.release == lock.release

    async def waiter() -> object:
        async with condition:
            return await condition.wait_for(lambda: "the value")

    async def blocked() -> object:
        async with condition:
            return await condition.wait()

    async def main() -> None:
        task = loop.create_task(blocked())
        await asyncio.sleep(0)
        async with condition:
            condition.notify_all()
        assert await task is True
        assert await waiter() == "the value"

    loop.run_until_complete(main())
    assert lock.seen == ["acquire", "release"] * 4


def test_a_condition_over_a_lock_shares_it(module: Any, loop: Loop) -> None:
    lock = module.Lock()
    condition, other = module.Condition(lock), module.Condition(lock)

    async def main() -> None:
        async with condition:
            assert lock.locked()
            assert other.locked()
            other.notify()
        assert not lock.locked()

    loop.run_until_complete(main())
    with pytest.raises(AttributeError, match="'object' object has no attribute 'locked'"):
        module.Condition(object())


def test_wait_for_uses_the_wait_of_a_subclass_and_the_value_of_the_predicate(
    module: Any, loop: Loop
) -> None:
    values: list[object] = [0, [], "value"]

    class Derived(module.Condition):  # type: ignore[misc]
        async def wait(self) -> bool:
            assert self.locked()
            values.pop(0)
            return True

    async def main() -> None:
        async with Derived() as _, Derived() as _:
            pass
        condition = Derived()
        async with condition:
            assert await condition.wait_for(lambda: values[0]) == "value"
            with pytest.raises(ZeroDivisionError):
                await condition.wait_for(lambda: 1 / 0)
            assert condition.locked()
            with pytest.raises(TypeError, match="'int' object is not callable"):
                await condition.wait_for(1)

    loop.run_until_complete(main())


def test_a_condition_that_is_not_locked_refuses(module: Any, loop: Loop) -> None:
    condition = module.Condition()
    for notify in (condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError, match=r"^cannot notify on un-acquired lock$"):
            notify()
    with pytest.raises(RuntimeError, match=r"^cannot wait on un-acquired lock$"):
        loop.run_until_complete(condition.wait())
    with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
        condition.release()


@pytest.mark.parametrize("n", [0, 1, 2, 5, -1, True, 1.5, 10**30])
def test_notify_wakes_as_many_as_it_is_told(module: Any, loop: Loop, n: Any) -> None:
    condition = module.Condition()

    async def main() -> None:
        tasks = [loop.create_task(block(condition)) for _ in range(3)]
        await asyncio.sleep(0)
        async with condition:
            condition.notify(n)
        for _ in range(3):
            await asyncio.sleep(0)
        woken = min(3, max(0, math.ceil(n)))
        assert [task.done() for task in tasks] == [True] * woken + [False] * (3 - woken)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    loop.run_until_complete(main())


def test_a_semaphore_counts_with_any_number(module: Any, loop: Loop) -> None:
    async def main() -> None:
        endless = module.Semaphore(math.inf)
        for _ in range(5):
            await endless.acquire()
        assert endless._value == math.inf
        assert repr(endless).endswith("[unlocked, value:inf]>")
        odd = module.BoundedSemaphore(1.5)
        await odd.acquire()
        assert odd._value == 0.5
        odd.release()
        with pytest.raises(ValueError, match=r"^BoundedSemaphore released too many times$"):
            odd.release()
        large = module.Semaphore(10**30)
        await large.acquire()
        assert large._value == 10**30 - 1

    loop.run_until_complete(main())
    with pytest.raises(ValueError, match=r"^Semaphore initial value must be >= 0$"):
        module.Semaphore(-1)
    with pytest.raises(TypeError, match=r"^'<' not supported between instances of 'str' and 'int'"):
        module.Semaphore("1")


def test_the_value_of_a_semaphore_can_be_set(module: Any, loop: Loop) -> None:
    semaphore = module.Semaphore(2)
    semaphore._value = 0
    assert semaphore.locked()
    semaphore.release()
    assert semaphore._value == 1
    bounded = module.BoundedSemaphore(2)
    assert bounded._bound_value == 2
    assert isinstance(bounded, module.Semaphore)


def test_a_semaphore_asks_the_methods_of_a_subclass(module: Any, loop: Loop) -> None:
    class Derived(module.Semaphore):  # type: ignore[misc]
        closed = True

        def locked(self) -> bool:
            return self.closed or super().locked()

    async def main() -> None:
        semaphore = Derived()
        task = loop.create_task(semaphore.acquire())
        await asyncio.sleep(0)
        assert not task.done()
        semaphore.release()
        assert await task is True
        semaphore.closed = False
        assert await semaphore.acquire() is True

    loop.run_until_complete(main())


def test_releasing_many_at_once_takes_no_longer_each(loop: Loop) -> None:
    """asyncio looks at all who are woken already, each time; ours remembers where it was."""
    count = 30_000
    semaphore: Any = aioxide.Semaphore(0)

    async def main() -> None:
        tasks = [loop.create_task(semaphore.acquire()) for _ in range(count)]
        await asyncio.sleep(0)
        begin = loop.time()
        for _ in range(count):
            semaphore.release()
        # Quadratic, it would look at 450 million.
        assert loop.time() - begin < 2
        await asyncio.wait(tasks)
        assert semaphore._value == 0

    loop.run_until_complete(main())


def test_a_barrier_refuses_what_asyncio_refuses() -> None:
    for parties in (0, -1, "2", None):
        with pytest.raises((TypeError, ValueError)) as expected:
            asyncio.Barrier(parties)  # type: ignore[arg-type]
        with pytest.raises(expected.type) as refused:
            aioxide.Barrier(parties)  # type: ignore[arg-type]
        assert str(refused.value) == str(expected.value)


def test_a_barrier_goes_through_the_states_of_asyncio(module: Any, loop: Loop) -> None:
    async def main() -> None:
        barrier = module.Barrier(2)
        assert (barrier.parties, barrier.n_waiting, barrier.broken) == (2, 0, False)
        first = loop.create_task(barrier.wait())
        await asyncio.sleep(0)
        assert barrier.n_waiting == barrier._count == 1
        async with barrier as index:
            assert index == 1
            assert barrier._state.name == "DRAINING"
        assert await first == 0
        assert barrier._state.name == "FILLING"

        first = loop.create_task(barrier.wait())
        await asyncio.sleep(0)
        await barrier.reset()
        assert barrier._state.name == "RESETTING"
        with pytest.raises(asyncio.BrokenBarrierError, match=r"^Abort or reset of barrier$"):
            await first
        await barrier.abort()
        assert barrier.broken
        with pytest.raises(asyncio.BrokenBarrierError, match=r"^Barrier aborted$"):
            await barrier.wait()
        assert not barrier._cond.locked()

    loop.run_until_complete(main())


def test_entering_a_barrier_uses_the_wait_of_a_subclass(module: Any, loop: Loop) -> None:
    class Derived(module.Barrier):  # type: ignore[misc]
        async def wait(self) -> int:
            return 10 + int(await super().wait())

    async def main() -> None:
        async with Derived(1) as index:
            assert index == 10

    loop.run_until_complete(main())


def test_ten_tasks_meet_again_and_again(module: Any, loop: Loop) -> None:
    rounds: list[list[int]] = [[] for _ in range(20)]

    async def main() -> None:
        barrier = module.Barrier(10)

        async def worker() -> None:
            for seen in rounds:
                seen.append(await barrier.wait())

        await asyncio.gather(*[worker() for _ in range(10)])

    loop.run_until_complete(main())
    assert all(sorted(seen) == list(range(10)) for seen in rounds)


@pytest.mark.parametrize("name", ["Lock", "Semaphore", "BoundedSemaphore"])
def test_who_is_cancelled_in_the_turn_it_is_woken_passes_its_turn_on(
    module: Any, loop: Loop, name: str
) -> None:
    async def main() -> None:
        primitive = make(module, name)
        await primitive.acquire()
        first, second = (loop.create_task(primitive.acquire()) for _ in range(2))
        await asyncio.sleep(0)
        primitive.release()
        first.cancel()
        assert await second is True
        assert first.cancelled()
        assert primitive.locked()

    loop.run_until_complete(main())


def test_a_notified_waiter_that_is_cancelled_at_once_passes_it_on_from_313(
    module: Any, loop: Loop
) -> None:
    async def main() -> bool:
        condition = module.Condition()
        first, second = (loop.create_task(block(condition)) for _ in range(2))
        await asyncio.sleep(0)
        async with condition:
            condition.notify()
            first.cancel()
        for _ in range(4):
            await asyncio.sleep(0)
        passed_on = second.done()
        second.cancel()
        await asyncio.wait([first, second])
        return passed_on

    assert loop.run_until_complete(main()) == (sys.version_info >= (3, 13))


def test_the_uncontended_way_takes_no_turn(module: Any, loop: Loop) -> None:
    seen: list[str] = []

    async def main() -> None:
        loop.call_soon(seen.append, "another turn")
        for name in HOLDERS:
            async with make(module, name):
                pass
        event = module.Event()
        event.set()
        assert await event.wait() is True
        assert await module.Barrier(1).wait() == 0
        assert seen == []

    loop.run_until_complete(main())


@pytest.mark.parametrize("name", NAMES)
def test_arguments_that_do_not_fit_are_refused(module: Any, name: str) -> None:
    message = rf"{name}\.__init__\(\) got an unexpected keyword argument 'loop'"
    if name == "BoundedSemaphore" or name == "Barrier":
        message = "unexpected keyword argument 'loop'"
    kind: Callable[..., Any] = getattr(module, name)
    with pytest.raises(TypeError, match=message):
        kind(loop=None)
    primitive = make(module, name)
    with pytest.raises(TypeError):
        wait_method(primitive)(1)
