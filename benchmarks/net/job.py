"""The child process of the cells without a client: one engine, one job, done twice.

`python -m benchmarks.net.job ENGINE JOB AMOUNT` does a small part of the job first, looking at
every byte, and then all of it, counting. It answers on stdout with one JSON object, as the load
client does; the processor time is that of this process and of the children that it has waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from typing import Any

from benchmarks.engines import BY_NAME, Opened, UnavailableError
from benchmarks.net.jobs import JOBS, WrongError
from benchmarks.worker import NOT_BUILT, own_stdout, told


def used() -> float:
    """Microseconds of processor time, of this process and of its children."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both) * 1e6


async def done(opened: Opened, name: str, amount: int) -> dict[str, float]:
    """What doing it took."""
    job = JOBS[name]
    await job.rehearse(opened.aio)
    before, start = used(), time.perf_counter()
    await job.do(opened.aio, amount)
    seconds, cpu = time.perf_counter() - start, used() - before
    return {job.unit: amount, "seconds": seconds, "server_cpu_us": cpu, "client_cpu_us": 0.0}


def as_in_a_shell() -> None:
    """The usual number of descriptors: some engines close every one there could be in a child."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most), most))


def main() -> None:
    """Open the engine, do the job, say what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=BY_NAME)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("amount", type=int)
    arguments = parser.parse_args()
    answers = own_stdout()

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")

    try:
        opened = BY_NAME[arguments.engine].open()
    except UnavailableError as error:
        send({"missing": str(error)})
        return
    as_in_a_shell()
    loop = opened.new_loop()
    asyncio.set_event_loop(loop)
    try:
        found = loop.run_until_complete(done(opened, arguments.job, arguments.amount))
    except NotImplementedError:
        send({"unable": NOT_BUILT})
    except WrongError as error:
        send({"unable": str(error)})
    except Exception as error:
        send({"unable": told(error)})
    else:
        send({"found": found})


if __name__ == "__main__":
    main()
