"""Many programs on several processes, with crashes and hangs as results.

An engine under test may take its process down or never return, so the parent knows which
seed each worker is at: one that dies or stands still is reported with its seed, and another
takes over from the next seed. A worker that stands still is aborted, which makes
faulthandler print where.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.differential import compare as programs
from tests.differential import shrink as programs_made_small
from tests.differential.engines import engine
from tests.differential.network import compare as scripts
from tests.differential.network.families import FAMILIES as SCRIPTED

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 30.0
SHRUNK_PER_WORKER = 3

_spawn = multiprocessing.get_context("spawn")


class Job(NamedTuple):
    """What to run: the seeds `range(first, last, step)` on two engines, about some families
    only, every so many of them swept."""

    reference: str
    engine: str
    first: int
    last: int
    step: int
    only: tuple[str, ...] = ()
    sweep_every: int = 0


class Tally(NamedTuple):
    """How many of a worker's programs proved nothing, and how many cancellations it swept."""

    undecided: int = 0
    swept: int = 0


class Failure(NamedTuple):
    """A seed that failed, and the report on it."""

    seed: int
    text: str


def _work(job: Job, state: Any, out: Connection) -> None:
    """In the worker: state[0] is the current seed, state[1] grows with each comparison."""
    faulthandler.enable()
    pair: Any
    shrink: Any
    report: Any
    if job.only and job.only[0] in SCRIPTED:
        pair = scripts.NetworkPair(engine(job.reference), engine(job.engine))
        shrink, report = scripts.shrink, scripts.report
    else:
        pair = programs.Pair(engine(job.reference), engine(job.engine))
        shrink, report = programs_made_small.shrink, programs.report
    seeds = range(job.first, job.last, job.step)
    shrunk = 0

    def beat() -> None:
        state[1] += 1

    def counted() -> Iterator[int]:
        for seed in seeds:
            state[0] = seed
            beat()
            yield seed

    def compare(program: Any) -> Any:
        beat()
        return pair.compare(program)

    pair.beat = beat

    for seed, difference in zip(
        seeds, pair.differences(counted(), job.only, job.sweep_every), strict=True
    ):
        if difference is None:
            continue
        if shrunk < SHRUNK_PER_WORKER:
            shrunk += 1
            small = shrink(difference, compare)
            text = report(small, pair.names, f"seed {seed}, made smaller")
        else:
            text = f"=== seed {seed} differs too"
        out.send(Failure(seed, text))
    out.send(Tally(pair.undecided, pair.swept))
    pair.close()


class Worker:
    """A process at work on a job, and what is known of it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.done = False
        self.tally = Tally()
        self._beats = -1
        self._beaten = time.monotonic()
        self._state: Any = _spawn.RawArray("q", [job.first, 0])
        self._in, out = _spawn.Pipe(duplex=False)
        self._process = _spawn.Process(target=_work, args=(job, self._state, out), daemon=True)
        self._process.start()
        out.close()

    def poll(self, seconds: float) -> Iterator[Failure]:
        """What has come in; death and standing still are failures too."""
        try:
            while not self.done and self._in.poll(seconds):
                message: Failure | Tally = self._in.recv()
                if isinstance(message, Tally):
                    self.done = True
                    self.tally = message
                else:
                    yield message
        except EOFError:
            yield self._failed("crashed")
            return
        if self._state[1] != self._beats:
            self._beats, self._beaten = self._state[1], time.monotonic()
        elif not self.done and time.monotonic() - self._beaten > PATIENCE:
            self._abort()
            yield self._failed("hung")

    def heir(self) -> Worker | None:
        """Who does the rest of a job that came to a bad end."""
        rest = self.job._replace(first=self._state[0] + self.job.step)
        started = self._state[1] > 0
        return Worker(rest) if started and rest.first < rest.last else None

    @property
    def fallen(self) -> bool:
        """Whether the process ended before its job did."""
        return not self.done and self._in.closed

    def _abort(self) -> None:
        """Have the process say where it is and die; it may be past saying anything."""
        if self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGABRT)
        self._process.join(5)
        self._process.kill()

    def _failed(self, what: str) -> Failure:
        self._process.join()
        self._in.close()
        seed = int(self._state[0])
        code = self._process.exitcode
        return Failure(seed, f"=== seed {seed} {what} (exit code {code}); --show {seed} prints it")


def run(work: Job, jobs: int) -> Iterator[Failure | Tally]:
    """The failures among a job's programs, shared among `jobs` workers, as they come; and from
    each worker what it counted."""
    workers = [
        Worker(work._replace(first=work.first + number, step=jobs))
        for number in range(min(jobs, work.last - work.first))
    ]
    while workers:
        for worker in list(workers):
            yield from worker.poll(0.1)
            if worker.done or worker.fallen:
                workers.remove(worker)
            if worker.done:
                yield worker.tally
            if worker.fallen and (heir := worker.heir()) is not None:
                workers.append(heir)
