"""Three workers share one bounded queue.

How much runs at once is decided in one place, by how many workers there are. And as the queue is
bounded, a producer that is faster than they are waits instead of filling the memory: back pressure.

Output:

    9 parcels, 3 workers, never more than 2 parcels in the queue
    delivered: 0 1 2 3 4 5 6 7 8
    the workers went home: ada, bo, cy
"""

import asyncio

import aioxide


async def produce(queue: asyncio.Queue[int], parcels: int) -> int:
    """Put the parcels into the queue; return how long it ever was."""
    longest = 0
    for parcel in range(parcels):
        await queue.put(parcel)  # waits while the queue is full
        longest = max(longest, queue.qsize())
    return longest


async def work(queue: asyncio.Queue[int], delivered: list[int]) -> None:
    while True:
        parcel = await queue.get()  # waits while the queue is empty
        try:
            await asyncio.sleep(0.005)
            delivered.append(parcel)
        finally:
            # Whatever happened, this parcel is no longer in anyone's hands.
            queue.task_done()


async def main() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)
    delivered: list[int] = []
    workers = [
        asyncio.create_task(work(queue, delivered), name=name) for name in ("ada", "bo", "cy")
    ]

    longest = await produce(queue, 9)
    await queue.join()  # until task_done() was called for everything that was put

    # The workers loop for ever; nothing is left for them to do, so they are cancelled, and awaited
    # so that they are gone before we are.
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)

    print(f"9 parcels, 3 workers, never more than {longest} parcels in the queue")
    print("delivered:", *sorted(delivered))
    print("the workers went home:", ", ".join(worker.get_name() for worker in workers))


if __name__ == "__main__":
    aioxide.run(main())
