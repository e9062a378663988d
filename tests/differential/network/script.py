"""A script as plain data, so that it can be drawn, cut down, and pasted back from a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Act(NamedTuple):
    """What one end does. `n` is a size, a limit, a choice: the act knows."""

    who: int
    kind: str
    n: int = 0


class Reaction(NamedTuple):
    """Acts from within a callback: from the `nth` of its kind, for "data" from the first one in or
    after round `nth`."""

    who: int
    event: str
    nth: int
    acts: tuple[Act, ...]


class Script(NamedTuple):
    """Two ends' acts.

    `bulk` scripts write more than the kernel holds; `styles` are the ends' kinds of protocol, by
    number (see transports.py), or what else a family numbers; `way` is how a connection is made,
    where there are several ways; `limit` is a stream's.
    """

    family: str
    wire: str = "unix"
    way: str = ""
    bulk: bool = False
    debug: bool = False
    styles: tuple[int, int] = (0, 0)
    limit: int = 64
    rounds: tuple[tuple[Act, ...], ...] = ()
    reactions: tuple[Reaction, ...] = ()


def render(script: Script) -> str:
    """The script for people."""
    return "\n".join(_lines(script))


def _lines(script: Script) -> Iterator[str]:
    flags = " ".join(name for name in ("bulk", "debug") if getattr(script, name))
    yield f"# {script.family} over {script.wire} {script.way} {flags}"
    yield f"# styles {script.styles}, limit {script.limit}"
    for number, acts in enumerate(script.rounds):
        yield f"round {number}:"
        for act in acts:
            yield f"    end {act.who}: {act.kind} {act.n or ''}"
    for who, event, nth, acts in script.reactions:
        shown = "; ".join(f"{act.kind} {act.n or ''}".strip() for act in acts)
        yield f"at {event} {nth} of end {who}: {shown}"


def smaller(script: Script) -> Iterator[Script]:
    """Scripts that are a little simpler, the simplest first. A bulk script stays one."""
    wire = "unix" if script.wire == "tcp" else script.wire
    plain = script._replace(debug=False, styles=(0, 0), wire=wire)
    for simpler in (
        plain,
        script._replace(debug=False),
        script._replace(styles=(0, script.styles[1])),
        script._replace(styles=(script.styles[0], 0)),
        script._replace(wire=wire),
    ):
        if simpler != script:
            yield simpler
    for number, acts in enumerate(script.rounds):
        before, after = script.rounds[:number], script.rounds[number + 1 :]
        yield script._replace(rounds=before + after)
        for shorter in _smaller_acts(acts):
            yield script._replace(rounds=(*before, shorter, *after))
    for number, reaction in enumerate(script.reactions):
        first, rest = script.reactions[:number], script.reactions[number + 1 :]
        yield script._replace(reactions=first + rest)
        for shorter in _smaller_acts(reaction.acts):
            yield script._replace(reactions=(*first, reaction._replace(acts=shorter), *rest))


def _smaller_acts(acts: tuple[Act, ...]) -> Iterator[tuple[Act, ...]]:
    for number, act in enumerate(acts):
        before, after = acts[:number], acts[number + 1 :]
        yield before + after
        for n in {0, act.n // 2} - {act.n}:
            yield (*before, act._replace(n=n), *after)
