"""A few scripts for every test run, and proof that many of them can fail.

The many are `python -m tests.differential --only network`'s.
"""

from __future__ import annotations

import pytest

from tests.differential import engines
from tests.differential.network import compare, draw
from tests.differential.network.mutants import NETWORK_MUTANTS, faultless
from tests.differential.network.script import Act, Reaction, Script, render

SCRIPTS = 400
TO_NOTICE = 3000


def first_difference(
    engine: engines.Engine, count: int
) -> tuple[int, compare.NetworkPair, compare.Difference] | None:
    pair = compare.NetworkPair(engines.STOCK, engine)
    for seed, difference in enumerate(pair.differences(range(count))):
        if difference is not None:
            return seed, pair, difference
    return None


def test_a_seed_always_makes_the_same_script() -> None:
    assert draw.seeded(7) == draw.seeded(7) != draw.seeded(8)


def test_a_script_can_be_pasted_back_from_its_repr() -> None:
    script = draw.seeded(3)
    assert eval(repr(script), {"Script": Script, "Act": Act, "Reaction": Reaction}) == script
    assert render(script).startswith("# ")


def test_every_act_appears_in_a_few_thousand_scripts() -> None:
    scripts = [draw.seeded(seed) for seed in range(3000)]
    kinds = {act.kind for script in scripts for acts in script.rounds for act in acts}
    kinds |= {act.kind for script in scripts for one in script.reactions for act in one.acts}
    tables = (draw.TRANSPORT, draw.BULK_ONLY, draw.STREAM, draw.FED, draw.SOCKET)
    drawn = {kind for table in (*tables, draw.SOCKET_BULK, draw.DATAGRAM) for _, kind, _ in table}
    assert kinds == drawn | {"raise"}


def test_asyncio_agrees_with_itself_each_time() -> None:
    """Once is enough here: what is compared must not hang on chance."""
    for seed in range(SCRIPTS):
        script = draw.seeded(seed)
        assert compare.run(engines.STOCK, script) == compare.run(engines.STOCK, script), seed


@pytest.mark.parametrize("name", ["aioxide", "aioxide-stdlib"])
def test_seeded_scripts_leave_equal_traces(name: str) -> None:
    found = first_difference(engines.engine(name), SCRIPTS)
    if found is not None:
        seed, pair, difference = found
        pytest.fail(compare.report(difference, pair.names, f"seed {seed}"))


@pytest.mark.parametrize("number", range(3))
def test_engines_are_noticed_for_nothing_but_their_fault(number: int) -> None:
    assert first_difference(faultless()[number], 200) is None


@pytest.mark.parametrize("name", NETWORK_MUTANTS)
def test_a_broken_network_is_noticed(name: str) -> None:
    assert first_difference(NETWORK_MUTANTS[name](), TO_NOTICE) is not None


def test_a_difference_is_made_small() -> None:
    found = first_difference(NETWORK_MUTANTS["eof_always_closes"](), TO_NOTICE)
    assert found is not None
    _, pair, difference = found
    small = compare.shrink(difference, pair.compare)
    assert sum(map(len, small.program.rounds)) <= 3
    assert ">>> " in compare.report(small, pair.names, "small")
