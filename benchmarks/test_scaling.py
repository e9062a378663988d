"""The scaling run: that its figures are what they are called, and that it knows when to stop.

Beside test_harness.py, which tests the rest of the harness; `pytest benchmarks` runs both.
"""

from __future__ import annotations

import gc
import importlib.util
import time
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from benchmarks import __main__ as command
from benchmarks import (
    bars,
    chart,
    engines,
    runner,
    scaling,
    scaling_chart,
    scaling_results,
    scaling_run,
)
from benchmarks.progress import Progress
from benchmarks.results import Results
from benchmarks.scaling_results import Scaling, Series

if TYPE_CHECKING:
    from pathlib import Path

PLENTY = 1e12
QUICK = runner.Settings(quick=True)


def series_of(*costs: float, stopped: str = "") -> Series:
    """Costs at the sizes in turn, a tenth of them the collector's."""
    bare = {n: cost * 0.9 for n, cost in zip(scaling_run.SIZES, costs, strict=False)}
    return Series(dict(zip(scaling_run.SIZES, costs, strict=False)), bare, stopped)


def a_run() -> Scaling:
    """A run in which asyncio is flat, aioxide a little dearer at the end, and rloop quadratic."""
    made = Scaling(
        facts={"python": "3.14.0", "cores": 2, "cpu": "a processor", "date": "2025-01-01"},
        engines={"asyncio": "3.14.0", "rloop": "0.5.0", "aioxide": "0.1.0"},
    )
    for program in scaling.GROWTHS:
        made.series[program] = {
            "asyncio": series_of(2500.0, 2500.0, 2500.0, 2500.0),
            "rloop": series_of(1000.0, 10_000.0, stopped="10^5: would take 50 s"),
            "aioxide": series_of(100.0, 110.0, 150.0, 290.0),
        }
    return made


def contestant(name: str) -> runner.Contestant:
    """An engine that takes part as it is."""
    return runner.Contestant(engines.BY_NAME[name])


def test_growth_is_the_last_cost_over_the_first() -> None:
    assert scaling_results.growth({1_000: 100.0, 100_000: 250.0, 10_000: 900.0}) == 2.5
    assert scaling_results.growth({1_000: 100.0}) is None


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(85.2, "85 ns"), (1_414, "1.41 us"), (32_000, "32.0 us"), (7.5e8, "750 ms"), (2e9, "2.00 s")],
)
def test_durations_have_three_digits(nanoseconds: float, text: str) -> None:
    assert scaling_results.duration(nanoseconds) == text


def test_the_report_names_every_program_and_every_end() -> None:
    text = scaling_results.report(a_run())
    for growth in scaling.GROWTHS.values():
        assert f"\n{growth.about}\n" in text
    assert "2.90x" in text
    assert text.count("10^5: would take 50 s") == len(scaling.GROWTHS)


def test_a_run_survives_being_stored() -> None:
    assert Scaling.from_json(a_run().to_json()) == a_run()
    stranger = a_run()
    stranger.engines["gone"] = "1"
    stranger.series["gather"]["gone"] = series_of(1.0)
    assert Scaling.from_json(stranger.to_json()) == a_run(), "engines no longer known are dropped"


def test_a_size_is_refused_that_would_take_too_long_or_too_much() -> None:
    linear = series_of(1e4, 1e4, 1e4).costs
    quadratic = series_of(1e3, 1e4, 1e5).costs
    dear = series_of(1e4, 1e4, 5e4).costs
    assert scaling_run.refusal(1_000, {}, PLENTY) == ""
    assert scaling_run.refusal(1_000_000, linear, PLENTY) == ""
    assert scaling_run.refusal(1_000_000, quadratic, PLENTY) == "10^6: would take 1000 s"
    assert scaling_run.refusal(1_000_000, dear, PLENTY) == "10^6: would take 250 s"
    assert scaling_run.refusal(1_000_000, linear, 1e9) == "10^6: not enough memory"


def test_a_program_that_hangs_ends_its_line_and_not_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(
        self: runner.Child, request: dict[str, int], timeout: float
    ) -> dict[str, float | str]:
        if request["count"] > 1_000:
            raise runner.HungError("hung for 60 s")
        return {"cost": 2e-6, "bare": 1e-6}

    monkeypatch.setattr(runner.Child, "ask", answer)
    series = scaling_run.grow("gather", contestant("asyncio"), QUICK)
    assert series == Series({1_000: 2000.0}, {1_000: 1000.0}, "10^4: hung for 60 s")


