"""Choices to a program.

All randomness comes through one method, `Choices.below`, so the same generator serves two
masters: a seeded Random (tens of thousands of programs a minute) and hypothesis (slow, but
it knows how to look for small examples). Zero is always the plainest choice, which is what
both hypothesis and a reader of a shrunk program want.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

from tests.differential.catalogue import BODY, SPECS
from tests.differential.program import Block, Op, Program

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis import strategies as st


class Choices(Protocol):
    """Where decisions come from."""

    def below(self, limit: int) -> int:
        """A number from 0 up to, not including, `limit`."""


class SeededChoices:
    """Choices from a seed: equal seeds make equal programs on every machine."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def below(self, limit: int) -> int:
        return int(self._random() * limit)


class DrawnChoices:
    """Choices that hypothesis makes, and shrinks."""

    def __init__(self, draw: st.DrawFn) -> None:
        from hypothesis import strategies  # so that only those who use it need it

        self._draw = draw
        self._integers = strategies.integers

    def below(self, limit: int) -> int:
        return self._draw(self._integers(0, limit - 1)) if limit > 1 else 0


def _menu(*, waits: bool, clocked: bool) -> tuple[str, ...]:
    """Each kind as often as it weighs."""
    kinds: Iterable[str] = SPECS
    return tuple(
        kind
        for kind in kinds
        for _ in range(SPECS[kind].weight)
        if (waits or not SPECS[kind].waits) and (clocked or not SPECS[kind].clocked)
    )


_MENUS = {(w, c): _menu(waits=w, clocked=c) for w in (True, False) for c in (True, False)}
_MAX_DEPTH = 3


class _Writer:
    def __init__(self, choices: Choices, bodies: int, *, clocked: bool) -> None:
        self._below = choices.below
        self._bodies = bodies
        self._clocked = clocked
        self._left = 0

    def body(self, number: int) -> Block:
        self._left = 14
        return self._block(number, 0, 7, waits=True)

    def _block(self, number: int, depth: int, longest: int, *, waits: bool) -> Block:
        menu = _MENUS[waits, self._clocked]
        ops = []
        for _ in range(1 + self._below(longest)):
            if self._left <= 0:
                break
            self._left -= 1
            ops.append(self._op(menu[self._below(len(menu))], number, depth))
        return tuple(ops)

    def _op(self, kind: str, number: int, depth: int) -> Op:
        spec = SPECS[kind]
        if spec.blocks and depth >= _MAX_DEPTH:
            return Op("yield0") if spec.waits else Op("set_var", self._below(9))
        numbers = [0, 0, 0]
        for place, limit in enumerate(spec.ranges):
            if limit != BODY:
                numbers[place] = self._below(limit)
            elif number + 1 < self._bodies:
                numbers[place] = number + 1 + self._below(self._bodies - number - 1)
            else:
                return Op("all_tasks") if not spec.waits else Op("yield0")
        blocks: list[Block] = [
            self._block(number, depth + 1, 3, waits=spec.waits) for _ in range(spec.blocks)
        ]
        body = blocks[0] if blocks else ()
        other = blocks[1] if len(blocks) > 1 else ()
        return Op(kind, numbers[0], numbers[1], numbers[2], body, other)


def generate(choices: Choices, *, clocked_percent: int = 15) -> Program:
    """One program of roughly 5 to 40 operations."""
    below = choices.below
    clocked = below(100) >= 100 - clocked_percent
    eager = below(100) >= 92
    debug = below(100) >= 97 and not clocked  # debug mode is slow, and a clock does not wait
    upward = below(100) >= 70
    count = 1 + below(4)
    writer = _Writer(choices, count, clocked=clocked)
    bodies = tuple(writer.body(number) for number in range(count))
    roots = tuple(below(count) for _ in range(below(4)))
    return Program(bodies, roots, clocked, eager, debug, upward)


def seeded(seed: int) -> Program:
    """The program of a seed, as reports name it."""
    return generate(SeededChoices(seed))
