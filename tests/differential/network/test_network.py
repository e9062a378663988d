"""A few scripts for every test run, and proof that many of them can fail.

The many are `python -m tests.differential`'s, with `--only network`, `tls` and so on.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential import engines
from tests.differential.network import (
    children,
    compare,
    draw,
    families,
    pipe_mutants,
    pipes,
    processes,
    signals,
    tls_mutants,
    tls_streams,
)
from tests.differential.network.mutants import NETWORK_MUTANTS, faultless
from tests.differential.network.script import Act, Reaction, Script, render

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How many scripts of each family are run here, by what one costs.
SCRIPTS = {"network": 400, "tls": 60, "pipes": 200, "children": 40, "signals": 150}
TO_NOTICE = 3000

#: All that a family's scripts may hold; and after how many of them all has been seen.
TABLES = {
    "network": (
        draw.TRANSPORT,
        draw.BULK_ONLY,
        draw.STREAM,
        draw.FED,
        draw.SOCKET,
        draw.SOCKET_BULK,
        draw.DATAGRAM,
    ),
    "tls": (draw.TRANSPORT, draw.BULK_ONLY, tls_streams.STREAM_TABLE),
    "pipes": (
        pipes.WRITER,
        pipes.READER,
        pipes.BULK_WRITER,
        pipes.FEEDER,
        pipes.FEEDER_BULK,
        pipes.TAKER,
        pipes.BULK_TAKER,
        pipes.ODD,
        draw.STREAM,
    ),
    "children": (children.CHILD, children.CHILD_BULK, processes.STREAMED),
    "signals": (signals.TABLE,),
}
OTHER_MUTANTS = pipe_mutants.PIPE_MUTANTS | tls_mutants.TLS_MUTANTS


def first_difference(
    engine: engines.Engine, count: int, family: str = "network"
) -> tuple[int, compare.NetworkPair, compare.Difference] | None:
    pair = compare.NetworkPair(engines.STOCK, engine)
    for seed, difference in enumerate(pair.differences(range(count), (family,))):
        if difference is not None:
            return seed, pair, difference
    return None


def test_a_seed_always_makes_the_same_script() -> None:
    assert families.seeded(7) == families.seeded(7) != families.seeded(8)


def test_a_script_can_be_pasted_back_from_its_repr() -> None:
    script = families.seeded(3)
    assert eval(repr(script), {"Script": Script, "Act": Act, "Reaction": Reaction}) == script
    assert render(script).startswith("# ")


if sys.version_info < (3, 12):

    @pytest.fixture(autouse=True)
    def _child_watcher() -> Iterator[None]:
        """What asyncio hears of ends by is the whole process's; scripts have it another way."""
        policy: Any = asyncio.get_event_loop_policy()
        before = vars(policy).get("_watcher")
        yield
        policy._watcher = before


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_act_appears_in_a_few_thousand_scripts(family: str) -> None:
    scripts = [families.seeded(seed, family) for seed in range(3000)]
    kinds = {act.kind for script in scripts for acts in script.rounds for act in acts}
    kinds |= {act.kind for script in scripts for one in script.reactions for act in one.acts}
    assert kinds == {kind for table in TABLES[family] for _, kind, _ in table} | {"raise"}


@pytest.mark.parametrize("family", families.FAMILIES)
def test_asyncio_agrees_with_itself_each_time(family: str) -> None:
    """What is compared must not hang on chance; a pause of the machine shows once, not always."""
    for seed in range(SCRIPTS[family]):
        script = families.seeded(seed, family)
        tries = (
            families.run(engines.STOCK, script) == families.run(engines.STOCK, script)
            for _ in range(3)
        )
        assert any(tries), seed


@pytest.mark.parametrize("family", families.FAMILIES)
@pytest.mark.parametrize("name", ["aioxide", "aioxide-stdlib"])
def test_seeded_scripts_leave_equal_traces(name: str, family: str) -> None:
    found = first_difference(engines.engine(name), SCRIPTS[family], family)
    if found is not None:
        seed, pair, difference = found
        pytest.fail(compare.report(difference, pair.names, f"seed {seed}"))


@pytest.mark.parametrize("number", range(3))
def test_engines_are_noticed_for_nothing_but_their_fault(number: int) -> None:
    assert first_difference(faultless()[number], 200) is None


@pytest.mark.parametrize("number", range(5))
def test_other_engines_are_noticed_for_nothing_but_their_fault(number: int) -> None:
    mutant = [*pipe_mutants.faultless(), *tls_mutants.faultless()][number]
    assert first_difference(mutant.engine(), SCRIPTS[mutant.family], mutant.family) is None


@pytest.mark.parametrize("name", OTHER_MUTANTS)
def test_broken_pipes_children_signals_and_tls_are_noticed(name: str) -> None:
    mutant = OTHER_MUTANTS[name]
    assert first_difference(mutant.engine(), TO_NOTICE, mutant.family) is not None


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
