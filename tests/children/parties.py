"""What the tests of child processes work with: small programs, and a protocol that remembers."""

import asyncio
import os
from pathlib import Path
from typing import Any

PIPE = asyncio.subprocess.PIPE
DEVNULL = asyncio.subprocess.DEVNULL
STDOUT = asyncio.subprocess.STDOUT


def children() -> set[int]:
    """The processes that this one would have to wait for, those that are dead among them."""
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (thread / "children").read_text().split()))
        except FileNotFoundError:  # the thread has just ended
            continue
    return found


async def run(lib: Any, *command: Any, **options: Any) -> tuple[int | None, bytes]:
    """Run a program, and return its exit status and what it wrote to stdout."""
    process = await lib.create_subprocess_exec(*command, stdout=PIPE, **options)
    output, _ = await process.communicate()
    return process.returncode, output


async def script(lib: Any, text: str, **options: Any) -> tuple[int | None, bytes]:
    """Run a shell's script, likewise."""
    return await run(lib, "sh", "-c", text, **options)


class Observer(asyncio.SubprocessProtocol):
    """Remembers what it is told, in order; data that comes in several pieces is told once."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.output = {1: bytearray(), 2: bytearray()}
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if not self.output[fd]:
            self.events.append(f"data {fd}")
        self.output[fd] += data

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.events.append(f"pipe lost {fd} {type(exc).__name__ if exc else ''}".strip())

    def process_exited(self) -> None:
        self.events.append("exited")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.ended.set_result(None)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
