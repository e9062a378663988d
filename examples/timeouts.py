"""Waiting no longer than you want to: timeouts and cancellation.

A cancelled task gets a `CancelledError` at the `await` where it stands. It can clean up, and then
must let the error through: swallowing it would tell the one who cancelled that nothing happened.
What may not be cancelled stands behind a shield.

Output:

    the patient caller got: 42
    the oracle stops thinking and tidies up
    the impatient caller gave up
    wait_for gave up too, with a default: 0
    payment: half done
    we stopped waiting, but the payment goes on
    payment: all done
"""

import asyncio

import aioxide


async def oracle(seconds: float) -> int:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print("the oracle stops thinking and tidies up")
        raise
    return 42


async def ask_wait_for(seconds: float) -> int:
    try:
        return await asyncio.wait_for(asyncio.sleep(seconds, result=1), timeout=0.01)
    except TimeoutError:
        return 0


async def pay() -> None:
    await asyncio.sleep(0.01)
    print("payment: half done")
    await asyncio.sleep(0.03)
    print("payment: all done")


async def main() -> None:
    async with asyncio.timeout(5):
        print(f"the patient caller got: {await oracle(0.001)}")

    # When the time is up, what runs inside the block is cancelled, and the block turns that into
    # TimeoutError. It can be around any number of awaits.
    try:
        async with asyncio.timeout(0.01):
            await oracle(60)
    except TimeoutError:
        print("the impatient caller gave up")

    print(f"wait_for gave up too, with a default: {await ask_wait_for(60)}")

    # A shield takes the cancellation for the task behind it, which must be kept and awaited.
    payment = asyncio.create_task(pay())
    try:
        async with asyncio.timeout(0.025):
            await asyncio.shield(payment)
    except TimeoutError:
        print("we stopped waiting, but the payment goes on")
    await payment


if __name__ == "__main__":
    aioxide.run(main())
