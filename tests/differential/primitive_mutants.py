"""Primitives that are wrong on purpose, for the same proof as in mutants.py.

Each is the stdlib's with one fault that a rewrite could have: an order turned round, a wake-up
lost when a waiter is cancelled, a result thrown away, an exception swallowed. They run on stock
tasks and are compared with stock, family by family, so each must be found by programs about its
own primitive.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from asyncio import tasks
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.differential.engines import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

# The faults reach into what the stubs do not show.
Lock: Any = asyncio.Lock
Event: Any = asyncio.Event
Condition: Any = asyncio.Condition
Semaphore: Any = asyncio.Semaphore
Barrier: Any = asyncio.Barrier
Queue: Any = asyncio.Queue
Timeout: Any = asyncio.Timeout
TaskGroup: Any = asyncio.TaskGroup


class Lib:
    """asyncio with some names replaced."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


class Mutant(NamedTuple):
    """What is replaced, and the family of operations that must notice."""

    family: str
    names: dict[str, Any]

    def engine(self, name: str) -> Engine:
        """Stock asyncio, but for the fault."""
        loop = asyncio.SelectorEventLoop
        return Engine(name, loop, asyncio.Task, asyncio.Future, Lib(self.names))


def _changed(base: Any, **methods: Any) -> dict[str, Any]:
    """A class with some methods replaced, which calls itself what the stdlib's does."""
    return {base.__name__: _subclass(base, methods)}


def _subclass(base: Any, methods: dict[str, Any]) -> Any:
    return type(base.__name__, (base,), {"__module__": base.__module__, **methods})


def _rewritten(what: str, old: str = "", new: str = "", /, **names: Any) -> Any:
    """A function or class of asyncio's with a piece of its text replaced, or with some names
    that it uses meaning something else."""
    source = inspect.getsource(vars(tasks)[what])
    if old not in source:
        raise LookupError(f"this Python's {what}() does not contain {old!r}")
    namespace: dict[str, Any] = {**vars(tasks), **names}
    text = source.replace(old, new) if old else source
    exec(compile(text, tasks.__file__, "exec"), namespace)
    return namespace[what]


# -- Lock and Event ----------------------------------------------------------------------------


def _wake_last(self: Any) -> None:
    waiting = [waiter for waiter in self._waiters or () if not waiter.done()]
    if waiting:
        waiting[-1].set_result(True)


def lock_wakes_last() -> Mutant:
    """Who came last is woken first."""
    return Mutant("lock", _changed(Lock, _wake_up_first=_wake_last))


def lock_barges() -> Mutant:
    """A free lock goes to whoever asks, past those who wait for their turn."""

    async def acquire(self: Any) -> Any:
        if not self._locked:
            self._locked = True
            return True
        return await Lock.acquire(self)

    return Mutant("lock", _changed(Lock, acquire=acquire))


def lock_turn_lost() -> Mutant:
    """A waiter that is cancelled after it was woken does not pass its turn on."""

    def wake(self: Any) -> None:
        if self.releasing:
            Lock._wake_up_first(self)

    def release(self: Any) -> None:
        self.releasing = True
        try:
            Lock.release(self)
        finally:
            self.releasing = False

    changed = _changed(Lock, _wake_up_first=wake, release=release, releasing=False)
    return Mutant("lock", changed)


def lock_release_is_forgiving() -> Mutant:
    """Releasing what nobody holds is no error."""

    def release(self: Any) -> None:
        if self._locked:
            Lock.release(self)

    return Mutant("lock", _changed(Lock, release=release))


def event_wakes_last_first() -> Mutant:
    """Waiters run in the wrong order."""

    def set_event(self: Any) -> None:
        self._waiters.reverse()
        Event.set(self)

    return Mutant("event", _changed(Event, set=set_event))


def event_waits_again() -> Mutant:
    """A waiter that finds the event cleared when it runs goes on waiting."""

    async def wait(self: Any) -> bool:
        while not self.is_set():
            await Event.wait(self)
        return True

    return Mutant("event", _changed(Event, wait=wait))


