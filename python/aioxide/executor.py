"""Functions that a loop hands to threads: the executor.

The rules are those of the newest asyncio on every version (`shutdown_default_executor()` has its
timeout on 3.11 too, where the stdlib's has none).
"""

import asyncio
import concurrent.futures
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from aioxide.reports import Reports
from aioxide.workers import Workers, default_executor

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Executors(Reports):
    """The part of the event loop that runs functions in threads."""

    def __init__(self) -> None:
        self._default_executor: concurrent.futures.Executor | None = None
        self._executor_shutdown_called = False

    def run_in_executor(
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[[*_Ts], _T],
        *args: *_Ts,
    ) -> asyncio.Future[_T]:
        """Call `func(*args)` in a thread (or what `executor` runs) and return a Future for it."""
        self._check_closed()
        if self.get_debug():
            self._check_callback(func, "run_in_executor")
        if executor is None:
            if self._executor_shutdown_called:
                raise RuntimeError("Executor shutdown has been called")
            if self._default_executor is None:
                self._default_executor = default_executor(self)
            executor = self._default_executor
            if executor.__class__ is Workers:
                return executor.begin(self, func, args)
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    def set_default_executor(self, executor: concurrent.futures.Executor) -> None:
        """Use `executor`, a ThreadPoolExecutor, where None is passed to `run_in_executor()`."""
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait until the default executor's threads have ended, at most `timeout` seconds."""
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is None:
            return
        future = self.create_future()
        # A thread of its own, because Executor.shutdown() has no timeout and would block the loop.
        thread = threading.Thread(target=self._do_shutdown, args=(executor, future))
        thread.start()
        try:
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            warnings.warn(
                f"The executor did not finishing joining its threads within {timeout} seconds.",
                RuntimeWarning,
                stacklevel=2,
            )
            executor.shutdown(wait=False)
        else:
            thread.join()

    def _do_shutdown(
        self, executor: concurrent.futures.Executor, future: asyncio.Future[None]
    ) -> None:
        try:
            executor.shutdown(wait=True)
            if not self.is_closed():
                self.call_soon_threadsafe(_set_done, future)
        except Exception as exc:
            # Also where the loop was closed between the question and the call: then in silence.
            if not self.is_closed() and not future.cancelled():
                self.call_soon_threadsafe(future.set_exception, exc)

    def _abandon_default_executor(self) -> None:
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is not None:
            self._default_executor = None
            executor.shutdown(wait=False)

    if TYPE_CHECKING:  # the native half has it

        def _check_closed(self) -> None: ...


def _set_done(future: asyncio.Future[None]) -> None:
    # The task that waited may have been cancelled while the threads were still ending.
    if not future.cancelled():
        future.set_result(None)
