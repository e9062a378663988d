"""What something that waits costs in memory: resident bytes for each sleeping task, each timer.

Resident size from the kernel and not tracemalloc: that would see Python's allocator only, and a
native engine's memory lies elsewhere. The growth is divided by a count so large that pages and
arenas do not matter.
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from benchmarks.engines import Opened

    Fill = Callable[[Opened, asyncio.AbstractEventLoop, int], Awaitable[object]]

HOUR = 3600.0


def resident() -> int:
    """This process's resident bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def sleeping_tasks(opened: Opened, loop: asyncio.AbstractEventLoop, n: int) -> object:
    """n tasks, each in a sleep(); the caller keeps what is returned until it has measured."""

    async def sleeper() -> None:
        await opened.aio.sleep(HOUR)

    tasks = [loop.create_task(sleeper()) for _ in range(n)]
    for _ in range(3):
        await opened.aio.sleep(0)
    return tasks


async def pending_timers(opened: Opened, loop: asyncio.AbstractEventLoop, n: int) -> object:
    """n timers of one shared callback, whose handles nobody keeps."""

    def callback() -> None:
        pass

    for i in range(n):
        loop.call_later(HOUR + i % 1000, callback)
    return None


@dataclass(frozen=True)
class Kind:
    """One row of the memory table."""

    name: str
    about: str
    count: int
    quick: int
    fill: Fill

    def measure(self, opened: Opened, count: int) -> float:
        """Bytes for each of `count`. The process is not fit for anything else afterwards."""
        loop = opened.new_loop()

        async def growth() -> float:
            # The first thousand load what is loaded once and fill the allocator's first arenas.
            kept = [await self.fill(opened, loop, 1000)]
            gc.collect()
            before = resident()
            kept.append(await self.fill(opened, loop, count))
            gc.collect()
            return (resident() - before) / count

        return loop.run_until_complete(growth())


KINDS = {
    kind.name: kind
    for kind in (
        Kind("sleeping_task", "tasks in sleep()", 100_000, 20_000, sleeping_tasks),
        Kind("pending_timer", "pending call_later()", 1_000_000, 100_000, pending_timers),
    )
}
