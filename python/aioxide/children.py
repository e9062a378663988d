"""Child processes: asyncio's own functions, borrowed as `aioxide.network` says, on a pidfd.

What a program sees of a child (the transport, its pipes, `Process`) is asyncio's, of the running
version. How its end is heard is ours: a descriptor that the loop watches like any other. There is
no handler for SIGCHLD and no thread, so a loop may run in any thread and other children of the
process are left alone.

- Where the kernel or its policy refuses such a descriptor, and where there is none left to have, a
  thread waits for the child: asyncio's own way without pidfd, a thread for each child. One thread
  for all would have to wait for any child of the process, also those that are not ours to reap.
- A child is born while the loop goes on (`aioxide.births`), which asyncio waits for.
- The child watchers that asyncio has up to 3.13 are asked only if the program has set one that
  does more than wait for the child that it is told of. `ThreadedChildWatcher` and
  `PidfdChildWatcher`, the defaults, would hear nothing that we do not.
"""

# ruff: noqa: SLF001  # what is borrowed is private

import asyncio
import os
import sys
from asyncio import events, unix_events
from asyncio.log import logger
from typing import TYPE_CHECKING, Any

from aioxide import _core, births
from aioxide.stock import Declared, StockLoop
from aioxide.subprocesses import SubprocessStreamProtocol

# What asyncio's default watcher of the running version says.
_REAPED_BY_OTHERS = (
    "child process pid %d exit status already read:  will report returncode 255"
    if sys.version_info >= (3, 12)
    else "Unknown child process pid %d, will report returncode 255"
)

_StockTransport: Any = vars(unix_events)["_UnixSubprocessTransport"]

_threads: Any = vars(unix_events)[
    "_ThreadedChildWatcher" if sys.version_info >= (3, 14) else "ThreadedChildWatcher"
]()


