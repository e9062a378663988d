"""What the loop says when something went wrong, and whom it tells.

The native engine calls the underscored methods here when a callback raised, when a callback was
slow, and in debug mode to look at what was scheduled. All of it is off the fast path, and all of it
is text that programs and log filters know by heart; so it is built with asyncio's own formatting
helpers wherever there is one.
"""

import asyncio
import logging
import sys
import traceback
from asyncio import base_events, coroutines
from asyncio.base_events import _format_handle  # type: ignore[attr-defined]
from asyncio.format_helpers import _format_callback_source
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, TypeAlias

_Report: TypeAlias = dict[str, Any]
_Handler: TypeAlias = Callable[[asyncio.AbstractEventLoop, _Report], object]

_TRACEBACKS = {
    "source_traceback": "Object created at (most recent call last):\n",
    "handle_traceback": "Handle created at (most recent call last):\n",
}


class Reports(asyncio.AbstractEventLoop):
    """The part of the event loop that deals with errors and debug checks."""

    def __init__(self) -> None:
        self._exception_handler: _Handler | None = None
        # Debug mode reports a callback or a step that took longer than this many seconds.
        self.slow_callback_duration = 0.1
        # What runs right now, in debug mode only: the engine sets it (a Handle or a Task).
        self._current_handle: object | None = None

    def get_exception_handler(self) -> _Handler | None:
        """Return the handler that was set, or None if the default one is in use."""
        return self._exception_handler

    def set_exception_handler(self, handler: _Handler | None) -> None:
        """Call `handler(loop, context)` for errors that have no caller; None: log them."""
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context: _Report) -> None:
        """Log `context` to the `asyncio` logger, as asyncio would."""
        message = context.get("message") or "Unhandled exception in event loop"
        exception = context.get("exception")
        if "source_traceback" not in context:
            made_at = getattr(self._current_handle, "_source_traceback", None)
            if made_at:
                context["handle_traceback"] = made_at
        lines = [message]
        for key in sorted(context):
            if key in {"message", "exception"}:
                continue
            value = context[key]
            if key in _TRACEBACKS:
                text = _TRACEBACKS[key] + "".join(traceback.format_list(value)).rstrip()
            else:
                text = repr(value)
            lines.append(f"{key}: {text}")
        exc_info: Any = False
        if exception is not None:
            exc_info = (type(exception), exception, exception.__traceback__)
        _logger().error("\n".join(lines), exc_info=exc_info)

    def call_exception_handler(self, context: _Report) -> None:
        """Report an error: to the handler that was set, else to the default one."""
        handler = self._exception_handler
        if handler is None:
            self._log_guarded(context, "Exception in default exception handler")
            return
        try:
            where = _context_of(context)
            if where is None:
                handler(self, context)
            else:
                where.run(handler, self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._log_guarded(
                {
                    "message": "Unhandled error in exception handler",
                    "exception": exc,
                    "context": context,
                },
                "Exception in default exception handler while handling an unexpected error "
                "in custom exception handler",
            )

    def _log_guarded(self, context: _Report, complaint: str) -> None:
        # A subclass may have its own default handler, and a repr in the report may fail.
        try:
            self.default_exception_handler(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            _logger().error(complaint, exc_info=True)

    # Called by the engine

    def _callback_failed(
        self,
        callback: Callable[..., object],
        args: Sequence[object],
        handle: asyncio.Handle,
        exc: BaseException,
    ) -> None:
        context: _Report = {
            "message": f"Exception in callback {self._describe(callback, args)}",
            "exception": exc,
            "handle": handle,
        }
        made_at = getattr(handle, "_source_traceback", None)
        if made_at:
            context["source_traceback"] = made_at
        self.call_exception_handler(context)

    def _report_slow(self, subject: object, seconds: float) -> None:
        # A task's step is a task here and the step's handle in asyncio, where it reads the same.
        # What a transport or a listener does on its own has no handle here.
        name = _format_handle(subject) if isinstance(subject, asyncio.Handle) else repr(subject)
        _logger().warning("Executing %s took %.3f seconds", name, seconds)

    def _check_callback(self, callback: object, method: str) -> None:
        if is_coroutine(callback):
            raise TypeError(f"coroutines cannot be used with {method}()")
        if not callable(callback):
            raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")

    def _describe(self, callback: Callable[..., object], args: Sequence[object]) -> str:
        if sys.version_info >= (3, 13):
            # Arguments may be secrets: since 3.13 only debug mode shows them.
            return _format_callback_source(callback, args, debug=self.get_debug())
        else:  # noqa: RET505  # so that mypy takes it for another version's
            return _format_callback_source(callback, args)


def _logger() -> logging.Logger:
    """Return what `asyncio.base_events.logger` is now: programs and tests replace it there."""
    logger: logging.Logger = base_events.logger  # type: ignore[attr-defined]
    return logger


def is_coroutine(callback: object) -> bool:
    """Return whether `callback` is a coroutine, or makes one, and so is no callback at all."""
    # 3.14 deprecated the public name and kept this one for itself.
    name = "_iscoroutinefunction" if sys.version_info >= (3, 14) else "iscoroutinefunction"
    makes_one: bool = getattr(coroutines, name)(callback)
    return makes_one or asyncio.iscoroutine(callback)


def _context_of(report: _Report) -> Context | None:
    """Return the context in which a custom handler runs: that of what failed, since 3.12."""
    keys = ("task", "future", "handle") if sys.version_info >= (3, 12) else ()
    for key in keys:
        thing = report.get(key)
        if thing is not None:
            # Only the first that is there is asked, and a plain Future has no context.
            get_context = getattr(thing, "get_context", None)
            found = None if get_context is None else get_context()
            return found if hasattr(found, "run") else None
    return None
