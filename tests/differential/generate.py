"""Choices to a program.

All randomness comes through one method, `Choices.below`, so the same generator serves two
masters: a seeded Random (tens of thousands of programs a minute) and hypothesis (slow, but
it knows how to look for small examples). Zero is always the plainest choice, which is what
both hypothesis and a reader of a shrunk program want.
"""

from __future__ import annotations

import random
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Protocol

from tests.differential.cancel import HOWS, POINTS, TASKS, Cancel
from tests.differential.catalogue import BODY, FAMILIES, PLAIN, SPECS
from tests.differential.primitives import KITS
from tests.differential.program import Block, Op, Program

if TYPE_CHECKING:
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


def _weights(families: tuple[str, ...]) -> dict[str, int]:
    """How often each kind is drawn: everything by its own weight, or the plain operations and
    those of some families, which together come somewhat more often."""
    if not families:
        return {kind: spec.weight for kind, spec in SPECS.items()}
    weights = dict(PLAIN)
    wanted = 1.3 * sum(weights.values()) / len(families)
    for family in families:
        own = {kind: spec.weight for kind, spec in SPECS.items() if spec.family == family}
        times = max(1, round(wanted / sum(own.values())))
        weights |= {kind: weight * times for kind, weight in own.items()}
    return weights


@cache
def _menu(families: tuple[str, ...], *, waits: bool, clocked: bool) -> tuple[str, ...]:
    """Each kind as often as it weighs."""
    return tuple(
        kind
        for kind, weight in _weights(families).items()
        for _ in range(weight)
        if (waits or not SPECS[kind].waits) and (clocked or not SPECS[kind].clocked)
    )


_MAX_DEPTH = 3
_PAIRS = tuple(combinations((f for f in FAMILIES if f != "base"), 2))
_ALONE = tuple((family,) for family in FAMILIES)
_FOCUS: tuple[tuple[str, ...], ...] = ((),) * 50 + _ALONE * 5 + _PAIRS


class _Writer:
    def __init__(
        self, choices: Choices, bodies: int, families: tuple[str, ...], *, clocked: bool
    ) -> None:
        self._below = choices.below
        self._menus = {
            waits: _menu(families, waits=waits, clocked=clocked) for waits in (True, False)
        }
        self._bodies = bodies
        self._left = 0

    def body(self, number: int) -> Block:
        self._left = 14
        block = self._block(number, 0, 7, waits=True)
        if self._below(6) < 5:
            return block
        return (Op("try_cancel", body=block, other=self._block(number, 1, 3, waits=True)),)

    def _block(self, number: int, depth: int, longest: int, *, waits: bool) -> Block:
        menu = self._menus[waits]
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


def generate(choices: Choices, *, clocked_percent: int = 8, only: tuple[str, ...] = ()) -> Program:
    """One program of roughly 5 to 40 operations: about everything, about one or two families,
    or about those that are asked for."""
    below = choices.below
    families = only or _FOCUS[below(len(_FOCUS))]
    clocked = below(100) >= 100 - clocked_percent
    eager = below(100) >= 92
    debug = below(100) >= 97 and not clocked  # debug mode is slow, and a clock does not wait
    upward = below(100) >= 70
    count = 1 + below(4)
    writer = _Writer(choices, count, families, clocked=clocked)
    bodies = tuple(writer.body(number) for number in range(count))
    roots = tuple(below(count) for _ in range(below(4) + len(families)))
    cancel = Cancel(below(POINTS), below(TASKS), below(HOWS)) if below(3) == 2 else None
    return Program(bodies, roots, clocked, eager, debug, upward, below(KITS), cancel)


def seeded(seed: int, only: tuple[str, ...] = ()) -> Program:
    """The program of a seed, as reports name it."""
    return generate(SeededChoices(seed), only=only)
