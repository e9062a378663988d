"""The two lists that people write, read strictly.

``exceptions.toml`` says which tests fail for good and why; ``not_yet.toml`` which are not run so
far. Both rot quietly if nobody looks: so an entry is a list of exact ids, it needs a reason, and an
id that does not exist on a version it claims is an error of the run. An entry may hold for some
engines only, of those that every run judges.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import plan

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")


class BadList(Exception):
    """An entry that nobody can judge by."""


@dataclass(frozen=True)
class Entry:
    """One table of a list. No classes: the whole module; no tests: the whole of the classes."""

    module: str
    classes: tuple[str, ...]
    tests: tuple[str, ...]
    versions: tuple[str, ...]
    reason: str
    never: bool = False
    engines: tuple[str, ...] = ()

    def on(self, version: str) -> bool:
        return not self.versions or version in self.versions

    def under(self, engine: str) -> bool:
        return not self.engines or engine in self.engines

    def targets(self) -> list[str]:
        """The ids, or prefixes of ids, that the entry names."""
        if not self.classes:
            return [self.module]
        if not self.tests:
            return [f"{self.module}.{cls}" for cls in self.classes]
        return [f"{self.module}.{cls}.{test}" for cls in self.classes for test in self.tests]


def read(path: Path, table: str, *, whole: bool) -> list[Entry]:
    """The entries of ``[[table]]`` in ``path``; ``whole`` allows classes and modules as such."""
    try:
        data = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise BadList(f"{path.name}: {error}") from None
    if stray := set(data) - {table}:
        raise BadList(f"{path.name}: only [[{table}]] is known, not {', '.join(sorted(stray))}")
    numbered = enumerate(data.get(table, []), 1)
    return [_entry(item, f"{path.name}, [[{table}]] number {n}", whole) for n, item in numbered]


def _entry(item: dict[str, Any], where: str, whole: bool) -> Entry:
    known = {"id", "module", "classes", "tests", "versions", "engines", "reason", "never"}
    if stray := set(item) - known:
        raise BadList(f"{where}: unknown key {', '.join(sorted(stray))}")
    if "id" in item:
        if {"module", "classes", "tests"} & set(item) or item["id"].count(".") != 2:
            raise BadList(f"{where}: id is module.Class.test, and stands alone")
        module, cls, test = item["id"].split(".")
        item = item | {"module": module, "classes": [cls], "tests": [test]}
    classes, tests = _names(item, "classes", where), _names(item, "tests", where)
    versions, engines = _names(item, "versions", where), _names(item, "engines", where)
    if not item.get("module"):
        raise BadList(f"{where}: no module")
    if not str(item.get("reason", "")).strip():
        raise BadList(f"{where} ({item['module']}): no reason")
    if tests and not classes:
        raise BadList(f"{where}: tests without classes")
    if not whole and not tests:
        raise BadList(f"{where}: name the tests; a whole class or module is never excused")
    if unknown := set(versions) - set(VERSIONS):
        raise BadList(f"{where}: unknown version {', '.join(sorted(unknown))}")
    if unknown := set(engines) - set(plan.ENGINES):
        raise BadList(f"{where}: plan.py has no engine {', '.join(sorted(unknown))}")
    never = bool(item.get("never", False))
    return Entry(item["module"], classes, tests, versions, item["reason"], never, engines)


def _names(item: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = item.get(key, [])
    if not isinstance(value, list) or not all(
        isinstance(name, str) and "*" not in name for name in value
    ):
        raise BadList(f"{where}: {key} is a list of exact names")
    if len(set(value)) != len(value):
        raise BadList(f"{where}: {key} names something twice")
    return tuple(value)


@dataclass(frozen=True)
class Lists:
    """Both lists, as they stand for one version."""

    exceptions: list[Entry]
    not_yet: list[Entry]

    def under(self, engine: str) -> Lists:
        """What of them holds for ``engine``."""
        return Lists(
            [entry for entry in self.exceptions if entry.under(engine)],
            [entry for entry in self.not_yet if entry.under(engine)],
        )

    def whole_modules(self) -> dict[str, Entry]:
        """Modules of which nothing is run."""
        return {entry.module: entry for entry in self.not_yet if not entry.classes}

    def resolve(
        self, entries: list[Entry], module: str, ids: list[str]
    ) -> tuple[dict[str, str], list[tuple[str, str]]]:
        """Reasons by id, of the ``entries`` for ``module``, and what is wrong with those."""
        reasons: dict[str, str] = {}
        wrong: list[tuple[str, str]] = []
        for entry in entries:
            if entry.module != module:
                continue
            for target in entry.targets():
                found = [i for i in ids if i == target or i.startswith(target + ".")]
                if not found:
                    wrong.append((target, "no such test on this version"))
                for test_id in found:
                    if test_id in reasons:
                        wrong.append((test_id, "named twice"))
                    reasons[test_id] = entry.reason
        return reasons, wrong


def load(folder: Path, version: str) -> Lists:
    """The lists in ``folder``, only what holds on ``version``."""
    exceptions = read(folder / "exceptions.toml", "exception", whole=False)
    not_yet = read(folder / "not_yet.toml", "not_yet", whole=True)
    return Lists([e for e in exceptions if e.on(version)], [e for e in not_yet if e.on(version)])
