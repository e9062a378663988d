"""What all runs share: a loop, rounds that settle, what the loop reports, and the end of a run."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import struct
import sys
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from tests.differential.network.trace import Lane, told

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tests.differential.engines import Engine
    from tests.differential.network.script import Act, Script

IDLE_TURNS = 5
MOST_TURNS = 3000
KERNEL_HOLDS = 16 << 10

#: asyncio's writelines() raises about None on a transport that has ended, in these versions.
WRITELINES_BREAKS = (3, 12) <= sys.version_info < (3, 14)

var: ContextVar[int] = ContextVar("var", default=-1)


class World:
    """One run of a script."""

    def __init__(
        self,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        script: Script,
        lanes: tuple[str, ...] = ("0", "1"),
    ) -> None:
        self.engine = engine
        self.loop = loop
        self.lib: Any = engine.lib
        self.script = script
        self.round = -1
        self.activity = 0
        self.ends: list[Any] = []
        self.lanes = [Lane(name, bulk=script.bulk) for name in (*lanes, "loop")]
        self.idle_turns = IDLE_TURNS
        #: Whether something goes on that no turn of the loop brings about; it may help it along.
        self.under_way: Callable[[], bool] = lambda: False

    def note(self, who: int, line: str) -> None:
        """A line in an end's lane; -1 is the loop's."""
        self.activity += 1
        self.lanes[who].note(line)

    def on_report(self, _: object, context: dict[str, Any]) -> None:
        """The loop's exception handler."""
        message = str(context.get("message"))
        if message.startswith("Exception in callback"):
            message = "Exception in callback"  # its repr is cut at a length that paths decide
        error = told(context.get("exception"))
        self.note(-1, f"report {message} {error} {sorted(context)}")

    def attempt(self, who: int, what: str, call: Callable[..., Any], *args: Any) -> None:
        """Call something and note what it gives or raises."""
        try:
            result = call(*args)
        except Exception as error:
            self.note(who, f"{what} ! {told(error)}")
        else:
            if result is not None:
                self.note(who, f"{what} = {result!r}")

    async def settle(self) -> None:
        """Until nothing has happened for a few turns, and nothing is under way elsewhere."""
        idle = 0
        for _ in range(MOST_TURNS):
            before = self.activity
            await self.lib.sleep(0)
            idle = idle + 1 if self.activity == before else 0
            if self.under_way():
                idle = 0
            if idle > self.idle_turns:
                break
        else:
            self.note(-1, "does not settle")
        for lane in self.lanes:
            lane.end_of_round()

    async def rounds(self, act: Callable[[Act], None]) -> None:
        """All rounds, one after the other."""
        for self.round, acts in enumerate(self.script.rounds):
            var.set(self.round)
            for one in acts:
                act(one)
            await self.settle()
            for lane in self.lanes:
                lane.mark(f"-- round {self.round} is over")

    def trace(self) -> list[str]:
        """All lanes, one after the other."""
        return [f"{lane.name}: {line}" for lane in self.lanes for line in lane.lines]


@contextlib.contextmanager
def pair(wire: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected non-blocking sockets."""
    if wire == "unix":
        one, two = socket.socketpair()
    elif wire == "udp":
        one, two = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (one, two):
            sock.bind(("127.0.0.1", 0))
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            one = socket.create_connection(listener.getsockname())
            two, _ = listener.accept()
            two.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with one, two:
        for sock in (one, two):
            sock.setblocking(False)
            if wire == "unix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_HOLDS)
        yield one, two


def reset(sock: socket.socket) -> None:
    """Close so that the other end is told of a reset (a Unix socket does that only by itself)."""
    if sock.family == socket.AF_INET and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def execute(
    engine: Engine,
    script: Script,
    main: Callable[[World], Coroutine[Any, Any, None]],
    lanes: tuple[str, ...] = ("0", "1"),
) -> list[str]:
    """One run, on a new loop: its trace."""
    logging.getLogger("asyncio").disabled = True
    loop = engine.new_event_loop()
    world = World(engine, loop, script, lanes)
    loop.set_exception_handler(world.on_report)
    loop.set_debug(script.debug)
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task = loop.create_task(main(world))
            for _ in range(20):
                try:
                    loop.run_until_complete(task)
                except (SystemExit, KeyboardInterrupt) as error:
                    world.note(-1, f"the loop was left with {told(error)}")
                    if not task.done():
                        continue
                break
            for lane in world.lanes:
                lane.end_of_round()
            return world.trace()
    finally:
        loop.close()
        logging.getLogger("asyncio").disabled = False
        if collecting:
            gc.enable()
