"""asyncio as a native engine.

`import aioxide as asyncio` is a promise: every name in `asyncio.__all__` of the running Python is
here, and what a program reaches through the module besides (`asyncio.subprocess`, `asyncio.log`)
is too. What aioxide has a version of its own of is imported first and listed in `__all__`, from
where `install()` and the submodules (`aioxide.locks`) take it; the stdlib fills the rest. The long
list at the end is for type checkers and editors, which cannot follow the loop that does it.
"""

import asyncio as _asyncio
import sys
import typing as _typing

from aioxide import installation as _installation
from aioxide import submodules as _submodules
from aioxide._core import __version__
from aioxide.event_loop import EventLoop, new_event_loop
from aioxide.installation import install, uninstall
from aioxide.policy import EventLoopPolicy, get_event_loop
from aioxide.runners import Runner, run

# What is aioxide's own. A name to come is imported below (`_core`) and listed here.
__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "EventLoop",
    "EventLoopPolicy",
    "Future",
    "Handle",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "Runner",
    "SelectorEventLoop",
    "Semaphore",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "Task",
    "TaskGroup",
    "Timeout",
    "TimerHandle",
    "__version__",
    "as_completed",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "create_task",
    "ensure_future",
    "gather",
    "get_event_loop",
    "install",
    "new_event_loop",
    "open_connection",
    "open_unix_connection",
    "run",
    "run_coroutine_threadsafe",
    "shield",
    "sleep",
    "start_server",
    "start_unix_server",
    "timeout",
    "timeout_at",
    "to_thread",
    "uninstall",
    "wait",
]
if sys.version_info >= (3, 12):
    __all__ += ["eager_task_factory", "wait_for"]
if sys.version_info < (3, 13):
    from aioxide.newer_names import QueueShutDown as QueueShutDown

    __all__ += ["QueueShutDown"]

if not _typing.TYPE_CHECKING:
    from aioxide._core import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Future,
        Handle,
        LifoQueue,
        Lock,
        PriorityQueue,
        Queue,
        Semaphore,
        StreamReader,
        StreamReaderProtocol,
        StreamWriter,
        Task,
        TaskGroup,
        Timeout,
        TimerHandle,
        as_completed,
        create_task,
        ensure_future,
        gather,
        run_coroutine_threadsafe,
        shield,
        sleep,
        timeout,
        timeout_at,
        to_thread,
        wait,
    )
    from aioxide.policy import SelectorEventLoop
    from aioxide.streaming import (
        open_connection,
        open_unix_connection,
        start_server,
        start_unix_server,
    )
    from aioxide.subprocesses import create_subprocess_exec, create_subprocess_shell

    if sys.version_info >= (3, 12):
        from aioxide._core import eager_task_factory, wait_for

    _own = {_name: globals()[_name] for _name in __all__}
    _installation.offer(_own)
    globals().update(_submodules.provide(_own))
    for _name in _asyncio.__all__:
        if _name not in globals():
            globals()[_name] = getattr(_asyncio, _name)
        if _name not in __all__:
            __all__.append(_name)  # noqa: PYI056
    del _name, _own

    if sys.version_info >= (3, 14):
        # asyncio answers for these with a warning, by a function that the interpreter has to ask
        # for each name of the module from then on: every `asyncio.sleep` costs 240 instructions
        # more. So they are names like all others here.
        from asyncio.events import _AbstractEventLoopPolicy as AbstractEventLoopPolicy
        from asyncio.unix_events import _DefaultEventLoopPolicy as DefaultEventLoopPolicy


if _typing.TYPE_CHECKING:
    # The types are those that asyncio declares, also where the object is ours: programs hand our
    # Lock to a library that asks for asyncio's, and annotate as `asyncio.Task[int]` what a loop
    # gives them as asyncio's Task.
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
        Future as Future,
        Handle as Handle,
        IncompleteReadError as IncompleteReadError,
        InvalidStateError as InvalidStateError,
        LifoQueue as LifoQueue,
        LimitOverrunError as LimitOverrunError,
        Lock as Lock,
        PriorityQueue as PriorityQueue,
        Protocol as Protocol,
        Queue as Queue,
        QueueEmpty as QueueEmpty,
        QueueFull as QueueFull,
        ReadTransport as ReadTransport,
        Semaphore as Semaphore,
        SelectorEventLoop as SelectorEventLoop,
        SendfileNotAvailableError as SendfileNotAvailableError,
        Server as Server,
        StreamReader as StreamReader,
        StreamReaderProtocol as StreamReaderProtocol,
        StreamWriter as StreamWriter,
        SubprocessProtocol as SubprocessProtocol,
        SubprocessTransport as SubprocessTransport,
        Task as Task,
        TaskGroup as TaskGroup,
        Timeout as Timeout,
        TimeoutError as TimeoutError,  # noqa: A004
        TimerHandle as TimerHandle,
        Transport as Transport,
        WriteTransport as WriteTransport,
        _enter_task as _enter_task,
        _get_running_loop as _get_running_loop,
        _leave_task as _leave_task,
        _register_task as _register_task,
        _set_running_loop as _set_running_loop,
        _unregister_task as _unregister_task,
        all_tasks as all_tasks,
        as_completed as as_completed,
        create_subprocess_exec as create_subprocess_exec,
        create_subprocess_shell as create_subprocess_shell,
        create_task as create_task,
        current_task as current_task,
        ensure_future as ensure_future,
        gather as gather,
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
        shield as shield,
        sleep as sleep,
        start_server as start_server,
        start_unix_server as start_unix_server,
        timeout as timeout,
        timeout_at as timeout_at,
        to_thread as to_thread,
        wait as wait,
        wait_for as wait_for,
        wrap_future as wrap_future,
    )

    if sys.version_info >= (3, 12):
        from asyncio import create_eager_task_factory as create_eager_task_factory
        from asyncio import eager_task_factory as eager_task_factory

    if sys.version_info >= (3, 13):
        from asyncio import QueueShutDown as QueueShutDown

    if sys.version_info >= (3, 14):
        from aioxide import graph as graph
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
    from aioxide import (
        base_events as base_events,
        constants as constants,
        coroutines as coroutines,
        events as events,
        exceptions as exceptions,
        futures as futures,
        locks as locks,
        log as log,
        protocols as protocols,
        queues as queues,
        streams as streams,
        subprocess as subprocess,
        taskgroups as taskgroups,
        tasks as tasks,
        threads as threads,
        timeouts as timeouts,
        transports as transports,
        unix_events as unix_events,
    )
    # isort: on


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_asyncio)})
