"""The child process: one engine, asked for one measurement at a time.

`python -m benchmarks.worker ENGINE` reads requests from stdin and answers on stdout, a JSON object
to a line. An engine gets a process to itself so that no other's imports, allocations or patches
weigh on it; it stays alive for a round so that the parent can go from engine to engine within
each workload without paying for a start each time. While another is asked, it blocks in read().
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks import memory, scaling
from benchmarks.engines import BY_NAME, Opened, SameAsAnotherError, UnavailableError
from benchmarks.workloads import WORKLOADS, Workload

if TYPE_CHECKING:
    from typing import TextIO

NOT_BUILT = "not built yet"


def measure(
    opened: Opened, work: Workload, seconds: float, samples: int, *, quick: bool = False
) -> list[float]:
    """Operations per second, `samples` times over at least `seconds` each, after a warm-up unit."""
    loop = opened.new_loop()
    size = work.quick if quick and work.quick else work.size

    async def sample() -> float:
        done = 0
        start = time.perf_counter()
        while True:
            await work.run(opened.aio, loop, size)
            done += size
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                return done / elapsed

    async def series() -> list[float]:
        if not work.quick:
            await work.run(opened.aio, loop, size)
        rates = []
        for _ in range(1 if work.quick else samples):
            gc.collect()
            rates.append(await sample())
        return rates

    try:
        return loop.run_until_complete(series())
    finally:
        # After a failure there may be anything left in the loop; the failure is what matters.
        with contextlib.suppress(Exception):
            loop.close()


def told(error: BaseException) -> str:
    """The error in a line, without anybody's paths."""
    text = f"{type(error).__name__}: {error}".split("\n", 1)[0]
    return re.sub(r"(/[\w.@+-]+)+", "…", text)[:120]


def answer(opened: Opened, request: dict[str, Any]) -> dict[str, Any]:
    """Do what one request says."""
    if kind := request.get("memory"):
        try:
            return {"bytes": memory.KINDS[kind].measure(opened, request["count"])}
        except Exception as error:
            return {"failed": told(error)}
    if program := request.get("scaling"):
        try:
            growth = scaling.GROWTHS[program]
            return {**growth.measure(opened, request["count"], request["seconds"])}
        except Exception as error:
            return {"failed": told(error)}
    work = WORKLOADS[request["workload"]]
    try:
        seconds, samples, quick = (request[k] for k in ("seconds", "samples", "quick"))
        return {"rates": measure(opened, work, seconds, samples, quick=quick)}
    except NotImplementedError as error:
        return {"failed": NOT_BUILT if work.needs else told(error)}
    except Exception as error:
        return {"failed": told(error)}


def own_stdout() -> TextIO:
    """stdout for answers alone: what an engine prints goes to stderr instead."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return answers


def main() -> None:
    """Say whether the engine is there, then answer until stdin ends."""
    answers = own_stdout()

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")

    try:
        opened = BY_NAME[sys.argv[1]].open()
    except UnavailableError as error:
        # A module that is there but does not work is worth a word more than one that is not.
        why = error.__cause__
        absent = why is None or isinstance(why, ModuleNotFoundError)
        send({"missing": str(error) if absent else f"{error} ({told(why or error)})"})
        return
    except SameAsAnotherError:
        send({"missing": ""})
        return
    send({"version": opened.version})
    for line in sys.stdin:
        send(answer(opened, json.loads(line)))


if __name__ == "__main__":
    main()
