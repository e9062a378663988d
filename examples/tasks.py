"""A breakfast, cooked all at once: coroutines, tasks and gather.

Calling an `async def` function runs nothing yet; it makes a coroutine, a piece of work that can
wait. Awaiting it runs it here and now. Making a task of it lets it run beside everything else.

Output:

    one after another: toast, eggs
    all at once:
      the eggs go on
      the bread goes in
      the kettle goes on
      the kettle is done
      the bread is done
      the eggs are done
    on the table: eggs, toast, tea
"""

import asyncio

import aioxide


async def cook(name: str, start: str, end: str, seconds: float) -> str:
    print(f"  {start}")
    # While this task waits, the loop runs whichever other task is ready.
    await asyncio.sleep(seconds)
    print(f"  {end}")
    return name


async def quietly(name: str) -> str:
    await asyncio.sleep(0.01)
    return name


async def main() -> None:
    # Awaited in turn, each waits for the one before it.
    print(f"one after another: {await quietly('toast')}, {await quietly('eggs')}")

    print("all at once:")
    # A task starts at the next turn of the loop. Keep a reference to it: the loop does not.
    eggs = asyncio.create_task(cook("eggs", "the eggs go on", "the eggs are done", 0.06))
    # gather makes tasks of coroutines, and returns the results in the order in which it was asked,
    # not in the order in which they came.
    results = await asyncio.gather(
        eggs,
        cook("toast", "the bread goes in", "the bread is done", 0.04),
        cook("tea", "the kettle goes on", "the kettle is done", 0.02),
    )
    print(f"on the table: {', '.join(results)}")


if __name__ == "__main__":
    aioxide.run(main())
