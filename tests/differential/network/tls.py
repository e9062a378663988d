"""TLS: two transports connected to each other, streams with a peer held by hand, and handshakes.

A script's `way` is the version of TLS and how it comes about: "direct" from the start, "upgraded"
by start_tls() on a plain connection, "deaf" with a peer that never answers a close, or what goes
wrong in a handshake.

Not drawn, for asyncio's transports break on it: anything after close() of what closes already,
set_write_buffer_limits() after connection_lost(), and pause_reading() in connection_made(), which
keeps the end of the handshake back.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from typing import TYPE_CHECKING, Any

from tests.differential.network.draw import (
    BULK_ONLY,
    EVENTS,
    TRANSPORT,
    drawn_rounds,
    pick,
)
from tests.differential.network.script import Act, Reaction, Script
from tests.differential.network.tls_party import IDLE_TURNS, JUNK, contexts, send_out, told_all
from tests.differential.network.tls_streams import STREAM_TABLE
from tests.differential.network.transports import ACTS as PLAIN_ACTS
from tests.differential.network.transports import Acts, End, acting
from tests.differential.network.world import World, execute, pair
from tests.tls.certificates import HOST

if TYPE_CHECKING:
    from tests.differential.engines import Engine
    from tests.differential.generate import Choices

_BREAKS_ASYNCIO = {"close", "abort"}  # from within resume_writing()
_FAULTS = (
    "stranger",
    "other name",
    "no certificate",
    "no protocol",
    "old client",
    "not tls",
    "half a hello",
    "gone",
    "silent",
    "closed within",
)


def draw(choices: Choices) -> Script:
    """Any script about TLS."""
    version = ("1.3", "1.2")[choices.below(2)]
    kind = choices.below(10)
    if kind < 6:
        return _transports(choices, version)
    if kind < 9:
        deaf = choices.below(6) == 5
        way = "deaf" if deaf else ("direct", "upgraded")[choices.below(2)]
        table = STREAM_TABLE
        if deaf:
            drop = {"close", "end", "reset", "shut", "junk"}
            table = tuple(row for row in table if row[1] not in drop)
        return Script(
            family="tls_streams",
            wire=("unix", "tcp")[choices.below(2)],
            way=f"{version} {way}",
            debug=choices.below(10) == 9,
            limit=(64, 10, 1 << 16)[choices.below(3)],
            rounds=drawn_rounds(choices, table, 1, 10),
        )
    return Script(
        family="tls_faults",
        wire=("unix", "tcp")[choices.below(2)],
        way=f"{version} {_FAULTS[choices.below(len(_FAULTS))]}",
        debug=choices.below(10) == 9,
        styles=(choices.below(6), choices.below(6)),
    )


def _transports(choices: Choices, version: str) -> Script:
    bulk = choices.below(6) == 5
    rounds = drawn_rounds(choices, TRANSPORT + BULK_ONLY * bulk, 2)
    reactions = []
    for _ in range(choices.below(5)):
        who = choices.below(2)
        event = EVENTS[choices.below(len(EVENTS))]
        nth = choices.below(len(rounds)) if event == "data" else 0
        acts = [pick(choices, TRANSPORT, who) for _ in range(1 + choices.below(3))]
        if event == "resume":
            acts = [act for act in acts if act.kind not in _BREAKS_ASYNCIO]
        if event == "made":
            acts = [act for act in acts if act.kind != "pause_reading"]
        if choices.below(6) == 5:
            acts.append(Act(who, "raise", choices.below(3)))
        reactions.append(Reaction(who, event, nth, tuple(acts)))
    return Script(
        family="tls",
        wire="unix" if bulk or choices.below(2) else "tcp",
        way=f"{version} {('direct', 'upgraded')[choices.below(2)]}",
        bulk=bulk,
        debug=choices.below(10) == 9,
        styles=(choices.below(6), choices.below(6)),
        rounds=rounds,
        reactions=tuple(reactions),
    )


class _TlsActs(Acts):
    """The acts of transports, but for those on which asyncio's break."""

    def __init__(self) -> None:
        self.closed_twice: set[int] = set()

    def act(self, world: World, act: Act) -> None:
        if act.who not in self.closed_twice:
            super().act(world, act)

    def flush(self, end: End) -> None:
        """Have what was written handed to the kernel."""
        if end.transport is not None and end.who not in self.closed_twice:
            send_out(end.transport)

    def close(self, world: World, end: End, n: int) -> None:
        if end.transport.is_closing():
            self.closed_twice.add(end.who)
        super().close(world, end, n)

    def set_limits(self, world: World, end: End, n: int) -> None:
        if not end.lost:
            super().set_limits(world, end, n)

    def unless_closed(self, end: End, size: int) -> bytes:
        """The next bytes; those that go nowhere are not counted."""
        return bytes(size) if end.transport.is_closing() else end.next_bytes(size)

    def look(self, world: World, end: End, n: int) -> None:
        if n != 6:
            super().look(world, end, n)
            return
        transport = end.transport
        for name in ("cipher", "compression", "ssl_object", "sslcontext", "socket", "no"):
            world.attempt(end.who, name, lambda name=name: _shown(transport.get_extra_info(name)))
        world.attempt(
            end.who, "peercert", lambda: sorted(transport.get_extra_info("peercert") or ())
        )


