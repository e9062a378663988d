"""Tasks that belong together live and fail together.

No task of a TaskGroup outlives its `async with` block. When one fails, the others are cancelled,
and every error that was raised comes out at the end, in one ExceptionGroup.

Output:

    everyone is fine: [1, 4, 9]
    task 'slow' was cancelled
    one network problem: host a is down
    one bad value: 'x' is not a number
"""

import asyncio

import aioxide


async def square(number: int) -> int:
    await asyncio.sleep(0.001)
    return number * number


async def connect(host: str) -> None:
    await asyncio.sleep(0.001)
    raise ConnectionError(f"host {host} is down")


async def parse(text: str) -> int:
    await asyncio.sleep(0.001)
    if not text.isdigit():
        raise ValueError(f"{text!r} is not a number")
    return int(text)


async def slow() -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("task 'slow' was cancelled")
        raise


async def main() -> None:
    async with asyncio.TaskGroup() as group:
        squares = [group.create_task(square(number)) for number in (1, 2, 3)]
    # Past the block every task is done, so result() does not wait.
    print(f"everyone is fine: {[task.result() for task in squares]}")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(connect("a"))
            group.create_task(parse("x"))
            group.create_task(slow())
    except* ConnectionError as network:
        # except* takes the errors of one kind out of the group; several such blocks may run.
        print("one network problem:", *network.exceptions)
    except* ValueError as values:
        print("one bad value:", *values.exceptions)


if __name__ == "__main__":
    aioxide.run(main())
