"""Two engines and a program to a verdict.

A difference counts only if it shows every time, and only if the reference agrees with itself.
A clocked program is repeated with slots of 4, 8, 16 ms and so on to half a second, at which hardly
any pause of the machine is mistaken for a late timer. Where the reference wavers (a very busy
machine, or an order that the stdlib takes from a set) the program proves nothing; those are
counted.
"""

from __future__ import annotations

import gc
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from tests.differential.cancel import HOWS, Cancel
from tests.differential.execute import SLOT, Runner
from tests.differential.generate import seeded
from tests.differential.mutants import MUTANTS
from tests.differential.program import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.differential.engines import Engine
    from tests.differential.program import Program

REPEATS = 4
# Of a clocked program, where time itself may be what differs.
CLOCKED_REPEATS = 7
MOST_CANCELS = 200


class Difference(NamedTuple):
    """A program on which two engines disagree, each time."""

    program: Program
    left: list[str]
    right: list[str]


class Pair:
    """Two engines, ready to be compared on many programs. `undecided` counts those that
    proved nothing, `swept` the cancellations that sweeps tried, and `beat` is called before each
    of these."""

    def __init__(self, reference: Engine, engine: Engine) -> None:
        self.names = (reference.name, engine.name)
        # Only C tasks and native ones agree on what an exception was raised in the middle of.
        chains = not ({"python", *MUTANTS} & set(self.names))
        self._left = Runner(reference, chains=chains)
        self._right = Runner(engine, chains=chains)
        self.undecided = 0
        self.swept = 0
        self.beat: Callable[[], None] = lambda: None

    def compare(self, program: Program) -> Difference | None:
        """None unless the traces differ on every repetition."""
        lefts = []
        for repeat in range((CLOCKED_REPEATS if program.clocked else REPEATS) + 1):
            slot = SLOT * 2**repeat
            left, right = self._left.run(program, slot), self._right.run(program, slot)
            if left == right:
                return None
            lefts.append(left)
        if any(other != left for other in lefts[-3:]):
            self.undecided += 1
            return None
        return Difference(program, left, right)

    def sweep(self, program: Program) -> Difference | None:
        """The first difference when each task of a program is cancelled at each point of its
        life, one in a run, in one way after the other."""
        plain = program._replace(clocked=False, debug=False, cancel=None)
        places = [
            Cancel(point, task, (point + task + program.kit) % HOWS)
            for point, alive in enumerate(self._left.watch(plain))
            for task in alive
        ]
        every = -(-len(places) // MOST_CANCELS)
        for cancel in places[:: every or 1]:
            self.swept += 1
            self.beat()
            difference = self.compare(plain._replace(cancel=cancel))
            if difference is not None:
                return difference
        return None

    def verdict(self, seed: int, program: Program, sweep_every: int) -> Difference | None:
        """The program as it is, and every so many seeds also swept."""
        difference = self.compare(program)
        if difference is None and sweep_every and seed % sweep_every == 0:
            difference = self.sweep(program)
        return difference

    def differences(
        self, seeds: Iterable[int], only: tuple[str, ...] = (), sweep_every: int = 0
    ) -> Iterator[Difference | None]:
        """A verdict for each seed. The collector runs after each run, so what the process
        already holds is put out of its sight meanwhile."""
        gc.collect()
        gc.freeze()
        try:
            for seed in seeds:
                yield self.verdict(seed, seeded(seed, only), sweep_every)
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
