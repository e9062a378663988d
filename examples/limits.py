"""Sharing with a lock, a semaphore and an event.

A lock is for what only one task may do at a time, a semaphore for what only some may, and an event
lets all go on at once. Between two awaits no other task runs, so plain code needs no lock. What
needs one is a change that has an await in its middle.

Output:

    without a lock: 1 of 5 deposits counted
    with a lock: 5 of 5 deposits counted
    at most 3 of 10 visitors at once: 3
    at the starting shot: dot, eve, fay
"""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext

import aioxide


class Account:
    def __init__(self, guard: AbstractAsyncContextManager[None]) -> None:
        self.balance = 0
        self._guard = guard

    async def deposit(self, amount: int) -> None:
        async with self._guard:
            balance = self.balance
            await asyncio.sleep(0.001)  # ask the database; meanwhile others may come in
            self.balance = balance + amount


async def deposits(guard: AbstractAsyncContextManager[None]) -> int:
    account = Account(guard)
    await asyncio.gather(*(account.deposit(1) for _ in range(5)))
    return account.balance


class Museum:
    def __init__(self, capacity: int) -> None:
        self._door = asyncio.Semaphore(capacity)
        self._inside = 0
        self.most = 0

    async def visit(self) -> None:
        async with self._door:
            self._inside += 1
            self.most = max(self.most, self._inside)
            await asyncio.sleep(0.001)
            self._inside -= 1


async def run_a_race(names: list[str]) -> list[str]:
    shot = asyncio.Event()
    finished: list[str] = []

    async def runner(name: str) -> None:
        await shot.wait()
        finished.append(name)

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(runner(name))
        await asyncio.sleep(0.001)
        assert finished == []
        shot.set()
    return finished


async def main() -> None:
    print(f"without a lock: {await deposits(nullcontext())} of 5 deposits counted")
    print(f"with a lock: {await deposits(asyncio.Lock())} of 5 deposits counted")

    museum = Museum(capacity=3)
    await asyncio.gather(*(museum.visit() for _ in range(10)))
    print(f"at most 3 of 10 visitors at once: {museum.most}")

    # Who waits first goes first: every wait queue of asyncio is fair.
    print(f"at the starting shot: {', '.join(await run_a_race(['dot', 'eve', 'fay']))}")


if __name__ == "__main__":
    aioxide.run(main())
