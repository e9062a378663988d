"""The tour that `make demo` takes: every example here, on aioxide, and then what the change buys.

First each program runs on aioxide and on stock asyncio, and has to print the same on both. Then
small workloads, in which the loop and what it coordinates are all the work, are timed on both.
"""

import asyncio
import importlib
import io
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import redirect_stdout
from types import ModuleType
from typing import Any

import aioxide

PROGRAMS = [
    "tasks",
    "workers",
    "pool",
    "progress",
    "timeouts",
    "task_groups",
    "deadlines",
    "limits",
    "rate_limit",
    "phases",
    "futures",
    "periodic",
    "threads",
    "shutdown",
    "children",
    "pipe_streams",
    "echo_streams",
    "echo_protocol",
    "datagrams",
    "chat",
    "http_server",
    "tls_echo",
]
LINES_SHOWN = 4
INDENT = " " * 20
ROUNDS = 3
SECONDS = 0.2  # for one workload, on one loop, in one round
BAR = 24

Run = Callable[[Coroutine[Any, Any, Any]], Any]

COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(text: str, code: int) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOURS else text


def bold(text: str) -> str:
    return paint(text, 1)


def dim(text: str) -> str:
    return paint(text, 2)


def green(text: str) -> str:
    return paint(text, 32)


def red(text: str) -> str:
    return paint(text, 31)


# --- the programs ---------------------------------------------------------------------------------


def output_of(program: ModuleType, run: Run) -> str:
    """What the program prints when it is run by `aioxide.run` or by `asyncio.run`."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        run(program.main())
    return printed.getvalue()


def show(program: ModuleType, output: str, note: str) -> None:
    title = (program.__doc__ or "").partition("\n")[0]
    print(f"  {bold(f'{program.__name__}.py'.ljust(15))} {title}")
    lines = output.splitlines()
    if len(lines) > LINES_SHOWN:
        lines[LINES_SHOWN - 1 :] = [f"... and {len(lines) - LINES_SHOWN + 1} more lines"]
    for line in lines:
        print(f"{INDENT}{dim(line)}")
    print(f"{INDENT}{note}\n", flush=True)


def tour() -> int:
    """Run every program on both; return how many differ."""
    differ = 0
    for name in PROGRAMS:
        program = importlib.import_module(name)
        ours = output_of(program, aioxide.run)
        if ours == output_of(program, asyncio.run):
            show(program, ours, green("the same on asyncio"))
        else:
            differ += 1
            show(program, ours, red("not the same on asyncio"))
    return differ


# --- the workloads --------------------------------------------------------------------------------
# Each does its work some hundred times and returns how often; what runs between two measurements
# is only the engine. Each gets the module whose names it uses: asyncio, or aioxide, as a program
# has it that is run with `python -m aioxide`.


async def callbacks(library: Any) -> int:
    """call_soon     callbacks, one a turn"""
    loop = library.get_running_loop()
    done = loop.create_future()
    left = 500

    def again() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(again)
        else:
            done.set_result(None)

    loop.call_soon(again)
    await done
    return 500


async def switches(library: Any) -> int:
    """sleep(0)      switches between two tasks"""

    async def player() -> None:
        for _ in range(250):
            await library.sleep(0)

    other = library.create_task(player())
    await player()
    await other
    return 500


async def nothing() -> None:
    pass


async def spawns(library: Any) -> int:
    """create_task   tasks made and awaited"""
    for _ in range(200):
        await library.create_task(nothing())
    return 200


async def gathers(library: Any) -> int:
    """gather        tasks gathered, 100 at a time"""
    for _ in range(4):
        await library.gather(*(nothing() for _ in range(100)))
    return 400


async def futures(library: Any) -> int:
    """Future        futures made, resolved and awaited"""
    loop = library.get_running_loop()
    for _ in range(200):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
    return 200


async def queues(library: Any) -> int:
    """Queue         items handed from task to task"""
    queue = library.Queue(10)

    async def produce() -> None:
        for item in range(200):
            await queue.put(item)

    producer = library.create_task(produce())
    for _ in range(200):
        await queue.get()
    await producer
    return 200


async def semaphores(library: Any) -> int:
    """Semaphore     given back to one of ten"""
    semaphore = library.Semaphore(3)

    async def use() -> None:
        for _ in range(20):
            async with semaphore:
                await library.sleep(0)

    await library.gather(*(use() for _ in range(10)))
    return 200


async def groups(library: Any) -> int:
    """TaskGroup     tasks in groups, in a timeout"""
    for _ in range(10):
        async with library.timeout(60), library.TaskGroup() as group:
            for _ in range(20):
                group.create_task(nothing())
    return 200


async def streamed(library: Any) -> int:
    """streams       requests, over one TCP connection"""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(line)
        writer.close()

    server = await library.start_server(serve, "127.0.0.1", 0)
    reader, writer = await library.open_connection(*server.sockets[0].getsockname())
    for _ in range(1000):
        writer.write(b"ping\n")
        await reader.readline()
    writer.close()
    server.close()
    await writer.wait_closed()
    return 1000


class Echo(asyncio.Protocol):
    """Sends back what comes, as often as it was told to."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.left -= 1
        if not self.left:
            self.transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self.done.set_result(None)


async def packets(library: Any) -> int:
    """protocol      packets, on 20 TCP connections"""
    loop = library.get_running_loop()
    server = await loop.create_server(lambda: Echo(500), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    clients = [(await loop.create_connection(lambda: Echo(500), *address)) for _ in range(20)]
    for transport, _ in clients:
        transport.write(b"ping")
    for _, client in clients:
        await client.done
    server.close()
    return 20 * 500


WORKLOADS: list[Callable[[Any], Awaitable[int]]] = [
    callbacks,
    switches,
    spawns,
    gathers,
    futures,
    queues,
    semaphores,
    groups,
    streamed,
    packets,
]


async def rate(workload: Callable[[Any], Awaitable[int]], library: Any) -> float:
    """How many times a second the workload does its work."""
    times = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        times += await workload(library)
    return times / elapsed


def measure() -> Iterator[tuple[str, float, float]]:
    """For each workload: what it is, and the best rate of asyncio and of aioxide."""
    for workload in WORKLOADS:
        # In turns, so that a machine that is busy for a while is busy for both.
        rates = [
            (asyncio.run(rate(workload, asyncio)), aioxide.run(rate(workload, aioxide)))
            for _ in range(ROUNDS)
        ]
        yield workload.__doc__ or "", max(r[0] for r in rates), max(r[1] for r in rates)


def human(rate: float) -> str:
    return f"{rate / 1e6:.2f} M/s" if rate >= 1e6 else f"{rate / 1e3:.0f} k/s"


def race() -> None:
    print(f"  {'':48} {'asyncio':>9}  {'aioxide':>9}")
    for what, stock, ours in measure():
        ratio = ours / stock
        bar = green("=" * min(BAR, round(ratio)))
        rates = f"{human(stock):>9}  {human(ours):>9}"
        print(f"  {what:48} {rates}  {bold(f'{ratio:4.1f}x')} {bar}", flush=True)


def main() -> int:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"\n{bold('aioxide')} {aioxide.__version__} on {python}, {platform.system()}\n")
    print(
        f"{bold('The programs in examples/')}: each is a page long, and reads from top to bottom.\n"
    )
    differ = tour()

    print(
        f"{bold('The same work on both')}, where the loop is most of the work; best of {ROUNDS}.\n"
    )
    race()

    print(f"\nTo try it on your own program: {bold('python -m aioxide program.py')}.\n")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
