"""A differing program cut down to the smallest one that still differs.

hypothesis shrinks what hypothesis found, but it cannot be given an example from a seed to
begin with. A program is a small tree, so plain greedy reduction does as well: leave out an
operation, put a block in its place, make a number zero, for as long as the two engines still
disagree. Any tree is a valid program (the interpreter counts indices round and refuses
bodies that do not exist), so no step needs to know what an operation means.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.differential.program import Block, Op, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.differential.compare import Difference


def shrink(
    found: Difference, compare: Callable[[Program], Difference | None], seconds: float = 20.0
) -> Difference:
    """The smallest difference that greedy steps lead to in the time given."""
    until = time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for smaller in _smaller_programs(found.program):
            if time.monotonic() > until:
                return found
            difference = compare(smaller)
            if difference is not None:
                found, progress = difference, True
                break
    return found


def _smaller_programs(program: Program) -> Iterator[Program]:
    plain = Program(program.bodies, program.roots)
    for simpler in (
        plain,
        program._replace(clocked=False),
        program._replace(eager=False),
        program._replace(debug=False),
        program._replace(upward=False),
        program._replace(kit=0),
        program._replace(cancel=None),
        *_smaller_cancels(program),
    ):
        if simpler != program:
            yield simpler
    for number in range(len(program.roots)):
        yield program._replace(roots=program.roots[:number] + program.roots[number + 1 :])
    if len(program.bodies) > 1:
        yield program._replace(bodies=program.bodies[:-1])
    for number, body in enumerate(program.bodies):
        for smaller in _smaller_blocks(body):
            bodies = (*program.bodies[:number], smaller, *program.bodies[number + 1 :])
            yield program._replace(bodies=bodies)


def _smaller_cancels(program: Program) -> Iterator[Program]:
    """Simpler and earlier; with fewer operations, the point that counts comes earlier."""
    cancel = program.cancel
    if cancel is not None:
        yield program._replace(cancel=cancel._replace(how=0))
        for back in (16, 4, 3, 2, 1):
            if cancel.point >= back:
                yield program._replace(cancel=cancel._replace(point=cancel.point - back))


def _smaller_blocks(block: Block) -> Iterator[Block]:
    half = len(block) // 2
    if half > 1:
        yield block[:half]
        yield block[half:]
    for number, op in enumerate(block):
        before, after = block[:number], block[number + 1 :]
        yield before + after
        for part in (op.body, op.other):
            if part:
                yield before + part + after
        for smaller in _smaller_ops(op):
            yield (*before, smaller, *after)


def _smaller_ops(op: Op) -> Iterator[Op]:
    for simpler in (op._replace(a=0), op._replace(b=0), op._replace(c=0)):
        if simpler != op:
            yield simpler
    for body in _smaller_blocks(op.body):
        yield op._replace(body=body)
    for other in _smaller_blocks(op.other):
        yield op._replace(other=other)
