"""Whoever stops waiting, at whatever point, loses no child and leaves none."""

import asyncio
import signal
from typing import Any

import pytest

from tests.children.parties import PIPE, children
from tests.net.parties import Net


async def test_a_cancelled_wait_leaves_the_child_alone(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("cat", stdin=PIPE)
    waiting = asyncio.create_task(process.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), 0.01)
    process.stdin.close()
    assert await process.wait() == 0


async def test_a_cancelled_communicate_leaves_the_child_alone(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    talking = asyncio.create_task(process.communicate(b"one\n"))
    await asyncio.sleep(0.02)
    talking.cancel()
    await asyncio.wait([talking])
    process.stdin.close()
    assert await process.wait() == 0


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncio's own
async def test_a_creation_that_is_cancelled_at_any_point_leaves_nothing(
    net: Net, turns: int
) -> None:
    async def create() -> Any:
        return await net.lib.create_subprocess_exec("sleep", "60", stdin=PIPE, stdout=PIPE)

    creating = asyncio.create_task(create())
    for _ in range(turns):
        await asyncio.sleep(0)
    creating.cancel()
    try:
        process = await creating
    except asyncio.CancelledError:
        if net.name != "asyncio":
            assert children() == set()
        while children():
            await asyncio.sleep(0.005)
    else:
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        process._transport.close()


async def test_a_creation_that_is_cancelled_twice_leaves_nothing(net: Net) -> None:
    if net.name == "asyncio":
        return  # up to 3.13 it is content with less
    creating = asyncio.create_task(net.lib.create_subprocess_exec("sleep", "60", stdin=PIPE))
    await asyncio.sleep(0)
    creating.cancel()
    await asyncio.sleep(0)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    while children():
        await asyncio.sleep(0.005)


async def test_a_creation_that_fails_while_it_is_cancelled_leaves_nothing(net: Net) -> None:
    creating = asyncio.create_task(
        net.lib.create_subprocess_exec("/there/is/no/such/program", stdin=PIPE)
    )
    await asyncio.sleep(0)
    creating.cancel()
    with pytest.raises((asyncio.CancelledError, FileNotFoundError)):
        await creating
    assert children() == set()


async def test_a_creation_may_be_closed_like_any_coroutine(net: Net) -> None:
    if net.name in {"asyncio", "popen", "threads"}:
        return  # asyncio's answer is a RuntimeError, and there is only one point to close it at
    creation = net.loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "60")
    awaited = creation.send(None)
    assert awaited is not None
    creation.close()
    while children():
        await asyncio.sleep(0.005)


async def test_a_timeout_around_it_all_leaves_nothing(net: Net) -> None:
    async def work() -> None:
        process = await net.lib.create_subprocess_exec("sleep", "60", stdout=PIPE)
        try:
            await process.communicate()
        finally:
            process.kill()
            await process.wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work(), 0.05)
    assert children() == set()
