"""Which way a child is born, and who hears of its end: what a program has put in place is used."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import warnings
from typing import Any

import pytest

import aioxide
from aioxide import _core, births
from tests.children.conftest import no_pidfd
from tests.children.parties import PIPE, children, run, script

PLAIN = "exit 3"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls of the native birth."""
    calls: list[Any] = []
    start = _core.start_child

    def counted(*args: Any) -> Any:
        calls.append(args)
        return start(*args)

    monkeypatch.setattr(_core, "start_child", counted)
    return calls


def test_the_native_birth_is_the_usual_one(started: list[Any]) -> None:
    assert aioxide.run(script(aioxide, PLAIN)) == (3, b"")
    assert len(started) == 1
    options: Any = {"cwd": "/", "env": {}, "start_new_session": True, "umask": 7}
    assert aioxide.run(run(aioxide, "/bin/true", **options)) == (0, b"")
    assert len(started) == 2


def stopped_births(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have children stop as soon as they are there, most of them before they execute anything."""
    start = _core.start_child

    def stopped(*args: Any) -> Any:
        child = start(*args)
        os.kill(child.pid, signal.SIGSTOP)
        return child

    monkeypatch.setattr(_core, "start_child", stopped)


def test_the_loop_goes_on_while_a_child_is_born(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes until a program is executed, no turn waits for it."""
    stopped_births(monkeypatch)

    async def is_caught() -> bool:
        birth = asyncio.create_task(aioxide.create_subprocess_exec("true"))
        for _ in range(50):
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        caught = not birth.done()
        for pid in children():
            os.kill(pid, signal.SIGCONT)
        assert await (await birth).wait() == 0
        return caught

    assert any(aioxide.run(is_caught()) for _ in range(100))


def test_a_birth_that_hangs_is_cancelled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_births(monkeypatch)

    async def attempt() -> None:
        with pytest.raises(TimeoutError):
            process = await asyncio.wait_for(aioxide.create_subprocess_exec("sleep", "60"), 0.02)
            await asyncio.wait_for(process.wait(), 0.02)
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        while children():
            await asyncio.sleep(0.001)

    for _ in range(5):
        aioxide.run(attempt())


@pytest.mark.parametrize("option", ["preexec_fn", "group", "extra_groups", "user"])
def test_what_it_cannot_do_the_stdlib_does(option: str, started: list[Any]) -> None:
    values: dict[str, Any] = {
        "preexec_fn": lambda: None,
        "group": os.getgid(),
        "extra_groups": [],
        "user": os.getuid(),
    }
    try:
        assert aioxide.run(script(aioxide, PLAIN, **{option: values[option]})) == (3, b"")
    except PermissionError:
        assert os.geteuid() != 0  # only root may set groups
    assert started == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.EPERM])
def test_a_kernel_that_refuses_it_is_not_asked_again(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def refuse(*_: Any) -> Any:
        nonlocal calls
        calls += 1
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_core, "start_child", refuse)
    monkeypatch.setattr(births, "_native", True)
    for _ in range(3):
        assert aioxide.run(script(aioxide, PLAIN)) == (3, b"")
    assert calls == 1


def test_no_room_for_another_process_is_the_programs_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(_core, "start_child", refuse)
    with pytest.raises(BlockingIOError):
        aioxide.run(script(aioxide, PLAIN, stdin=PIPE))
    assert births.is_wanted()


def test_a_popen_of_somebody_elses_is_used(
    started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    class Other(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(args)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", Other)
    assert aioxide.run(script(aioxide, PLAIN)) == (3, b"")
    assert made
    assert started == []


def test_a_debugger_that_follows_children_is_asked(
    started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = vars(subprocess)["_fork_exec"]

    def traced(*args: Any) -> Any:
        seen.append(args[0])
        return original(*args)

    monkeypatch.setattr(subprocess, "_fork_exec", traced)
    # Otherwise the stdlib may take posix_spawn.
    monkeypatch.setattr(subprocess, "_USE_POSIX_SPAWN", False)
    assert aioxide.run(script(aioxide, PLAIN)) == (3, b"")
    assert seen == [["sh", "-c", PLAIN]]
    assert started == []


def test_an_environment_variable_rules_it_out() -> None:
    text = (
        "import aioxide; from aioxide import births; assert not births.is_wanted();"
        "f = lambda: aioxide.create_subprocess_exec('true');"
        "g = lambda p: p.wait();"
        "import asyncio\n"
        "async def main(): return await g(await f())\n"
        "assert aioxide.run(main()) == 0"
    )
    env = {**os.environ, "AIOXIDE_CHILDREN": "popen"}
    subprocess.run([sys.executable, "-c", text], env=env, check=True)


def test_no_descriptor_for_a_process_that_runs_does_not_lose_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(pid: int, flags: int = 0) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(births, "_native", False)
    monkeypatch.setattr(os, "pidfd_open", full)
    assert aioxide.run(script(aioxide, PLAIN)) == (3, b"")


if sys.version_info < (3, 14):
    Threaded: Any = asyncio.ThreadedChildWatcher

    def make_watcher() -> Any:
        """Make a watcher of the program's own; 3.12 and 3.13 warn of such a class."""

        class Watcher(Threaded):  # type: ignore[misc]
            active = True

            def __init__(self) -> None:
                super().__init__()
                self.pids: list[int] = []

            def is_active(self) -> bool:
                return self.active

            def add_child_handler(self, pid: int, callback: Any, *args: Any) -> None:
                self.pids.append(pid)
                super().add_child_handler(pid, callback, *args)

        return Watcher()

    @pytest.fixture
    def watched(monkeypatch: pytest.MonkeyPatch) -> Any:
        """Sets the policy's child watcher."""
        policy = asyncio.get_event_loop_policy()

        def set_watcher(watcher: Any) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                policy.set_child_watcher(watcher)

        yield set_watcher
        set_watcher(None)

    def test_a_watcher_of_the_programs_own_is_asked(watched: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            watcher = make_watcher()
        watched(watcher)
        assert aioxide.run(script(aioxide, PLAIN)) == (3, b"")
        assert len(watcher.pids) == 1
        watcher.active = False
        with pytest.raises(RuntimeError, match="is not activated"):
            aioxide.run(script(aioxide, PLAIN))

    @pytest.mark.parametrize("kind", [asyncio.ThreadedChildWatcher, asyncio.PidfdChildWatcher])
    def test_the_default_watchers_are_not_needed(
        kind: Any, watched: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watched(kind())
        monkeypatch.setattr(kind, "add_child_handler", None)
        assert aioxide.run(script(aioxide, PLAIN)) == (3, b"")

    def test_no_watcher_is_made_and_nothing_warns_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
        policy = asyncio.get_event_loop_policy()
        monkeypatch.setattr(policy, "_watcher", None)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert aioxide.run(script(aioxide, PLAIN)) == (3, b"")
        assert vars(policy)["_watcher"] is None


def test_the_fallbacks_of_these_tests_are_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pidfd_open", no_pidfd)
    with pytest.raises(OSError, match="not implemented"):
        os.pidfd_open(os.getpid())
    monkeypatch.setattr(births, "_native", False)
    assert not births.is_wanted()
