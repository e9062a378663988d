"""Workloads: each way in which a pipe transport ends.

What might be forgotten here: the descriptor of either end, the transport in the loop's table, what
was written and never read, the reader that a transport feeds, the Handle that waits for room in a
terminal.
"""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.leaks.network import MUCH, PACKET, SHARE, Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.differential.engines import Engine
    from tests.leaks.network import Workload


async def _both_ends(
    kind: Callable[[], Any] = Side, open_ends: Callable[[], tuple[int, int]] = os.pipe
) -> tuple[Any, Any]:
    loop = asyncio.get_running_loop()
    reading, writing = open_ends()
    _, reader = await loop.connect_read_pipe(kind, os.fdopen(reading, "rb", buffering=0))
    _, writer = await loop.connect_write_pipe(Side, os.fdopen(writing, "wb", buffering=0))
    return reader, writer


async def pipes_by_protocol(engine: Engine, count: int) -> None:
    for number in range(count // SHARE):
        reader, writer = await _both_ends()
        writer.transport.write(PACKET)
        await reader.heard
        (writer.transport.close, writer.transport.abort, reader.transport.close)[number % 3]()
        await reader.lost
        await writer.lost


async def pipes_by_streams(engine: Engine, count: int) -> None:
    """Each fourth read is cancelled, and each fourth end is found by who reads."""
    loop = asyncio.get_running_loop()
    for number in range(count // SHARE):
        reading, writing = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader),
            os.fdopen(reading, "rb", buffering=0),
        )
        task = loop.create_task(reader.read(len(PACKET)))
        await asyncio.sleep(0)
        if number % 4 == 0:
            task.cancel()
        os.write(writing, PACKET)
        with suppress(asyncio.CancelledError):
            await task
        if number % 4 == 1:
            os.close(writing)
            await reader.read()
        else:
            transport.close()
            await asyncio.sleep(0)
            os.close(writing)
        await asyncio.sleep(0)


async def pipes_full_when_they_end(engine: Engine, count: int) -> None:
    for number in range(count // SHARE):
        ends = os.openpty if number % 4 == 3 else os.pipe
        reader, writer = await _both_ends(open_ends=ends)
        reader.transport.pause_reading()
        writer.transport.write(MUCH)
        if number % 2:
            writer.transport.abort()
        await asyncio.sleep(0)
        reader.transport.close()
        await reader.lost
        await writer.lost


async def pipes_that_nobody_closes(engine: Engine, count: int) -> None:
    for _ in range(count // SHARE):
        reader, writer = await _both_ends()
        reader.transport.pause_reading()
        pipes = [side.transport.get_extra_info("pipe") for side in (reader, writer)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            lost = writer.lost
            del reader, writer
            gc.collect()
        await lost
        assert all(pipe.closed for pipe in pipes)


PIPES: dict[str, Workload] = {
    work.__name__: work
    for work in (
        pipes_by_protocol,
        pipes_by_streams,
        pipes_full_when_they_end,
        pipes_that_nobody_closes,
    )
}
