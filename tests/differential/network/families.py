"""The families of scripts by name: how each is drawn, and what runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.differential.generate import SeededChoices
from tests.differential.network import (
    children,
    draw,
    pipes,
    processes,
    signals,
    sockets,
    streams,
    tls,
    tls_streams,
    transports,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.differential.engines import Engine
    from tests.differential.generate import Choices
    from tests.differential.network.script import Script

#: What runs a script, by the script's family.
RUN: dict[str, Callable[[Engine, Script], list[str]]] = {
    "transports": transports.run,
    "streams": streams.run,
    "fed": streams.run,
    "sockets": sockets.run,
    "tls": tls.run,
    "tls_streams": tls_streams.run,
    "tls_faults": tls.run,
    "pipes": pipes.run,
    "pipe_streams": pipes.run,
    "children": children.run,
    "processes": processes.run,
    "signals": signals.run,
}


class Family(NamedTuple):
    """What can be asked for on the command line: its scripts, and after how many programs of the
    other kind there is one, by what one costs."""

    draw: Callable[[Choices], Script]
    programs_per_script: int


FAMILIES = {
    "network": Family(draw.draw, 10),
    "tls": Family(tls.draw, 100),
    "pipes": Family(pipes.draw, 40),
    "children": Family(children.draw, 100),
    "signals": Family(signals.draw, 100),
}


def seeded(seed: int, family: str = "network") -> Script:
    """A family's script of a seed."""
    return FAMILIES[family].draw(SeededChoices(seed))


def run(engine: Engine, script: Script) -> list[str]:
    """The trace that an engine leaves of a script."""
    return RUN[script.family](engine, script)
