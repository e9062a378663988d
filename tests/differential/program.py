"""A program as plain data, and as text to read.

A program is data and not code so that it can be drawn, compared, pickled to a worker,
cut down to the smallest one that still differs, and pasted back from a report: the repr
of a Program is the program. The price is an interpreter (actions.py, waits.py), whose
frames stand between a task and what it awaits; they do not change what a loop sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.differential import primitives
from tests.differential.cancel import Cancel, describe
from tests.differential.catalogue import SPECS

if TYPE_CHECKING:
    from collections.abc import Iterator


class Op(NamedTuple):
    """One operation: at most three small numbers, at most two blocks."""

    kind: str
    a: int = 0
    b: int = 0
    c: int = 0
    body: tuple[Op, ...] = ()
    other: tuple[Op, ...] = ()


Block = tuple[Op, ...]


class Program(NamedTuple):
    """Coroutine bodies; body 0 is started first, then `roots`.

    A body only starts bodies with a higher number, so every program ends.
    `clocked` programs wait for real time and leave out turn numbers, `eager` ones run under
    an eager task factory, `debug` ones in asyncio's debug mode; in `upward` ones tasks wait for
    older tasks instead of younger. `kit` says which primitives there are, `cancel` whom somebody
    from outside cancels, and at which point.
    """

    bodies: tuple[Block, ...]
    roots: tuple[int, ...] = ()
    clocked: bool = False
    eager: bool = False
    debug: bool = False
    upward: bool = False
    kit: int = 0
    cancel: Cancel | None = None


def render(program: Program) -> str:
    """The program as Python-like text; the names in it are explained in world.py."""
    flags = [name for name in ("clocked", "eager", "debug", "upward") if getattr(program, name)]
    lines = [f"# flags: {', '.join(flags) or 'none'}; tasks started: body_0"]
    lines[0] += "".join(f", body_{root}" for root in program.roots)
    lines.append(f"# {primitives.describe(program.kit)}")
    if program.cancel is not None:
        lines.append(f"# from outside: {describe(program.cancel)}")
    for number, body in enumerate(program.bodies):
        lines.append(f"async def body_{number}():")
        lines.extend(_block(body, 1))
    return "\n".join(lines)


def _block(block: Block, depth: int) -> Iterator[str]:
    pad = "    " * depth
    if not block:
        yield f"{pad}pass"
    for op in block:
        spec = SPECS[op.kind]
        yield pad + spec.text.format(a=op.a, b=op.b, c=op.c)
        if spec.blocks:
            yield from _block(op.body, depth + 1)
        if spec.blocks == 2:
            yield pad + spec.second
            yield from _block(op.other, depth + 1)


def size(program: Program) -> int:
    """How many operations the program has, nested ones included."""
    return sum(_count(body) for body in program.bodies)


def _count(block: Block) -> int:
    return sum(1 + _count(op.body) + _count(op.other) for op in block)
