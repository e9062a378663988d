"""The child process: one engine, serving in one way until it is killed.

`python -m benchmarks.net.server ENGINE INTERFACE SERVICE [--unix PATH] [--tls PEM] [--busy-thread]`
answers on stdout with one JSON object: the address, or why there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import threading
from typing import Any

from benchmarks.engines import BY_NAME, Opened, UnavailableError
from benchmarks.net import services, web
from benchmarks.worker import NOT_BUILT, own_stdout, told


def count_for_ever() -> None:
    """What a thread does that computes in Python and never waits."""
    n = 0
    while True:
        n += 1


def main() -> None:
    """Open the engine, serve, say where."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=BY_NAME)
    parser.add_argument("interface")
    parser.add_argument("service")
    parser.add_argument("--unix")
    parser.add_argument("--tls", metavar="PEM", help="key and certificate")
    parser.add_argument("--busy-thread", action="store_true")
    arguments = parser.parse_args()
    answers = own_stdout()

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")

    try:
        opened = BY_NAME[arguments.engine].open()
    except UnavailableError as error:
        send({"missing": str(error)})
        return
    allow_many_connections()
    try:
        loop, kept, address = serving(opened, arguments)
    except NotImplementedError:
        send({"unable": NOT_BUILT, "version": opened.version})
        return
    except Exception as error:
        send({"unable": told(error), "version": opened.version})
        return
    if arguments.busy_thread:
        threading.Thread(target=count_for_ever, daemon=True).start()
    send({"address": address, "version": opened.version})
    loop.run_forever()
    del kept


def serving(
    opened: Opened, arguments: argparse.Namespace
) -> tuple[asyncio.AbstractEventLoop, Any, str]:
    """A loop whose server has been started."""
    loop = opened.new_loop()
    asyncio.set_event_loop(loop)
    if arguments.service == "web":
        starting = web.start(arguments.interface, arguments.tls)
    else:
        context = services.identity(arguments.tls) if arguments.tls else None
        where = services.Where(arguments.unix, context)
        starting = services.start(opened.aio, arguments.interface, arguments.service, where)
    kept, address = loop.run_until_complete(starting)
    return loop, kept, address


def allow_many_connections() -> None:
    """As many descriptors as the system lets a process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
