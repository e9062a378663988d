"""The two ends of a pipe, each a transport or held by hand, and streams over a pair of pipes.

End 0 writes and end 1 reads. A script's `way` says which of them are transports: "both", "writer",
"reader"; the other end is a plain descriptor, which is how a peer can be slow, or gone, in every
state. The wire is a pipe, a FIFO, a socket or a terminal; over a terminal both ends are
transports on its side of the programs, and the other side is held by hand.

Not drawn, for asyncio's transports break on it: abort() of a writer that closes and has nothing
left to write, what closes from within resume_writing() or connection_made(), and in 3.11 pausing
there.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

from tests.differential.network import streams
from tests.differential.network.draw import BULK, STREAM, TRANSPORT, drawn_rounds, pick
from tests.differential.network.held import (
    READS,
    WRITES,
    Held,
    Master,
    Peer,
    odd_file,
    opened,
    taken,
)
from tests.differential.network.script import Act, Reaction, Script
from tests.differential.network.trace import told
from tests.differential.network.transports import Acts, End
from tests.differential.network.world import World, execute

if TYPE_CHECKING:
    from tests.differential.engines import Engine
    from tests.differential.generate import Choices
    from tests.differential.network.draw import Table

_COMMON = {"set_protocol", "look", "soon", "later", "set_context", "close"}
_READING = {"pause_reading", "resume_reading"}

WRITER: Table = tuple(row for row in TRANSPORT if row[1] not in _READING)
READER: Table = tuple(row for row in TRANSPORT if row[1] in _COMMON | _READING)
BULK_WRITER: Table = ((6, "write_bulk", (0, 1)),)
FEEDER: Table = ((6, "feed", (1, 10, 100, 500)), (1, "shut", (0,)))
TAKER: Table = ((4, "take", (1, 10, 5000)), (1, "shut", (0,)))
#: How much of a write a small pipe takes hangs on where a page ends, so it is one byte or all.
BULK_TAKER: Table = ((2, "take", (1,)), (3, "drain", (0,)), (1, "shut", (0,)))
FEEDER_BULK: Table = ((3, "feed_bulk", (0,)),)
ODD: Table = ((1, "connect_odd", tuple(range(10))),)

_EVENTS = (("made", "pause", "resume", "lost"), ("made", "data", "data", "data", "eof", "lost"))
_CLOSES = {"close", "abort", "write_eof"}


def draw(choices: Choices) -> Script:
    """Any script about pipes."""
    if choices.below(5) == 4:
        return Script(
            family="pipe_streams",
            wire=("pipe", "socket")[choices.below(2)],
            debug=choices.below(10) == 9,
            limit=(64, 10, 1 << 16)[choices.below(3)],
            rounds=drawn_rounds(choices, STREAM, 1, 12),
        )
    wire = ("pipe", "pipe", "pipe", "fifo", "socket", "terminal")[choices.below(6)]
    terminal = wire == "terminal"
    bulk = not terminal and choices.below(4) == 3
    way = "both" if terminal else ("both", "writer", "reader")[choices.below(3)]
    by_hand = {WRITES: way == "reader", READS: way == "writer"}
    tables = {
        WRITES: FEEDER + FEEDER_BULK * bulk if by_hand[WRITES] else WRITER + BULK_WRITER * bulk,
        READS: (BULK_TAKER if bulk else TAKER) if by_hand[READS] else READER,
    }
    if terminal:
        tables = {WRITES: WRITER + TAKER, READS: READER + FEEDER}
    else:
        tables = {who: table * 5 + ODD for who, table in tables.items()}
    rounds = tuple(
        tuple(
            pick(choices, tables[who], who)
            for who in (choices.below(2) for _ in range(1 + choices.below(4)))
        )
        for _ in range(1 + choices.below(7))
    )
    reactions = []
    for _ in range(choices.below(4)):
        who = choices.below(2)
        if by_hand[who]:
            continue
        event = _EVENTS[who][choices.below(len(_EVENTS[who]))]
        nth = choices.below(len(rounds)) if event == "data" else 0
        table = READER if who else WRITER
        acts = [pick(choices, table, who) for _ in range(1 + choices.below(3))]
        if event in {"made", "resume"}:
            acts = [act for act in acts if act.kind not in _CLOSES]
        if event == "made" and sys.version_info < (3, 12):
            acts = [act for act in acts if act.kind != "pause_reading"]
        if choices.below(6) == 5:
            acts.append(Act(who, "raise", choices.below(3)))
        reactions.append(Reaction(who, event, nth, tuple(acts)))
    return Script(
        family="pipes",
        wire=wire,
        way=way,
        bulk=bulk,
        debug=choices.below(10) == 9,
        styles=(choices.below(3), choices.below(3)),
        rounds=rounds,
        reactions=tuple(reactions),
    )


class _PipeActs(Acts):
    """What the acts of this file's tables do."""

    def __init__(self) -> None:
        self.held: dict[int, Any] = {}
        self.odd: streams.Waits | None = None
        self.last = 0

    def act(self, world: World, act: Act) -> None:
        end = world.ends[act.who]
        held = self.held.get(act.who)
        if held is not None and hasattr(held, act.kind):
            self.flush(world.ends[WRITES])
            getattr(held, act.kind)(act.n)
            return
        if act.kind == "connect_odd":
            self._connect_odd(world, act.n)
            return
        if end.transport is None or (end.lost and world.script.bulk):
            return
        getattr(self, act.kind if act.kind != "raise" else "fail")(world, end, act.n)
        if act.kind.startswith("write") and self._gone(world):
            self.flush(world.ends[WRITES])

    def in_turn(self, world: World, act: Act) -> None:
        """Do an act of a round. Each end would have steps of its own in life: so when the other's
        turn comes, what was put off to the end of the step has to have been written."""
        if self.last != act.who:
            self.flush(world.ends[WRITES])
        self.last = act.who
        self.act(world, act)

    def flush(self, end: End) -> None:
        """Have what was written handed to the kernel."""
        if end.transport is not None and not end.lost:
            end.transport.get_write_buffer_size()

    def _gone(self, world: World) -> bool:
        held = self.held.get(READS)
        if held is not None and not isinstance(held, Master):
            return bool(held.fd < 0)
        if WRITES in self.held and self.held[WRITES].fd < 0:
            return True
        transport = world.ends[READS].transport
        return transport is not None and transport.is_closing()

    def abort(self, world: World, end: End, n: int) -> None:
        if not (end.transport.is_closing() and not end.transport.get_write_buffer_size()):
            super().abort(world, end, n)

    def write_bulk(self, world: World, end: End, n: int) -> None:
        data = self.unless_closed(end, BULK)
        world.attempt(end.who, "write", end.transport.write, bytearray(data) if n else data)

    def unless_closed(self, end: End, size: int) -> bytes:
        """The next bytes; those that go nowhere are not counted."""
        return bytes(size) if end.transport.is_closing() else end.next_bytes(size)

    def look(self, world: World, end: End, n: int) -> None:
        if n != 6:
            super().look(world, end, n)
            return
        extra = end.transport.get_extra_info("pipe")
        world.note(end.who, f"extra {type(extra).__name__}, closed {_closed(extra)}")

    def _connect_odd(self, world: World, n: int) -> None:
        if self.odd is None:
            self.odd = streams.Waits(world, -1)
        loop, reading = world.loop, n % 2
        connect = loop.connect_read_pipe if reading else loop.connect_write_pipe

        async def call() -> str:
            with odd_file(n // 2) as file:
                transport, _ = await connect(lambda: End(world, -1).protocol(0), file)
                await world.lib.sleep(0)
                transport.close()
                for _ in range(5):
                    await world.lib.sleep(0)
                return f"{type(transport).__name__}, {_closed(file)}"

        self.odd.add(f"connect_{'read' if reading else 'write'}_pipe({n // 2})", call)


def _closed(file: Any) -> bool:
    return bool(file.fileno() < 0 if isinstance(file, socket.socket) else file.closed)


async def _main(world: World) -> None:
    script = world.script
    acts = _PipeActs()
    ends = [End(world, who, acts) for who in (WRITES, READS)]
    world.ends = ends
    with opened(script.wire, bulk=script.bulk) as (writing, reading, other):
        if script.way != "reader":
            await world.loop.connect_write_pipe(
                lambda: ends[WRITES].protocol(script.styles[0]), writing
            )
        else:
            acts.held[WRITES] = Held(ends[WRITES], taken(writing))
        if script.way != "writer":
            await world.loop.connect_read_pipe(
                lambda: ends[READS].protocol(script.styles[1]), reading
            )
        else:
            acts.held[READS] = Held(ends[READS], taken(reading))
            world.under_way = acts.held[READS].go_on
        if other:
            held = Master(ends[WRITES], ends[READS], *other)
            acts.held = {WRITES: held, READS: held}
        await world.settle()
        await world.rounds(lambda act: acts.in_turn(world, act))
        for end in ends:
            world.note(end.who, "ending")
            if end.transport is not None and not end.transport.is_closing():
                end.aborted = True
                getattr(end.transport, "close" if end.who else "abort")()
        for held in acts.held.values():
            held.shut(0)
        if acts.odd is not None:
            await acts.odd.end()
        await world.settle()
        for end in ends:
            if not script.bulk:
                world.note(end.who, f"got {end.got} bytes in all")
            elif end.ended:
                other = ends[1 - end.who]
                if end.got != other.written and not other.aborted:
                    world.note(end.who, "an end, but not all bytes before it")
            end.transport = None
        acts.held.clear()


class _StreamActs(streams.Acts):
    """A reader and a writer that are two pipes."""

    def reset(self, n: int) -> None:
        self.end(n)

    def end(self, n: int) -> None:
        if self.peer.fileno() >= 0:
            super().end(n)

    def state(self, _n: int) -> None:
        reader = self.reader
        self.world.note(streams.READING, f"at_eof {reader.at_eof()}, {told(reader.exception())}")
        self.world.note(streams.WRITING, f"closing {self.writer.is_closing()}")


async def _streams(world: World) -> None:
    script, lib, loop = world.script, world.lib, world.loop
    with (
        opened(script.wire, bulk=False) as (to_us, ours, _),
        opened(script.wire, bulk=False) as (out, from_us, _),
    ):
        reader = lib.StreamReader(limit=script.limit, loop=loop)
        reading, _ = await loop.connect_read_pipe(
            lambda: lib.StreamReaderProtocol(reader, loop=loop), ours
        )
        writing, protocol = await loop.connect_write_pipe(
            lambda: lib.StreamReaderProtocol(lib.StreamReader(loop=loop), loop=loop), out
        )
        writer = lib.StreamWriter(writing, protocol, reader, loop)
        peer = Peer(taken(to_us), taken(from_us))
        acts = _StreamActs(world, reader, writer, peer)
        await world.settle()
        await world.rounds(acts.act)
        if peer.fileno() >= 0:
            acts.collect()
        await acts.reads.end()
        await acts.writes.end()
        acts.state(0)
        if not writer.is_closing():
            writing.abort()
        reading.close()
        peer.close()
        await world.settle()
        world.attempt(streams.READING, "left", lambda: streams.short(bytes(reader._buffer)))


def run(engine: Engine, script: Script) -> list[str]:
    """The trace of a script."""
    return execute(engine, script, _streams if script.family == "pipe_streams" else _main)
