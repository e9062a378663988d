"""A pool of workers that ends by closing its queue.

`shutdown()` says that nothing more will come. Workers still get what is in the queue, and then
QueueShutDown instead of a job: nobody is cancelled, and no special job is needed that means "stop".

Output:

    thumbnails: 1.jpg 2.jpg 3.jpg 4.jpg 5.jpg 6.jpg
    who comes too late is told so: the queue is closed
    every worker went home by itself: True
"""

from typing import Any

import aioxide


async def work(jobs: Any, done: list[str]) -> None:
    while True:
        try:
            job = await jobs.get()
        except aioxide.QueueShutDown:
            return
        await aioxide.sleep(0.002)
        done.append(f"{job}.jpg")


async def main() -> None:
    # asyncio's queues can be closed from Python 3.13 on, and so their types; aioxide's always.
    jobs: Any = aioxide.Queue(maxsize=2)
    done: list[str] = []
    async with aioxide.TaskGroup() as group:
        workers = [group.create_task(work(jobs, done)) for _ in range(3)]
        for job in range(1, 7):
            await jobs.put(job)
        jobs.shutdown()

    print("thumbnails:", *sorted(done))
    try:
        jobs.put_nowait(7)
    except aioxide.QueueShutDown:
        print("who comes too late is told so: the queue is closed")
    gone = all(worker.done() and not worker.cancelled() for worker in workers)
    print(f"every worker went home by itself: {gone}")


if __name__ == "__main__":
    aioxide.run(main())
