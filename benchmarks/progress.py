"""What is running, how long it has been and about how long it will be, on stderr.

A terminal gets one line that changes; anything else gets a line now and then, so that a log stays
readable and a hang can be told from patience.
"""

from __future__ import annotations

import sys
import time

EVERY = 15.0


class Progress:
    """Counts steps towards a total that is known beforehand."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._live = sys.stderr.isatty()
        self._start = self._shown = time.monotonic()
        self._total = self._taken = 0

    def begin(self, total: int) -> None:
        """The number of steps that will be taken."""
        self._total, self._taken = total, 0
        self._start = self._shown = time.monotonic()

    def step(self, stage: str, what: str, who: str) -> None:
        """A step begins."""
        now = time.monotonic()
        taken, self._taken = self._taken, self._taken + 1
        if self._silent or (not self._live and now - self._shown < EVERY):
            return
        self._shown = now
        elapsed = now - self._start
        left = f"{clock(elapsed / taken * (self._total - taken))} left" if taken else ""
        text = f"{stage:<10} {what:<18} {who:<12} {clock(elapsed)} elapsed  {left}"
        sys.stderr.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """The last step is over."""
        if self._live and not self._silent:
            sys.stderr.write("\r\x1b[K")


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
