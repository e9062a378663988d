"""Most tests run on asyncio's loop and on aioxide's: the first vouches for what they assert."""

import gc
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.loops import LOOPS, TASKS, Loop, Report

# A shell starts what it sends to the background with SIGINT ignored, and tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """Spare the collections of a module's tests what was there before, 0.1 s each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(params=LOOPS, ids=["asyncio", "aioxide"])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def kind(loop: Loop) -> Any:
    """The class of the loop's tasks."""
    return TASKS[type(loop)]


@pytest.fixture
def reports(loop: Loop) -> list[Report]:
    """Everything that the loop reports to a handler of ours, which is set."""
    seen: list[Report] = []
    loop.set_exception_handler(lambda _, context: seen.append(context))
    return seen
