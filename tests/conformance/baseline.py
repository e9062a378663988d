"""How stock asyncio does on the same tests, on this machine, remembered.

A test that stock fails or skips here (no IPv6, no second core, a kernel feature) says nothing about
us. Only stock can tell which those are, so it runs first; its outcomes are kept under ``.cache``,
keyed by the interpreter and the module's file, and serve every engine. A failure is believed only
when it happens twice: one unlucky moment must not excuse a test for as long as the cache lives.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path

from .child import matches
from .process import Job, ModuleRun, Outcome, run_module

#: Raise it when what is stored, or how tests are run, changes.
FORMAT = 3

#: A ``-k`` that no id contains.
NOTHING = " "

#: By cached file: of two engines that ask at once, one runs stock and the other waits for it.
_asking: dict[Path, threading.Lock] = {}


def collected(job: Job, stamp: str, cache: Path) -> list[str]:
    """Every test id of ``job``'s module; a child has to look, as importing tests has effects."""
    with _asking.setdefault(cache, threading.Lock()):
        known = _read(cache, stamp)
        if known is None:
            known = run_module(replace(job, engine="stock", pattern=NOTHING))
            if not known.problems:
                _write(cache, stamp, known)
        return known.collected


def stock(job: Job, stamp: str, cache: Path, *, refresh: bool = False) -> ModuleRun:
    """Stock outcomes of at least the tests that ``job`` chooses."""
    with _asking.setdefault(cache, threading.Lock()):
        return _stock(job, stamp, cache, refresh=refresh)


def _stock(job: Job, stamp: str, cache: Path, *, refresh: bool) -> ModuleRun:
    known = None if refresh else _read(cache, stamp)
    run = known or ModuleRun()
    if known is not None:
        chosen = {i for i in run.collected if i not in job.skip and matches(i, job.pattern)}
        if run.module_skipped is not None or chosen <= set(run.outcomes):
            return run
    job = replace(job, engine="stock")
    fresh = run_module(replace(job, skip=job.skip | set(run.outcomes)))
    again = {i for i, outcome in fresh.outcomes.items() if not outcome.good and not outcome.skipped}
    if again:
        second = run_module(replace(job, skip=frozenset(fresh.collected) - again))
        fresh.outcomes.update(
            {i: outcome for i, outcome in second.outcomes.items() if outcome.good}
        )
    fresh.outcomes = run.outcomes | fresh.outcomes
    if not fresh.problems:
        _write(cache, stamp, fresh)
    return fresh


def _read(cache: Path, stamp: str) -> ModuleRun | None:
    try:
        data = json.loads(cache.read_text())
    except (OSError, ValueError):
        return None
    if data.get("format") != FORMAT or data.get("stamp") != stamp:
        return None
    outcomes = {test_id: Outcome(**facts) for test_id, facts in data["outcomes"].items()}
    return ModuleRun(data["collected"], outcomes, module_skipped=data["module_skipped"])


def _write(cache: Path, stamp: str, run: ModuleRun) -> None:
    data = {
        "format": FORMAT,
        "stamp": stamp,
        "collected": run.collected,
        "module_skipped": run.module_skipped,
        "outcomes": {test_id: asdict(outcome) for test_id, outcome in run.outcomes.items()},
    }
    cache.parent.mkdir(parents=True, exist_ok=True)
    # Another run of ours may be reading it: it sees the old file or the new one, never half of one.
    draft = cache.with_suffix(".tmp")
    draft.write_text(json.dumps(data))
    draft.replace(cache)
