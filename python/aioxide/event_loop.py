"""The event loop that programs see: what runs once per loop, put around the native engine.

The line between this file and `aioxide._core.Loop` is one rule: what happens for each callback,
step, timer or event is native; what happens once per loop, per `run_forever()` or per failure is
Python. Python here costs nothing that can be measured, can be read and overridden, and shares
asyncio's own helpers, so that messages and warnings are asyncio's to the letter.

`_core.Loop` stands first among the bases: `asyncio.AbstractEventLoop` defines every method of a
loop as one that raises NotImplementedError, and so must only answer for what nobody else has:
which is nothing.
"""

import asyncio
import sys
import warnings
import weakref
from asyncio import events
from asyncio.constants import DEBUG_STACK_DEPTH
from asyncio.coroutines import _is_debug_mode  # type: ignore[attr-defined]
from asyncio.log import logger
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from aioxide import _core, interop
from aioxide.children import Children
from aioxide.endpoints import Endpoints
from aioxide.network import Network
from aioxide.pipes import Pipes
from aioxide.reports import Reports
from aioxide.resolver import Resolver
from aioxide.signals import Signals
from aioxide.sockets import Sockets
from aioxide.tls import Tls

if TYPE_CHECKING:
    from asyncio import _AwaitableLike

_T = TypeVar("_T")
_AsyncGen: TypeAlias = AsyncGenerator[Any, Any]


