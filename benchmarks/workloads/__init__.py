"""What is measured: a registry of small programs, each named for what it leans on.

A workload is one coroutine function `(aio, loop, n)` that performs n operations. It takes its
primitives from `aio`, so the same text measures asyncio's on any loop and aioxide's own. `n` is
fixed for each workload, because for some (timers, bursts) the cost of one depends on how many
there are; the worker repeats the whole unit until its time is up. Sizes are chosen so that one
unit takes asyncio some 10 to 50 ms.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from types import ModuleType

    Run = Callable[[ModuleType, asyncio.AbstractEventLoop, int], Awaitable[None]]

GROUPS = {
    "loop": "The loop: callbacks, timers, threads, file descriptors",
    "tasks": "Tasks, futures and what waits for them",
    "sync": "Locks, events and queues",
    "crowds": "A thousand at once, and a million",
    "net": "Sockets and streams, client and server in one loop",
}


@dataclass(frozen=True)
class Workload:
    """One row of the tables. With `needs`, an engine may lack what it takes and say so.

    With `quick`, one unit takes seconds: it is measured once a round, without a warm-up, and a
    smoke run is content with this smaller size.
    """

    name: str
    group: str
    about: str
    size: int
    run: Run
    needs: str = ""
    since: tuple[int, int] = (3, 11)
    quick: int = 0


WORKLOADS: dict[str, Workload] = {}


def workload(
    size: int, *, needs: str = "", since: tuple[int, int] = (3, 11), quick: int = 0
) -> Callable[[Run], Run]:
    """Register the function under its name; its docstring's first line becomes `about`."""

    def register(run: Run) -> Run:
        name = getattr(run, "__name__", "")
        about = (run.__doc__ or "").strip().splitlines()[0]
        group = run.__module__.rpartition(".")[2]
        if sys.version_info >= since:
            WORKLOADS[name] = Workload(name, group, about, size, run, needs, since, quick)
        return run

    return register


for _group in GROUPS:
    importlib.import_module(f"{__name__}.{_group}")


def chosen(names: str | None, without: str | None = None) -> list[Workload]:
    """The workloads of a comma-separated list of names or groups, less another such list."""

    def pick(text: str) -> set[str]:
        wanted = set(text.split(","))
        unknown = wanted - set(WORKLOADS) - set(GROUPS)
        if unknown:
            raise ValueError(f"no such workload: {', '.join(sorted(unknown))}")
        return {w.name for w in WORKLOADS.values() if w.name in wanted or w.group in wanted}

    kept = pick(names) if names else set(WORKLOADS)
    kept -= pick(without) if without else set()
    return [w for w in WORKLOADS.values() if w.name in kept]
