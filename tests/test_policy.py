"""How programs come to aioxide without a loop factory: the policy, and asyncio's names.

Installing it is the program's decision: importing changes nothing and warns of nothing.
"""

import asyncio
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import aioxide


@pytest.fixture
def policy() -> Iterator[Any]:
    """aioxide's policy, installed for the length of a test."""
    ours = aioxide.EventLoopPolicy()
    set_policy(ours)
    yield ours
    set_policy(None)


def set_policy(policy: Any) -> None:
    with warnings.catch_warnings():
        if sys.version_info >= (3, 14):
            warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(policy)


def test_asyncio_run_gets_an_aioxide_loop(policy: Any) -> None:
    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert isinstance(asyncio.run(main()), aioxide.EventLoop)


def test_new_event_loop_is_aioxides_until_the_policy_goes(policy: Any) -> None:
    loop = asyncio.new_event_loop()
    assert isinstance(loop, aioxide.EventLoop)
    loop.close()
    set_policy(None)
    loop = asyncio.new_event_loop()
    assert not isinstance(loop, aioxide.EventLoop)
    loop.close()


def test_each_thread_has_the_loop_that_was_set_in_it(policy: Any) -> None:
    loop = policy.new_event_loop()
    policy.set_event_loop(loop)
    found: list[object] = []

    def other_thread() -> None:
        try:
            policy.get_event_loop()
        except RuntimeError as exc:
            found.append(str(exc))

    thread = threading.Thread(target=other_thread, name="other")
    thread.start()
    thread.join()
    assert policy.get_event_loop() is loop
    assert found == ["There is no current event loop in thread 'other'."]
    policy.set_event_loop(None)
    loop.close()


def test_the_policy_is_asyncios_to_isinstance() -> None:
    name = "_AbstractEventLoopPolicy" if sys.version_info >= (3, 14) else "AbstractEventLoopPolicy"
    assert issubclass(aioxide.EventLoopPolicy, getattr(asyncio.events, name))


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="gone in 3.14")
def test_child_watchers_are_asyncios(policy: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        watcher = policy.get_child_watcher()
    assert isinstance(watcher, getattr(asyncio, "AbstractChildWatcher", object))


def test_importing_and_making_a_policy_warns_of_nothing() -> None:
    source = "import aioxide, aioxide.policy; aioxide.EventLoopPolicy()"
    command = [sys.executable, "-W", "error", "-c", source]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="deprecated in 3.14")
def test_setting_a_policy_warns_as_asyncio_does() -> None:
    with pytest.warns(DeprecationWarning, match="'asyncio.set_event_loop_policy' is deprecated"):
        asyncio.set_event_loop_policy(aioxide.EventLoopPolicy())
    set_policy(None)


# Names


def test_every_name_in_asyncio_is_in_aioxide() -> None:
    missing = [name for name in asyncio.__all__ if not hasattr(aioxide, name)]
    assert missing == []
    assert set(asyncio.__all__) <= set(aioxide.__all__)
    assert aioxide.subprocess.PIPE == asyncio.subprocess.PIPE
    assert aioxide.log is asyncio.log
    with pytest.raises(AttributeError, match="module 'aioxide' has no attribute 'spam'"):
        aioxide.spam  # type: ignore[attr-defined]


def test_importing_aioxide_changes_nothing_in_asyncio() -> None:
    source = """
import asyncio, gc
names = {module: dict(vars(module)) for module in (asyncio, asyncio.tasks, asyncio.futures)}
sets = [type(held) for held in gc.get_referents(__import__("_asyncio"))]
import aioxide
aioxide.EventLoopPolicy()
for module, before in names.items():
    now = {name: value for name, value in vars(module).items()}
    assert now == before, set(now.items()) ^ set(before.items())
assert sets == [type(held) for held in gc.get_referents(__import__("_asyncio"))]
"""
    subprocess.run([sys.executable, "-c", source], check=True, timeout=20)
