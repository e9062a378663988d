"""The parent: runs the children by turns, so that each engine meets the same machine.

Within a round every engine has one fresh process. For each workload the engines are asked one
after the other, in an order that rotates, a fraction of a second each: a slow minute of the
machine then falls on all of them alike. Workloads are shuffled from round to round, so that none
always follows the same neighbour, and memory is measured in processes that do nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.facts import machine_facts
from benchmarks.memory import KINDS
from benchmarks.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.engines import Engine
    from benchmarks.progress import Progress
    from benchmarks.workloads import Workload

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 60.0
DEBUG_SWITCHES = {"PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHONMALLOC"}


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    rounds: int = 5
    samples: int = 3
    seconds: float = 0.04
    quick: bool = False
    memory: bool = True
    verbose: bool = False
    timeout: float = 20.0
    """How long one request may take before the engine counts as hung."""


QUICK = Settings(rounds=1, samples=1, seconds=0.01, quick=True)


@dataclass(frozen=True)
class Contestant:
    """An engine as it takes part: under a name of its own, with an environment of its own.

    Two builds of one engine are two contestants; that is all that `--paired` needs.
    """

    engine: Engine
    name: str = ""
    pythonpath: str = ""

    @property
    def label(self) -> str:
        """The name in the results."""
        return self.name or self.engine.name


class HungError(Exception):
    """The child gave no answer in time, or died."""


class Child:
    """A worker process and the pipe to it."""

    def __init__(self, contestant: Contestant, settings: Settings) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in DEBUG_SWITCHES}
        if contestant.pythonpath:
            environment["PYTHONPATH"] = contestant.pythonpath
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", contestant.engine.name],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if settings.verbose else subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin.fileno()
        self._answers = self._process.stdout.fileno()
        try:
            self.greeting = self._read(START_TIMEOUT)
        except HungError as error:
            self.greeting = {"missing": f"its import {error}"}

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """One measurement; HungError when none comes."""
        try:
            os.write(self._requests, json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise HungError("died before") from None
        return self._read(timeout)

    def _read(self, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise HungError(f"hung for {timeout:.0f} s")
            piece = os.read(self._answers, 65536)
            if not piece:
                raise HungError(f"crashed ({self._process.wait()})")
            line += piece
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it, whatever it is doing: what it still holds is of no interest."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


@dataclass
class Crew:
    """One round's children, each started when first needed and replaced after a failure."""

    settings: Settings
    children: dict[str, Child] = field(default_factory=dict)

    def ask(
        self, contestant: Contestant, request: dict[str, Any], timeout: float
    ) -> dict[str, Any]:
        """The contestant's answer; a hung or dead child is ended and its failure is the answer."""
        child = self.children.get(contestant.label)
        if child is None:
            child = self.children[contestant.label] = Child(contestant, self.settings)
        try:
            return child.ask(request, timeout)
        except HungError as error:
            self.children.pop(contestant.label).close()
            return {"failed": str(error)}

    def dismiss(self) -> None:
        """End them all."""
        while self.children:
            self.children.popitem()[1].close()


def rotated(contestants: Sequence[Contestant], by: int) -> list[Contestant]:
    """The contestants, beginning with another one each time."""
    by %= max(len(contestants), 1)
    return [*contestants[by:], *contestants[:by]]


def present(
    contestants: Iterable[Contestant], results: Results, settings: Settings
) -> list[Contestant]:
    """Those that can be opened; the others are noted as missing."""
    there = []
    for contestant in contestants:
        child = Child(contestant, settings)
        child.close()
        greeting = child.greeting
        if "version" in greeting:
            results.engines[contestant.label] = greeting["version"]
            there.append(contestant)
        elif greeting["missing"]:
            results.missing[contestant.label] = greeting["missing"]
    return there


def run(
    contestants: Sequence[Contestant],
    workloads: Sequence[Workload],
    settings: Settings,
    progress: Progress,
) -> Results:
    """The whole run."""
    results = Results(facts=machine_facts())
    results.facts.update(rounds=settings.rounds, samples=settings.samples, seconds=settings.seconds)
    there = present(contestants, results, settings)
    kinds = list(KINDS) if settings.memory else []
    for work in workloads:  # the rows' order is the registry's, however the rounds are shuffled
        results.speed[work.name] = {}
    progress.begin(len(there) * (len(workloads) * settings.rounds + len(kinds)))
    for number in range(settings.rounds):
        run_round(number, there, workloads, settings, progress, results)
    for kind in kinds:
        measure_memory(kind, there, settings, progress, results)
    progress.end()
    return results


def run_round(
    number: int,
    contestants: Sequence[Contestant],
    workloads: Sequence[Workload],
    settings: Settings,
    progress: Progress,
    results: Results,
) -> None:
    """Each workload once, at every engine in turn."""
    crew = Crew(settings)
    order = list(workloads)
    random.Random(number).shuffle(order)
    try:
        for place, work in enumerate(order):
            for contestant in rotated(contestants, number + place):
                progress.step(f"round {number + 1}/{settings.rounds}", work.name, contestant.label)
                cell = results.cell(work.name, contestant.label)
                if cell.failed:
                    continue  # once is enough: a hang costs its whole time limit
                request = {
                    "workload": work.name,
                    "seconds": settings.seconds,
                    "samples": settings.samples,
                    "quick": settings.quick,
                }
                reply = crew.ask(contestant, request, settings.timeout)
                cell.rates += reply.get("rates", [])
                cell.failed = reply.get("failed", "")
                if cell.failed:
                    cell.rates.clear()
    finally:
        crew.dismiss()


def measure_memory(
    kind: str,
    contestants: Sequence[Contestant],
    settings: Settings,
    progress: Progress,
    results: Results,
) -> None:
    """One kind of memory, each engine in a process of its own."""
    count = KINDS[kind].quick if settings.quick else KINDS[kind].count
    for contestant in contestants:
        progress.step("memory", kind, contestant.label)
        crew = Crew(settings)
        try:
            reply = crew.ask(contestant, {"memory": kind, "count": count}, 3 * settings.timeout)
        finally:
            crew.dismiss()
        if "bytes" in reply:
            results.memory.setdefault(kind, {})[contestant.label] = reply["bytes"]
