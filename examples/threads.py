"""Blocking code in threads, and how threads talk to the loop.

A loop belongs to one thread. Everything that touches it from another goes through
`call_soon_threadsafe` (run a function there) or `run_coroutine_threadsafe` (run a coroutine there).

Output:

    three naps in threads, all at once: True
    the context came along: request 7
    from a thread, 3 readings: 20, 21, 22
    from a thread, a coroutine's result: 46
"""

import asyncio
import time
from contextvars import ContextVar

import aioxide

NAP = 0.1
request: ContextVar[str] = ContextVar("request")


def nap() -> None:
    """Something that blocks: a database driver, a compression, an old library."""
    time.sleep(NAP)


def handle() -> str:
    return request.get()


def read_sensor(loop: asyncio.AbstractEventLoop, readings: asyncio.Queue[int]) -> None:
    """Run in a thread of its own; `readings` itself may only be touched by the loop's thread."""
    for reading in (20, 21, 22):
        loop.call_soon_threadsafe(readings.put_nowait, reading)


async def double(number: int) -> int:
    await asyncio.sleep(0.001)
    return number * 2


def ask_the_loop(loop: asyncio.AbstractEventLoop) -> int:
    """Run in a thread, where blocking on result() is fine; in the loop's thread it would hang."""
    return asyncio.run_coroutine_threadsafe(double(23), loop).result(timeout=5)


async def main() -> None:
    loop = asyncio.get_running_loop()

    start = loop.time()
    await asyncio.gather(*(asyncio.to_thread(nap) for _ in range(3)))
    print(f"three naps in threads, all at once: {loop.time() - start < 3 * NAP}")

    # to_thread takes the context variables along, as a task does.
    request.set("request 7")
    print(f"the context came along: {await asyncio.to_thread(handle)}")

    readings: asyncio.Queue[int] = asyncio.Queue()
    reader = asyncio.create_task(asyncio.to_thread(read_sensor, loop, readings))
    values = [await readings.get() for _ in range(3)]
    await reader
    print(f"from a thread, 3 readings: {', '.join(map(str, values))}")

    print(f"from a thread, a coroutine's result: {await asyncio.to_thread(ask_the_loop, loop)}")


if __name__ == "__main__":
    aioxide.run(main())
