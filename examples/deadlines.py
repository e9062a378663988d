"""Groups inside a deadline: whatever happens, nothing is left running.

A timeout around a TaskGroup is a deadline for all of its tasks. When it passes, they are cancelled
and awaited, and only then does TimeoutError come out. A deadline may also be moved while it runs.

Output:

    in time: fast 1, fast 2
    too late: slow is cleaned up
    nothing is left running: True
    given more time: patient
"""

import asyncio

import aioxide


async def fetch(name: str, seconds: float) -> str:
    try:
        await aioxide.sleep(seconds)
    except asyncio.CancelledError:
        print(f"too late: {name} is cleaned up")
        raise
    return name


async def fetch_all(jobs: dict[str, float], seconds: float) -> list[str]:
    async with aioxide.timeout(seconds), aioxide.TaskGroup() as group:
        tasks = [group.create_task(fetch(name, needs)) for name, needs in jobs.items()]
    return [task.result() for task in tasks]


async def main() -> None:
    print("in time:", ", ".join(await fetch_all({"fast 1": 0.001, "fast 2": 0.002}, 5)))

    try:
        await fetch_all({"fast": 0.001, "slow": 60}, 0.05)
    except TimeoutError:
        print(f"nothing is left running: {len(asyncio.all_tasks()) == 1}")

    async with aioxide.timeout(0.01) as deadline:
        deadline.reschedule(asyncio.get_running_loop().time() + 5)
        print("given more time:", await fetch("patient", 0.02))


if __name__ == "__main__":
    aioxide.run(main())