def test_every_program_runs_on_asyncio() -> None:
    made = scaling_run.run([contestant("asyncio")], QUICK, Progress(silent=True))
    assert made.series.keys() == scaling.GROWTHS.keys()
    assert made.sizes == list(scaling_run.QUICK_SIZES)
    for row in made.series.values():
        assert not row["asyncio"].stopped
        assert all(50 < cost < 1e6 for cost in row["asyncio"].costs.values())


def test_waiting_is_no_cost() -> None:
    async def wait(aio: object, loop: object, n: int) -> None:
        time.sleep(0.05)

    growth = scaling.Growth("waiting", wait)
    measured = growth.measure(engines.BY_NAME["asyncio"].open(), 1, 0)
    assert measured["cost"] < 0.02
    assert measured["bare"] < 0.02


def test_the_collector_runs_in_one_of_the_two_and_afterwards() -> None:
    states = []

    async def look(aio: object, loop: object, n: int) -> None:
        states.append(gc.isenabled())

    scaling.Growth("looking", look).measure(engines.BY_NAME["asyncio"].open(), 1, 0)
    assert states == [True, False]
    assert gc.isenabled()


def test_the_bars_are_blind_to_the_collector() -> None:
    collected = a_run()
    collected.series["gather"]["aioxide"].costs[1_000_000] = 9e9
    assert bars.check(None, collected)[1]


def test_scattered_is_each_number_once() -> None:
    for n in scaling_run.SIZES[:3]:
        assert sorted(scaling.scattered(i, n) for i in range(n)) == list(range(n))


def test_the_bars_ask_every_program_of_aioxide_alone() -> None:
    assert bars.GROWTH_AT_MOST.keys() == scaling.GROWTHS.keys()
    text, passed = bars.check(None, a_run())
    assert passed, text
    assert "growth gather" in text
    steep = a_run()
    steep.series["gather"]["aioxide"] = series_of(100.0, 100.0, 100.0, 310.0)
    steep.series["timers fired"]["aioxide"] = series_of(100.0, 100.0, 100.0, 310.0)
    verdicts = {v.name: v.passed for v in bars.growth_verdicts(steep)}
    assert not verdicts["growth gather"]
    assert verdicts["growth timers fired"], "a heap may cost more at a million"
    assert bars.check(None, steep)[1] is False


def test_a_line_that_stopped_early_does_not_pass() -> None:
    short = a_run()
    short.series["Queue"]["aioxide"] = series_of(100.0, 100.0, stopped="10^5: OSError: no")
    verdict = next(v for v in bars.growth_verdicts(short) if v.name == "growth Queue")
    assert (verdict.passed, verdict.note) == (False, "10^5: OSError: no")


def test_the_peer_is_the_one_that_was_best_over_all() -> None:
    speed = Results(engines=dict.fromkeys(("asyncio", "uvloop", "rloop", "aioxide"), "1"))
    for workload, uvloop, rloop in (("a", 2.0, 1.0), ("b", 2.0, 3.0)):
        for engine, rate in (("asyncio", 1.0), ("uvloop", uvloop), ("rloop", rloop)):
            speed.cell(workload, engine).rates = [rate]
        speed.cell(workload, "aioxide").rates = [9.0]
    assert scaling_run.strongest_peer(speed) == "uvloop"
    assert [e.name for e in scaling_run.usual(speed)] == ["asyncio", "uvloop", "aioxide"]
    assert [e.name for e in scaling_run.usual(None)] == ["asyncio", "aioxide"]


def test_the_picture_is_written_as_svg_and_png(tmp_path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        with pytest.raises(chart.NoMatplotlibError):
            scaling_chart.draw(a_run(), tmp_path, "scaling-3.14")
        return
    svg, png = scaling_chart.draw(a_run(), tmp_path, "scaling-3.14")
    assert ET.parse(svg).getroot().tag.endswith("svg")
    text = svg.read_text(encoding="utf-8")
    assert all(growth.about in text for growth in scaling.GROWTHS.values())
    assert png.read_bytes().startswith(b"\x89PNG")
    scaling_chart.draw(a_run(), tmp_path, "scaling-3.14")
    assert svg.read_text(encoding="utf-8") == text, "the same figures draw the same picture"


def test_programs_and_workloads_are_not_confused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--scaling", "--workloads", "lock"])
    assert "takes no workloads" in capsys.readouterr().err


def test_the_command_measures_only_this_and_shows_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--quick", "--scaling", "--engines", "asyncio", "--output", str(tmp_path)]
    assert command.main(asked) == 0
    shown = capsys.readouterr().out
    assert "processor time for one" in shown
    assert "ops/s" not in shown
    stored = next(tmp_path.glob("scaling-*.json"))
    assert str(tmp_path) not in stored.read_text(encoding="utf-8")
    assert command.main(["--load", str(stored)]) == 0
    assert capsys.readouterr().out == shown
