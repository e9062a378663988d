"""The network harness: its parts on asyncio, with the real client and the real bare servers.

Beside test_harness.py, which tests the rest; `pytest benchmarks` runs both. The client is built
here if it is not yet.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pytest

from benchmarks import engines
from benchmarks.net import __main__ as command
from benchmarks.net import arena, bars, jobs, runner, services, tables
from benchmarks.net.cells import CELLS, Amount, chosen, growth_of
from benchmarks.net.results import NetResults, figures
from benchmarks.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

TINY = Amount(0.02, 0.01, bulk=1 << 20, short=40, crowd=50, handshakes=20, children=60)


@pytest.fixture(scope="module")
def program() -> Path:
    """The client and the bare servers."""
    return arena.built()


def one_of_each_kind() -> list[str]:
    """The cells without those that only ask for other numbers."""
    kinds: dict[tuple[str, ...], str] = {}
    for name, cell in CELLS.items():
        if cell.group != "growth":
            kind = (cell.interface, cell.service, cell.group, cell.unit, cell.job)
            kinds.setdefault(kind, name)
    return list(kinds.values())


@pytest.mark.parametrize("cell", one_of_each_kind())
def test_every_kind_of_cell_runs_on_asyncio(program: Path, cell: str) -> None:
    if CELLS[cell].service == "web":
        why = "web servers are among what the benchmark needs and not what its tests need"
        pytest.importorskip(CELLS[cell].interface, reason=why)
    check_figures(program, arena.plain("asyncio"), cell)


@pytest.mark.parametrize(
    "cell",
    [c for c in one_of_each_kind() if ("protocol" in c or "udp" in c) and CELLS[c].limited],
)
def test_the_bare_server_can_do_every_kind_of_cell(program: Path, cell: str) -> None:
    check_figures(program, arena.THE_LIMIT, cell)


def check_figures(program: Path, contestant: arena.Contestant, name: str) -> None:
    """Measure, and see that what was found can be true."""
    found = figures(CELLS[name], arena.measure(program, contestant, CELLS[name], TINY))
    assert found["rate"] > 0
    assert found["cpu"] > 0, "the server's processor time was seen"
    assert found["busy"] < 3, "and it is that of the measurement, not of its whole life"


def row(**rounds: list[float]) -> dict[str, list[float]]:
    """The figures of one contestant."""
    return rounds


@pytest.fixture
def results() -> NetResults:
    """A run that was not measured."""
    found = NetResults(
        facts=dict.fromkeys(("python", "cpu", "kernel", "date", "load_before"), "?")
        | {"cores": 2, "rounds": 3, "seconds": 0.1},
        engines={"asyncio": "1", "uvloop": "2", "aioxide": "3"},
    )
    at = found.at
    at("protocol-50x1k", "limit").rounds = row(cpu=[4.0, 5.0, 8.0], rate=[100.0, 100.0, 50.0])
    at("protocol-50x1k", "asyncio").rounds = row(cpu=[20.0, 21.0, 22.0], rate=[30.0, 30.0, 30.0])
    at("protocol-50x1k", "uvloop").rounds = row(cpu=[6.0, 5.0, 8.0], rate=[80.0, 80.0, 45.0])
    at("protocol-50x1k", "aioxide").rounds = row(cpu=[4.2, 5.25, 8.4], rate=[95.0, 96.0, 49.0])
    return found


def test_ratios_are_taken_round_by_round(results: NetResults) -> None:
    assert results.of_limit("protocol-50x1k", "aioxide", "cpu") == pytest.approx(1.05)
    assert results.of_limit("protocol-50x1k", "uvloop", "cpu") == 1.0
    assert results.best_peer("protocol-50x1k", "cpu", least=True) == ("uvloop", 6.0)
    assert results.best_peer("protocol-50x1k", "rate", least=False) == ("uvloop", 80.0)


def test_bars_say_what_was_asked_and_what_was_found(results: NetResults) -> None:
    text, passed = bars.check(results)
    assert passed
    assert "2 of 2 bars cleared" in text
    results.at("protocol-50x1k", "aioxide").rounds["cpu"] = [4.8, 6.0, 9.6]
    text, passed = bars.check(results)
    assert not passed
    assert "protocol-50x1k cost" in text
    assert "1.20" in text


def test_a_peer_with_glibc_tuned_is_a_peer(results: NetResults) -> None:
    results.at("protocol-50x1k", "uvloop+trim").rounds = row(cpu=[3.0, 3.0, 3.0])
    assert results.best_peer("protocol-50x1k", "cpu", least=True) == ("uvloop+trim", 3.0)
    assert not bars.check(results)[1]
    assert "uvloop+trim" in tables.report(results)


def test_growth_is_judged_from_ten_connections_on(results: NetResults) -> None:
    for count, cell in growth_of("protocol").items():
        results.at(cell, "aioxide").rounds = row(cpu=[30.0 if count == 1 else 5.0 + count / 1e5])
    assert bars.growth(results, "protocol", "aioxide") == pytest.approx(1.02, abs=0.001)
    results.at("protocol-10x1k", "aioxide").failed = "no"
    assert bars.growth(results, "protocol", "aioxide") is None


def test_stored_results_come_back_as_they_were(results: NetResults) -> None:
    results.at("protocol-50x1k", "rloop").failed = "crashed (-11)"
    again = NetResults.from_json(results.to_json())
    assert again == results
    assert "n/a: rloop: crashed (-11): protocol-50x1k" in tables.report(again)
    assert "| protocol-50x1k | 5.00 | 21.0 | 6.00 | 5.25 |" in tables.markdown(again)


def test_only_peers_take_part_twice_and_only_where_blocks_are_large() -> None:
    names = ["asyncio", "uvloop", "aioxide"]
    large = runner.contestants(CELLS["sock-50x64k"], names, trim=True)
    assert [c.label for c in large] == ["limit", *names, "uvloop+trim"]
    assert large[-1].environment == arena.RAISED
    small = runner.contestants(CELLS["sock-50x1k"], names, trim=True)
    assert [c.label for c in small] == ["limit", *names]


def test_cells_are_chosen_by_name_group_and_pattern() -> None:
    names = [c.name for c in chosen("udp,sock-1x64,thread-s*")]
    assert names == [
        "sock-1x64",
        "udp-1x64",
        "udp-50x1k",
        "thread-streams-1x64",
    ]
    with pytest.raises(ValueError, match="no such cell: nope"):
        chosen("nope")


def test_what_an_engine_cannot_do_is_a_reason_and_not_a_crash(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = engines.Engine("nowhere", "no_such_module")
    monkeypatch.setitem(engines.BY_NAME, "nowhere", nowhere)
    monkeypatch.setattr(arena, "START_TIMEOUT", 5.0)
    cell = CELLS["sock-1x64"]
    settings = runner.Settings(rounds=1, amount=TINY)
    results = runner.run([cell], ["asyncio", "nowhere"], settings, Progress(silent=True))
    assert list(results.engines) == ["asyncio"]
    assert "nowhere" in results.missing
    assert results.median(cell.name, "asyncio", "cpu")


@pytest.mark.parametrize("wrong", [b"y" * 64, b""])
def test_a_server_that_does_not_echo_has_no_figure(program: Path, wrong: bytes) -> None:
    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(64)
            peer.sendall(wrong)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve).start()
        address = "{}:{}".format(*listener.getsockname())
        client = subprocess.run(
            [str(program), "echo", "--to", address, "--group", ":1:64", "--seconds", "0.1"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert client.returncode == 1
    assert client.stdout == ""
    assert ("closed" if not wrong else "other bytes") in client.stderr


@pytest.mark.parametrize("wrong", [b"y" * 64, b"x" * 63, b""])
def test_a_server_that_does_not_echo_has_no_figure_under_tls(
    program: Path, tmp_path: Path, wrong: bytes
) -> None:
    context = services.identity(str(arena.identity(program, tmp_path)))

    def serve() -> None:
        with context.wrap_socket(listener.accept()[0], server_side=True) as peer:
            peer.recv(64)
            peer.sendall(wrong)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        address = "{}:{}".format(*listener.getsockname())
        options = ["--tls", "1.3", "--group", ":1:64", "--seconds", "0.1"]
        client = subprocess.run(
            [str(program), "echo", "--to", address, *options],
            capture_output=True,
            text=True,
            check=False,
        )
        thread.join()
    assert client.returncode == 1
    assert client.stdout == ""
    assert ("other bytes" if wrong else "closed") in client.stderr


def test_who_does_not_finish_the_handshake_has_no_figure(program: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "{}:{}".format(*listener.getsockname())
        options = ["--count", "1", "--concurrency", "1", "--size", "64"]
        client = subprocess.run(
            [str(program), "short", "--to", address, "--tls", "1.3", *options],
            capture_output=True,
            text=True,
            check=False,
        )
    assert client.returncode == 1
    assert "stalled" in client.stderr


@pytest.mark.parametrize("name", jobs.JOBS)
def test_every_job_runs_on_asyncio(name: str) -> None:
    job = jobs.JOBS[name]

    async def main() -> None:
        await job.rehearse(asyncio)
        await job.do(asyncio, 60 if job.unit == "requests" else (17 << 20) + 5)

    asyncio.run(main())


@pytest.mark.parametrize("through", [jobs.through_protocols, jobs.through_streams])
@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: data[::-1]])
def test_bytes_that_are_lost_or_wrong_fail_a_job(
    through: Callable[[ModuleType, int, jobs.Take], Awaitable[None]],
    harm: Callable[[bytes], bytes],
) -> None:
    async def harmful(aio: ModuleType, amount: int, take: jobs.Take) -> None:
        await through(aio, amount, lambda data: take(harm(data)))

    job = jobs.pipe(harmful)
    with pytest.raises(jobs.WrongError, match="wrong bytes"):
        asyncio.run(cast("Coroutine[Any, Any, None]", job.rehearse(asyncio)))
    if len(harm(b"ab")) < 2:
        with pytest.raises(jobs.WrongError, match="wrong number of bytes"):
            asyncio.run(cast("Coroutine[Any, Any, None]", job.do(asyncio, 1 << 20)))


def test_an_exit_status_that_is_wrong_fails_a_job() -> None:
    class Child:
        async def wait(self) -> int:
            return 255

    async def create(*arguments: str) -> Child:
        return Child()

    aio = ModuleType("aio")
    vars(aio).update(create_subprocess_exec=create, gather=asyncio.gather)
    for doing in (jobs.spawn(aio, 3), jobs.spawn_a_few(aio)):
        with pytest.raises(jobs.WrongError, match="wrong exit status"):
            asyncio.run(doing)


def test_a_job_that_hangs_is_not_waited_for_twice(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena, "JOB_TIMEOUT", 0.01)
    cell, results = CELLS["spawn"], NetResults()
    settings = runner.Settings(rounds=1, amount=TINY)
    attempts = []
    measure = arena.measure

    def counted(*arguments: Any, **options: Any) -> dict[str, float]:
        attempts.append(arguments)
        return measure(*arguments, **options)

    monkeypatch.setattr(arena, "measure", counted)
    runner.measure_once(program, arena.plain("asyncio"), cell, settings, results)
    assert results.at("spawn", "asyncio").failed == "not ready after 0 s"
    assert len(attempts) == 1


def test_without_a_limit_the_best_peer_is_what_counts() -> None:
    found = NetResults(engines={"asyncio": "1", "uvloop": "2", "aioxide": "3"})
    name = "tls-protocol-50x1k"
    found.at(name, "asyncio").rounds = row(cpu=[40.0, 80.0], rate=[10.0, 5.0])
    found.at(name, "uvloop").rounds = row(cpu=[20.0, 40.0], rate=[20.0, 10.0])
    found.at(name, "aioxide").rounds = row(cpu=[10.0, 20.0], rate=[25.0, 12.5])
    assert found.of_asyncio(name, "aioxide", "rate") == 2.5
    assert found.of_asyncio(name, "aioxide", "cpu") == 0.25
    text, passed = bars.check(found)
    assert not passed
    assert "1 of 2 bars cleared" in text
    cost, rate = sorted(line for line in text.splitlines() if name in line)
    assert cost.split()[2:6] == [">=", "1.30x", "2.00", "pass"]
    assert rate.split()[2:6] == [">=", "1.30x", "1.25", "FAIL"]
    # No bare server takes part.
    assert [c.label for c in runner.contestants(CELLS[name], ["asyncio"], trim=True)] == ["asyncio"]


def test_servers_end_with_the_measurement(program: Path) -> None:
    cell = CELLS["sock-1x64"]
    with arena.serving(program, arena.plain("asyncio"), cell, verbose=False) as (process, said):
        assert said["version"]
        assert os.sched_getaffinity(process) == arena.cores(cell)[0]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_the_command_writes_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = ["--quick", "--engines", "asyncio", "--cells", "protocol-1x64", "--seconds", "0.02"]
    assert command.main([*only, "--output", str(tmp_path)]) == 0
    assert "protocol-1x64" in capsys.readouterr().out
    stored = tmp_path / "net-{}.{}.json".format(*sys.version_info)
    text = stored.read_text(encoding="utf-8")
    assert json.loads(text)["net"]["protocol-1x64"]["limit"]["rounds"]["cpu"]
    assert str(tmp_path) not in text
    assert command.main(["--load", str(stored), "--check"]) == 1
    assert "nothing to check" in capsys.readouterr().out
