"""asyncio as a native engine.

`import aioxide as asyncio` is a promise: every name in `asyncio.__all__` of the running Python is
here, and what a program reaches through the module besides (`asyncio.subprocess`, `asyncio.log`)
is too. What aioxide has a version of its own of is imported first; the stdlib fills the rest. The
long list below is for type checkers and editors, which cannot follow the loop that does it.
"""

import asyncio as _asyncio
import sys
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from aioxide._core import (
    Future,
    Handle,
    Lock,
    Task,
    TimerHandle,
    __version__,
    TaskGroup,
    Timeout,
    as_completed,
    create_task,
    ensure_future,
    gather,
    shield,
    sleep,
    timeout,
    timeout_at,
    to_thread,
    wait,
)
from aioxide.event_loop import EventLoop, new_event_loop
from aioxide.policy import EventLoopPolicy
from aioxide.runners import Runner, run

__all__ = [
    "EventLoop",
    "EventLoopPolicy",
    "Future",
    "Handle",
    "Lock",
    "Runner",
    "Task",
    "TimerHandle",
    "__version__",
    "new_event_loop",
    "run",
    "sleep",
    "TaskGroup",
    "Timeout",
    "as_completed",
    "create_task",
    "ensure_future",
    "gather",
    "shield",
    "timeout",
    "timeout_at",
    "to_thread",
    "wait",
]

if sys.version_info >= (3, 12):
    from aioxide._core import wait_for

    __all__ += ["wait_for"]

if _TYPE_CHECKING:
    # isort: off
    from asyncio import (
        ALL_COMPLETED as ALL_COMPLETED,
        AbstractEventLoop as AbstractEventLoop,
        AbstractServer as AbstractServer,
        Barrier as Barrier,
        BaseEventLoop as BaseEventLoop,
        BaseProtocol as BaseProtocol,
        BaseTransport as BaseTransport,
        BoundedSemaphore as BoundedSemaphore,
        BrokenBarrierError as BrokenBarrierError,
        BufferedProtocol as BufferedProtocol,
        CancelledError as CancelledError,
        Condition as Condition,
        DatagramProtocol as DatagramProtocol,
        DatagramTransport as DatagramTransport,
        Event as Event,
        FIRST_COMPLETED as FIRST_COMPLETED,
        FIRST_EXCEPTION as FIRST_EXCEPTION,
        IncompleteReadError as IncompleteReadError,
        InvalidStateError as InvalidStateError,
        LifoQueue as LifoQueue,
        LimitOverrunError as LimitOverrunError,
        PriorityQueue as PriorityQueue,
        Protocol as Protocol,
        Queue as Queue,
        QueueEmpty as QueueEmpty,
        QueueFull as QueueFull,
        ReadTransport as ReadTransport,
        SelectorEventLoop as SelectorEventLoop,
        Semaphore as Semaphore,
        SendfileNotAvailableError as SendfileNotAvailableError,
        Server as Server,
        StreamReader as StreamReader,
        StreamReaderProtocol as StreamReaderProtocol,
        StreamWriter as StreamWriter,
        SubprocessProtocol as SubprocessProtocol,
        SubprocessTransport as SubprocessTransport,
        TimeoutError as TimeoutError,  # noqa: A004
        Transport as Transport,
        WriteTransport as WriteTransport,
        _enter_task as _enter_task,
        _get_running_loop as _get_running_loop,
        _leave_task as _leave_task,
        _register_task as _register_task,
        _set_running_loop as _set_running_loop,
        _unregister_task as _unregister_task,
        all_tasks as all_tasks,
        create_subprocess_exec as create_subprocess_exec,
        create_subprocess_shell as create_subprocess_shell,
        current_task as current_task,
        get_event_loop as get_event_loop,
        get_event_loop_policy as get_event_loop_policy,
        get_running_loop as get_running_loop,
        iscoroutine as iscoroutine,
        iscoroutinefunction as iscoroutinefunction,
        isfuture as isfuture,
        open_connection as open_connection,
        open_unix_connection as open_unix_connection,
        run_coroutine_threadsafe as run_coroutine_threadsafe,
        set_event_loop as set_event_loop,
        set_event_loop_policy as set_event_loop_policy,
        start_server as start_server,
        start_unix_server as start_unix_server,
        wait_for as wait_for,
        wrap_future as wrap_future,
        subprocess as subprocess,
    )

    if sys.version_info >= (3, 12):
        from asyncio import create_eager_task_factory as create_eager_task_factory
        from asyncio import eager_task_factory as eager_task_factory

    if sys.version_info >= (3, 13):
        from asyncio import QueueShutDown as QueueShutDown

    if sys.version_info >= (3, 14):
        from asyncio import (
            FrameCallGraphEntry as FrameCallGraphEntry,
            FutureCallGraph as FutureCallGraph,
            capture_call_graph as capture_call_graph,
            format_call_graph as format_call_graph,
            future_add_to_awaited_by as future_add_to_awaited_by,
            future_discard_from_awaited_by as future_discard_from_awaited_by,
            print_call_graph as print_call_graph,
        )
    else:
        from asyncio import (
            AbstractChildWatcher as AbstractChildWatcher,
            AbstractEventLoopPolicy as AbstractEventLoopPolicy,
            DefaultEventLoopPolicy as DefaultEventLoopPolicy,
            FastChildWatcher as FastChildWatcher,
            MultiLoopChildWatcher as MultiLoopChildWatcher,
            PidfdChildWatcher as PidfdChildWatcher,
            SafeChildWatcher as SafeChildWatcher,
            ThreadedChildWatcher as ThreadedChildWatcher,
            get_child_watcher as get_child_watcher,
            set_child_watcher as set_child_watcher,
        )
    # isort: on
else:
    for _name in _asyncio.__all__:
        if _name not in globals():
            globals()[_name] = getattr(_asyncio, _name)
            __all__.append(_name)  # noqa: PYI056
    del _name


def __getattr__(name: str) -> _Any:
    """Answer for asyncio's submodules and, with asyncio's warnings, its deprecated names."""
    if not name.startswith("__"):
        try:
            return getattr(_asyncio, name)
        except AttributeError:
            pass
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_asyncio)})
