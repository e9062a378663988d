"""Stopping well: on SIGTERM, finish what has begun, then leave.

SIGTERM is what `docker stop`, systemd and most supervisors send first; some seconds later they
kill.

Output:

    serving until SIGTERM
    job 0 done
    job 1 done
    SIGTERM: no new jobs
    job 2 done
    job 3 was too slow: cancelled
    closed, and the books are in order
"""

import asyncio
import os
import signal

import aioxide

GRACE = 0.2


async def job(number: int, seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print(f"job {number} was too slow: cancelled")
        raise
    print(f"job {number} done")


async def drain(jobs: set[asyncio.Task[None]]) -> None:
    """Give what still runs some time to finish, then cancel the rest and wait until it is gone."""
    _, late = await asyncio.wait(jobs, timeout=GRACE)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


async def main() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # The handler runs in the loop, between two callbacks, so unlike one that was installed by
    # signal.signal() it may touch tasks, futures and events.
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Somebody, somewhere, will want us to stop.
    loop.call_later(0.06, os.kill, os.getpid(), signal.SIGTERM)

    try:
        print("serving until SIGTERM")
        durations = (0.01, 0.02, 0.14, 60)
        jobs = {
            asyncio.create_task(job(number, duration)) for number, duration in enumerate(durations)
        }
        await stop.wait()
        print("SIGTERM: no new jobs")
        await drain(jobs)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    print("closed, and the books are in order")


if __name__ == "__main__":
    aioxide.run(main())
