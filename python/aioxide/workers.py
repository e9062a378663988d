"""The default executor: a ThreadPoolExecutor with a second, shorter way in for the loop's own jobs.

To everybody who looks it is the pool that asyncio makes: `submit()`, `shutdown()`, `map()`, names
of threads, their greatest number, the wait for them at exit are the standard library's code. Two
things are other. Its queue is native (`_core.JobQueue`) and knows jobs, which bring a result to
the loop without a concurrent Future; and so its threads serve that queue, where the standard
library's would take item after item. Making a thread stays Python and takes the locks of
`concurrent.futures.thread`, because it must not happen once the interpreter has begun to exit.
"""

import concurrent.futures
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import thread as stock
from concurrent.futures._base import LOGGER
from typing import TYPE_CHECKING, Any

from aioxide import _core

if TYPE_CHECKING:
    import asyncio


class Workers(stock.ThreadPoolExecutor):
    """The threads of a loop."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="asyncio")
        self._jobs = _core.JobQueue()
        self._work_queue: Any = self._jobs

    def begin(
        self, loop: "asyncio.AbstractEventLoop", func: Callable[..., Any], args: tuple[Any, ...]
    ) -> "asyncio.Future[Any]":
        """Call `func(*args)` in a thread and return a Future of `loop` for it."""
        future, job = self._jobs.begin(loop, func, args)
        if job is not None:
            self._put(job)
        return future

    def _put(self, job: Any) -> None:
        # As submit() does, and with its words.
        with self._shutdown_lock, stock._global_shutdown_lock:  # noqa: SLF001
            if self._shutdown:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if stock._shutdown:  # noqa: SLF001
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            self._jobs.put(job)
            self._adjust_thread_count()

    def _adjust_thread_count(self) -> None:
        if not self._jobs.lacks_workers():
            return
        count = len(self._threads)
        if count < self._max_workers:
            jobs = self._jobs

            def lost(_: object) -> None:
                jobs.put(None)

            thread = threading.Thread(
                name=f"{self._thread_name_prefix}_{count}",
                target=_work,
                args=(weakref.ref(self, lost), jobs),
            )
            thread.start()
            self._threads.add(thread)  # type: ignore[attr-defined]
            stock._threads_queues[thread] = jobs  # type: ignore[index]  # noqa: SLF001
        self._jobs.staffed = len(self._threads) >= self._max_workers


def default_executor(loop: Any) -> concurrent.futures.ThreadPoolExecutor:
    """Make the executor that a loop begins with."""
    if _core.takes_jobs(loop):
        return Workers()
    # A subclass that overrides call_soon_threadsafe() has to see what comes from threads.
    return concurrent.futures.ThreadPoolExecutor(thread_name_prefix="asyncio")


def _work(owner: "weakref.ref[Workers]", jobs: _core.JobQueue) -> None:
    # What a thread of the standard library's pool does with an item of submit() and with None.
    try:
        while True:
            item = jobs.serve()
            if item is not None:
                _run(item)
                del item
                continue
            executor = owner()
            if stock._shutdown or executor is None or executor._shutdown:  # noqa: SLF001
                if executor is not None:
                    executor._shutdown = True  # noqa: SLF001
                jobs.put(None)  # for the next thread
                return
            del executor
    except BaseException:
        LOGGER.critical("Exception in worker", exc_info=True)


if sys.version_info >= (3, 14):
    _context = stock.WorkerContext(None, ())  # type: ignore[call-overload]

    def _run(item: Any) -> None:
        item.run(_context)

else:

    def _run(item: Any) -> None:
        item.run()
