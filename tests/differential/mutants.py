"""Engines that are wrong on purpose: proof that the differential test can fail.

Each is the pure-Python engine with one fault of a kind that a rewrite could have. They are
compared with the pure-Python engine, so that nothing but the fault can show.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from typing import TYPE_CHECKING, Any

from tests.differential.engines import Engine, PyFuture, PyTask, loop_type

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Loop: Any = asyncio.SelectorEventLoop


def _engine(name: str, task: Any = PyTask, future: Any = PyFuture, loop: Any = Loop) -> Engine:
    return Engine(name, loop_type(task, future, loop), task, future)


def _tasks(name: str, **methods: Any) -> Engine:
    """Tasks with some methods replaced."""
    return _engine(name, type("Task", (PyTask,), methods))


def _both(name: str, **methods: Any) -> Engine:
    """Tasks and futures with some methods replaced."""
    return _engine(
        name, type("Task", (PyTask,), methods), type("Future", (PyFuture,), dict(methods))
    )


def _loops(name: str, **methods: Any) -> Engine:
    """A loop with some methods replaced."""
    return _engine(name, loop=type("Loop", (Loop,), methods))


# -- futures -----------------------------------------------------------------------------------


def callbacks_last_first() -> Engine:
    """Done callbacks run in the wrong order."""

    def schedule(self: Any) -> None:
        self._callbacks.reverse()
        PyFuture._Future__schedule_callbacks(self)

    return _both("callbacks_last_first", _Future__schedule_callbacks=schedule)


def callbacks_at_once() -> Engine:
    """Done callbacks run inside set_result instead of through the loop."""

    def schedule(self: Any) -> None:
        callbacks, self._callbacks[:] = list(self._callbacks), []
        for callback, context in callbacks:
            try:
                context.run(callback, self)
            except Exception as error:
                self._loop.call_exception_handler({"message": "m", "exception": error})

    return _both("callbacks_at_once", _Future__schedule_callbacks=schedule)


def callbacks_share_context() -> Engine:
    """add_done_callback forgets the context it was given."""

    def add(self: Any, fn: Any, *, context: Any = None) -> None:
        PyFuture.add_done_callback(self, fn)

    return _both("callbacks_share_context", add_done_callback=add)


def remove_first_only() -> Engine:
    """remove_done_callback removes one of several equal callbacks."""

    def remove(self: Any, fn: Any) -> int:
        for entry in self._callbacks:
            if entry[0] == fn:
                self._callbacks.remove(entry)
                return 1
        return 0

    return _both("remove_first_only", remove_done_callback=remove)


def done_costs_a_turn() -> Engine:
    """Awaiting what is done already lets others run first."""

    def wait(self: Any) -> Generator[Any, Any, Any]:
        if self.done():
            yield None
        return (yield from PyFuture.__await__(self))

    return _both("done_costs_a_turn", __await__=wait, __iter__=wait)


def never_retrieved_is_silent() -> Engine:
    """No report of an exception that nobody asked for."""
    return _both("never_retrieved_is_silent", __del__=lambda _self: None)


def retrieval_is_not_noticed() -> Engine:
    """An exception that was asked for is reported all the same."""

    def exception(self: Any) -> Any:
        error = PyFuture.exception(self)
        self._Future__log_traceback = error is not None
        return error

    return _both("retrieval_is_not_noticed", exception=exception)


# -- tasks -------------------------------------------------------------------------------------


def message_lost() -> Engine:
    """The message of cancel() does not arrive."""
    return _both("message_lost", cancel=_cancel_without_message)


def _cancel_without_message(self: Any, msg: Any = None) -> Any:
    return (PyTask if hasattr(self, "get_coro") else PyFuture).cancel(self)


def must_cancel_forgotten() -> Engine:
    """cancel() of a task that waits for nothing is forgotten."""

    def cancel(self: Any, msg: Any = None) -> Any:
        result = PyTask.cancel(self, msg)
        self._must_cancel = False
        return result

    return _tasks("must_cancel_forgotten", cancel=cancel)


def wakeup_a_turn_late() -> Engine:
    """A task whose future is done is woken by way of another callback."""

    def wakeup(self: Any, future: Any) -> None:
        self._loop.call_soon(PyTask._Task__wakeup, self, future)

    return _tasks("wakeup_a_turn_late", _Task__wakeup=wakeup)


def uncancel_does_nothing() -> Engine:
    """uncancel() leaves the count."""
    return _tasks("uncancel_does_nothing", uncancel=lambda self: self.cancelling())


def context_not_copied() -> Engine:
    """Tasks ignore the context they are given."""

    def init(self: Any, coro: Any, *, context: Any = None, **kwargs: Any) -> None:
        PyTask.__init__(self, coro, **kwargs)

    return _tasks("context_not_copied", __init__=init)


def system_exit_swallowed() -> Engine:
    """SystemExit in a task is its exception, but does not stop the loop."""

    def step(self: Any, exc: Any = None) -> None:
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            PyTask._Task__step(self, exc)

    return _tasks("system_exit_swallowed", _Task__step=step)


# -- loops -------------------------------------------------------------------------------------


def cancelled_handles_run() -> Engine:
    """A handle that was cancelled runs if it was ready already."""

    def call_soon(self: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Loop.call_soon(self, callback, *args, context=context)
        Loop.call_soon(self, _run_if_cancelled, handle, callback, args)
        return handle

    def _run_if_cancelled(handle: Any, callback: Any, args: Any) -> None:
        if handle.cancelled():
            callback(*args)

    return _loops("cancelled_handles_run", call_soon=call_soon)


def threadsafe_overtakes() -> Engine:
    """call_soon_threadsafe has an inbox of its own, emptied before the ready queue."""

    def call_soon_threadsafe(self: Any, *args: Any, context: Any = None) -> Any:
        handle = Loop.call_soon_threadsafe(self, *args, context=context)
        self._ready.remove(handle)
        self._ready.appendleft(handle)
        return handle

    return _loops("threadsafe_overtakes", call_soon_threadsafe=call_soon_threadsafe)


def later_zero_is_soon() -> Engine:
    """call_later(0) goes straight to the ready queue instead of through the timers."""

    def call_later(self: Any, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        if delay <= 0:
            return self.call_soon(callback, *args, context=context)
        return Loop.call_later(self, delay, callback, *args, context=context)

    return _loops("later_zero_is_soon", call_later=call_later)


def due_timers_unordered() -> Engine:
    """Timers that are due in the same turn run in the order in which they were made."""

    def run_once(self: Any) -> None:
        now = self.time()
        due = [handle for handle in self._scheduled if handle._when <= now]
        made = sorted(due, key=lambda handle: -handle._when)
        for number, handle in enumerate(made):
            handle._when = now - 1 + number * 1e-9
        heapq.heapify(self._scheduled)
        Loop._run_once(self)

    return _loops("due_timers_unordered", _run_once=run_once)


def timers_fire_early() -> Engine:
    """Timers fire after 60 % of their time."""

    def call_at(self: Any, when: float, *args: Any, context: Any = None) -> Any:
        early = when - 0.4 * max(0, when - self.time())
        return Loop.call_at(self, early, *args, context=context)

    return _loops("timers_fire_early", call_at=call_at)


def turn_never_ends() -> Engine:
    """What becomes ready in a turn still runs in that turn."""

    def run_once(self: Any) -> None:
        Loop._run_once(self)
        for _ in range(5):
            if self._ready and not self._stopping:
                handle = self._ready.popleft()
                if not handle._cancelled:
                    handle._run()

    return _loops("turn_never_ends", _run_once=run_once)


def handler_keys_missing() -> Engine:
    """The exception handler is not told which handle failed."""

    def call_exception_handler(self: Any, context: dict[str, Any]) -> None:
        context.pop("handle", None)
        Loop.call_exception_handler(self, context)

    return _loops("handler_keys_missing", call_exception_handler=call_exception_handler)


MUTANTS: dict[str, Callable[[], Engine]] = {
    make.__name__: make
    for make in (
        callbacks_last_first,
        callbacks_at_once,
        callbacks_share_context,
        remove_first_only,
        done_costs_a_turn,
        never_retrieved_is_silent,
        retrieval_is_not_noticed,
        message_lost,
        must_cancel_forgotten,
        wakeup_a_turn_late,
        uncancel_does_nothing,
        context_not_copied,
        system_exit_swallowed,
        cancelled_handles_run,
        threadsafe_overtakes,
        later_zero_is_soon,
        due_timers_unordered,
        timers_fire_early,
        turn_never_ends,
        handler_keys_missing,
    )
}
