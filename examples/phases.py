"""A barrier: work in phases, where nobody begins the next before all have ended this one.

Output:

    load: ada, bo, cy
    compute: ada, bo, cy
    store: ada, bo, cy
    one of the three cleared the table each time: 3
"""

import aioxide

PACE = {"ada": 0.001, "bo": 0.003, "cy": 0.002}


async def work(name: str, barrier: aioxide.Barrier, table: list[str], cleared: list[str]) -> None:
    for phase in ("load", "compute", "store"):
        await aioxide.sleep(PACE[name])
        table.append(name)
        # Each gets a number of its own, so one can be picked for what is to be done once.
        if await barrier.wait() == 0:
            print(f"{phase}: {', '.join(sorted(table))}")
            table.clear()
            cleared.append(name)
        await barrier.wait()  # the table is cleared


async def main() -> None:
    barrier = aioxide.Barrier(len(PACE))
    table: list[str] = []
    cleared: list[str] = []
    async with aioxide.TaskGroup() as group:
        for name in PACE:
            group.create_task(work(name, barrier, table, cleared))
    print(f"one of the three cleared the table each time: {len(cleared)}")


if __name__ == "__main__":
    aioxide.run(main())
