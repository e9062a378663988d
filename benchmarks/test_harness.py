"""The harness itself: that its figures, tables, bars and chart say what they claim to.

Beside what it tests, and fast: a benchmark that is wrong misleads for as long as nobody looks.
`pytest benchmarks`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import json
import sys
import xml.etree.ElementTree as ET
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import __main__ as command
from benchmarks import bars, chart, engines, memory, paired, runner, tables, workloads
from benchmarks.progress import Progress
from benchmarks.results import Cell, Results
from benchmarks.worker import NOT_BUILT, measure, told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator
    from pathlib import Path

SETTINGS = runner.Settings(rounds=1, samples=2, seconds=0.001)


def a_run() -> Results:
    """A run with every engine, in which aioxide is twice the best peer and zloop lacks streams."""
    results = Results(
        facts={
            "python": "3.14.0",
            "cores": 2,
            "cpu": "a processor",
            "kernel": "Linux 6",
            "date": "2025-01-01",
            "rounds": 2,
            "samples": 2,
            "seconds": 0.04,
            "load_before": 0.1,
        },
        engines=dict.fromkeys(engines.BY_NAME, "1.0"),
        memory={"sleeping_task": dict.fromkeys(engines.BY_NAME, 1000.0)},
    )
    results.memory["sleeping_task"]["aioxide"] = 575.0
    for name in workloads.WORKLOADS:
        for place, engine in enumerate(engines.BY_NAME):
            base = 100_000.0 * (place + 1)
            results.cell(name, engine).rates = [base * 0.9, base, base * 0.8, base * 0.9]
        results.cell(name, "blazio").rates = [700_000.0]
        results.cell(name, "aioxide").rates = [1_400_000.0]
    results.speed["streams_rtt"]["zloop"] = Cell(failed=NOT_BUILT)
    results.speed["future"]["rloop"] = Cell(failed="TypeError: no")
    return results


def test_best_median_and_shortfall_of_a_cell() -> None:
    cell = Cell([80.0, 100.0, 90.0])
    assert (cell.best, cell.median) == (100.0, 90.0)
    assert cell.shortfall == pytest.approx(0.1)
    assert (Cell().best, Cell().median, Cell().shortfall) == (0.0, 0.0, 0.0)


def test_the_best_peer_is_neither_asyncio_nor_aioxide() -> None:
    results = a_run()
    results.cell("sleep0", "asyncio").rates = [9e9]
    assert results.best_peer("sleep0") == "blazio"
    assert results.ratio("sleep0", "aioxide", "blazio") == 2.0


def test_a_ratio_without_a_figure_is_none() -> None:
    results = a_run()
    assert results.ratio("streams_rtt", "zloop") is None
    assert results.ratio("streams_rtt", "aioxide", None) is None


def test_the_statistic_can_be_the_median() -> None:
    results = a_run()
    assert results.rate("sleep0", "asyncio") == 100_000
    results.statistic = "median"
    assert results.rate("sleep0", "asyncio") == 90_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (16_234_000, "16.2M"),
        (999_600, "1.00M"),
        (304_400, "304k"),
        (96_300, "96.3k"),
        (812, "812"),
        (0.5, "0.50"),
    ],
)
def test_rates_have_three_digits(value: float, text: str) -> None:
    assert tables.rate(value) == text


def test_columns_align_and_headings_make_no_room() -> None:
    assert tables.aligned([["a", "b"], ["a long heading"], ["ccc", "10"]]) == [
        "a     b",
        "a long heading",
        "ccc  10",
    ]


def test_the_report_names_every_workload_and_every_gap() -> None:
    text = tables.report(a_run())
    for name in workloads.WORKLOADS:
        assert f"  {name} " in text
    assert NOT_BUILT in text
    assert "failed: future on rloop: TypeError: no" in text
    assert "2.00" in text


def test_a_run_survives_being_stored() -> None:
    results = a_run()
    again = Results.from_json(results.to_json())
    assert again == results
    assert json.loads(results.to_json())["speed"]["streams_rtt"]["zloop"] == {"failed": NOT_BUILT}
    assert Results.from_json(Results(facts={"python": "3"}).to_json()).facts == {"python": "3"}


def test_the_bars_are_the_ones_that_were_set() -> None:
    verdicts = {v.name: v for v in bars.verdicts(a_run())}
    assert verdicts["timer_cancel"].passed
    assert verdicts["shield"].passed, "where no bar was set, the best peer is the bar"
    assert not verdicts["task_spawn"].passed, "twice the best peer is not three and a half times"
    assert verdicts["memory sleeping_task"].passed
    assert set(bars.AGAINST_BEST_PEER) <= set(workloads.WORKLOADS)
    text, passed = bars.check(a_run())
    assert not passed
    assert "FAIL" in text


def test_what_is_not_built_does_not_pass() -> None:
    results = a_run()
    results.speed["streams_rtt"]["aioxide"] = Cell(failed=NOT_BUILT)
    verdict = next(v for v in bars.verdicts(results) if v.name == "streams_rtt")
    assert (verdict.passed, verdict.note) == (False, NOT_BUILT)


def test_without_aioxide_there_is_nothing_to_check() -> None:
    assert bars.check(Results())[1] is False


def test_the_chart_is_written_as_svg_and_png(tmp_path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        with pytest.raises(chart.NoMatplotlibError):
            chart.draw(a_run(), tmp_path, "3.14")
        return
    svg, png = chart.draw(a_run(), tmp_path, "3.14")
    assert ET.parse(svg).getroot().tag.endswith("svg")
    assert "aioxide" in svg.read_text(encoding="utf-8")
    assert png.read_bytes().startswith(b"\x89PNG")
    before = svg.read_bytes()
    chart.draw(a_run(), tmp_path, "3.14")
    assert svg.read_bytes() == before, "the same figures draw the same picture"


def test_paired_builds_are_compared_round_by_round() -> None:
    results = Results(facts={"rounds": 2}, engines={"A": "1", "B": "2"})
    results.cell("sleep0", "A").rates = [90.0, 100.0, 40.0, 50.0]
    results.cell("sleep0", "B").rates = [110.0, 90.0, 55.0, 40.0]
    results.cell("future", "A").failed = "TypeError: no"
    results.cell("future", "B").rates = [1.0, 1.0, 1.0, 1.0]
    text = paired.table(results)
    assert "1.100" in text
    assert "faster" in text
    assert "TypeError: no" in text


def test_engines_take_turns() -> None:
    three = [runner.Contestant(engines.BY_NAME[n]) for n in ("asyncio", "uvloop", "rloop")]
    assert [c.label for c in runner.rotated(three, 4)] == ["uvloop", "rloop", "asyncio"]
    assert runner.rotated([], 1) == []


def test_primitives_come_from_the_engine_where_it_has_them() -> None:
    own = ModuleType("own")
    own.sleep = noop = object()  # type: ignore[attr-defined]
    space = engines.namespace(own)
    assert space.sleep is noop
    assert space.gather is asyncio.gather


def test_a_name_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no such engine: nope"):
        engines.chosen("asyncio,nope")
    with pytest.raises(ValueError, match="no such workload: nope"):
        workloads.chosen("nope")
    assert [w.name for w in workloads.chosen("lock,net", "net")] == ["lock"]


def test_errors_are_told_without_paths() -> None:
    assert told(OSError("no /home/somebody/file.so here")) == "OSError: no … here"


def test_every_workload_runs_on_asyncio() -> None:
    work = [w for w in workloads.WORKLOADS.values() if w.group != "net"]
    results = runner.run(
        [runner.Contestant(engines.BY_NAME["asyncio"])],
        work,
        runner.Settings(rounds=1, samples=1, seconds=0, memory=False, quick=True),
        Progress(silent=True),
    )
    assert tables.failures(results) == []
    assert all(results.rate(w.name, "asyncio") for w in work)


class Rounding(asyncio.Queue[int]):
    """A queue that gives back another number than it was given."""

    def _get(self) -> int:
        return super()._get() // 2 * 2


def too_few(awaitables: Iterable[Awaitable[int]]) -> Iterator[Awaitable[int]]:
    """as_completed that forgets one of them."""
    found: list[Any] = list(asyncio.as_completed(awaitables))
    found[0].close()
    return iter(found[1:])


async def backwards(*awaitables: Awaitable[int]) -> list[int]:
    """gather whose results have lost their order."""
    return (await asyncio.gather(*awaitables))[::-1]


@pytest.mark.parametrize(
    ("name", "primitive", "broken"),
    [
        ("gather_values", "gather", backwards),
        ("as_completed100", "as_completed", too_few),
        ("as_completed1000", "as_completed", too_few),
        ("queue_free", "Queue", Rounding),
        ("queue_contended", "Queue", lambda size: Rounding(size)),
        ("lifo_queue", "LifoQueue", asyncio.Queue),
        ("priority_queue", "PriorityQueue", asyncio.Queue),
        ("to_thread", "to_thread", lambda call, i: asyncio.sleep(0, 0)),
    ],
)
def test_work_that_was_not_done_is_noticed(name: str, primitive: str, broken: object) -> None:
    own = ModuleType("own")
    setattr(own, primitive, broken)
    work = workloads.WORKLOADS[name]
    opened = dataclasses.replace(engines.BY_NAME["asyncio"].open(), aio=engines.namespace(own))
    with pytest.raises(AssertionError):
        measure(opened, work, 0, 1)


def test_what_takes_seconds_is_measured_once_and_shortened_for_a_smoke_run() -> None:
    sizes = []

    async def run(aio: ModuleType, loop: asyncio.AbstractEventLoop, n: int) -> None:
        sizes.append(n)

    long = workloads.Workload("long", "crowds", "", 1000, run, quick=10)
    opened = engines.BY_NAME["asyncio"].open()
    assert len(measure(opened, long, 0, 3)) == 1
    assert len(measure(opened, long, 0, 3, quick=True)) == 1
    assert sizes == [1000, 10]
    short = dataclasses.replace(long, quick=0)
    assert len(measure(opened, short, 0, 3, quick=True)) == 3
    assert sizes == [1000, 10] + [1000] * 4, "a warm-up, then the samples"


def test_memory_is_counted_per_thing() -> None:
    results = runner.run(
        [runner.Contestant(engines.BY_NAME["asyncio"])],
        [],
        runner.Settings(quick=True),
        Progress(silent=True),
    )
    assert 300 < results.memory["sleeping_task"]["asyncio"] < 5000
    assert results.memory.keys() == memory.KINDS.keys()


def test_an_engine_that_hangs_costs_its_cell_and_not_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def hang(self: runner.Child, request: dict[str, object], timeout: float) -> dict[str, object]:
        asked.append(request["workload"])
        raise runner.HungError("hung for 0 s")

    monkeypatch.setattr(runner.Child, "ask", hang)
    results = runner.run(
        [runner.Contestant(engines.BY_NAME["asyncio"])],
        workloads.chosen("lock,event"),
        runner.Settings(rounds=2, memory=False),
        Progress(silent=True),
    )
    assert {c["asyncio"].failed for c in results.speed.values()} == {"hung for 0 s"}
    assert sorted(map(str, asked)) == ["event", "lock"], "asked once, not in each round"


def test_the_command_writes_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = ["--quick", "--engines", "asyncio", "--workloads", "lock_free", "--no-memory"]
    assert command.main([*only, "--output", str(tmp_path)]) == 0
    assert "lock_free" in capsys.readouterr().out
    stored = tmp_path / "{}.{}.json".format(*sys.version_info)
    assert str(tmp_path) not in stored.read_text(encoding="utf-8")
    assert command.main(["--load", str(stored), "--check"]) == 1
    assert "nothing to check" in capsys.readouterr().out