class Children(Declared):
    """The part of the event loop that starts child processes and hears of their end."""

    if TYPE_CHECKING:
        _child_watcher_callback: Any
        _stock_make_subprocess_transport: Any
    else:
        subprocess_exec = StockLoop.subprocess_exec
        subprocess_shell = StockLoop.subprocess_shell
        _log_subprocess = StockLoop._log_subprocess
        _child_watcher_callback = StockLoop._child_watcher_callback
        _stock_make_subprocess_transport = StockLoop._make_subprocess_transport

    async def _make_subprocess_transport(  # noqa: PLR0917  # asyncio's signature
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> asyncio.SubprocessTransport:
        if _watcher_of_the_program() is not None:
            watched: asyncio.SubprocessTransport = await self._stock_make_subprocess_transport(
                protocol, args, shell, stdin, stdout, stderr, bufsize, extra, **kwargs
            )
            return watched
        options = {"stdin": stdin, "stdout": stdout, "stderr": stderr, "bufsize": bufsize, **kwargs}
        if births.is_wanted():
            options["born"] = await self._give_birth(args, shell, options)
        waiter = self.create_future()
        transport = _UnixSubprocessTransport(
            self, protocol, args, shell, waiter=waiter, extra=extra, **options
        )
        self._watch_child(transport)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            if not waiter.cancelled():
                _close_unconnected(transport)
            transport.close()
            await transport._wait()
            raise
        _feed_readers(transport, protocol)
        made: asyncio.SubprocessTransport = transport
        return made

    async def _give_birth(self, args: Any, shell: bool, options: dict[str, Any]) -> births.Popen:
        process = births.Popen(args, shell=shell, universal_newlines=False, **options)
        if process.child is None:
            return process
        born = self.create_future()
        try:
            process.child.when_born(self, born)
        except BaseException:  # no room in the kernel's table
            process.abandon()
            raise
        try:
            failure = await born
        except (SystemExit, KeyboardInterrupt):
            raise
        except GeneratorExit:  # nobody can wait here; the loop, if it goes on, reaps the child
            self._disown(process)
            raise
        except BaseException:
            await self._disown(process)
            raise
        if failure is not None:
            raise process.fail(*failure)
        return process

    def _disown(self, process: births.Popen) -> "asyncio.Future[None]":
        """Kill a child that is wanted no more before it is born; the future is for its end."""
        over = self.create_future()

        def is_over(process: births.Popen, status: int | None) -> None:
            process.returncode = 255 if status is None else os.waitstatus_to_exitcode(status)
            if not over.done():
                over.set_result(None)

        process.abandon()
        if process.child is not None:
            process.child.when_over(self, is_over, process)
        return over

    def _watch_child(self, transport: Any) -> None:
        pid = transport.get_pid()
        process = transport._proc
        child = None
        if isinstance(process, births.Popen):
            # From here on only the loop keeps it, while it has to hear of the end.
            child, process.child = process.child, None
        try:
            if child is None:
                child = _core.adopt_child(pid, os.pidfd_open(pid))
            child.when_over(self, self._child_ended, transport)
        except ProcessLookupError:
            # Somebody else has reaped it: there is no number left to wait for.
            self.call_soon(self._child_ended, transport, None)
        except OSError:  # no such descriptors here, or none left, or no room to watch it
            _threads.add_child_handler(pid, self._child_watcher_callback, transport)

    def _child_ended(self, transport: Any, status: int | None) -> None:
        if status is not None:
            returncode = os.waitstatus_to_exitcode(status)
        else:
            # `close()`, or whoever has the Popen object, may have asked for it before us.
            with transport._proc._waitpid_lock:
                returncode = transport._proc.returncode
            if returncode is None:
                returncode = 255
                logger.warning(_REAPED_BY_OTHERS, transport.get_pid())
        self._child_watcher_callback(transport.get_pid(), returncode, transport)


class _UnixSubprocessTransport(_StockTransport):  # type: ignore[misc]  # its name is in its repr
    """asyncio's transport, of a child that may have been started already."""

    def _start(self, *args: Any, born: births.Popen | None = None, **kwargs: Any) -> None:
        if born is None:
            super()._start(*args, **kwargs)
        else:
            self._proc = born

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol hear, also of what readers were fed with directly."""
        super().set_protocol(protocol)
        for number in (1, 2):
            pipe = self._pipes.get(number)
            if pipe is not None and not pipe.disconnected:
                # This ends what `_feed_readers` began.
                pipe.pipe.set_protocol(pipe)


if sys.version_info >= (3, 14):

    def _watcher_of_the_program() -> Any:
        """Return None: there are no child watchers any more."""
        return None

else:
    _EQUIVALENT = {type(None), asyncio.ThreadedChildWatcher, asyncio.PidfdChildWatcher}

    def _watcher_of_the_program() -> Any:
        """Return the child watcher to ask, if the program has set one that makes a difference."""
        # Asking the policy would warn from 3.12 on, and make a watcher where there is none.
        watcher = getattr(vars(events)["_event_loop_policy"], "_watcher", None)
        return None if type(watcher) in _EQUIVALENT else watcher


def _feed_readers(transport: Any, protocol: Any) -> None:
    """Have the pipes' transports hand what they read to the readers, past three calls and a turn.

    The protocol has just made its readers, and what was read before that is under way to them: the
    next that is read comes after it.
    """
    if type(protocol) not in _STREAM_PROTOCOLS:
        return
    for number, reader in ((1, protocol.stdout), (2, protocol.stderr)):
        if type(reader) is _core.StreamReader:
            feed = getattr(transport.get_pipe_transport(number), "_feed_reader", None)
            if feed is not None:
                feed(reader)


_STREAM_PROTOCOLS = (asyncio.subprocess.SubprocessStreamProtocol, SubprocessStreamProtocol)


def _close_unconnected(transport: Any) -> None:
    """Close the pipes that no transport has got, as asyncio does from 3.14 on."""
    for number, pipe in enumerate(
        (transport._proc.stdin, transport._proc.stdout, transport._proc.stderr)
    ):
        if pipe is not None and transport._pipes.get(number) is None:
            pipe.close()
