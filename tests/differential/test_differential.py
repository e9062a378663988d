"""A small differential run for every test run, and proof that a big one can fail.

The many programs are `python -m tests.differential`'s. Here: a few hundred by seed, some more
that hypothesis looks for, a few of each family with every task cancelled at every point; and each
mutant must be noticed within 500 programs about what it breaks.
"""

from __future__ import annotations

import gc
import importlib
import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential import catalogue, engines, generate, interpret
from tests.differential.cancel import Cancel
from tests.differential.compare import Pair, report
from tests.differential.mutants import MUTANTS
from tests.differential.primitive_mutants import FAULTLESS, PRIMITIVE_MUTANTS
from tests.differential.program import Op, Program, render, size
from tests.differential.shrink import shrink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.differential.compare import Difference

try:
    importlib.import_module("aioxide")
except ImportError:
    BUILT = False
else:
    BUILT = True

SWEPT = 2

ENGINES = [
    "stock",
    "python",
    *(
        pytest.param(name, marks=pytest.mark.skipif(not BUILT, reason="aioxide is not built"))
        for name in engines.NATIVE
    ),
]


@pytest.fixture
def pair(name: str) -> Iterator[Pair]:
    """Stock and the engine that a test is about."""
    with closing(Pair(engines.STOCK, engines.engine(name))) as made:
        yield made


@pytest.fixture(autouse=True)
def out_of_sight() -> Iterator[None]:
    """The collector runs after each program; what the process holds already need not be seen."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@st.composite
def programs(draw: st.DrawFn) -> Program:
    return generate.generate(generate.DrawnChoices(draw), clocked_percent=5)


def first_difference(
    pair: Pair, count: int, only: tuple[str, ...] = (), sweep_every: int = 0
) -> tuple[int, Difference] | None:
    differences = pair.differences(range(count), only, sweep_every)
    return next(((seed, d) for seed, d in enumerate(differences) if d is not None), None)


def test_every_operation_is_implemented_once() -> None:
    assert catalogue.WAITS.keys() == interpret.WAITS.keys()
    assert catalogue.ACTIONS.keys() == interpret.ACTIONS.keys() | {"raise"}


def test_every_operation_appears_in_a_few_hundred_programs() -> None:
    kinds: set[str] = set()

    def visit(block: tuple[Op, ...]) -> None:
        for op in block:
            kinds.add(op.kind)
            visit(op.body)
            visit(op.other)

    for seed in range(500):
        for body in generate.seeded(seed).bodies:
            visit(body)
    assert kinds == catalogue.SPECS.keys()


def test_a_seed_always_makes_the_same_program() -> None:
    assert [generate.seeded(7), generate.seeded(8)] == [generate.seeded(7), generate.seeded(8)]
    assert generate.seeded(7) != generate.seeded(8)


def test_a_program_can_be_pasted_back_from_its_repr() -> None:
    program = generate.seeded(3)._replace(cancel=Cancel(7, 1, 2))
    assert eval(repr(program), {"Program": Program, "Op": Op, "Cancel": Cancel}) == program
    assert render(program).startswith("# flags:")


@pytest.mark.parametrize("name", ENGINES)
def test_seeded_programs_leave_equal_traces(pair: Pair) -> None:
    found = first_difference(pair, 600)
    assert found is None, report(found[1], pair.names, f"seed {found[0]}")


@pytest.mark.parametrize("family", catalogue.FAMILIES)
@pytest.mark.parametrize("name", ENGINES)
def test_cancelling_each_task_at_each_point_leaves_equal_traces(pair: Pair, family: str) -> None:
    found = first_difference(pair, SWEPT, (family,), sweep_every=1)
    assert found is None, report(found[1], pair.names, f"seed {found[0]} of {family}")


@pytest.mark.parametrize("name", ENGINES)
@settings(
    max_examples=200,
    derandomize="CI" in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(program=programs())
def test_drawn_programs_leave_equal_traces(pair: Pair, program: Program) -> None:
    difference = pair.compare(program)
    assert difference is None, report(difference, pair.names, "found by hypothesis")


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_engine_is_noticed(name: str) -> None:
    with closing(Pair(engines.PYTHON, MUTANTS[name]())) as pair:
        assert first_difference(pair, 500, ("base",)) is not None


@pytest.mark.parametrize("family", catalogue.FAMILIES)
def test_primitives_are_noticed_for_nothing_but_their_fault(family: str) -> None:
    with closing(Pair(engines.STOCK, FAULTLESS.engine("faultless"))) as pair:
        found = first_difference(pair, 60, (family,))
        assert found is None, report(found[1], pair.names, f"seed {found[0]} of {family}")


@pytest.mark.parametrize("name", PRIMITIVE_MUTANTS)
def test_a_broken_primitive_is_noticed(name: str) -> None:
    mutant = PRIMITIVE_MUTANTS[name]
    with closing(Pair(engines.STOCK, mutant.engine(name))) as pair:
        assert first_difference(pair, 300, (mutant.family,), sweep_every=5) is not None


def test_a_difference_is_made_small() -> None:
    with closing(Pair(engines.PYTHON, MUTANTS["callbacks_last_first"]())) as pair:
        found = first_difference(pair, 300, ("base",))
        assert found is not None
        # Stops when nothing can be left out any more, however busy the machine is.
        small = shrink(found[1], pair.compare, seconds=300)
        assert size(small.program) <= 8
        assert ">>> " in report(small, pair.names, "small")
