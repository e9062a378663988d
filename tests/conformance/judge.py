"""Who answers for a test: the rules, with no process and no printing in them.

Each collected id ends in exactly one verdict. "Skipped" and "stock fails" are stock's doing on this
machine; "exception" and "not yet" are what the lists say; all that is left has to pass. In
particular a test that stock runs and we skip is a failure: a test that asks ``isinstance(loop,
BaseSelectorEventLoop)`` and leaves must be named, or a hundred of them could go silently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .child import matches
from .lists import Lists
from .process import ModuleRun, Outcome


class Verdict(Enum):
    """The columns of the summary."""

    PASSED = "passed"
    EXCEPTION = "exceptions"
    SKIPPED = "skipped"
    STOCK_FAILS = "stock fails"
    NOT_YET = "not yet"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Failure:
    """One thing to repair: a test, or (``listable`` false) a list or a module as a whole."""

    id: str
    what: str
    detail: str = ""
    listable: bool = True


@dataclass
class Judged:
    """A module, judged."""

    module: str
    engine: str = ""
    counts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    failures: list[Failure] = field(default_factory=list)
    #: Ids that stock does not pass on this machine, for those who wonder.
    stock_fails: list[str] = field(default_factory=list)
    note: str = ""
    seconds: float = 0.0

    def fail(self, failure: Failure) -> None:
        self.counts[Verdict.FAILED] += 1
        self.failures.append(failure)


def judge(
    module: str,
    ours: ModuleRun,
    stock: ModuleRun,
    lists: Lists,
    *,
    is_stock: bool = False,
    pattern: str | None = None,
) -> Judged:
    """The verdict on every id of ``module``."""
    judged = Judged(module, seconds=ours.seconds)
    for problem in ours.problems:
        first, _, rest = problem.partition("\n")
        judged.fail(Failure(module, first, rest, listable=False))
    if ours.problems and not ours.collected:
        # One cause and one line, but as many tests as stock passes are lost with it.
        judged.counts[Verdict.FAILED] += sum(outcome.good for outcome in stock.outcomes.values())
        return judged
    if ours.module_skipped is not None and stock.module_skipped is not None:
        judged.note = f"skipped by itself: {ours.module_skipped}"
        return judged

    excused, wrong = lists.resolve(lists.exceptions, module, ours.collected)
    waiting, also_wrong = lists.resolve(lists.not_yet, module, ours.collected)
    wrong = (
        wrong + also_wrong + [(i, "named by both lists") for i in sorted({*excused} & {*waiting})]
    )
    for test_id, what in wrong if ours.collected else []:
        judged.fail(Failure(test_id, f"in a list, but {what}", listable=False))
    for test_id in sorted(set(stock.collected) - set(ours.collected)):
        judged.fail(Failure(test_id, "stock has this test, the engine loses it", listable=False))

    for test_id in dict.fromkeys(ours.collected):
        if not matches(test_id, pattern):
            continue
        our = ours.outcomes.get(test_id)
        if our is None and test_id in waiting:
            judged.counts[Verdict.NOT_YET] += 1
        else:
            # process.py gives each test that it chose an outcome; this does not rely on it.
            our = our or Outcome("never ran")
            _one(judged, test_id, our, stock.outcomes.get(test_id), test_id in excused, is_stock)
    return judged


def _one(
    judged: Judged, test_id: str, our: Outcome, their: Outcome | None, listed: bool, is_stock: bool
) -> None:
    if their is not None and their.skipped:
        judged.counts[Verdict.SKIPPED] += 1
    elif their is not None and not their.good:
        judged.counts[Verdict.STOCK_FAILS] += 1
        judged.stock_fails.append(test_id)
    elif our.good and listed and not is_stock:
        judged.fail(Failure(test_id, "passes: take it off exceptions.toml", listable=False))
    elif our.good:
        judged.counts[Verdict.PASSED] += 1
    elif listed:
        judged.counts[Verdict.EXCEPTION] += 1
    else:
        judged.fail(Failure(test_id, _what(our, their), our.detail))


def _what(our: Outcome, their: Outcome | None) -> str:
    if our.skipped:
        return "skipped, but stock runs it"
    return our.outcome + ("" if their is not None else " (a test that stock does not have)")
