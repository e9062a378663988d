"""Child processes by their transports and protocols; processes.py has the streams on top.

A lane each for the process, for its three pipes, and for others that cannot be started: in which
order the end of a process and those of its pipes are noticed is the kernel's to say. Only that
connection_lost() comes after all of them is asyncio's promise, and checked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.differential.network import streams
from tests.differential.network.draw import BULK, drawn_rounds, pick
from tests.differential.network.keeper import (
    ANOTHER,
    LANES,
    PIPE,
    PROCESS,
    PROGRAMS,
    SIGNALS,
    STDIN,
    STDIO,
    Keeper,
    hear_by_pidfd,
    program_and_stdio,
)
from tests.differential.network.processes import LIMIT, STREAMED
from tests.differential.network.script import Act, Reaction, Script
from tests.differential.network.trace import told
from tests.differential.network.world import World, execute, var

if TYPE_CHECKING:
    from tests.differential.engines import Engine
    from tests.differential.generate import Choices
    from tests.differential.network.draw import Table

CHILD: Table = (
    (8, "write", (1, 7, 100)),
    (1, "write_lines", (1, 3)),
    (3, "close_pipe", (0, 0, 0, 1, 2)),
    (1, "abort_pipe", (0,)),
    (2, "write_eof", (0,)),
    (2, "pause_pipe", (1, 2)),
    (3, "resume_pipe", (1, 2)),
    (2, "signal", tuple(range(len(SIGNALS)))),
    (1, "kill", (0, 1)),
    (1, "close", (0,)),
    (3, "look", tuple(range(6))),
    (1, "soon", (0,)),
    (1, "set_context", (0,)),
    (1, "set_protocol", (0,)),
    (1, "start_odd", tuple(range(8))),
)
CHILD_BULK: Table = ((8, "write_bulk", (0,)),)
#: A call_soon() from a callback would come before or after the next one, as it happens.
_HARMLESS = {"write", "set_context", "look"}
_EVENTS = ("made", "data", "lost 0", "lost 1", "exited", "pause", "resume", "lost")


def draw(choices: Choices) -> Script:
    """Any script about a child."""
    streamed = choices.below(2) == 1
    bulk = not streamed and choices.below(6) == 5
    program = choices.below(len(PROGRAMS) + 4)
    styles = (program if program < len(PROGRAMS) else 0, choices.below(len(STDIO)))
    debug = choices.below(10) == 9
    if streamed:
        return Script(
            family="processes",
            debug=debug,
            styles=styles,
            limit=LIMIT,
            rounds=drawn_rounds(choices, STREAMED, 1, 6),
        )
    reactions = []
    table: Table = tuple(row for row in CHILD if row[1] in _HARMLESS)
    for _ in range(choices.below(4)):
        event = _EVENTS[choices.below(len(_EVENTS))]
        acts = [pick(choices, table, 0) for _ in range(1 + choices.below(2))]
        if choices.below(4) == 3:
            acts.append(Act(0, "raise", choices.below(3)))
        reactions.append(Reaction(0, event, 0, tuple(acts)))
    return Script(
        family="children",
        bulk=bulk,
        debug=debug,
        styles=styles,
        rounds=drawn_rounds(choices, CHILD + CHILD_BULK * bulk, 1, 5),
        reactions=tuple(reactions),
    )


class _Protocol(asyncio.SubprocessProtocol):
    """Notes each call, then reacts."""

    def __init__(self, run: _ChildRun, name: str) -> None:
        self.run, self.name = run, name

    def _note(self, lane: int, line: str) -> None:
        self.run.world.note(lane, f"{line} on {self.name} in {var.get()}")

    def connection_made(self, transport: Any) -> None:
        self.run.transport = transport
        self._note(PROCESS, f"made {type(transport.get_pipe_transport(0)).__name__}")
        self.run.react("made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.run.arrived(fd, data)
        self.run.react("data")

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.run.pipes_lost.append(fd)
        if self.run.world.script.bulk and exc is not None:
            self._note(1 + fd, f"pipe lost with {type(exc).__name__}")
        else:
            self._note(1 + fd, f"pipe lost {told(exc)}")
        self.run.react(f"lost {fd}")

    def process_exited(self) -> None:
        self.run.child.over = True
        self._note(PROCESS, f"exited {self.run.transport.get_returncode()}")
        self.run.react("exited")

    def pause_writing(self) -> None:
        self.run.world.lanes[STDIN].flow("pause", self.name)
        self.run.react("pause")

    def resume_writing(self) -> None:
        self.run.world.activity += 1
        self.run.world.lanes[STDIN].flow("resume", self.name)
        self.run.react("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        # Its context is that of whatever ended last, which is the kernel's to say.
        before = (*sorted(self.run.pipes_lost), self.run.child.over)
        self.run.world.note(PROCESS, f"lost {told(exc)} on {self.name} after {before}")
        self.run.react("lost")


class _ChildRun:
    """What the acts of `CHILD` do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.child = Keeper(world)
        self.transport: Any = None
        self.pipes_lost: list[int] = []
        self.protocols = 0
        self.odd = streams.Waits(world, ANOTHER)
        self.reactions = {reaction.event: reaction.acts for reaction in world.script.reactions}

    def protocol(self) -> _Protocol:
        """The next one."""
        self.protocols += 1
        return _Protocol(self, f"p{self.protocols}")

    def arrived(self, fd: int, data: bytes) -> None:
        """Note some output; a letter may only come where it was sent to."""
        if type(data) is not bytes or not data:
            self.world.note(1 + fd, f"data is {type(data).__name__}")
        self.world.activity += 1
        self.world.lanes[1 + fd].data(len(data), var.get())

    def under_way(self) -> bool:
        """Whether the child does something, or another one is being started."""
        return self.child.busy() or self.odd.running is not None

    def react(self, event: str) -> None:
        """What the script says to do in this callback, the first time."""
        for act in self.reactions.pop(event, ()):
            self.act(act)

    def act(self, act: Act) -> None:
        """Do one."""
        if self.transport is not None or act.kind == "start_odd":
            getattr(self, act.kind if act.kind != "raise" else "fail")(act.n)

    def _call(self, what: str, pipe: int, name: str, *args: Any) -> None:
        transport = self.transport.get_pipe_transport(pipe)
        if transport is not None:
            self.world.attempt(1 + pipe, what, lambda: getattr(transport, name)(*args))

    def write(self, n: int) -> None:
        if self.child.may_stir():
            self._call("write", 0, "write", b"x" * (n - 1) + b"\n")

    def write_bulk(self, _n: int) -> None:
        if self.child.may_stir():
            self._call("write", 0, "write", b"y" * BULK)

    def write_lines(self, n: int) -> None:
        if self.child.may_stir():
            self._call("writelines", 0, "writelines", [b"line\n"] * n)

    def write_eof(self, _n: int) -> None:
        if self.child.may_stir():
            self._call("write_eof", 0, "write_eof")

    def close_pipe(self, n: int) -> None:
        if n == 0 and self.child.may_stir():
            self._call("close", 0, "close")
        elif n and self.child.may_signal():
            self.child.patient = False
            self._call("close", n, "close")

    def abort_pipe(self, n: int) -> None:
        pipe = self.transport.get_pipe_transport(n)
        if pipe is not None and not pipe.is_closing() and self.child.may_stir():
            self._call("abort", n, "abort")

    def pause_pipe(self, n: int) -> None:
        # What a child says in the same round may or may not have been said before.
        if self.child.stirred != self.world.round:
            self._call("pause", n or 1, "pause_reading")

    def resume_pipe(self, n: int) -> None:
        if self.child.may_stir():
            self._call("resume", n or 1, "resume_reading")

    def signal(self, n: int) -> None:
        if self.child.may_signal():
            self.world.attempt(PROCESS, "send_signal", self.transport.send_signal, SIGNALS[n])

    def kill(self, n: int) -> None:
        if self.child.may_signal():
            call = self.transport.terminate if n else self.transport.kill
            self.world.attempt(PROCESS, "kill", call)

    def close(self, _n: int) -> None:
        if self.child.may_signal():
            self.world.attempt(PROCESS, "close", self.transport.close)

    def look(self, n: int) -> None:
        # What an end of the process or of a pipe makes of it is certain only between rounds.
        if self.child.stirred == self.world.round:
            return
        transport = self.transport
        name, call = (
            ("returncode", transport.get_returncode),
            ("pid", lambda: transport.get_pid() == self.child.pid),
            ("closing", transport.is_closing),
            ("pipes", lambda: [_pipe(transport, fd) for fd in (0, 1, 2, 3)]),
            ("process", lambda: type(transport.get_extra_info("subprocess")).__name__),
            ("protocol", lambda: transport.get_protocol().name),
        )[n]
        self.world.attempt(PROCESS, name, call)

    def soon(self, _n: int) -> None:
        self.world.loop.call_soon(self.world.note, PROCESS, f"soon from {self.world.round}")

    def set_context(self, _n: int) -> None:
        var.set(var.get() + 100)

    def set_protocol(self, _n: int) -> None:
        if self.child.stirred != self.world.round:
            self.transport.set_protocol(self.protocol())

    def fail(self, n: int) -> None:
        raise (LookupError, OSError, BrokenPipeError)[n]("on purpose")

    def start_odd(self, n: int) -> None:
        loop: Any = self.world.loop
        made = asyncio.SubprocessProtocol
        call: Any = (
            lambda: loop.subprocess_exec(made, "true", universal_newlines=True),
            lambda: loop.subprocess_exec(made, "true", shell=True),
            lambda: loop.subprocess_exec(made, "true", bufsize=1),
            lambda: loop.subprocess_exec(made, 1),
            lambda: loop.subprocess_shell(made, 1),
            lambda: loop.subprocess_shell(made, "true", shell=False),
            lambda: loop.subprocess_exec(made, "true", cwd="/no such place"),
            lambda: loop.subprocess_exec(made, "true", text=True, encoding="ascii", errors="x"),
        )[n]
        self.odd.add(f"start odd {n}", call)


