"""Run one test module in child processes until every chosen test has an outcome.

A crash or a hang is a result of one test and must not cost the results of the others: the test that
was running gets the blame, and a new child goes on behind it. A hung child is sent SIGABRT first,
so that faulthandler writes where it hung into the log, and is killed with its whole process group
if it stays.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

CHILD = Path(__file__).with_name("child.py")

#: How often the parent looks at a child; a module takes seconds, so this is not felt.
POLL = 0.02

GRACE = 3.0

#: PYTHON* variables that say where things are. The others (PYTHONASYNCIODEBUG, PYTHONDEVMODE,
#: PYTHONWARNINGS, ...) change what the tests see, and would make outcomes depend on who runs them.
KEPT = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")

Ending = Literal["ended", "died", "hung", "module time limit"]


@dataclass(frozen=True)
class Limits:
    """Seconds without a word from the child, and seconds for the whole module."""

    test: float = 120.0
    module: float = 900.0


@dataclass(frozen=True)
class Job:
    """One module under one engine."""

    engine: str
    package: str
    module: str
    log: Path
    skip: frozenset[str] = frozenset()
    pattern: str | None = None
    limits: Limits = Limits()
    debug: bool = False
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one test."""

    outcome: str
    detail: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.outcome in ("passed", "expected failure")

    @property
    def skipped(self) -> bool:
        return self.outcome == "skipped"


@dataclass
class ModuleRun:
    """Everything that the children said about a module."""

    collected: list[str] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    module_skipped: str | None = None
    seconds: float = 0.0


class _Attempt:
    """One child process, followed through its report file."""

    def __init__(self, job: Job, skip: set[str], scratch: Path, run: ModuleRun) -> None:
        self._run = run
        self._report = scratch / "report"
        self._report.touch()
        self._read = 0
        self.chosen: list[str] | None = None
        self.running: str | None = None
        self.outcomes = 0
        self.complete = False
        request = scratch / "request"
        facts: dict[str, Any] = {
            "engine": job.engine,
            "package": job.package,
            "module": job.module,
            "skip": sorted(skip),
            "pattern": job.pattern,
            "report": str(self._report),
            "path": list(job.path),
        }
        request.write_text(json.dumps(facts))
        # The tests write files into the current directory, so it is a scratch one.
        cwd = scratch / "cwd"
        cwd.mkdir()
        with job.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, str(CHILD), str(request)],
                cwd=cwd,
                env=environment(debug=job.debug),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def follow(self, limits: Limits, module_deadline: float) -> Ending:
        """Wait for the child's end, or bring it about."""
        heard = time.monotonic()
        while True:
            over = self._child.poll() is not None
            if self._listen():
                heard = time.monotonic()
            if over:
                self._kill_group()  # what the tests left running
                return "ended" if self.complete and self._child.returncode == 0 else "died"
            now = time.monotonic()
            if now > module_deadline or now - heard > limits.test:
                self._end()
                self._listen()
                return "hung" if now <= module_deadline else "module time limit"
            time.sleep(POLL)

    def death(self) -> str:
        code = self._child.returncode
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    def _end(self) -> None:
        self._child.send_signal(signal.SIGABRT)
        try:
            self._child.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass
        self._kill_group()
        self._child.wait()

    def _kill_group(self) -> None:
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _listen(self) -> bool:
        """Take in what the child wrote since last time; half a line waits for its other half."""
        with self._report.open("rb") as report:
            report.seek(self._read)
            data = report.read()
        lines = data[: data.rfind(b"\n") + 1]
        self._read += len(lines)
        for line in lines.splitlines():
            self._take(json.loads(line))
        return bool(lines)

    def _take(self, event: dict[str, Any]) -> None:
        match event:
            case {"event": "collected", "ids": ids}:
                self._run.collected = ids
            case {"event": "chosen", "ids": ids}:
                self.chosen = ids
            case {"event": "module skipped", "reason": reason}:
                self._run.module_skipped = reason
                self.complete = True
            case {"event": "start", "id": test_id}:
                self.running = test_id
            case {
                "event": "stop",
                "id": test_id,
                "outcome": outcome,
                "detail": detail,
                "seconds": seconds,
            }:
                self.running = None
                self.outcomes += 1
                self._run.outcomes[test_id] = Outcome(outcome, detail, seconds)
            case {"event": "fixture", "name": name, "outcome": outcome, "detail": detail}:
                self._fixture(name, Outcome(outcome, detail))
            case {"event": "end"}:
                self.complete = True

    def _fixture(self, name: str, outcome: Outcome) -> None:
        found = re.fullmatch(r"(setUpClass|setUpModule) \((.+)\)", name)
        if found is None:
            self._run.problems.append(f"{name}: {outcome.outcome}\n{outcome.detail}")
            return
        # A fixture that did not come up speaks for all the tests that it keeps from running.
        for test_id in self.chosen or []:
            if found[1] == "setUpModule" or found[2].endswith("." + test_id.rpartition(".")[0]):
                self._run.outcomes.setdefault(test_id, outcome)


