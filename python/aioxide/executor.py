"""Work that a loop hands to threads: the executor, and name resolution, which needs one.

The rules are those of the newest asyncio on every version (`shutdown_default_executor()` has its
timeout on 3.11 too, where the stdlib's has none).
"""

import asyncio
import concurrent.futures
import threading
import warnings
from asyncio import base_events
from asyncio.log import logger
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

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

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """Resolve a name as `socket.getaddrinfo()` does, in a thread."""
        resolve = self._getaddrinfo_debug if self.get_debug() else _socket().getaddrinfo
        return await self.run_in_executor(None, resolve, host, port, family, type, proto, flags)

    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int = 0
    ) -> tuple[str, str]:
        """Resolve an address as `socket.getnameinfo()` does, in a thread."""
        return await self.run_in_executor(None, _socket().getnameinfo, sockaddr, flags)

    def _getaddrinfo_debug(  # noqa: PLR0917
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int,
        type_: int,
        proto: int,
        flags: int,
    ) -> list[tuple[Any, ...]]:
        asked = [f"{host!s}:{port!r}"]
        for name, value in (("family", family), ("type", type_), ("proto", proto)):
            if value:
                asked.append(f"{name}={value!r}")
        if flags:
            asked.append(f"flags={flags!r}")
        question = ", ".join(asked)
        logger.debug("Get address info %s", question)
        began = self.time()
        answer: list[tuple[Any, ...]] = _socket().getaddrinfo(
            host, port, family, type_, proto, flags
        )
        took = self.time() - began
        report = f"Getting address info {question} took {took * 1e3:.3f}ms: {answer!r}"
        if took >= self.slow_callback_duration:
            logger.info(report)
        else:
            logger.debug(report)
        return answer

    if TYPE_CHECKING:  # the native half has it

        def _check_closed(self) -> None: ...


def _set_done(future: asyncio.Future[None]) -> None:
    # The task that waited may have been cancelled while the threads were still ending.
    if not future.cancelled():
        future.set_result(None)


def _socket() -> Any:
    """Return what `asyncio.base_events.socket` is now: programs and tests replace it there."""
    return base_events.socket  # type: ignore[attr-defined]
