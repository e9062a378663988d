"""Signals that a program sends to itself, and the loop's handlers for them.

Signals come to one process, so the scripts do not run in threads. One is sent only while it has a
handler, for what it does otherwise is to end the process; and every handler is taken back.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from tests.differential.network.draw import drawn_rounds, pick
from tests.differential.network.script import Act, Reaction, Script
from tests.differential.network.trace import told
from tests.differential.network.world import World, execute, var

if TYPE_CHECKING:
    from tests.differential.engines import Engine
    from tests.differential.generate import Choices
    from tests.differential.network.draw import Table

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM, signal.SIGRTMIN)
_ODD: tuple[Any, ...] = (0, -1, 1000, signal.SIGKILL, "text", None, 1.5, signal.SIGSTOP)
_NUMBERS = tuple(range(len(SIGNALS)))

TABLE: Table = (
    (6, "add", _NUMBERS),
    (3, "remove", _NUMBERS),
    (8, "kill", _NUMBERS),
    (3, "raise_signal", _NUMBERS),
    (1, "add_odd", tuple(range(len(_ODD)))),
    (1, "remove_odd", tuple(range(len(_ODD)))),
    (1, "add_wrong", (0, 1)),
    (2, "soon", (0,)),
    (1, "later", (0,)),
    (1, "set_context", (0,)),
    (1, "look", _NUMBERS),
)


def draw(choices: Choices) -> Script:
    """Any script about signals."""
    rounds = drawn_rounds(choices, TABLE, 1, 7)
    reactions = []
    for _ in range(choices.below(4)):
        acts = [pick(choices, TABLE, 0) for _ in range(1 + choices.below(3))]
        if choices.below(4) == 3:
            acts.append(Act(0, "raise", choices.below(4)))
        event = str(choices.below(len(SIGNALS)))
        reactions.append(Reaction(0, event, choices.below(3), tuple(acts)))
    return Script(
        family="signals",
        debug=choices.below(10) == 9,
        rounds=rounds,
        reactions=tuple(reactions),
    )


class _Acts:
    """What the acts of `TABLE` do."""

    def __init__(self, world: World) -> None:
        self.world, self.loop = world, world.loop
        self.handlers = 0
        self.handled: set[int] = set()
        self.counts: dict[int, int] = {}
        self.reactions = {(int(r.event), r.nth): r.acts for r in world.script.reactions}

    def act(self, act: Act) -> None:
        """Do one."""
        getattr(self, act.kind if act.kind != "raise" else "fail")(act.n)

    def note(self, line: str) -> None:
        """Write it down."""
        self.world.note(0, line)

    def add(self, n: int) -> None:
        """A new handler for a signal, in place of the old one."""
        self.handlers += 1
        self.handled.add(n)
        number = self.handlers
        self.world.attempt(
            0, "add", self.loop.add_signal_handler, SIGNALS[n], self._handle, n, number
        )

    def _handle(self, n: int, number: int) -> None:
        self.note(f"handler {number} of {SIGNALS[n].name} in {var.get()}")
        nth = self.counts.get(n, 0)
        self.counts[n] = nth + 1
        for act in self.reactions.pop((n, nth), ()):
            self.act(act)

    def remove(self, n: int) -> None:
        self.handled.discard(n)
        self.world.attempt(0, "remove", self.loop.remove_signal_handler, SIGNALS[n])

    def kill(self, n: int) -> None:
        if n in self.handled:
            os.kill(os.getpid(), SIGNALS[n])

    def raise_signal(self, n: int) -> None:
        if n in self.handled:
            signal.raise_signal(SIGNALS[n])

    def add_odd(self, n: int) -> None:
        self.world.attempt(0, f"add {n}", self.loop.add_signal_handler, _ODD[n], print)

    def remove_odd(self, n: int) -> None:
        self.world.attempt(0, f"remove {n}", self.loop.remove_signal_handler, _ODD[n])

    def add_wrong(self, n: int) -> None:
        async def function() -> None:
            raise AssertionError("not to be called")

        wrong: Any = function() if n else function
        self.world.attempt(0, "add wrong", self.loop.add_signal_handler, SIGNALS[0], wrong)
        if n:
            wrong.close()

    def soon(self, _n: int) -> None:
        self.loop.call_soon(self.note, f"soon from round {self.world.round}")

    def later(self, _n: int) -> None:
        self.loop.call_later(0, self.note, f"later from round {self.world.round}")

    def set_context(self, _n: int) -> None:
        var.set(var.get() + 100)

    def look(self, n: int) -> None:
        handler = signal.getsignal(SIGNALS[n])
        self.note(f"{SIGNALS[n].name} has {'none' if handler == signal.SIG_DFL else 'a handler'}")

    def fail(self, n: int) -> None:
        raise (LookupError, OSError, KeyboardInterrupt, SystemExit)[n]("on purpose")


async def _main(world: World) -> None:
    acts = _Acts(world)
    try:
        await world.rounds(acts.act)
        await world.settle()
        acts.note("ending")
        for n in _NUMBERS:
            acts.remove(n)
        world.attempt(0, "wakeup", lambda: signal.set_wakeup_fd(-1))
        for n in _NUMBERS:
            acts.look(n)
    except BaseException as error:
        acts.note(f"ended by {told(error)}")
        raise


def run(engine: Engine, script: Script) -> list[str]:
    """The trace of a script."""
    for number in SIGNALS:  # one may be ignored, as SIGHUP is below nohup
        signal.signal(number, signal.SIG_DFL)
    try:
        return execute(engine, script, _main)
    finally:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