# -- Condition ---------------------------------------------------------------------------------


def condition_not_reacquired() -> Mutant:
    """A waiter that is cancelled comes back without the lock."""

    async def wait(self: Any) -> Any:
        try:
            return await Condition.wait(self)
        except asyncio.CancelledError:
            self.release()
            raise

    return Mutant("condition", _changed(Condition, wait=wait))


def condition_wakes_one() -> Mutant:
    """notify(n) wakes one, whatever n is."""

    def notify(self: Any, n: int = 1) -> None:
        Condition.notify(self, min(n, 1))

    return Mutant("condition", _changed(Condition, notify=notify))


def condition_trusts_notify() -> Mutant:
    """wait_for() asks its predicate only before it waits."""

    async def wait_for(self: Any, predicate: Callable[[], Any]) -> Any:
        result = predicate()
        if not result:
            result = await self.wait()
        return result

    return Mutant("condition", _changed(Condition, wait_for=wait_for))


# -- Semaphore and Barrier ---------------------------------------------------------------------


def semaphore_wakeup_lost() -> Mutant:
    """A waiter that is cancelled after it was woken keeps what it was given."""

    async def acquire(self: Any) -> Any:
        before = self._value
        try:
            return await Semaphore.acquire(self)
        except asyncio.CancelledError:
            if self._value > before:
                self._value -= 1
            raise

    return Mutant("semaphore", _changed(Semaphore, acquire=acquire))


def semaphore_barges() -> Mutant:
    """What is free goes to whoever asks, past those who wait for their turn."""

    async def acquire(self: Any) -> Any:
        if self._value > 0:
            self._value -= 1
            return True
        return await Semaphore.acquire(self)

    return Mutant("semaphore", _changed(Semaphore, acquire=acquire))


def semaphore_without_bound() -> Mutant:
    """A BoundedSemaphore counts past its bound."""
    changed = _changed(asyncio.BoundedSemaphore, release=Semaphore.release)
    return Mutant("semaphore", changed)


def barrier_numbers_backwards() -> Mutant:
    """wait() returns the parties' numbers in the wrong order."""

    async def wait(self: Any) -> Any:
        return self.parties - 1 - await Barrier.wait(self)

    return Mutant("barrier", _changed(Barrier, wait=wait))


def barrier_reset_lets_through() -> Mutant:
    """reset() lets those that wait go on as if all had come."""

    async def wait(self: Any) -> Any:
        try:
            return await Barrier.wait(self)
        except asyncio.BrokenBarrierError:
            if self.broken:
                raise
            return 0

    return Mutant("barrier", _changed(Barrier, wait=wait))


# -- Queue -------------------------------------------------------------------------------------


def _queues(**methods: Any) -> dict[str, Any]:
    """All three kinds of queue with some methods replaced."""
    kinds = (asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue)
    return {kind.__name__: _subclass(kind, methods) for kind in kinds}


def queue_item_lost() -> Mutant:
    """A getter that is cancelled after it was woken takes an item with it."""

    async def get(self: Any) -> Any:
        waits = self.empty()
        try:
            return await Queue.get(self)
        except asyncio.CancelledError:
            if waits and not self.empty():
                self._get()
            raise

    return Mutant("queue", _queues(get=get))


def queue_wakes_last() -> Mutant:
    """The getter and the putter that came last are woken first."""

    def wake(self: Any, waiters: Any) -> None:
        while waiters:
            waiter = waiters.pop()
            if not waiter.done():
                waiter.set_result(None)
                break

    return Mutant("queue", _queues(_wakeup_next=wake))


