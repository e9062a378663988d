"""One run of a program: the objects it works on, and the trace it leaves.

A trace is a list of lines, one for each event:

    turn  actor  current task  context variable  event  value

Everything an engine could get wrong shows in one of these columns: order is the order of
lines, lateness the turn, a leaked or uncopied context the variable, a stale current task
the third column. Values are names and reprs, never objects, so a trace keeps nothing alive.

Time. Wall time must not decide what a trace says. Most programs use no clock: their timers
are due already or an hour away, turns are counted by a task that sleeps zero, and the order
is exact. The other 15 % are `clocked`: they share a grid of slots, 2 ms apart (a selector may
be 1 ms late). Each timer gets a slot of its own, so no two are ever due together, and the slot
number takes the turn's place in the trace: a timer that fires early or a slot late is a
difference. On a busy machine either side misses a slot now and then, so compare.py repeats a
differing program with ever longer slots before it judges.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from tests.differential import cancel
from tests.differential.catalogue import FUTURES
from tests.differential.primitives import Kit
from tests.differential.tidy import task_name, tidy, tidy_state

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine

    from tests.differential.engines import Engine
    from tests.differential.program import Block, Op, Program
    from tests.differential.threads import InlineExecutor

LAST_SLOT = 8
FAR = 3600.0
MAX_ACTORS = 48
MAX_LINES = 3000

_COLLECTED = ("never retrieved", "was destroyed but it is pending")

var: ContextVar[int] = ContextVar("var", default=0)


def own_context() -> Context:
    """A context in which the variable differs."""
    context = copy_context()
    context.run(var.set, var.get() + 100)
    return context


class Actor:
    """Whoever does things: a task, a callback, a generator."""

    __slots__ = ("body", "name", "rank")

    def __init__(self, name: str, body: int, rank: int) -> None:
        self.name = name
        self.body = body
        self.rank = rank


class Interpreter(Protocol):
    """What runs blocks: the module interpret.py, which imports this one."""

    def act(self, world: World, actor: Actor, op: Op) -> None: ...

    def run_body(
        self, world: World, name: str, number: int, rank: int
    ) -> Coroutine[Any, Any, int]: ...

    def run_block(self, world: World, actor: Actor, block: Block) -> Coroutine[Any, Any, None]: ...


class World:
    """The objects of one run. Names in a printed program are attributes here."""

    def __init__(
        self,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        program: Program,
        interpreter: Interpreter,
        executor: InlineExecutor,
        *,
        chains: bool,
        slot: float,
    ) -> None:
        self.engine = engine
        self.lib = engine.lib
        self.loop = loop
        self.program = program
        self.interpreter = interpreter
        self.executor = executor
        self.chains = chains
        self.slot = slot
        self.trace: list[str] = []
        self.collected: list[str] = []
        self.turn = 0
        self.points = 0
        self.watched: list[list[int]] | None = None
        self.actors = 0
        self.ending = False
        self.over = False
        self.torn_down = False
        self.future: list[asyncio.Future[Any]] = []
        self.old_futures: list[asyncio.Future[Any]] = []
        self.task: list[asyncio.Task[Any]] = []
        self.rank: list[int] = []
        self.started: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
        self.callback: list[tuple[Callable[..., object], asyncio.Future[Any]]] = []
        self.handle: list[asyncio.Handle] = []
        self.used_slots: set[int] = set()
        self.start = loop.time()
        self.future = [self.new_future(number % 2) for number in range(FUTURES)]
        self.limits: list[Any] = []
        self.groups: list[Any] = []
        self.concurrent: list[concurrent.futures.Future[Any]] = []
        self.kit = Kit(self.lib, self.note, program.kit)

    # -- the trace -------------------------------------------------------------------------

    def note(self, actor: str, event: str, value: object = None) -> None:
        """One line of the trace, and a point at which a task may be cancelled."""
        if self.over:
            self.note_collected(f"{actor} {event} {self.show(value)}")
        elif len(self.trace) < MAX_LINES:
            self._line(actor, event, value)
            self.point()

    def note_collected(self, line: str) -> None:
        """What came of the collector's work. Tasks that wait for each other in a circle through
        a group cannot be cancelled; what their coroutines do when the collector ends them on a
        closed loop, one in the middle of another, is no part of any promise."""
        if not self.torn_down:
            self.collected.append(line)

    def _line(self, actor: str, event: str, value: object) -> None:
        current = asyncio.current_task(self.loop)
        name = "-" if current is None else task_name(current)
        turn = self.slot_now() if self.program.clocked else self.turn
        self.trace.append(f"{turn:>2} {actor:<6} {name:<6} {var.get()} {event} {self.show(value)}")

    def point(self) -> None:
        """Cancel whom the program says at this point; remember who could be, if asked to."""
        number = self.points
        self.points += 1
        wanted = self.program.cancel
        if wanted is not None and wanted.point == number:
            self._line("cancel", f"task[{wanted.task}]", cancel.inject(wanted, self.task))
        if self.watched is not None and not self.ending:
            self.watched.append([n for n, task in enumerate(self.task) if not task.done()])

    def note_start(self, rank: int) -> None:
        """Remember when the current task was first seen, for those that have no name. Those that
        a primitive made of a coroutine become task[n] like the others."""
        task = asyncio.current_task(self.loop)
        if task is not None:
            self.started.setdefault(task, len(self.trace))
            self.add_task(task, rank)

    def add_task(self, task: asyncio.Task[Any], rank: int) -> None:
        """Have a task be task[n], if it is not yet."""
        if all(known is not task for known in self.task):
            self.task.append(task)
            self.rank.append(rank)

    def show(self, value: object, depth: int = 3) -> str:
        """A value by name or content, down to a depth: exceptions can hold each other."""
        if value is None or isinstance(value, (int, str)):
            return tidy(str(value))
        if isinstance(value, BaseException):
            return self.show_error(value, depth) if depth >= 0 else type(value).__name__
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(self.show(item, depth - 1) for item in value) + "]"
        for number, future in enumerate(self.future):
            if future is value:
                return f"future[{number}]"
        if hasattr(value, "get_name"):
            return f"task {task_name(value)}"
        return type(value).__name__

    def show_error(self, error: BaseException, depth: int = 3) -> str:
        """An exception with its arguments, its cause and what it happened in."""
        text = (
            f"{type(error).__name__}({', '.join(self.show(arg, depth - 1) for arg in error.args)})"
        )
        if text.startswith("InvalidState"):
            text = tidy_state(text)
        if isinstance(error, BaseExceptionGroup):
            inner = ", ".join(self.show(e, depth - 1) for e in error.exceptions)
            text = f"{type(error).__name__}[{inner}]"
        if depth and error.__cause__ is not None:
            text += f" from <{self.show_error(error.__cause__, depth - 1)}>"
        context = error.__context__ if self.chains else None
        if depth and context is not None and context is not error.__cause__:
            text += f" in <{self.show_error(context, depth - 1)}>"
        return tidy(text)

    def show_future(self, future: asyncio.Future[Any], *, retrieve: bool = False) -> str:
        """What a future or task has come to; asking for the outcome counts as retrieval."""
        if not future.done():
            return "pending"
        if future.cancelled():
            return "cancelled"
        if not retrieve:
            return "done"
        error = future.exception()
        return self.show(future.result()) if error is None else self.show_error(error)

    def on_exception(self, _loop: object, context: dict[str, Any]) -> None:
        """The loop's exception handler."""
        message = str(context.get("message"))
        if message.startswith("Exception in callback"):
            message = "Exception in callback"
        error = context.get("exception")
        keys = ",".join(sorted(context))
        source = context.get("task") or context.get("future")
        label = task_name(source) if hasattr(source, "get_name") else ""
        line = tidy(f"handler {message} keys={keys} {self.show(error)} {label}")
        if any(kind in message for kind in _COLLECTED):
            self.collected.append(line)
        else:
            self.note("loop", line)

    # -- time ------------------------------------------------------------------------------

    def slot_now(self) -> int:
        """The slot that the clock is in; a tenth of a slot of earliness is allowed."""
        return int((self.loop.time() - self.start) / self.slot + 0.1)

    def take_slot(self, ahead: int) -> float | None:
        """The deadline of a slot that nobody else has, or None when time is up."""
        if self.ending or not self.program.clocked:
            return None
        slot = self.slot_now() + 1 + ahead
        while slot in self.used_slots:
            slot += 1
        if slot > LAST_SLOT:
            return None
        self.used_slots.add(slot)
        return self.start + slot * self.slot

    def last_deadline(self) -> float:
        """When the last slot in use is over."""
        return self.start + (max(self.used_slots, default=0) + 1) * self.slot

    def delay(self, choice: int) -> float | None:
        """A timeout: none, due, past, far, next to nothing, or (clocked) one to three slots."""
        if choice < 5 or not self.program.clocked:
            return (None, 0, -1, FAR, 1e-9)[choice % 5]
        deadline = self.take_slot(choice - 5)
        return 0 if deadline is None else deadline - self.loop.time()

    # -- what programs reach for -------------------------------------------------------------

    def act(self, actor: Actor, op: Op) -> None:
        """Do an action."""
        self.interpreter.act(self, actor, op)

    def run_body(self, name: str, number: int, rank: int) -> Coroutine[Any, Any, int]:
        """A coroutine that runs a body."""
        return self.interpreter.run_body(self, name, number, rank)

    def run_block(self, actor: Actor, block: Block) -> Coroutine[Any, Any, None]:
        """A coroutine that runs a block."""
        return self.interpreter.run_block(self, actor, block)

    def replace_future(self, number: int, future: asyncio.Future[Any]) -> None:
        """Have another future be future[number]; the old one lives on."""
        self.old_futures.append(self.future[number])
        self.future[number] = future

    def new_future(self, how: int) -> asyncio.Future[Any]:
        """A future, by the loop or by the type."""
        if how:
            return self.engine.Future(loop=self.loop)
        return self.loop.create_future()

    def some_task(self, number: int) -> asyncio.Task[Any] | None:
        """task[number], counted round what there is."""
        return self.task[number % len(self.task)] if self.task else None

    def thing(self, number: int) -> asyncio.Future[Any]:
        """A future for small numbers, a task for others."""
        if number >= FUTURES and self.task:
            return self.task[(number - FUTURES) % len(self.task)]
        return self.future[number % FUTURES]

    def awaitable(self, number: int, actor: Actor) -> asyncio.Future[Any]:
        """The same for an actor that will wait for it. Tasks that wait for each other in a
        circle make cancel() recurse without end, so waits go one way: from older to younger,
        or in `upward` programs from younger to older."""
        if number >= FUTURES and self.task:
            index = (number - FUTURES) % len(self.task)
            rank = self.rank[index]
            if rank < actor.rank if self.program.upward else rank > actor.rank:
                return self.task[index]
        return self.future[number % FUTURES]

    def next_name(self, prefix: str) -> str | None:
        """The next actor's name; None when there are enough."""
        if self.actors >= MAX_ACTORS:
            return None
        self.actors += 1
        return f"{prefix}{self.actors}"

    def create_task(self, coro: Coroutine[Any, Any, Any], name: str, how: int) -> asyncio.Task[Any]:
        """A task in one of the ways there are: 5 is a stock task on whatever loop this is,
        6 and 7 start eagerly (from 3.12)."""
        kwargs: dict[str, Any] = {"name": name}
        if how in {1, 7}:
            kwargs["context"] = own_context()
        if how in {6, 7} and sys.version_info >= (3, 12):
            kwargs["eager_start"] = True
        if how == 2:
            task: asyncio.Task[Any] = self.lib.create_task(coro, name=name)
        elif how == 3:
            task = self.lib.ensure_future(coro, loop=self.loop)
            task.set_name(name)
        elif how == 5:
            task = asyncio.Task(coro, loop=self.loop, **kwargs)
        elif how >= 4:
            task = self.engine.Task(coro, loop=self.loop, **kwargs)
        else:
            task = self.loop.create_task(coro, **kwargs)
        return task

    def drop(self) -> None:
        """Let go of everything, so that the collector can report what nobody asked about."""
        for things in (
            *(self.future, self.old_futures, self.task, self.callback, self.handle),
            *(self.limits, self.groups, self.concurrent, self.executor.held, self.kit),
        ):
            things.clear()
