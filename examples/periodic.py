"""A clock that does not drift, and the loop's own timers.

Sleeping a fixed time after each piece of work adds the work's own time to every period. Counting
from the start does not, and a tick that comes too late is dropped rather than run in a hurry.

Output:

    tick 0
    tick 1
    tick 2
    tick 4 (3 was missed)
    tick 5
    timers run in the order of their deadlines: soon, later
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import aioxide

PERIOD = 0.1


async def every(period: float) -> AsyncGenerator[int, None]:
    """Yield 0, 1, 2, ... after so many periods, without those whose time has already passed."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    tick = 0
    while True:
        # loop.time() never goes backwards, whatever happens to the clock on the wall.
        await asyncio.sleep(start + tick * period - loop.time())
        yield tick
        tick = max(tick + 1, math.ceil((loop.time() - start) / period))


async def tick_tock() -> None:
    previous = -1
    # We leave before the generator ends, so someone has to close it: that is what aclosing is for.
    async with aclosing(every(PERIOD)) as ticks:
        async for tick in ticks:
            missed = f" ({previous + 1} was missed)" if tick > previous + 1 else ""
            print(f"tick {tick}{missed}")
            previous = tick
            if tick == 2:
                # A blocking call stops every task of the loop, not only ours. It costs a tick.
                time.sleep(1.5 * PERIOD)  # noqa: ASYNC251
            if tick == 5:
                break


async def timers() -> None:
    """The layer below: call a plain function at some time, and change one's mind about it."""
    loop = asyncio.get_running_loop()
    called: list[str] = []
    done = asyncio.Event()
    loop.call_later(0.02, done.set)
    loop.call_later(0.01, called.append, "later")
    loop.call_at(loop.time() + 0.005, called.append, "soon")
    never = loop.call_later(0.001, called.append, "never")
    never.cancel()
    await done.wait()
    print("timers run in the order of their deadlines:", ", ".join(called))


async def main() -> None:
    await tick_tock()
    await timers()


if __name__ == "__main__":
    aioxide.run(main())