def queue_turn_lost() -> Mutant:
    """A getter or putter that is cancelled after it was woken does not wake the next."""

    def wake(self: Any, waiters: Any) -> None:
        if self.moving:
            Queue._wakeup_next(self, waiters)

    def moving(method: Callable[..., Any]) -> Callable[..., Any]:
        def move(self: Any, *args: Any) -> Any:
            self.moving = True
            try:
                return method(self, *args)
            finally:
                self.moving = False

        return move

    return Mutant(
        "queue",
        _queues(
            _wakeup_next=wake,
            put_nowait=moving(Queue.put_nowait),
            get_nowait=moving(Queue.get_nowait),
            moving=False,
        ),
    )


def queue_join_early() -> Mutant:
    """join() is content with an empty queue."""

    async def join(self: Any) -> None:
        if not self.empty():
            await Queue.join(self)

    return Mutant("queue", _queues(join=join))


def queue_ignores_hooks() -> Mutant:
    """A queue stores its items itself, whatever a subclass says."""

    def __init__(self: Any, maxsize: int = 0) -> None:
        Queue.__init__(self, maxsize)
        self._put = self._queue.append

    return Mutant("queue", _changed(Queue, __init__=__init__))


def queue_shutdown_leaves_putters() -> Mutant:
    """shutdown() forgets to wake who waits for room."""

    def shutdown(self: Any, immediate: bool = False) -> None:
        putters, self._putters = self._putters, type(self._putters)()
        Queue.shutdown(self, immediate)
        self._putters = putters

    return Mutant("queue", _queues(shutdown=shutdown))


# -- gather, wait, as_completed ----------------------------------------------------------------


def gather_forgets_errors() -> Mutant:
    """An error counts only if it comes last."""
    fault = _rewritten("gather", "if not return_exceptions:", "if nfinished == nfuts:")
    return Mutant("gather", {"gather": fault})


def gather_cancels_the_rest() -> Mutant:
    """An error of one child cancels the others."""
    seen = "exc = fut.exception()\n"
    cancel = "                [child.cancel() for child in children if exc is not None]\n"
    return Mutant("gather", {"gather": _rewritten("gather", seen, seen + cancel)})


def gather_cancels_one() -> Mutant:
    """Cancelling the whole cancels the first child that can be."""
    future = _rewritten("_GatheringFuture", "ret = True", "ret = True; break")
    return Mutant("gather", {"gather": _rewritten("gather", _GatheringFuture=future)})


def gather_forgets_its_cancel() -> Mutant:
    """Children that shrug off the cancellation of the whole make it succeed."""
    fault = _rewritten("gather", "if outer._cancel_requested:", "if False:")
    return Mutant("gather", {"gather": fault})


def gather_drops_duplicates() -> Mutant:
    """What is given twice has one result."""

    def gather(*things: Any, **options: Any) -> Any:
        return asyncio.gather(*dict.fromkeys(things), **options)

    return Mutant("gather", {"gather": gather})


def wait_ignores_errors() -> Mutant:
    """FIRST_EXCEPTION waits for all."""

    async def wait(things: Any, *, timeout: Any = None, return_when: str) -> Any:
        if return_when == asyncio.FIRST_EXCEPTION:
            return_when = asyncio.ALL_COMPLETED
        return await asyncio.wait(things, timeout=timeout, return_when=return_when)

    return Mutant("wait", {"wait": wait})


def wait_cancels_the_rest() -> Mutant:
    """What is not done when the wait is over is cancelled."""

    async def wait(things: Any, **options: Any) -> Any:
        done, pending = await asyncio.wait(things, **options)
        for future in pending:
            future.cancel()
        return done, pending

    return Mutant("wait", {"wait": wait})


def as_completed_newest_first() -> Mutant:
    """Of those that came while nobody looked, the last is handed out first."""

    def as_completed(things: Any, *, timeout: Any = None) -> Any:
        return changed(things, timeout=timeout)

    if sys.version_info >= (3, 13):
        iterator = _rewritten("_AsCompletedIterator", "queues.Queue()", "queues.LifoQueue()")
        changed = _rewritten("as_completed", _AsCompletedIterator=iterator)
    else:
        changed = _rewritten("as_completed", "= Queue()", "= __import__('asyncio').LifoQueue()")
    return Mutant("as_completed", {"as_completed": as_completed})


