"""Signal handlers: from the interpreter's wake-up descriptor to callbacks of the loop.

Python can only run a signal handler between two bytecodes of the main thread, which may be asleep
in the kernel. So the interpreter is told to write each signal's number into a descriptor, and the
loop reads its other end like any other. This happens once per signal, so it needs nothing native.

Two things are not as in asyncio. The descriptors are made when the first handler is added: most
loops never have one, and two descriptors per loop are two too many where loops come and go. And
they are a pipe. A socket is full after some 300 signals, in a callback that takes its time, and
what comes then is lost, be it the first SIGTERM after many others. A pipe holds 65536; and if even
that was too little, each kind of signal is heard of once, which is all that a kernel promises.
"""

import asyncio
import errno
import fcntl
import os
import signal
import sys
import warnings
from asyncio.log import logger
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVarTuple

from aioxide.reports import is_coroutine

_Ts = TypeVarTuple("_Ts")

# What the interpreter ran our handler for since a loop last read its pipe. One for all loops: only
# the main thread runs handlers, and the interpreter writes to one descriptor at a time.
_arrived: set[int] = set()


class _Pipe(NamedTuple):
    """The descriptors on which a loop hears of signals."""

    loops_end: int
    interpreters_end: int
    size: int

    @classmethod
    def make(cls) -> "_Pipe":
        ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return cls(*ends, fcntl.fcntl(ends[0], fcntl.F_GETPIPE_SZ))

    def close(self) -> None:
        os.close(self.loops_end)
        os.close(self.interpreters_end)


class Signals(asyncio.AbstractEventLoop):
    """The part of the event loop that handles signals."""

    def __init__(self) -> None:
        self._signal_handlers: dict[int, asyncio.Handle] = {}
        self._signal_pipe: _Pipe | None = None

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Call `callback(*args)` from the loop whenever `sig` arrives. Main thread only."""
        if is_coroutine(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        self._catch_signals()
        # The stdlib's Handle: never scheduled itself, it keeps what each arrival schedules anew.
        self._signal_handlers[sig] = asyncio.Handle(callback, args, self)
        try:
            # A handler of any kind makes the interpreter write the number to the pipe.
            signal.signal(sig, _note_arrival)
            # SA_RESTART, so that system calls elsewhere in the process are not interrupted.
            signal.siginterrupt(sig, False)
        except OSError as exc:
            del self._signal_handlers[sig]
            if not self._signal_handlers:
                _reset_wakeup_fd()
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from exc
            raise

    def remove_signal_handler(self, sig: int) -> bool:
        """Give `sig` its default handler again; False if it had none of ours."""
        self._check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            signal.signal(sig, default)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught") from exc
            raise
        if not self._signal_handlers:
            _reset_wakeup_fd()
        return True

    def _catch_signals(self) -> None:
        """Make the interpreter wake this loop for signals; RuntimeError off the main thread."""
        pipe = self._signal_pipe or _Pipe.make()
        try:
            # Each time, as asyncio does: another loop may have taken the descriptor meanwhile. And
            # without a complaint when it is full, because no kind of signal gets lost then.
            signal.set_wakeup_fd(pipe.interpreters_end, warn_on_full_buffer=False)
        except (ValueError, OSError) as exc:
            if self._signal_pipe is None:
                pipe.close()
            raise RuntimeError(str(exc)) from exc
        if self._signal_pipe is None:
            self._signal_pipe = pipe
            self.add_reader(pipe.loops_end, self._read_signals)

    def _read_signals(self) -> None:
        pipe = self._signal_pipe
        if pipe is None:
            return
        try:
            numbers = os.read(pipe.loops_end, pipe.size)  # all there is
        except BlockingIOError:
            return  # a child of fork() has read it
        for number in numbers:
            self._handle_signal(number)
        if len(numbers) > pipe.size // 2:
            # It may have been full. A signal that arrived in the meantime may be heard twice; but
            # to be sure of each that was written would take a lock that a signal cannot take.
            for number in _arrived.difference(numbers):
                self._handle_signal(number)
        _arrived.clear()

    def _handle_signal(self, sig: int) -> None:
        handle: Any = self._signal_handlers.get(sig)
        if handle is None:
            return  # removed after the signal arrived
        if handle.cancelled():
            self.remove_signal_handler(sig)
            return
        call: Any = self.call_soon(handle._callback, *handle._args, context=handle._context)  # noqa: SLF001
        if self.get_debug():
            # Reports say where the handler was added, and not that a signal was read here.
            call._source_traceback = handle._source_traceback  # noqa: SLF001

    def _check_signal(self, sig: object) -> None:
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")

    def _stop_reading_signals(self) -> None:
        """First half of closing: while the loop can still be asked to forget a descriptor."""
        if self._signal_pipe is not None:
            self.remove_reader(self._signal_pipe.loops_end)

    def _restore_signals(self) -> None:
        """Second half of closing: give back every signal, and only then close the pipe."""
        if sys.is_finalizing():
            # The signal module may be half gone. The process is going anyway.
            if self._signal_handlers:
                warnings.warn(
                    f"Closing the loop {self!r} on interpreter shutdown stage, "
                    "skipping signal handlers removal",
                    ResourceWarning,
                    source=self,
                    stacklevel=2,
                )
                self._signal_handlers.clear()
        else:
            for sig in list(self._signal_handlers):
                self.remove_signal_handler(sig)
        # Not reached off the main thread, where signals cannot be given back and an error says so:
        # the interpreter would go on writing to these numbers, which soon are somebody else's.
        if self._signal_pipe is not None:
            self._signal_pipe.close()
            self._signal_pipe = None

    if TYPE_CHECKING:  # the native half has it

        def _check_closed(self) -> None: ...


def _note_arrival(signum: int, _frame: FrameType | None) -> None:
    """Stand in as a signal's handler; the loop's own is called by whoever reads the pipe."""
    _arrived.add(signum)


def _reset_wakeup_fd() -> None:
    try:
        signal.set_wakeup_fd(-1)
    except (ValueError, OSError) as exc:
        logger.info("set_wakeup_fd(-1) failed: %s", exc)


if sys.version_info < (3, 12):
    # A child would write its signals into its parent's pipe. From 3.12 on asyncio sees to it.
    os.register_at_fork(after_in_child=_reset_wakeup_fd)
