"""Who takes part: the event loops that are compared, and how each is opened.

Only here is an engine known by name. The rest of the harness sees a factory of loops and a
namespace of primitives, so a new peer is one line below and one in requirements.txt.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import platform
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BASELINE = "asyncio"
OURS = "aioxide"


class UnavailableError(Exception):
    """The engine cannot run here; the message is what a reader of the table is told."""


class SameAsAnotherError(Exception):
    """The engine would measure what another one measures already, so it is left out unsaid."""


@dataclass(frozen=True)
class Opened:
    """An engine that was imported and has made a loop."""

    new_loop: Callable[[], asyncio.AbstractEventLoop]
    aio: ModuleType
    version: str


@dataclass(frozen=True)
class Engine:
    """One column of the tables. `primitives` names the module whose gather, sleep, Lock … run."""

    name: str
    module: str
    primitives: str = "asyncio"
    about: str = ""

    @property
    def ours(self) -> bool:
        """Whether this is aioxide in one of its variants."""
        return self.module == OURS

    @property
    def peer(self) -> bool:
        """Whether "best peer" may mean this one: neither aioxide nor the baseline."""
        return not self.ours and self.module != BASELINE

    def open(self) -> Opened:
        """Import the engine and try its loop once; say why not if that fails."""
        try:
            module = importlib.import_module(self.module)
            module.new_event_loop().close()
            primitives = importlib.import_module(self.primitives)
        # A half-built or mismatched extension can fail in any way, and each means the same here.
        except Exception as error:
            raise UnavailableError("not installed") from error
        own = [
            name for name in PRIMITIVES if getattr(primitives, name) is not getattr(asyncio, name)
        ]
        if self.primitives != BASELINE and not own:
            raise SameAsAnotherError
        return Opened(module.new_event_loop, namespace(primitives), version_of(module))


# Whoever has its own version of one of these has primitives of its own.
PRIMITIVES = ("sleep", "gather", "wait_for", "timeout", "Lock", "Queue")

ENGINES: tuple[Engine, ...] = (
    Engine("asyncio", "asyncio"),
    Engine("uvloop", "uvloop"),
    Engine("rloop", "rloop"),
    Engine("rsloop", "rsloop"),
    Engine("zuvloop", "zuvloop"),
    Engine("zloop", "zloop"),
    Engine("blazio", "blazio"),
    Engine(
        "aioxide-std",
        "aioxide",
        about="aioxide (stdlib primitives): asyncio's own gather, sleep, Lock … "
        "on aioxide's loop, Task and Future",
    ),
    Engine("aioxide", "aioxide", "aioxide", about="aioxide with its own primitives"),
)
BY_NAME = {engine.name: engine for engine in ENGINES}


def chosen(names: str | None) -> list[Engine]:
    """The engines of a comma-separated list, `aioxide` meaning both of its variants."""
    if names is None:
        return list(ENGINES)
    wanted = set(names.split(","))
    unknown = wanted - {e.name for e in ENGINES} - {e.module for e in ENGINES}
    if unknown:
        raise ValueError(f"no such engine: {', '.join(sorted(unknown))}")
    return [e for e in ENGINES if e.name in wanted or e.module in wanted]


def namespace(primitives: ModuleType) -> ModuleType:
    """asyncio's public names, each from `primitives` where it is there and from asyncio otherwise.

    A real module for every engine, asyncio too: attribute loads on modules are specialised by the
    interpreter, and no engine shall be slower for the way its primitives were looked up. Not by
    `asyncio.__all__`, which in 3.11 forgets TaskGroup.
    """
    space = ModuleType("aio")
    for name, fallback in vars(asyncio).items():
        if not name.startswith("_"):
            setattr(space, name, getattr(primitives, name, fallback))
    return space


def version_of(module: ModuleType) -> str:
    """The version that was installed; asyncio's is the interpreter's."""
    if module is asyncio:
        return platform.python_version()
    try:
        return importlib.metadata.version(module.__name__)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(module, "__version__", "unknown"))
