"""Many children, at once and one after the other; AIOXIDE_NETWORK_FULL runs as many as it says."""

import asyncio
import gc
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.children.parties import PIPE, children
from tests.loops import count_descriptors
from tests.net.parties import Net

FULL = bool(os.environ.get("AIOXIDE_NETWORK_FULL"))
AT_ONCE = 1000 if FULL else 60
IN_TURN = 10_000 if FULL else 300
TOGETHER = 50 if FULL else 20


async def test_as_many_at_once(net: Net) -> None:
    if FULL and net.name != "aioxide":
        return
    processes = await asyncio.gather(
        *(net.lib.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE) for _ in range(AT_ONCE))
    )
    assert children() >= {process.pid for process in processes}
    outputs = await asyncio.gather(
        *(process.communicate(b"%d" % process.pid) for process in processes)
    )
    assert outputs == [(b"%d" % process.pid, None) for process in processes]
    assert {process.returncode for process in processes} == {0}


async def test_as_many_in_turn_leave_neither_descriptors_nor_memory(net: Net) -> None:
    if FULL and net.name != "aioxide":
        return

    async def keep(numbers: Iterator[int]) -> None:
        for number in numbers:
            process = await net.lib.create_subprocess_exec("sh", "-c", f"exit {number % 256}")
            assert await process.wait() == number % 256

    async def generation(count: int) -> None:
        numbers = iter(range(count))
        await asyncio.gather(*(keep(numbers) for _ in range(TOGETHER)))
        gc.collect()

    await generation(IN_TURN // 3)
    descriptors, memory = count_descriptors(), resident()
    await generation(IN_TURN)
    assert count_descriptors() == descriptors
    assert children() == set()
    assert resident() - memory < 4 << 20


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_many_that_are_killed_together(net: Net) -> None:
    processes = await asyncio.gather(
        *(net.lib.create_subprocess_exec("sleep", "60") for _ in range(20))
    )
    for process in processes:
        process.kill()
    statuses = await asyncio.gather(*(process.wait() for process in processes))
    assert statuses == [-signal.SIGKILL] * 20


async def test_a_birth_that_is_over_is_forgotten_while_others_go_on(net: Net) -> None:
    """Another child that is being born has a copy of every descriptor, and keeps it open.

    What the kernel went on reporting under a number that is closed would cost the loop a new queue
    in the kernel, or would be taken for news of whatever has the number next.
    """
    if net.name != "aioxide":
        return  # nothing else happens during a birth
    queue = os.dup(kernel_queue())
    try:
        # Thousands of directories to look into.
        slow = {"PATH": ":".join(f"/none/{number}" for number in range(9000)) + ":" + os.defpath}
        first = asyncio.create_task(net.lib.create_subprocess_exec("true"))
        second = asyncio.create_task(net.lib.create_subprocess_exec("true", env=slow))
        for process in await asyncio.gather(first, second):
            assert await process.wait() == 0
        read, write = os.pipe()
        net.loop.add_reader(read, print)
        watched = re.findall(r"tfd:\s*(\d+)", Path(f"/proc/self/fdinfo/{queue}").read_text())
        net.loop.remove_reader(read)
        os.close(read)
        os.close(write)
        assert str(read) in watched, "the loop has a new queue"
    finally:
        os.close(queue)


def kernel_queue() -> int:
    """The descriptor that this loop waits on: the only one of its kind."""
    (found,) = [
        int(each.name)
        for each in Path("/proc/self/fd").iterdir()
        if each.is_symlink() and "eventpoll" in str(each.readlink())
    ]
    return found
