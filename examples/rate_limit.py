"""No more than so many in a period: a rate limiter from a semaphore and the loop's timers.

A semaphore alone limits how many run at once. If a permit comes back not when the work is done but
a fixed time after it was taken, the same semaphore limits how many begin in that time.

Output:

    8 requests, 3 in each period
    period 0: a b c
    period 1: d e f
    period 2: g h
"""

import asyncio

import aioxide

PERIOD = 0.1


class RateLimiter:
    """Lets `permits` callers through in any `period`; the others wait their turn."""

    def __init__(self, permits: int, period: float) -> None:
        self._permits = aioxide.Semaphore(permits)
        self._period = period

    async def wait(self) -> None:
        await self._permits.acquire()
        asyncio.get_running_loop().call_later(self._period, self._permits.release)


async def request(name: str, limiter: RateLimiter, start: float) -> tuple[int, str]:
    await limiter.wait()
    return int((asyncio.get_running_loop().time() - start) / PERIOD), name


async def main() -> None:
    limiter = RateLimiter(3, PERIOD)
    start = asyncio.get_running_loop().time()
    # Who waits first goes first, so the names come out in order.
    begun = await aioxide.gather(*(request(name, limiter, start) for name in "abcdefgh"))

    print(f"{len(begun)} requests, 3 in each period")
    for period in range(3):
        print(f"period {period}:", *(name for when, name in begun if when == period))


if __name__ == "__main__":
    aioxide.run(main())
