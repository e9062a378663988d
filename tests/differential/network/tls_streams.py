"""A reader and a writer over TLS, with a peer that is held by hand, down to its records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.differential.network import streams
from tests.differential.network.draw import STREAM
from tests.differential.network.tls_party import (
    IDLE_TURNS,
    JUNK,
    Party,
    contexts,
    send_out,
    told_all,
)
from tests.differential.network.world import World, execute, pair
from tests.tls.certificates import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.differential.engines import Engine
    from tests.differential.network.draw import Table
    from tests.differential.network.script import Act, Script

STREAM_TABLE: Table = (
    *(row for row in STREAM if row[1] != "look"),
    (1, "send_halves", (0, 3, 7)),
    (1, "send_records", (2, 5)),
    (1, "junk", tuple(range(len(JUNK)))),
)


class _StreamActs(streams.Acts):
    """The acts of streams over TLS, and some more of the peer's."""

    def _send_out(self) -> None:
        send_out(self.writer.transport)

    rest = b""

    def act(self, act: Act) -> None:
        if self.rest and self.peer.fileno() >= 0:
            self._peer_sends(lambda: self.peer.sock.send(self.rest))
        self.rest = b""
        super().act(act)

    def _peer_sends(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except OSError:
            self.world.note(streams.READING, "the peer cannot send")

    def send_halves(self, n: int) -> None:
        """A record that comes in two parts, the second one with the next act."""

        def half() -> None:
            first, self.rest = self.peer.halves(b"half" * (n + 1))
            self.peer.sock.send(first)

        if self.peer.fileno() >= 0:
            self._peer_sends(half)

    def send_records(self, n: int) -> None:
        """Several records at once."""

        def records() -> None:
            for number in range(n):
                self.peer.tls.write(b"record %d\n" % number)
            self.peer.flush()

        if self.peer.fileno() >= 0:
            self._peer_sends(records)

    def junk(self, n: int) -> None:
        """What is no record, or not a valid one."""
        if self.peer.fileno() >= 0:
            self._peer_sends(lambda: self.peer.sock.send(JUNK[n]))

    def end(self, n: int) -> None:
        if self.peer.fileno() >= 0:
            super().end(n)

    def close(self, n: int) -> None:
        if not self.writer.is_closing():
            super().close(n)


async def _streams(world: World) -> None:
    script, lib = world.script, world.lib
    world.idle_turns = IDLE_TURNS
    client, server = contexts(script.way)
    deaf = script.way.endswith("deaf")
    with pair(script.wire) as (ours, theirs):
        opening = lib.open_unix_connection if script.wire == "unix" else lib.open_connection
        peer = Party(theirs, server)
        options: Any = {"ssl_shutdown_timeout": 0.05} if deaf else {}
        if script.way.endswith("upgraded"):
            reader, writer = await opening(sock=ours, limit=script.limit)
            task = world.loop.create_task(writer.start_tls(client, server_hostname=HOST))
        else:
            task = world.loop.create_task(
                opening(sock=ours, limit=script.limit, ssl=client, server_hostname=HOST, **options)
            )
        while not (peer.hello() and task.done()):
            await lib.sleep(0)
        if result := task.result():
            reader, writer = result
        acts = _StreamActs(world, reader, writer, peer)
        await world.settle()
        await world.rounds(acts.act)
        if peer.fileno() >= 0:
            acts.collect()
        await acts.reads.end()
        await acts.writes.end()
        acts.state(0)
        if deaf:
            writer.close()
            outcomes = await asyncio.gather(writer.wait_closed(), return_exceptions=True)
            world.note(streams.WRITING, f"closes {told_all(outcomes[0])}")
        writer.transport.abort()  # also if it closes, waiting for a peer that says nothing more
        await world.settle()
        world.attempt(streams.READING, "left", lambda: streams.short(bytes(reader._buffer)))


def run(engine: Engine, script: Script) -> list[str]:
    """The trace of a script."""
    return execute(engine, script, _streams)
