"""Two engines and a program to a verdict.

A difference counts only if it shows every time, and only if the reference agrees with itself.
A clocked program is repeated with slots of 4, 8, 16 and 32 ms, at which hardly any pause of the
machine is mistaken for a late timer. Where the reference wavers (a very busy machine, or an
order that the stdlib takes from a set) the program proves nothing; those are counted.
"""

from __future__ import annotations

import gc
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from tests.differential.execute import SLOT, Runner
from tests.differential.mutants import MUTANTS
from tests.differential.program import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.differential.engines import Engine
    from tests.differential.program import Program

REPEATS = 4


class Difference(NamedTuple):
    """A program on which two engines disagree, each time."""

    program: Program
    left: list[str]
    right: list[str]


class Pair:
    """Two engines, ready to be compared on many programs; `undecided` counts those that
    proved nothing."""

    def __init__(self, reference: Engine, engine: Engine) -> None:
        self.names = (reference.name, engine.name)
        # Only C tasks and native ones agree on what an exception was raised in the middle of.
        chains = not ({"python", *MUTANTS} & set(self.names))
        self._left = Runner(reference, chains=chains)
        self._right = Runner(engine, chains=chains)
        self.undecided = 0

    def compare(self, program: Program) -> Difference | None:
        """None unless the traces differ on every repetition."""
        lefts = []
        for repeat in range(REPEATS + 1):
            slot = SLOT * 2**repeat
            left, right = self._left.run(program, slot), self._right.run(program, slot)
            if left == right:
                return None
            lefts.append(left)
        if any(other != left for other in lefts[-3:]):
            self.undecided += 1
            return None
        return Difference(program, left, right)

    def differences(self, programs: Iterable[Program]) -> Iterator[Difference | None]:
        """A verdict for each program. The collector runs after each one, so what the process
        already holds is put out of its sight meanwhile."""
        gc.collect()
        gc.freeze()
        try:
            for program in programs:
                yield self.compare(program)
        finally:
            gc.unfreeze()

    def close(self) -> None:
        """Close the loops in use."""
        self._left.close()
        self._right.close()


def report(difference: Difference, names: tuple[str, str], title: str) -> str:
    """A difference for people: the program, then both traces, the first difference marked."""
    program, left, right = difference
    width = max(map(len, (*left, names[0])))
    first = next((n for n, (a, b) in enumerate(zip_longest(left, right)) if a != b), len(left))
    lines = [f"=== {title}", render(program), "", f"    {names[0]:<{width}} | {names[1]}"]
    for number, (a, b) in enumerate(zip_longest(left, right, fillvalue="")):
        mark = ">>> " if number == first else "    "
        if number < first - 12:
            continue
        if number > first + 12:
            lines.append("    ...")
            break
        lines.append(f"{mark}{a:<{width}} | {b}")
    return "\n".join([*lines, "", f"program = {program!r}"])