class EventLoop(  # type: ignore[misc]  # our create_task() returns our Task
    _core.Loop,
    Signals,
    Resolver,
    Reports,
    Network,
    Endpoints,
    Sockets,
    Pipes,
    Children,
    Tls,
    asyncio.AbstractEventLoop,
):
    """An event loop whose ready queue, timers, tasks and futures are native."""

    # Every attribute is in a slot, those of the mixins too, since only one class can lay them out
    # behind the native half. The `__dict__` that comes with AbstractEventLoop is not made until a
    # program sets an attribute of its own, and while there is none 3.13 finds methods without
    # looking into it: `loop.create_future()` takes 38 ns there and not 55.
    __slots__ = (
        "_asyncgens",
        "_asyncgens_shutdown_called",
        "_current_handle",
        "_default_executor",
        "_exception_handler",
        "_executor_shutdown_called",
        "_lookups",
        "_made_transports",
        "_saved_origin_tracking_depth",
        "_signal_handlers",
        "_signal_pipe",
        "_unix_server_sockets",
        "slow_callback_duration",
    )

    def __init__(self) -> None:
        super().__init__()
        Signals.__init__(self)
        Resolver.__init__(self)
        Reports.__init__(self)
        Endpoints.__init__(self)
        self._asyncgens: weakref.WeakSet[_AsyncGen] = weakref.WeakSet()
        self._asyncgens_shutdown_called = False
        # The interpreter's depth before this loop raised it; None while this loop has not.
        self._saved_origin_tracking_depth: int | None = None
        self.set_debug(_is_debug_mode())
        # Last: should it refuse this Python, what there is can be closed.
        interop.connect()

    def __repr__(self) -> str:
        return (
            f"<{self.__class__.__name__} running={self.is_running()} "
            f"closed={self.is_closed()} debug={self.get_debug()}>"
        )

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if not self.is_closed():
            _warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
            if not self.is_running():
                self.close()

    # Running

    def run_forever(self) -> None:
        """Run until `stop()` is called."""
        self._check_closed()
        self._check_running()
        outer_hooks = sys.get_asyncgen_hooks()
        self._set_coroutine_origin_tracking(self.get_debug())
        try:
            sys.set_asyncgen_hooks(
                firstiter=self._asyncgen_firstiter_hook,
                finalizer=self._asyncgen_finalizer_hook,
            )
            self._run()
        finally:
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*outer_hooks)

    def run_until_complete(self, future: "_AwaitableLike[_T]") -> _T:
        """Run until `future` is done, and return its result or raise its exception.

        A coroutine or another awaitable is wrapped in a Task first.
        """
        self._check_closed()
        self._check_running()
        made_here = not asyncio.isfuture(future)
        awaitable: Any = future  # typeshed for 3.11 says Generator here, but not there
        waited: asyncio.Future[_T] = asyncio.ensure_future(awaitable, loop=self)
        if made_here:
            # If it does not complete, an exception says so below: no second report from the task.
            waited._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        waited.add_done_callback(_run_until_complete_cb)
        try:
            self.run_forever()
        except BaseException:
            if made_here and waited.done() and not waited.cancelled():
                # KeyboardInterrupt or SystemExit left the loop through this task and reaches the
                # caller now. Nobody else can see the task, so its exception counts as retrieved.
                waited.exception()
            raise
        finally:
            waited.remove_done_callback(_run_until_complete_cb)
        if not waited.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return waited.result()

    def _check_running(self) -> None:
        if self.is_running():
            raise RuntimeError("This event loop is already running")
        if events._get_running_loop() is not None:  # noqa: SLF001
            raise RuntimeError("Cannot run the event loop while another loop is running")

    # Closing

    def close(self) -> None:
        """Drop what is scheduled, release descriptors and let go of the executor.

        Does not wait for the executor's threads: that is `shutdown_default_executor()`.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        if self.get_debug():
            logger.debug("Close %r", self)
        self._stop_reading_signals()
        self._dispose()
        self._abandon_lookups()
        self._abandon_default_executor()
        self._restore_signals()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Say nothing to a TimerHandle of asyncio's own that a program made for this loop."""

    # Tasks made by a factory: the engine asks only when one is set

    def _create_task_by_factory(
        self,
        factory: Callable[..., Any],
        coro: object,
        name: object,
        context: Context | None,
        kwargs: dict[str, Any],
    ) -> Any:
        # Up to 3.13; from 3.14 on the engine calls the factory by itself, with what it was given.
        if context is not None:
            kwargs["context"] = context
        task = factory(self, coro, **kwargs)
        _name_task(task, name)
        return task

    # Asynchronous generators

    async def shutdown_asyncgens(self) -> None:
        """Close every asynchronous generator that this loop has begun and nobody has finished."""
        self._asyncgens_shutdown_called = True
        if not self._asyncgens:
            return
        closing = list(self._asyncgens)
        self._asyncgens.clear()
        results = await asyncio.gather(*[gen.aclose() for gen in closing], return_exceptions=True)
        for result, gen in zip(results, closing, strict=True):
            if isinstance(result, Exception):
                self.call_exception_handler(
                    {
                        "message": "an error occurred during closing of "
                        f"asynchronous generator {gen!r}",
                        "exception": result,
                        "asyncgen": gen,
                    }
                )

    def _asyncgen_firstiter_hook(self, gen: _AsyncGen) -> None:
        if self._asyncgens_shutdown_called:
            warnings.warn(
                f"asynchronous generator {gen!r} was scheduled after "
                f"loop.shutdown_asyncgens() call",
                ResourceWarning,
                source=self,
                # asyncio's level too: the frame that begins the generator is nobody's fault.
                stacklevel=1,
            )
        self._asyncgens.add(gen)

    def _asyncgen_finalizer_hook(self, gen: _AsyncGen) -> None:
        # The collector calls this, in whatever thread it happens to run.
        self._asyncgens.discard(gen)
        if not self.is_closed():
            self.call_soon_threadsafe(self.create_task, gen.aclose())

    # Debug mode

    def set_debug(self, enabled: bool) -> None:
        """Turn asyncio's debug mode on or off; takes effect at once on a running loop too."""
        super().set_debug(enabled)
        if self.is_running():
            # The depth belongs to the thread that runs the loop, which need not be this one.
            self.call_soon_threadsafe(self._set_coroutine_origin_tracking, enabled)

    def _set_coroutine_origin_tracking(self, enabled: bool) -> None:
        saved = self._saved_origin_tracking_depth
        if enabled and saved is None:
            self._saved_origin_tracking_depth = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(DEBUG_STACK_DEPTH)
        elif not enabled and saved is not None:
            self._saved_origin_tracking_depth = None
            sys.set_coroutine_origin_tracking_depth(saved)


def new_event_loop() -> EventLoop:
    """Return a new event loop; the `loop_factory` that asyncio.run() and servers ask for."""
    return EventLoop()


if sys.version_info >= (3, 13):

    def _name_task(task: Any, name: object) -> None:
        task.set_name(name)  # 3.13 says so of None too, and calls the task "None"

else:
    from asyncio.tasks import _set_task_name as _name_task  # type: ignore[attr-defined]


def _run_until_complete_cb(future: asyncio.Future[Any]) -> None:
    # Not a method: it has asyncio's name, which debug mode shows in the repr of every main task.
    if not future.cancelled() and isinstance(future.exception(), SystemExit | KeyboardInterrupt):
        return  # The exception has already ended run_forever(); stop() would end the next one.
    future.get_loop().stop()


_core.adopt_methods(EventLoop)
