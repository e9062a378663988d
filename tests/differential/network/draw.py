"""Choices to a script.

What may be drawn keeps the comparison fair: outside `bulk` scripts an end writes a few KiB in all,
which any kernel buffer holds, and in them more than any holds, so that whether something is left
over never hangs on how many sends it went out in.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.differential.network.script import Act, Reaction, Script

if TYPE_CHECKING:
    from tests.differential.generate import Choices

BULK = 300 << 10

#: For each act: how often, and what its number may be.
Table = tuple[tuple[int, str, tuple[int, ...]], ...]

TRANSPORT: Table = (
    (10, "write", (1, 10, 100, 500)),
    (3, "writelines", (0, 1, 3, 5)),
    (1, "write_empty", (0, 1)),
    (1, "write_wrong", (0, 1, 2)),
    (3, "write_eof", (0,)),
    (2, "close", (0,)),
    (1, "abort", (0,)),
    (3, "pause_reading", (0,)),
    (4, "resume_reading", (0,)),
    (2, "set_protocol", (0, 1, 2, 3, 4, 5)),
    (1, "set_limits", (0, 1, 2, 3, 4, 5)),
    (3, "look", (0, 1, 2, 3, 4, 5, 6)),
    (3, "soon", (0,)),
    (2, "later", (0,)),
    (1, "set_context", (0,)),
)
BULK_ONLY: Table = ((6, "write_bulk", (0, 1)),)
#: From within resume_writing(), asyncio's transport closes itself twice.
BREAKS_ASYNCIO = {"close", "abort"}
EVENTS = ("made", "data", "data", "data", "eof", "lost", "pause", "resume")

STREAM: Table = (
    (8, "send", (0, 1, 2, 3, 4, 5, 6, 7)),
    (1, "send_long", (100, 200, 3000)),
    (1, "end", (0,)),
    (1, "shut", (0,)),
    (1, "reset", (0,)),
    (4, "read", (-1, 0, 1, 5, 100, 4000)),
    (4, "readexactly", (-1, 0, 1, 5, 30, 150)),
    (5, "readuntil", (0, 1, 2, 3, 4)),
    (4, "readline", (0,)),
    (2, "next", (0,)),
    (3, "cancel", (0, 1)),
    (2, "state", (0,)),
    (3, "write", (0, 1, 50, 500)),
    (1, "writelines", (0, 2)),
    (2, "drain", (0,)),
    (1, "write_eof", (0,)),
    (1, "close", (0,)),
    (1, "wait_closed", (0,)),
)
FED: Table = (
    *(row for row in STREAM if row[1] in {"read", "readexactly", "readuntil", "readline", "next"}),
    (8, "feed", (0, 1, 2, 3, 4, 5, 6, 7)),
    (1, "feed_long", (100, 200, 3000)),
    (1, "feed_eof", (0,)),
    (1, "set_exception", (0,)),
    (3, "cancel", (0, 1)),
    (2, "state", (0,)),
)
SOCKET: Table = (
    (6, "send", (1, 5, 50)),
    (1, "shut", (0,)),
    (1, "end", (0,)),
    (1, "reset", (0,)),
    (5, "recv", (0, 1, 5, 100)),
    (3, "recv_into", (1, 5, 100)),
    (4, "sendall", (0, 1, 100)),
    (2, "collect", (0,)),
    (3, "cancel_read", (0,)),
    (2, "cancel_write", (0,)),
)
SOCKET_BULK: Table = ((4, "sendall_bulk", (0,)),)
DATAGRAM: Table = (
    (6, "send", (0, 1, 5, 50)),
    (5, "recvfrom", (1, 5, 100)),
    (3, "recvfrom_into", (1, 5, 100)),
    (3, "recv", (5, 100)),
    (5, "sendto", (0, 1, 100, 70_000)),
    (2, "collect", (0,)),
    (3, "cancel_read", (0,)),
)


def draw(choices: Choices) -> Script:
    """Any script."""
    family = choices.below(10)
    if family < 6:
        return _transports(choices)
    if family < 9:
        return _streams(choices)
    return _sockets(choices)


def pick(choices: Choices, table: Table, who: int) -> Act:
    """An act of an end, by weight."""
    at = choices.below(sum(weight for weight, _, _ in table))
    for weight, kind, numbers in table:
        at -= weight
        if at < 0:
            return Act(who, kind, numbers[choices.below(len(numbers))])
    raise AssertionError("weights do not add up")


def drawn_rounds(
    choices: Choices, table: Table, ends: int, most: int = 7
) -> tuple[tuple[Act, ...], ...]:
    """Some rounds of acts."""
    return tuple(
        tuple(pick(choices, table, choices.below(ends)) for _ in range(1 + choices.below(4)))
        for _ in range(1 + choices.below(most))
    )


def _transports(choices: Choices) -> Script:
    bulk = choices.below(5) == 4
    table = TRANSPORT + BULK_ONLY * bulk
    rounds = drawn_rounds(choices, table, 2)
    reactions = []
    for _ in range(choices.below(5)):
        who = choices.below(2)
        event = EVENTS[choices.below(len(EVENTS))]
        nth = choices.below(len(rounds)) if event == "data" else 0
        acts = [pick(choices, TRANSPORT, who) for _ in range(1 + choices.below(3))]
        if event == "resume":
            acts = [act for act in acts if act.kind not in BREAKS_ASYNCIO]
        if choices.below(6) == 5:
            acts.append(Act(who, "raise", choices.below(3)))
        reactions.append(Reaction(who, event, nth, tuple(acts)))
    return Script(
        family="transports",
        wire="unix" if bulk or choices.below(2) else "tcp",
        bulk=bulk,
        debug=choices.below(10) == 9,
        styles=(choices.below(6), choices.below(6)),
        rounds=rounds,
        reactions=tuple(reactions),
    )


def _streams(choices: Choices) -> Script:
    fed = choices.below(3) == 2
    return Script(
        family="fed" if fed else "streams",
        wire=("unix", "tcp")[choices.below(2)],
        debug=choices.below(10) == 9,
        limit=(64, 10, 1 << 16)[choices.below(3)],
        rounds=drawn_rounds(choices, FED if fed else STREAM, 1, 12),
    )


def _sockets(choices: Choices) -> Script:
    datagram = choices.below(3) == 2
    bulk = not datagram and choices.below(3) == 2
    table = DATAGRAM if datagram else SOCKET + SOCKET_BULK * bulk
    return Script(
        family="sockets",
        wire="udp" if datagram else "unix" if bulk or choices.below(2) else "tcp",
        bulk=bulk,
        rounds=drawn_rounds(choices, table, 1, 10),
    )


def text(number: int, version: tuple[int, int] = sys.version_info[:2]) -> bytes:
    """A short piece of what a peer sends, with and without separators."""
    return (b"a", b"abc", b"x\n", b"one\ntwo\n", b"\r", b"\nab", b"0123456789", b"ab" * 8)[number]
