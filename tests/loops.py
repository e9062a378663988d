"""What most test modules here work with: both loops, their classes, and a few turns of them."""

import asyncio
from pathlib import Path
from typing import Any

import aioxide

Loop = asyncio.AbstractEventLoop
Report = dict[str, Any]

LOOPS: list[Any] = [asyncio.SelectorEventLoop, aioxide.new_event_loop]
TASKS: dict[type, Any] = {asyncio.SelectorEventLoop: asyncio.Task, aioxide.EventLoop: aioxide.Task}
FUTURES: dict[type, Any] = {
    asyncio.SelectorEventLoop: asyncio.Future,
    aioxide.EventLoop: aioxide.Future,
}


def run_turns(loop: Loop, turns: int = 1) -> None:
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()


async def forever() -> None:
    await asyncio.Event().wait()


def finish(loop: Loop, task: Any) -> None:
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))


def count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
