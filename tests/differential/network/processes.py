"""Child processes as Process and its streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.differential.network import streams
from tests.differential.network.keeper import (
    LANES,
    PROCESS,
    SIGNALS,
    STDERR,
    STDIN,
    STDOUT,
    Keeper,
    hear_by_pidfd,
    program_and_stdio,
)
from tests.differential.network.trace import told
from tests.differential.network.world import World, execute

if TYPE_CHECKING:
    from tests.differential.engines import Engine
    from tests.differential.network.draw import Table
    from tests.differential.network.script import Act, Script

LIMIT = 1 << 16
_INPUT = b"a line\nand more\n"

STREAMED: Table = (
    (6, "write", (1, 7, 100)),
    (2, "close_stdin", (0,)),
    (1, "write_eof", (0,)),
    (2, "drain", (0,)),
    (1, "wait_closed", (0,)),
    (3, "read", (-1, 1, 5, 1000)),
    (2, "readexactly", (0, 3, 100)),
    (3, "readline", (0,)),
    (1, "read_errors", (-1, 1)),
    (3, "wait", (0,)),
    (2, "communicate", (0, 1, 2)),
    (2, "signal", tuple(range(len(SIGNALS)))),
    (1, "kill", (0, 1)),
    (2, "look", (0, 1)),
    (1, "cancel", (0, 1, 2, 3)),
)


class _ProcessRun:
    """What the acts of `STREAMED` do."""

    def __init__(self, world: World, process: Any, child: Keeper) -> None:
        self.world, self.process, self.child = world, process, child
        self.communicating = -2
        self.waits = [
            streams.Waits(world, PROCESS),
            streams.Waits(world, STDIN),
            streams.Waits(world, STDOUT, process.stdout),
            streams.Waits(world, STDERR, process.stderr),
        ]

    def act(self, act: Act) -> None:
        """Do one."""
        getattr(self, act.kind)(act.n)

    def _wait(self, lane: int, what: str, call: Any) -> None:
        if self.communicating == self.world.round:
            return
        waits = self.waits[lane]
        if waits.since == self.world.round or self._may_cancel(waits):
            waits.add(what, call)

    def _may_cancel(self, waits: streams.Waits) -> bool:
        """Whether what runs can be cancelled. What a read to the end has taken is forgotten then,
        and that must not depend on whether something else has just come."""
        greedy = waits.running is not None and waits.what.startswith(("read(-1)", "communicate"))
        return not greedy or self.child.may_signal()

    def cancel(self, n: int) -> None:
        if self._may_cancel(self.waits[n]):
            self.waits[n].cancel()

    def _stdin(self, what: str, name: str, *args: Any) -> None:
        if self.process.stdin is not None and self.child.may_stir():
            self.world.attempt(STDIN, what, getattr(self.process.stdin, name), *args)

    def write(self, n: int) -> None:
        self._stdin("write", "write", b"x" * (n - 1) + b"\n")

    def close_stdin(self, _n: int) -> None:
        self._stdin("close", "close")

    def write_eof(self, _n: int) -> None:
        self._stdin("write_eof", "write_eof")

    def drain(self, _n: int) -> None:
        if self.process.stdin is not None and self.child.may_stir():
            self._wait(STDIN, "drain()", lambda: self.process.stdin.drain())

    def wait_closed(self, _n: int) -> None:
        if self.process.stdin is not None:
            self._wait(STDIN, "wait_closed()", lambda: self.process.stdin.wait_closed())

    def _read(self, lane: int, n: int) -> None:
        stream = (self.process.stdout, self.process.stderr)[lane - STDOUT]
        waits = self.waits[lane]
        if stream is None or (n > 0 and (self.child.stirred == self.world.round or waits.running)):
            return
        if n > 0 and not stream._buffer:
            return
        self._wait(lane, f"read({n})", lambda: stream.read(n))

    def read(self, n: int) -> None:
        self._read(STDOUT, n)

    def read_errors(self, n: int) -> None:
        self._read(STDERR, n)

    def readexactly(self, n: int) -> None:
        if self.process.stdout is not None:
            self._wait(STDOUT, f"readexactly({n})", lambda: self.process.stdout.readexactly(n))

    def readline(self, _n: int) -> None:
        if self.process.stdout is not None:
            self._wait(STDOUT, "readline()", lambda: self.process.stdout.readline())

    def wait(self, _n: int) -> None:
        self._wait(PROCESS, "wait()", self.process.wait)

    def communicate(self, n: int) -> None:
        given = (None, _INPUT, b"")[n]
        if given is not None and self.process.stdin is None:
            return
        # A read that waits already makes it fail, half done: what then comes first is open.
        if any(waits.running for waits in self.waits) or not self.child.may_signal():
            return
        self.communicating = self.world.round

        async def call() -> Any:
            try:
                return await self.process.communicate(given)
            except asyncio.CancelledError:
                # As with a read() to the end that is cancelled, see streams.py.
                for stream in (self.process.stdout, self.process.stderr):
                    if stream is not None:
                        stream._buffer.clear()
                raise

        self.waits[PROCESS].add(f"communicate({given!r})", call)

    def signal(self, n: int) -> None:
        if self.child.may_signal():
            self.world.attempt(PROCESS, "send_signal", self.process.send_signal, SIGNALS[n])

    def kill(self, n: int) -> None:
        if self.child.may_signal():
            call = self.process.terminate if n else self.process.kill
            self.world.attempt(PROCESS, "kill", call)

    def look(self, n: int) -> None:
        if self.child.stirred == self.world.round:
            return
        process = self.process
        self.world.note(PROCESS, f"returncode {process.returncode}")
        if n and process.stdout is not None:
            self.world.note(STDOUT, f"at_eof {process.stdout.at_eof()}")


class _Watch:
    """Tells the child's keeper when the loop knows of its end."""

    def __init__(self, child: Keeper, process: Any) -> None:
        self.child, self.process = child, process

    def __call__(self) -> bool:
        self.child.over = self.process.returncode is not None
        return self.child.busy()


async def _process(world: World) -> None:
    hear_by_pidfd(world.loop)
    child = Keeper(world)
    program, (stdin, stdout, stderr) = program_and_stdio(world.script)
    options: Any = {
        "stdin": stdin,
        "stdout": stdout,
        "stderr": stderr,
        "limit": world.script.limit,
        "start_new_session": True,
    }
    create: Any
    if isinstance(program, str):
        create = world.lib.create_subprocess_shell(program, **options)
    else:
        create = world.lib.create_subprocess_exec(*program, **options)
    try:
        process = await create
    except OSError as error:
        world.note(PROCESS, f"not started: {told(error)} {error.filename}")
        return
    child.start(process.pid)
    world.under_way = _Watch(child, process)
    run = _ProcessRun(world, process, child)
    try:
        await world.settle()
        await world.rounds(run.act)
        world.round += 1
        world.note(PROCESS, f"ending, {process.returncode}")
        for waits in run.waits:
            await waits.end()
        await world.settle()
        world.round += 1
        if process.returncode is None:
            run.kill(0)
        await world.settle()
        child.end()
        await world.settle()
        run.wait(0)
        for lane, stream in ((STDOUT, process.stdout), (STDERR, process.stderr)):
            if stream is not None:
                world.note(lane, f"left {streams.short(bytes(stream._buffer))}")
        if process.stdin is not None:
            process.stdin.close()
        await world.settle()
        for waits in run.waits:
            await waits.end()
    finally:
        child.end()
        process._transport.close()


def run(engine: Engine, script: Script) -> list[str]:
    """The trace of a script."""
    return execute(engine, script, _process, LANES)
