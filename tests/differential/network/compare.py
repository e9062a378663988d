"""Two engines and a script to a verdict, with the face that `workers.py` wants of a pair.

A difference counts only if it shows every time and the reference agrees with itself; scripts on
which it does not are counted as undecided.
"""

from __future__ import annotations

import gc
import time
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from tests.differential.network.families import run, seeded
from tests.differential.network.script import Script, render, smaller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.differential.engines import Engine

REPEATS = 3


class Difference(NamedTuple):
    """A script on which two engines disagree, each time."""

    program: Script
    left: list[str]
    right: list[str]


class NetworkPair:
    """Two engines, ready to be compared on many scripts."""

    def __init__(self, reference: Engine, engine: Engine) -> None:
        self.names = (reference.name, engine.name)
        self._engines = (reference, engine)
        self.undecided = 0
        self.swept = 0
        self.beat: Callable[[], None] = lambda: None

    def compare(self, script: Script) -> Difference | None:
        """None unless the traces differ on every repetition."""
        lefts = []
        for _ in range(REPEATS):
            left, right = (run(engine, script) for engine in self._engines)
            if left == right:
                return None
            lefts.append(left)
        if any(other != left for other in lefts):
            self.undecided += 1
            return None
        return Difference(script, left, right)

    def differences(
        self, seeds: Iterable[int], only: tuple[str, ...] = ("network",), sweep_every: int = 0
    ) -> Iterator[Difference | None]:
        """A verdict for each seed of a family."""
        try:
            for number, seed in enumerate(seeds):
                if number % 200 == 0:
                    gc.collect()
                    gc.freeze()
                yield self.compare(seeded(seed, only[0]))
        finally:
            gc.unfreeze()

    def close(self) -> None:
        """Nothing is kept open between runs."""


def shrink(
    found: Difference, compare: Callable[[Script], Difference | None], seconds: float = 20.0
) -> Difference:
    """The smallest difference that greedy steps lead to in the time given."""
    until = time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for script in smaller(found.program):
            if time.monotonic() > until:
                return found
            difference = compare(script)
            if difference is not None:
                found, progress = difference, True
                break
    return found


def report(difference: Difference, names: tuple[str, str], title: str) -> str:
    """A difference for people: the script, then both traces, each difference marked."""
    script, left, right = difference
    width = min(90, max(map(len, (*left, names[0]))))
    lines = [f"=== {title}", render(script), "", f"    {names[0]:<{width}} | {names[1]}"]
    for a, b in zip_longest(left, right, fillvalue=""):
        mark = "    " if a == b else ">>> "
        lines.append(f"{mark}{a:<{width}} | {b}")
    return "\n".join([*lines, "", f"script = {script!r}"])
