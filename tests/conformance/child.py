"""The process in which the tests of one module run.

It is a process of its own for each module, because a native engine can crash or hang, and the tests
leave policies, signal handlers and running loops behind. It says what it is about to do before it
does it: one JSON line per event, each written with a single ``write``, so that the parent knows
after any death which test was running.

Plain unittest and not regrtest: regrtest reports per module, and it imports asyncio on its own
terms.
"""

from __future__ import annotations

import faulthandler
import fnmatch
import importlib
import json
import os
import signal
import sys
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = str(Path(__file__).resolve().parents[2])

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Wire:
    """The line to the parent: a file, because what the tests spawn would inherit a pipe."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._pid = os.getpid()

    def send(self, event: str, **facts: object) -> None:
        # Tests fork; a child that comes back into the runner must not speak for us.
        if os.getpid() == self._pid:
            os.write(self._fd, (json.dumps({"event": event, **facts}) + "\n").encode())


class Result(unittest.TestResult):
    """Reports each test once, with the worst that happened to it, its subtests and cleanups."""

    _RANK = ("passed", "expected failure", "skipped", "unexpected success", "failed", "error")

    def __init__(self, wire: Wire, prefix: str) -> None:
        super().__init__()
        self._wire = wire
        self._prefix = prefix
        self._running: unittest.TestCase | None = None
        self._outcome, self._detail, self._began = "passed", "", 0.0

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._running, self._outcome, self._detail = test, "passed", ""
        self._began = time.monotonic()
        print(f"--- {short_id(test, self._prefix)}", flush=True)
        self._wire.send("start", id=short_id(test, self._prefix))

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        if self._running is None:
            return  # never started, see _note
        self._running = None
        seconds = round(time.monotonic() - self._began, 3)
        if self._outcome not in ("passed", "expected failure"):
            print(f"    {self._outcome}\n{self._detail}", flush=True)
        self._wire.send(
            "stop",
            id=short_id(test, self._prefix),
            outcome=self._outcome,
            detail=self._detail,
            seconds=seconds,
        )

    def _note(self, test: object, outcome: str, detail: str) -> None:
        if self._running is None and isinstance(test, unittest.TestCase):
            # 3.12.1 stops a test whose class is skipped without having started it.
            self._wire.send(
                "stop", id=short_id(test, self._prefix), outcome=outcome, detail=detail, seconds=0.0
            )
        elif self._running is None:
            # setUpModule, setUpClass and their tear-downs: an _ErrorHolder stands in the test's
            # place, and its text is "setUpClass (module.Class)".
            print(f"--- {test}\n    {outcome}\n{detail}", flush=True)
            self._wire.send("fixture", name=str(test), outcome=outcome, detail=detail)
        elif self._RANK.index(outcome) > self._RANK.index(self._outcome):
            self._outcome, self._detail = outcome, detail
        elif detail:
            self._detail += f"\n{detail}"

    def addFailure(self, test: unittest.TestCase, err: ExcInfo) -> None:
        super().addFailure(test, err)
        self._note(test, "failed", self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err: ExcInfo) -> None:
        super().addError(test, err)
        self._note(test, "error", self.errors[-1][1])

    def addSubTest(
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: ExcInfo | None
    ) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None and err[0] is not None:
            failure = issubclass(err[0], test.failureException)
            kept = self.failures if failure else self.errors
            self._note(test, "failed" if failure else "error", f"{subtest}\n{kept[-1][1]}")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        if self._running is not None and test is not self._running:
            return  # one subtest was skipped; the test itself goes on and has its own outcome
        self._note(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: ExcInfo) -> None:
        super().addExpectedFailure(test, err)
        self._note(test, "expected failure", self.expectedFailures[-1][1])

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._note(test, "unexpected success", "the test is marked as an expected failure")


def short_id(test: unittest.TestCase, prefix: str) -> str:
    """``test_tasks.CTask_CFuture_Tests.test_x``: how the lists and the reports write an id."""
    return test.id().removeprefix(prefix)


def flatten(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def matches(test_id: str, pattern: str | None) -> bool:
    """unittest's own ``-k``: a shell pattern if it has a star, a part of the id otherwise."""
    if pattern is None:
        return True
    return fnmatch.fnmatchcase(test_id, pattern) if "*" in pattern else pattern in test_id


def load(name: str) -> unittest.TestSuite:
    """The tests of a module, honouring its ``load_tests``."""
    return unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(name))


def settle() -> None:
    """What regrtest without ``-u`` gives the tests: no network beyond loopback, nothing verbose."""
    support: Any = importlib.import_module("test.support")
    support.use_resources = {}
    support.verbose = 0
    # Crashing tests are a result here, not something to keep a core file of.
    resource = importlib.import_module("resource")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(request: dict[str, Any], wire: Wire) -> None:
    from tests.conformance import swap

    settle()
    swap.swap(swap.find(request["engine"]))
    package, module = request["package"], request["module"]
    prefix = f"{package}."
    try:
        tests = list(flatten(load(prefix + module)))
    except unittest.SkipTest as reason:
        wire.send("module skipped", reason=str(reason))
        return
    wire.send("collected", ids=[short_id(test, prefix) for test in tests])
    skip = set(request["skip"])
    chosen = [
        test
        for test in tests
        if short_id(test, prefix) not in skip
        and matches(short_id(test, prefix), request["pattern"])
    ]
    wire.send("chosen", ids=[short_id(test, prefix) for test in chosen])
    if chosen:
        # A flat suite still runs class and module fixtures: unittest goes by each test's class.
        unittest.TestSuite(chosen).run(Result(wire, prefix))
    wire.send("end")


def main() -> None:
    # A shell starts what it sends to the background with SIGINT ignored, and tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable()
    request: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    # Not this folder, which python put first: the tests import top-level names, and must not find
    # ours.
    sys.path[:1] = [_ROOT, *request["path"]]
    run(request, Wire(request["report"]))


if __name__ == "__main__":
    main()