def _pipe(transport: Any, fd: int) -> str:
    pipe = transport.get_pipe_transport(fd)
    return f"{type(pipe).__name__} {pipe and pipe.is_closing()}"


async def _child(world: World) -> None:
    hear_by_pidfd(world.loop)
    run = _ChildRun(world)
    program, (stdin, stdout, stderr) = program_and_stdio(world.script)
    if stdin != PIPE or world.script.styles[0] == len(PROGRAMS) - 1:
        world.lanes[STDIN].bulk = False
    start: Any
    if isinstance(program, str):
        start = world.loop.subprocess_shell(
            run.protocol, program, stdin=stdin, stdout=stdout, stderr=stderr,
            start_new_session=True,
        )  # fmt: skip
    else:
        start = world.loop.subprocess_exec(
            run.protocol, *program, stdin=stdin, stdout=stdout, stderr=stderr,
            start_new_session=True,
        )  # fmt: skip
    try:
        transport, _ = await start
    except OSError as error:
        world.note(PROCESS, f"not started: {told(error)} {error.filename}")
        return
    run.child.start(transport.get_pid())
    world.under_way = run.under_way
    try:
        await world.settle()
        await world.rounds(run.act)
        await run.odd.end()
        world.round += 1
        world.note(PROCESS, "ending")
        for fd in (1, 2):
            run.resume_pipe(fd)
        await world.settle()
        world.round += 1
        run.close(0)
        await world.settle()
        run.child.end()
        await world.settle()
        world.round += 1
        world.note(PROCESS, f"told {sorted(run.pipes_lost)} {run.child.over}")
    finally:
        run.child.end()
        run.transport = None


def run(engine: Engine, script: Script) -> list[str]:
    """The trace of a script."""
    return execute(engine, script, _child, LANES)