def environment(*, debug: bool) -> dict[str, str]:
    """The parent's environment without what would change a test's outcome."""
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("PYTHON") or key in KEPT
    }
    if "PYTHONPATH" in env:
        # The child runs elsewhere, where a relative path would lead to nothing.
        parts = env["PYTHONPATH"].split(os.pathsep)
        env["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in parts if part)
    if debug:
        env["PYTHONASYNCIODEBUG"] = "1"
    return env


class NoEngine(Exception):
    """An engine that cannot be swapped in: said once, and not for each module."""


def try_engine(name: str) -> list[str]:
    """The names in asyncio that the engine takes over, found out in a process like the tests'."""
    code = (
        "import sys; from tests.conformance.swap import find, swap;"
        "print(*swap(find(sys.argv[1])), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, name],
        cwd=CHILD.parents[2],
        env=environment(debug=False),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NoEngine(done.stderr or f"exit status {done.returncode}")
    return done.stdout.split()


def run_module(job: Job) -> ModuleRun:
    """Give every chosen test of ``job`` an outcome; what fits no test becomes a problem."""
    run = ModuleRun()
    began = time.monotonic()
    deadline = began + job.limits.module
    job.log.parent.mkdir(parents=True, exist_ok=True)
    job.log.write_bytes(b"")
    wanted: list[str] | None = None
    going = True
    while going:
        with tempfile.TemporaryDirectory(
            prefix="conformance-", ignore_cleanup_errors=True
        ) as scratch:
            attempt = _Attempt(job, set(job.skip) | set(run.outcomes), Path(scratch), run)
            ending = attempt.follow(job.limits, deadline)
        wanted = attempt.chosen if wanted is None else wanted
        going = _conclude(job, run, attempt, ending)
    for test_id in wanted or []:
        run.outcomes.setdefault(test_id, Outcome("not run", "the module ended before it"))
    run.seconds = time.monotonic() - began
    return run


def _conclude(job: Job, run: ModuleRun, attempt: _Attempt, ending: Ending) -> bool:
    """Blame the test that ran, or the module; true if another child should go on behind it."""
    if ending == "ended":
        return False
    tail = last_words(job.log)
    if ending == "module time limit":
        what = f"the module's {job.limits.module:g} s were over"
    elif ending == "hung":
        what = f"no sign of life for {job.limits.test:g} s"
    else:
        what = attempt.death()
    if attempt.running is not None:
        outcome = "crashed" if ending == "died" else "hung"
        run.outcomes[attempt.running] = Outcome(outcome, f"{what}\n{tail}")
    elif attempt.complete:
        run.problems.append(f"after its last test, on the way out: {what}\n{tail}")
        return False
    elif attempt.chosen is None:
        run.problems.append(f"could not be loaded: {what}\n{tail}")
        return False
    else:
        run.problems.append(f"between tests: {what}\n{tail}")
        if not attempt.outcomes:
            return False  # it would die in the same place again
    return ending != "module time limit"


def last_words(log: Path, lines: int = 9) -> str:
    """What the log ends in: the dying thread's Python stack, innermost call first, or a traceback.

    From 3.14 on faulthandler adds the C stack, which pushes the Python one out of any tail.
    """
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 65536))
        text = file.read().decode(errors="replace").splitlines()
    began = max((n for n, line in enumerate(text) if line.startswith("--- ")), default=-1)
    text = text[began + 1 :]  # not the words of a test that died earlier
    starts = [n for n, line in enumerate(text) if line.startswith("Current thread 0x")]
    return "\n".join(text[starts[-1] :][:lines] if starts else text[-lines:])
