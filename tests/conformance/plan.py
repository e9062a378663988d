"""The engines that every run judges, when nobody names one: what `make conformance` does.

They differ in how much of asyncio is ours, and what fails under one and not under another says
where to look:

* ``aioxide``            what a loop factory gives: loop, Task and Future, under asyncio's own
                         primitives
* ``aioxide-all``        also every primitive that we have, so that nothing of asyncio's is left
                         that could hide a fault of ours
* ``aioxide-installed``  what ``install()`` makes of it, with C Tasks among ours

Every module runs under all of them, those too whose code no engine touches: these take seconds
together, and a list of them would go out of date without a word. ``aioxide-guest`` (stock's C
functions under our objects) is for looking into a failure: it passes what ``aioxide`` passes.
"""

from __future__ import annotations

ENGINES = ("aioxide", "aioxide-all", "aioxide-installed")


def runs(modules: list[str]) -> list[tuple[str, str]]:
    """(engine, module), engine by engine: stock's outcomes are there when the second one asks."""
    return [(engine, module) for engine in ENGINES for module in modules]
