"""Work handed to threads and taken from them, without a thread.

Real threads finish when they like, so none takes part: the loop's executor runs a job at once,
or holds it until the program runs it, and concurrent futures are settled from the loop's own
thread. Everything between (wrapping, chaining, `call_soon_threadsafe`, contexts, cancellation
in both directions) is the engine's and goes the same way as it would with threads.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING, Any

from tests.differential.actions import make_error
from tests.differential.world import Actor, World, var

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from tests.differential.program import Op


class Job:
    """A call that an executor was asked for."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._call = call

    def run(self) -> str:
        """Make the call, unless that was cancelled or done."""
        if self.future.done() or not self.future.set_running_or_notify_cancel():
            return "not run"
        try:
            value = self._call()
        except Exception as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)
        return "run"


class InlineExecutor(concurrent.futures.ThreadPoolExecutor):
    """An executor without threads. What is submitted while `holding` waits in `held`."""

    def __init__(self) -> None:
        super().__init__(1)
        self.holding = False
        self.held: list[Job] = []

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        """Run the call now, or keep it."""
        job = Job(lambda: fn(*args, **kwargs))
        if self.holding:
            self.held.append(job)
        else:
            job.run()
        return job.future


async def _to_thread(w: World, me: Actor, op: Op) -> object:
    def job(number: int) -> object:
        w.note(me.name, "job", number)
        var.set(number)
        if number % 3:
            raise (ValueError("job"), StopIteration("job"))[number % 3 - 1]
        return "worked"

    w.executor.holding = op.a >= 3
    return await w.lib.to_thread(job, number=op.a)


class JustAwaitable:
    """Something that can be awaited and is neither a coroutine nor a future."""

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self.future = future

    def __await__(self) -> Generator[Any, None, Any]:
        return self.future.__await__()


async def _await(future: asyncio.Future[Any]) -> object:
    return await future


async def _ensure(w: World, _me: Actor, op: Op) -> object:
    future = w.future[op.b]
    thing = (future, JustAwaitable(future), None)[op.a]
    return await w.lib.ensure_future(_await(future) if thing is None else thing)


def _job_run(w: World, _me: Actor, op: Op) -> object:
    held = w.executor.held
    return held[-1 - op.a % len(held)].run() if held else "no job"


def _submit(w: World, me: Actor, op: Op) -> object:
    name = w.next_name("r")
    if name is None or op.a <= me.body:
        return "no more"
    body = w.run_body(name, op.a, me.rank)
    w.concurrent.append(w.lib.run_coroutine_threadsafe(body, w.loop))
    return name


def _concurrent_new(w: World, _me: Actor, _op: Op) -> None:
    w.concurrent.append(concurrent.futures.Future())


def _on_concurrent(
    what: Callable[[World, concurrent.futures.Future[Any], Op], object],
) -> Callable[[World, Actor, Op], object]:
    """An action on one of the last concurrent futures, if there is one."""

    def action(w: World, _me: Actor, op: Op) -> object:
        if not w.concurrent:
            return "no concurrent future"
        return what(w, w.concurrent[-1 - op.a % len(w.concurrent)], op)

    return action


def _concurrent_set(_w: World, future: concurrent.futures.Future[Any], op: Op) -> object:
    if op.b > 5:
        future.set_exception(make_error(op.b))
    else:
        future.set_result(op.b)
    return "set"


def settled(future: concurrent.futures.Future[Any]) -> object:
    """What a concurrent future has come to."""
    if not future.done():
        return "running" if future.running() else "pending"
    if future.cancelled():
        return "cancelled"
    error = future.exception()
    return future.result() if error is None else error


def _wrap_into(w: World, me: Actor, op: Op) -> object:
    if not w.concurrent:
        _concurrent_new(w, me, op)
    wrapped = w.lib.wrap_future(w.concurrent[-1 - op.b % len(w.concurrent)], loop=w.loop)
    w.replace_future(op.a, wrapped)
    return "wrapped"


WAITS: dict[str, Callable[[World, Actor, Op], Awaitable[object]]] = {
    "to_thread": _to_thread,
    "ensure": _ensure,
}
ACTIONS: dict[str, Callable[[World, Actor, Op], object]] = {
    "job_run": _job_run,
    "submit": _submit,
    "concurrent_new": _concurrent_new,
    "concurrent_set": _on_concurrent(_concurrent_set),
    "concurrent_cancel": _on_concurrent(lambda _w, future, _op: future.cancel()),
    "concurrent_state": _on_concurrent(lambda _w, future, _op: settled(future)),
    "wrap_into": _wrap_into,
}
