"""How the network's tests run: each on asyncio's loop and on aioxide's, and nothing may be left.

A test here is a coroutine function that takes `net`. It runs on a new loop, for at most
twenty seconds, and fails if afterwards the process has other descriptors than before, if a task
is still pending, if anything was warned about (pytest makes errors of warnings), or if the
loop's exception handler was told something that the test did not `take_reports()`.

What stock asyncio does is the specification, so every test has to pass there too. Where aioxide
promises more than asyncio does, the test says what both keep.
"""

import asyncio
import gc
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import aioxide
from tests.loops import count_descriptors
from tests.net.parties import Net

SIDES: dict[str, tuple[Any, Any]] = {
    "asyncio": (asyncio.SelectorEventLoop, asyncio),
    "aioxide": (aioxide.new_event_loop, aioxide),
}


@pytest.fixture(params=SIDES)
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    """A new loop, and the checks that it left nothing behind."""
    gc.collect()
    before = count_descriptors()
    made = Net(request.param, *SIDES[request.param])
    yield made
    try:
        made.finish()
        gc.collect()
        assert made.messages() == [], "reported to the loop's exception handler"
    finally:
        made.reports.clear()
        made.close()
        gc.collect()
    assert count_descriptors() == before, "descriptors left open"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function on the loop of its `net`."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    made: Any = pyfuncitem.funcargs["net"]
    made.run(pyfuncitem.obj(**arguments))
    return True