def as_completed_without_limit() -> Mutant:
    """The timeout is ignored."""

    def as_completed(things: Any, *, timeout: Any = None) -> Any:
        return asyncio.as_completed(things)

    return Mutant("as_completed", {"as_completed": as_completed})


# -- wait_for, timeout, shield -----------------------------------------------------------------


def wait_for_abandons() -> Mutant:
    """What has no time at all is cancelled, but not waited for."""

    async def cancel_and_wait(future: Any, loop: Any = None) -> None:
        future.cancel()
        await asyncio.sleep(0)
        if not future.done():
            raise TimeoutError

    fault = _rewritten("wait_for", _cancel_and_wait=cancel_and_wait)
    return Mutant("wait_for", {"wait_for": fault})


def wait_for_loses_the_result() -> Mutant:
    """What came of it in spite of the cancellation at the end of its time is thrown away."""
    kept = "try:\n            return fut.result()"
    lost = "try:\n            raise TimeoutError(fut.result())"
    return Mutant("wait_for", {"wait_for": _rewritten("wait_for", kept, lost)})


def _limits(**methods: Any) -> dict[str, Any]:
    """timeout() and timeout_at() with some methods of what they return replaced."""
    changed = _subclass(Timeout, methods)

    def timeout(delay: float | None) -> Any:
        return changed(None if delay is None else asyncio.get_running_loop().time() + delay)

    return {"Timeout": changed, "timeout": timeout, "timeout_at": changed}


def timeout_swallows_cancels() -> Mutant:
    """A cancellation from outside that comes with the expiry turns into TimeoutError too."""

    async def leave(self: Any, kind: Any, error: Any, traceback: Any) -> Any:
        expired = self._state.value == "expiring"
        result = await Timeout.__aexit__(self, kind, error, traceback)
        if expired and kind is asyncio.CancelledError:
            raise TimeoutError from error
        return result

    return Mutant("timeout", _limits(__aexit__=leave))


class _Uncounted:
    """A task whose uncancel() says what it would leave, and leaves it."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def uncancel(self) -> int:
        left: int = self._task.cancelling() - 1
        return left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)


def timeout_leaves_the_count() -> Mutant:
    """After an expiry the task still counts as being cancelled."""

    async def enter(self: Any) -> Any:
        entered = await Timeout.__aenter__(self)
        self._task = _Uncounted(self._task)
        return entered

    return Mutant("timeout", _limits(__aenter__=enter))


def timeout_not_moved() -> Mutant:
    """reschedule() to a time that has passed is ignored."""

    def reschedule(self: Any, when: float | None) -> None:
        if when is None or when > asyncio.get_running_loop().time():
            Timeout.reschedule(self, when)

    return Mutant("timeout", _limits(reschedule=reschedule))


def shield_does_not() -> Mutant:
    """Cancellation goes through."""
    return Mutant("shield", {"shield": asyncio.ensure_future})


def shield_holds_both_ways() -> Mutant:
    """A cancellation of what is inside does not come out."""
    fault = _rewritten("shield", "            outer.cancel()", "            outer.set_result(None)")
    return Mutant("shield", {"shield": fault})


def shield_is_deaf() -> Mutant:
    """What is inside is let go of only when it is done, and not when the outside is."""
    fault = _rewritten("shield", "    outer.add_done_callback(_outer_done_callback)", "")
    return Mutant("shield", {"shield": fault})


# -- TaskGroup and threads ---------------------------------------------------------------------


def group_does_not_abort() -> Mutant:
    """An error of one child leaves the others running."""
    return Mutant("group", _changed(TaskGroup, _abort=lambda self: None))


def group_reports_one() -> Mutant:
    """Of several errors the first is reported."""

    async def leave(self: Any, kind: Any, error: Any, traceback: Any) -> Any:
        del self._errors[1:]
        try:
            return await TaskGroup.__aexit__(self, kind, error, traceback)
        except BaseExceptionGroup as group:
            raise group.derive(group.exceptions[:1]) from None

    return Mutant("group", _changed(TaskGroup, __aexit__=leave))


def group_swallows_cancels() -> Mutant:
    """A cancellation from outside ends the group, and no more."""

    async def leave(self: Any, kind: Any, error: Any, traceback: Any) -> Any:
        try:
            return await TaskGroup.__aexit__(self, kind, error, traceback)
        except asyncio.CancelledError:
            return True

    return Mutant("group", _changed(TaskGroup, __aexit__=leave))


def group_never_closes() -> Mutant:
    """A group that is over or shutting down still starts tasks."""

    def create_task(self: Any, coro: Any, *, name: str) -> Any:
        if not self._entered or self._exiting or self._aborting:
            return asyncio.create_task(coro, name=name)
        return TaskGroup.create_task(self, coro, name=name)

    return Mutant("group", _changed(TaskGroup, create_task=create_task))


def to_thread_shares_context() -> Mutant:
    """The call runs in the caller's context and not in a copy."""

    async def to_thread(call: Any, *args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, partial(call, *args, **kwargs))

    return Mutant("threads", {"to_thread": to_thread})


