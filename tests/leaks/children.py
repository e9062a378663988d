"""Workloads: each way in which a child process ends, and births that come to nothing.

What an engine might forget here: the memory that a child shares until it executes its program, the
pipe that tells when, the descriptor of the process, its zombie, the pipes to it, the Popen object
of one that nobody waits for.

A child costs as much as a thousand tasks, so a five-hundredth of the lifetimes that are asked for
are lived here.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.differential.engines import Engine

    Workload = Callable[[Engine, int], Awaitable[None]]

SHARE = 500
PIPE = asyncio.subprocess.PIPE
NOWHERE = "/there/is/no/such/program"


async def children_waited_for(engine: Engine, count: int) -> None:
    for number in range(count // SHARE):
        # Not one that ends by itself: who kills a child that has ended reaps it, and asyncio's
        # thread for it then logs that somebody else has.
        killed = number % 2 == 1
        process = await engine.lib.create_subprocess_exec(
            *(("sleep", "60") if killed else ("true",))
        )
        if killed:
            process.kill()
        await process.wait()


async def children_talked_to(engine: Engine, count: int) -> None:
    for _ in range(count // SHARE):
        process = await engine.lib.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        await process.communicate(b"x" * 1000)


async def children_closed(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count // SHARE):
        transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "cat")
        transport.close()
        while transport.get_returncode() is None:
            await asyncio.sleep(0)


async def births_that_fail(engine: Engine, count: int) -> None:
    for number in range(count // SHARE):
        with suppress(OSError):
            if number % 2:
                await engine.lib.create_subprocess_exec("true", cwd=NOWHERE, stdout=PIPE)
            else:
                await engine.lib.create_subprocess_exec(NOWHERE, stdin=PIPE)


async def births_cancelled(engine: Engine, count: int) -> None:
    loop = asyncio.get_running_loop()
    for number in range(count // SHARE):
        birth = loop.create_task(engine.lib.create_subprocess_exec("true", stdin=PIPE))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        birth.cancel()
        with suppress(asyncio.CancelledError):
            await (await birth).wait()


CHILDREN: dict[str, Workload] = {
    work.__name__: work
    for work in (
        children_waited_for,
        children_talked_to,
        children_closed,
        births_that_fail,
        births_cancelled,
    )
}
