"""How the tests of child processes run: on asyncio's loop, and on aioxide's in every way it has.

A test here is a coroutine function that takes `net`, as in `tests.net`, and must leave nothing
behind either: no descriptor, no task, no report, no warning, and no child, dead or alive. The ways:

- aioxide: a child is born while the loop goes on, and its end is heard on a pidfd;
- popen: the stdlib makes the child, as where the native birth is not to be had;
- threads: nor is there a pidfd, and a thread waits for each child.
"""

import errno
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aioxide import births
from tests.children.parties import children
from tests.loops import count_descriptors
from tests.net.conftest import SIDES, pytest_pyfunc_call
from tests.net.parties import Net

__all__ = ["pytest_pyfunc_call"]  # runs the tests that are coroutine functions

WAYS = ("asyncio", "aioxide", "popen", "threads")


@pytest.fixture(params=WAYS)
def net(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Net]:
    """A new loop, and the checks that it left nothing behind."""
    way: str = request.param
    take(way, monkeypatch)
    gc.collect()
    before = count_descriptors()
    made = Net(way, *SIDES["asyncio" if way == "asyncio" else "aioxide"])
    yield made
    try:
        made.finish()
        gc.collect()
        assert made.messages() == [], "reported to the loop's exception handler"
    finally:
        made.reports.clear()
        made.close()
        gc.collect()
    check(before)


@pytest.fixture(params=WAYS[1:])
def way_of_aioxide(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """aioxide in each of its ways, for tests that compare it with asyncio themselves."""
    take(request.param, monkeypatch)
    gc.collect()
    before = count_descriptors()
    yield request.param
    gc.collect()
    check(before)


def check(descriptors: int) -> None:
    """Nothing may be left; what is left is put away, so that only one test fails."""
    left = children()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert left == set(), "children left"
    assert count_descriptors() == descriptors, "descriptors left open"


def take(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way in {"popen", "threads"}:
        monkeypatch.setattr(births, "_native", False)
    if way == "threads":
        monkeypatch.setattr(os, "pidfd_open", no_pidfd)


pidfd_open = os.pidfd_open


def no_pidfd(pid: int, flags: int = 0) -> int:
    """Refuse aioxide a pidfd; asyncio, which is compared with, gets one."""
    asking: str = sys._getframe(1).f_globals["__name__"]
    if asking.startswith("asyncio"):
        return pidfd_open(pid, flags)
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