def threadsafe_without_cancel() -> Mutant:
    """Cancelling the concurrent future leaves the task alone."""

    def run_coroutine_threadsafe(coro: Any, loop: Any) -> Any:
        async def alone() -> Any:
            return await asyncio.shield(coro)

        return asyncio.run_coroutine_threadsafe(alone(), loop)

    return Mutant("threads", {"run_coroutine_threadsafe": run_coroutine_threadsafe})


def wrap_future_one_way() -> Mutant:
    """Cancelling the wrapper leaves the concurrent future alone."""

    def wrap_future(future: Any, *, loop: Any = None) -> Any:
        return asyncio.shield(asyncio.wrap_future(future, loop=loop))

    return Mutant("threads", {"wrap_future": wrap_future})


def _faultless() -> dict[str, Any]:
    """What faults are put into, without any."""
    kinds: tuple[Any, ...] = (Lock, Event, Condition, Semaphore, asyncio.BoundedSemaphore, Barrier)
    names = _queues() | _limits() | _changed(TaskGroup)
    for kind in kinds:
        names |= _changed(kind)
    for name in ("gather", "wait", "as_completed", "wait_for", "shield"):
        names[name] = _rewritten(name)
    return names


FAULTLESS = Mutant("", _faultless())
PRIMITIVE_MUTANTS: dict[str, Mutant] = {
    make.__name__: make()
    for make in (
        lock_wakes_last,
        lock_barges,
        lock_turn_lost,
        lock_release_is_forgiving,
        event_wakes_last_first,
        event_waits_again,
        condition_not_reacquired,
        condition_wakes_one,
        condition_trusts_notify,
        semaphore_wakeup_lost,
        semaphore_barges,
        semaphore_without_bound,
        barrier_numbers_backwards,
        barrier_reset_lets_through,
        queue_item_lost,
        queue_wakes_last,
        queue_turn_lost,
        queue_join_early,
        queue_ignores_hooks,
        gather_forgets_errors,
        gather_cancels_the_rest,
        gather_cancels_one,
        gather_forgets_its_cancel,
        gather_drops_duplicates,
        wait_ignores_errors,
        wait_cancels_the_rest,
        as_completed_newest_first,
        as_completed_without_limit,
        wait_for_abandons,
        wait_for_loses_the_result,
        timeout_swallows_cancels,
        timeout_leaves_the_count,
        timeout_not_moved,
        shield_does_not,
        shield_holds_both_ways,
        shield_is_deaf,
        group_does_not_abort,
        group_reports_one,
        group_swallows_cancels,
        group_never_closes,
        to_thread_shares_context,
        threadsafe_without_cancel,
        wrap_future_one_way,
        *((queue_shutdown_leaves_putters,) if sys.version_info >= (3, 13) else ()),
    )
}
