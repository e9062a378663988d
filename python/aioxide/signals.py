"""Signal handlers: from the interpreter's wake-up descriptor to callbacks of the loop.

Python can only run a signal handler between two bytecodes of the main thread, which may be asleep
in the kernel. So the interpreter is told to write each signal's number into a socket, and the loop
reads that socket like any other. This happens once per signal, so it needs nothing native.

Unlike asyncio's, this loop makes the socket pair when the first handler is added: most loops never
have one, and two descriptors per loop are two too many where loops come and go.
"""

import asyncio
import errno
import signal
import socket
import sys
import warnings
from asyncio.log import logger
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVarTuple

from aioxide.reports import is_coroutine

_Ts = TypeVarTuple("_Ts")


class Signals(asyncio.AbstractEventLoop):
    """The part of the event loop that handles signals."""

    def __init__(self) -> None:
        self._signal_handlers: dict[int, asyncio.Handle] = {}
        # The loop's end and the interpreter's.
        self._signal_sockets: tuple[socket.socket, socket.socket] | None = None

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
            # A handler of any kind makes the interpreter write the number to the wake-up socket.
            signal.signal(sig, _sighandler_noop)
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
        sockets = self._signal_sockets
        if sockets is None:
            sockets = socket.socketpair()
            for end in sockets:
                end.setblocking(False)
        try:
            # Each time, as asyncio does: another loop may have taken the descriptor meanwhile.
            signal.set_wakeup_fd(sockets[1].fileno())
        except (ValueError, OSError) as exc:
            if self._signal_sockets is None:
                for end in sockets:
                    end.close()
            raise RuntimeError(str(exc)) from exc
        if self._signal_sockets is None:
            self._signal_sockets = sockets
            self.add_reader(sockets[0].fileno(), self._read_signals)

    def _read_signals(self) -> None:
        if self._signal_sockets is None:
            return
        while True:
            try:
                numbers = self._signal_sockets[0].recv(4096)
            except InterruptedError:
                continue
            except BlockingIOError:
                return
            if not numbers:
                return
            for number in numbers:
                self._handle_signal(number)

    def _handle_signal(self, sig: int) -> None:
        handle: Any = self._signal_handlers.get(sig)
        if handle is None:
            return  # removed after the signal arrived
        if handle.cancelled():
            self.remove_signal_handler(sig)
        else:
            self.call_soon(handle._callback, *handle._args, context=handle._context)  # noqa: SLF001

    def _check_signal(self, sig: object) -> None:
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")

    def _stop_reading_signals(self) -> None:
        """First half of closing: while the loop can still be asked to forget a descriptor."""
        if self._signal_sockets is not None:
            self.remove_reader(self._signal_sockets[0].fileno())

    def _restore_signals(self) -> None:
        """Second half of closing: give back every signal, and only then close the sockets."""
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
        # Never while the interpreter may still write to them: their numbers get reused.
        if self._signal_sockets is not None:
            for end in self._signal_sockets:
                end.close()
            self._signal_sockets = None

    if TYPE_CHECKING:  # the native half has it

        def _check_closed(self) -> None: ...


def _sighandler_noop(signum: int, frame: FrameType | None) -> None:
    """Stand in as a signal's handler; the work is done by whoever reads the wake-up socket."""


def _reset_wakeup_fd() -> None:
    try:
        signal.set_wakeup_fd(-1)
    except (ValueError, OSError) as exc:
        logger.info("set_wakeup_fd(-1) failed: %s", exc)