def _shown(extra: Any) -> Any:
    """What can be compared of it."""
    if isinstance(extra, ssl.SSLObject):
        return extra.version(), extra.selected_alpn_protocol(), extra.server_side
    return extra if isinstance(extra, tuple | str) else type(extra).__name__


async def _connected(world: World, ends: list[End], socks: Any) -> list[BaseException | None]:
    """Have both ends say hello; what each of them failed with."""
    script, loop = world.script, world.loop
    found: Any
    client, server = contexts(script.way)
    if script.way.endswith("upgraded"):
        plain = [End(world, who) for who in (0, 1)]
        for end, sock in zip(plain, socks, strict=True):
            await loop.connect_accepted_socket(functools.partial(end.protocol, 0), sock)
        await world.settle()
        protocols = [end.protocol(script.styles[end.who]) for end in ends]
        for end, protocol in zip(plain, protocols, strict=True):
            end.transport.set_protocol(protocol)
        found = await asyncio.gather(
            loop.start_tls(plain[0].transport, protocols[0], client, server_hostname=HOST),
            loop.start_tls(plain[1].transport, protocols[1], server, server_side=True),
            return_exceptions=True,
        )
        for end, result in zip(ends, found, strict=True):
            if not isinstance(result, BaseException):
                end.transport = result
        for end in plain:
            end.transport = None
    else:
        opening = loop.create_unix_connection if script.wire == "unix" else loop.create_connection
        made: Any = [functools.partial(end.protocol, script.styles[end.who]) for end in ends]
        found = await asyncio.gather(
            opening(made[0], sock=socks[0], ssl=client, server_hostname=HOST),
            loop.connect_accepted_socket(made[1], socks[1], ssl=server),
            return_exceptions=True,
        )
    return [one if isinstance(one, BaseException) else None for one in found]


async def _main(world: World) -> None:
    script = world.script
    world.idle_turns = IDLE_TURNS
    acts = _TlsActs()
    ends = [End(world, who, acts) for who in (0, 1)]
    world.ends = ends
    with pair(script.wire) as socks:
        errors = await _connected(world, ends, socks)
        await world.settle()
        for end, error in zip(ends, errors, strict=True):
            if error is not None:  # by what an end did in its connection_made()
                world.note(end.who, f"connects {told_all(error)}")
                acts.closed_twice.add(end.who)
        await world.rounds(acting(world, ends, acts))
        for end in ends:
            world.note(end.who, "ending")
            if end.transport is not None and end.who not in acts.closed_twice:
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


async def _faults(world: World) -> None:
    """A handshake that fails, one way or the other."""
    script = world.script
    world.idle_turns = IDLE_TURNS
    how = script.way.partition(" ")[2]
    ends = [End(world, 0, PLAIN_ACTS), End(world, 1, PLAIN_ACTS)]
    world.ends = ends
    with pair(script.wire) as socks:
        if how in {"stranger", "other name", "no certificate", "no protocol", "old client"}:
            for end, error in zip(ends, await _connected(world, ends, socks), strict=True):
                world.note(end.who, f"connects {told_all(error)}")
        else:
            await _alone(world, how, ends, socks)
        await world.settle()
        for end in ends:
            if end.transport is not None:
                end.transport.abort()
        await world.settle()
        for end in ends:
            end.transport = None


async def _alone(world: World, how: str, ends: list[End], socks: Any) -> None:
    """One end, by its style a client or a server, and a peer that does not play along."""
    loop, style = world.loop, world.script.styles[0]
    client, server = contexts(world.script.way)
    who = style % 2
    timeout = 0.02 if how == "silent" else 60
    connecting: Any = (
        loop.create_connection(
            lambda: ends[0].protocol(style), sock=socks[0], ssl=client, server_hostname=HOST,
            ssl_handshake_timeout=timeout,
        )
        if who == 0
        else loop.connect_accepted_socket(
            lambda: ends[1].protocol(style), socks[0], ssl=server, ssl_handshake_timeout=timeout
        )
    )  # fmt: skip
    if world.script.wire == "unix" and who == 0:
        connecting.close()
        connecting = loop.create_unix_connection(
            lambda: ends[0].protocol(style), sock=socks[0], ssl=client, server_hostname=HOST,
            ssl_handshake_timeout=timeout,
        )  # fmt: skip
    task = loop.create_task(connecting)
    await world.settle()
    peer = socks[1]
    if how == "not tls":
        peer.send(JUNK[0])
    elif how == "half a hello":
        peer.send(JUNK[3])
        await world.settle()
        peer.shutdown(socket.SHUT_WR)
    elif how == "gone":
        peer.close()
    elif how == "closed within":
        task.cancel()
    await asyncio.wait([task])
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    world.note(who, f"connects {told_all(error)}")


def run(engine: Engine, script: Script) -> list[str]:
    """The trace of a script."""
    return execute(engine, script, _faults if script.family == "tls_faults" else _main)
