"""What all scripts about children share: which there are, and when one has nothing more to do.

What a child does takes its own time, so a round is over only when each process that was started is
known to have ended or sleeps, as Linux tells in /proc: then it waits for input, for a signal, or
for a child of its own. No script depends on how long that takes.

What hangs on chance with a real child is not done, whatever the script says: a signal in the same
round as something else that the child notices, or a second write to one that may end at the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.differential.network.script import Script
    from tests.differential.network.world import World

PROCESS, STDIN, STDOUT, STDERR, ANOTHER = range(5)
LANES = ("process", "stdin", "stdout", "stderr", "another")

#: Each must wait for something that only the script brings about, or end. Text is for a shell.
PROGRAMS: tuple[str | tuple[str, ...], ...] = (
    ("cat",),
    ("true",),
    "exit 3",
    ("printf", "abc"),
    "echo out; echo err >&2; exit 7",
    'read line; echo "got $line"; exit 4',
    ("sleep", "1000"),
    "kill -9 $$",
    "trap 'echo trapped; exit 5' TERM; while read line; do echo $line; done",
    ("head", "-c", "5"),
    "exec <&-; exec sleep 1000",
    "exec >&-; exec cat",
    "cat; exit 9",
    "sleep 1000 & echo started; read line; exit 6",
    "cat >&2; echo end",
    ("no such program",),
)
#: Those that read for as long as there is something to read, or do not read and stay.
_PATIENT = {0, 6, 8, 12, 14}
PIPE, _NULL, _STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
STDIO = (
    (PIPE, PIPE, PIPE),
    (PIPE, PIPE, _STDOUT),
    (PIPE, PIPE, _NULL),
    (PIPE, _NULL, PIPE),
    (_NULL, PIPE, PIPE),
    (PIPE, _NULL, _NULL),
    (_NULL, _NULL, _NULL),
)
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL, 0)
_PATIENCE = 25.0
#: What communicate() does when a child has ended goes on for some turns in which nothing is noted.
IDLE_TURNS = 15


def program_and_stdio(script: Script) -> tuple[str | tuple[str, ...], tuple[int, int, int]]:
    program, stdio = script.styles
    return PROGRAMS[program % len(PROGRAMS)], STDIO[stdio % len(STDIO)]


def hear_by_pidfd(loop: asyncio.AbstractEventLoop) -> None:
    """Have asyncio hear of ends by pidfd, as it does by itself from 3.12. The thread for each child
    of 3.11 calls back in no context."""
    if sys.version_info < (3, 12):
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(loop)
        asyncio.get_event_loop_policy().set_child_watcher(watcher)


class Keeper:
    """A process, its own children, and what the script may do to it now."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pid = 0
        self.family: set[int] = set()
        self.over = False
        self.stirred = -1  # the round in which the child was last given something to notice
        self.signalled = -1  # and by a signal
        self.patient = world.script.styles[0] in _PATIENT
        self.until = 0.0

    def start(self, pid: int) -> None:
        """It runs."""
        self.pid = pid
        self.family = {pid}
        self.stirred = self.world.round
        self.world.under_way = self.busy
        self.world.idle_turns = IDLE_TURNS

    def may_stir(self) -> bool:
        """Whether the child can be given something to notice in this round; then it is. One that
        may be gone at the first thing is given no second."""
        if self.signalled == self.world.round:
            return False
        if self.stirred == self.world.round and not self.patient:
            return False
        self.stirred = self.world.round
        return True

    def may_signal(self) -> bool:
        """The same for what may end it at any moment."""
        if self.stirred == self.world.round:
            return False
        self.stirred = self.signalled = self.world.round
        return True

    def busy(self) -> bool:
        """Whether a process runs, or has ended without the loop's knowing."""
        busy = any(self._runs(pid) for pid in tuple(self.family))
        if not busy:
            self.until = 0.0
            return False
        now = time.monotonic()
        self.until = self.until or now + _PATIENCE
        if now > self.until:
            raise AssertionError(f"a child neither sleeps nor ends: {self.family}")
        time.sleep(0.0002)
        return True

    def _runs(self, pid: int) -> bool:
        state = _state(pid)
        if state in "ST":
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
                new = {int(child) for child in children.split()} - self.family
                self.family |= new
                return bool(new)
        if pid == self.pid:
            return not self.over
        return state not in "ZX"

    def end(self) -> None:
        """Have nothing of the family left that the script did not end."""
        for pid in self.family - {self.pid}:
            with contextlib.suppress(OSError):
                if os.getpgid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)


def _state(pid: int) -> str:
    """A process's state, by its letter; X if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
