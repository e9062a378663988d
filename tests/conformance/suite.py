"""Which test modules there are, where, and on which version.

The suite is the running interpreter's own (``test.test_asyncio``), never a copy: each version is
judged by its own tests, and a module that a new version adds turns up by itself instead of being
forgotten.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

#: "3.14": how the lists name a version.
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

PACKAGE = "test.test_asyncio"


class NoSuite(Exception):
    """The interpreter came without its tests, as some distributions ship it."""


@dataclass(frozen=True)
class Suite:
    """A folder of test modules, importable as ``package``."""

    package: str
    folder: Path

    def modules(self) -> list[str]:
        """The test modules, the big ones first, so that none of them is left for the end."""
        paths = sorted(self.folder.glob("test_*.py"), key=lambda p: (-p.stat().st_size, p.name))
        return [path.stem for path in paths]

    def stamp(self, module: str) -> str:
        """What a remembered outcome of ``module`` depends on; not the venv, stock is the same."""
        stat = (self.folder / f"{module}.py").stat()
        return f"{sys.version} {sys.base_prefix} {stat.st_mtime_ns} {stat.st_size}"


def find(package: str = PACKAGE) -> Suite:
    """The suite called ``package``."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise NoSuite(
            f"{sys.executable} ({VERSION}) has no {package}: install the interpreter's test suite "
            f"(Debian: libpython{VERSION}-testsuite), or use an interpreter built with it"
        )
    return Suite(package, Path(next(iter(spec.submodule_search_locations))))
