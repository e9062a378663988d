"""Two transports of one loop, connected to each other.

An end's style says what kind of protocol it is, plain or buffered, and what its eof_received()
answers: None, True or False. Each direction's bytes are a counter that the other end checks, so
that a byte lost, doubled or displaced shows as such.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.differential.network.draw import BULK
from tests.differential.network.trace import told
from tests.differential.network.world import WRITELINES_BREAKS, World, execute, pair, var

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.differential.engines import Engine
    from tests.differential.network.script import Act, Script

_ANSWERS = (None, True, False)
_LIMITS: tuple[dict[str, int], ...] = (
    {},
    {"high": 0},
    {"high": 1000},
    {"high": 100, "low": 50},
    {"high": 1, "low": 2},
    {"low": 10},
)
_WRONG: tuple[Any, ...] = ("text", None, [b"x"])
_PATTERN = bytes(range(251)) * (2 * BULK // 251 + 2)


class End:
    """One side: its transport, its protocol at the moment, and how far its stream has come."""

    def __init__(self, world: World, who: int, acts: Acts | None = None) -> None:
        self.world = world
        self.who = who
        self.acts = acts or ACTS
        self.transport: Any = None
        self.written = 0
        self.got = 0
        self.protocols = 0
        self.counts: dict[str, int] = {}
        self.reactions = {(r.event, r.nth): r.acts for r in world.script.reactions if r.who == who}
        self.ended = False  # the other end's stream came to its end
        self.finished = False  # ours did
        self.aborted = False
        self.lost = False

    def protocol(self, style: int) -> Any:
        """A protocol of a style."""
        self.protocols += 1
        kind = Buffered if style >= 3 else Plain
        return kind(self, f"p{self.protocols}", _ANSWERS[style % 3])

    def next_bytes(self, size: int) -> bytes:
        """What this end writes next."""
        start = self.written % 251
        self.written += size
        return _PATTERN[start : start + size]

    def arrived(self, data: Any) -> None:
        """Check and note what the other end sent."""
        start = self.got % 251
        if bytes(data) != _PATTERN[start : start + len(data)]:
            self.world.note(self.who, f"WRONG BYTES at {self.got}")
        self.got += len(data)
        self.world.activity += 1
        self.world.lanes[self.who].data(len(data), var.get())

    def react(self, event: str) -> None:
        """What the script says to do in this callback."""
        if event == "data":
            due = [key for key in self.reactions if key[0] == "data" and key[1] <= self.world.round]
            acts = self.reactions.pop(min(due)) if due else ()
        else:
            nth = self.counts.get(event, 0)
            self.counts[event] = nth + 1
            acts = self.reactions.pop((event, nth), ())
        for act in acts:
            self.acts.act(self.world, act)


class Plain(asyncio.Protocol):
    """Notes each call with the context variable it sees, then reacts."""

    def __init__(self, end: End, name: str, answer: bool | None) -> None:
        self.end, self.name, self.answer = end, name, answer

    def _note(self, line: str) -> None:
        self.end.world.note(self.end.who, f"{line} on {self.name} in {var.get()}")

    def connection_made(self, transport: Any) -> None:
        self.end.transport = transport
        self._note("made")
        self.end.react("made")

    def data_received(self, data: bytes) -> None:
        if type(data) is not bytes:
            self._note(f"data is {type(data).__name__}")
        self.end.arrived(data)
        self.end.react("data")

    def eof_received(self) -> bool | None:
        self.end.ended = True
        self._note("eof")
        self.end.react("eof")
        return self.answer

    def pause_writing(self) -> None:
        self.end.world.activity += 1
        self.end.world.lanes[self.end.who].flow("pause", self.name)
        self.end.react("pause")

    def resume_writing(self) -> None:
        self.end.world.activity += 1
        self.end.world.lanes[self.end.who].flow("resume", self.name)
        self.end.react("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.end.lost = True
        if isinstance(exc, ConnectionError) or self.end.world.script.bulk:
            # without its context, see trace.py
            self.end.world.note(self.end.who, f"lost {told(exc)} on {self.name}")
        else:
            self._note(f"lost {told(exc)}")
        self.end.react("lost")


class Buffered(asyncio.BufferedProtocol):
    """The same for a protocol that hands out the buffer, which is too small for some data."""

    def __init__(self, end: End, name: str, answer: bool | None) -> None:
        self.end, self.name, self.answer = end, name, answer
        self.buffer = memoryview(bytearray(1 << 16 if end.world.script.bulk else 300))

    def get_buffer(self, sizehint: int) -> Any:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.end.arrived(self.buffer[:nbytes])
        self.end.react("data")

    _note = Plain._note
    connection_made = Plain.connection_made
    eof_received = Plain.eof_received
    pause_writing = Plain.pause_writing
    resume_writing = Plain.resume_writing
    connection_lost = Plain.connection_lost


class Acts:
    """What the acts of draw.TRANSPORT do."""

    def act(self, world: World, act: Act) -> None:
        """Do one."""
        end = world.ends[act.who]
        if end.transport is None or (end.lost and world.script.bulk):
            return  # asyncio's transport that closed with data in its buffer is broken afterwards
        getattr(self, act.kind if act.kind != "raise" else "fail")(world, end, act.n)
        other = world.ends[1 - act.who]
        if act.kind.startswith("write") and other.transport and other.transport.is_closing():
            self.flush(end)  # see trace.py

    def flush(self, end: End) -> None:
        """Have what was written handed to the kernel."""
        if end.transport is not None:
            end.transport.get_write_buffer_size()

    def write(self, world: World, end: End, n: int) -> None:
        world.attempt(end.who, "write", end.transport.write, self.unless_closed(end, n))

    def write_bulk(self, world: World, end: End, n: int) -> None:
        data = self.unless_closed(end, BULK)
        world.attempt(end.who, "write", end.transport.write, bytearray(data) if n else data)

    def writelines(self, world: World, end: End, n: int) -> None:
        if WRITELINES_BREAKS and end.transport.is_closing():
            return
        pieces = [self.unless_closed(end, 1 + 10 * number) for number in range(n)]
        world.attempt(end.who, "writelines", end.transport.writelines, pieces)

    def write_empty(self, world: World, end: End, n: int) -> None:
        world.attempt(end.who, "write", end.transport.write, bytearray() if n else b"")

    def write_wrong(self, world: World, end: End, n: int) -> None:
        world.attempt(end.who, "write", end.transport.write, _WRONG[n])

    def write_eof(self, world: World, end: End, n: int) -> None:
        world.attempt(end.who, "write_eof", end.transport.write_eof)
        end.finished = True

    def close(self, world: World, end: End, n: int) -> None:
        world.attempt(end.who, "close", end.transport.close)

    def abort(self, world: World, end: End, n: int) -> None:
        end.aborted = True
        world.attempt(end.who, "abort", end.transport.abort)

    def pause_reading(self, world: World, end: End, n: int) -> None:
        world.attempt(end.who, "pause_reading", end.transport.pause_reading)

    def resume_reading(self, world: World, end: End, n: int) -> None:
        world.attempt(end.who, "resume_reading", end.transport.resume_reading)

    def set_protocol(self, world: World, end: End, n: int) -> None:
        world.attempt(end.who, "set_protocol", end.transport.set_protocol, end.protocol(n))

    def set_limits(self, world: World, end: End, n: int) -> None:
        def call() -> None:
            end.transport.set_write_buffer_limits(**_LIMITS[n])

        world.attempt(end.who, "set_write_buffer_limits", call)

    def soon(self, world: World, end: End, n: int) -> None:
        world.loop.call_soon(world.note, end.who, f"soon from round {world.round}")

    def later(self, world: World, end: End, n: int) -> None:
        world.loop.call_later(0, world.note, end.who, f"later from round {world.round}")

    def set_context(self, world: World, end: End, n: int) -> None:
        var.set(var.get() + 100)

    def fail(self, world: World, end: End, n: int) -> None:
        end.aborted = True
        raise (LookupError, OSError, ConnectionResetError)[n]("on purpose")

    def look(self, world: World, end: End, n: int) -> None:
        transport = end.transport
        name, call = (
            ("is_closing", lambda: transport.is_closing()),
            ("is_reading", lambda: transport.is_reading()),
            ("limits", lambda: transport.get_write_buffer_limits()),
            ("buffered", lambda: bool(transport.get_write_buffer_size())),
            ("protocol", lambda: transport.get_protocol().name),
            ("can_write_eof", lambda: transport.can_write_eof()),
            ("extra", lambda: _extra(transport)),
        )[n]
        if not (world.script.bulk and name == "buffered"):
            world.attempt(end.who, name, call)

    def unless_closed(self, end: End, size: int) -> bytes:
        """The next bytes; those that go nowhere are not counted. A transport that closes takes more
        for as long as it has something to send."""
        transport = end.transport
        if end.finished or (transport.is_closing() and not transport.get_write_buffer_size()):
            return bytes(size)
        return end.next_bytes(size)


def _extra(transport: Any) -> Any:
    sock = transport.get_extra_info("socket")
    return (
        [type(transport.get_extra_info(key)).__name__ for key in ("sockname", "peername", "no")],
        type(sock).__name__,
        sock.fileno() >= 0,
    )


ACTS = Acts()


def acting(world: World, ends: list[End], acts: Acts) -> Callable[[Act], None]:
    """Does acts. The ends would have steps of their own in life: so when it is the other one's
    turn, the first one's step is over, and a transport that puts writes off has to have sent."""
    last = [0]

    def act(one: Act) -> None:
        if last[0] != one.who:
            acts.flush(ends[last[0]])
        last[0] = one.who
        acts.act(world, one)

    return act


async def _main(world: World) -> None:
    script = world.script
    ends = [End(world, 0), End(world, 1)]
    world.ends = ends
    with pair(script.wire) as socks:
        if script.wire == "unix":
            await world.loop.create_connection(
                lambda: ends[0].protocol(script.styles[0]), sock=socks[0]
            )
        else:
            await world.loop.connect_accepted_socket(
                lambda: ends[0].protocol(script.styles[0]), socks[0]
            )
        await world.loop.connect_accepted_socket(
            lambda: ends[1].protocol(script.styles[1]), socks[1]
        )
        await world.settle()
        await world.rounds(acting(world, ends, ACTS))
        for end in ends:
            world.note(end.who, "ending")
            if not end.transport.is_closing():
                end.aborted = True
                end.transport.abort()
        await world.settle()
        for end in ends:
            if not script.bulk:
                world.note(end.who, f"got {end.got} bytes in all")
            elif end.ended:
                other = ends[1 - end.who]
                if end.got != other.written and not other.aborted:
                    world.note(end.who, "an end, but not all bytes before it")
            end.transport = None


def run(engine: Engine, script: Script) -> list[str]:
    """The trace of a script."""
    return execute(engine, script, _main)
