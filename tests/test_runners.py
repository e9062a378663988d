"""`run()`, `Runner`, and programs started by `python -m aioxide`.

The runners' tests run with asyncio's runner on asyncio's loop, with asyncio's runner on aioxide's
loop, and with aioxide's runner, with the same assertions.
"""

import asyncio
import contextvars
import gc
import re
import subprocess
import sys
import zipfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

import aioxide


def stock_runner(**kwargs: Any) -> asyncio.Runner:
    return asyncio.Runner(loop_factory=asyncio.SelectorEventLoop, **kwargs)


def stock_runner_on_our_loop(**kwargs: Any) -> asyncio.Runner:
    return asyncio.Runner(loop_factory=aioxide.new_event_loop, **kwargs)


@pytest.fixture(params=[stock_runner, stock_runner_on_our_loop, aioxide.Runner])
def make_runner(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_run_returns_the_result_and_leaves_no_loop_behind() -> None:
    async def main() -> asyncio.AbstractEventLoop:
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    loop = aioxide.run(main())
    assert isinstance(loop, aioxide.EventLoop)
    assert loop.is_closed()


def test_run_raises_what_the_coroutine_raises(make_runner: Any) -> None:
    async def main() -> None:
        raise LookupError("from main")

    with pytest.raises(LookupError, match="from main"), make_runner() as runner:
        runner.run(main())


def test_run_sets_debug_and_takes_a_loop_factory() -> None:
    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(aioxide.new_event_loop())
        return made[-1]

    async def main() -> tuple[asyncio.AbstractEventLoop, bool]:
        loop = asyncio.get_running_loop()
        return loop, loop.get_debug()

    assert aioxide.run(main(), debug=True, loop_factory=factory) == (made[0], True)
    assert aioxide.run(main(), debug=False, loop_factory=factory) == (made[1], False)


def test_run_inside_a_running_loop_is_refused() -> None:
    async def inner() -> None:
        pass

    async def main() -> None:
        coroutine = inner()
        message = r"^asyncio\.run\(\) cannot be called from a running event loop$"
        with pytest.raises(RuntimeError, match=message):
            aioxide.run(coroutine)
        with pytest.raises(RuntimeError, match=message):
            asyncio.run(coroutine)
        coroutine.close()

    aioxide.run(main())


def test_what_is_no_coroutine_is_refused(make_runner: Any) -> None:
    error = TypeError if sys.version_info >= (3, 14) else ValueError
    with make_runner() as runner, pytest.raises(error):
        runner.run(lambda: None)


def test_a_runner_keeps_its_loop_and_its_context(make_runner: Any) -> None:
    var: contextvars.ContextVar[int] = contextvars.ContextVar("var", default=0)

    async def add() -> int:
        var.set(var.get() + 1)
        return var.get()

    with make_runner() as runner:
        loop = runner.get_loop()
        assert [runner.run(add()) for _ in range(3)] == [1, 2, 3]
        assert runner.get_loop() is loop
        own = contextvars.copy_context()
        assert runner.run(add(), context=own) == 1
        assert own[var] == 1
    assert loop.is_closed()
    assert var.get() == 0
    with pytest.raises(RuntimeError, match=r"^Runner is closed$"):
        runner.get_loop()


def test_the_end_cancels_what_is_left_closes_generators_and_waits_for_threads(
    make_runner: Any,
) -> None:
    events: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            events.append("task cancelled")

    async def generator() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            events.append("generator closed")

    def work() -> None:
        import time

        time.sleep(0.05)
        events.append("thread done")

    kept: list[object] = []

    async def main() -> None:
        kept.append(asyncio.create_task(background()))
        kept.append(made := generator())
        await anext(made)
        asyncio.get_running_loop().run_in_executor(None, work)
        await asyncio.sleep(0)

    with make_runner() as runner:
        runner.run(main())
    assert events == ["task cancelled", "generator closed", "thread done"]


def test_a_task_that_fails_while_being_cancelled_is_reported(
    make_runner: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ZeroDivisionError

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        return task

    with make_runner() as runner:
        task = runner.run(main())
    first_line = caplog.records[0].getMessage().splitlines()[0]
    assert first_line == "unhandled exception during asyncio.run() shutdown"
    assert isinstance(task.exception(), ZeroDivisionError)
    del task
    gc.collect()
    assert len(caplog.records) == 1


# python -m aioxide


def python(*args: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, **kwargs
    )


SHOW = """\
import asyncio, os, sys, pickle
class Local: pass
async def main(): return type(asyncio.get_running_loop()).__module__.split(".")[0]
print(asyncio.run(main()) if "aioxide" in sys.modules else "aioxide")
print(__name__, sys.argv, sys.path[0], globals().get("__file__"), __package__)
print(__spec__ and __spec__.name, sys.modules["__main__"].Local is Local, sorted(globals()))
print(type(pickle.loads(pickle.dumps(Local()))) is Local)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    for name in ("script.py", "package/__main__.py", "package/module.py"):
        (tmp_path / name).write_text(SHOW)
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["script.py", "a", "--b", "-c"],
        ["./script.py"],
        ["-m", "package", "a"],
        ["-m", "package.module", "-m", "x"],
        ["-c", SHOW, "a", "-m"],
        ["app.zip", "a"],
        ["package"],
    ],
)
@pytest.mark.parametrize("options", [[], ["-P"]])
def test_a_program_runs_as_under_plain_python(
    program: Path, arguments: list[str], options: list[str]
) -> None:
    if options and "-m" in arguments[:1]:
        pytest.skip("-P hides the module")
    plain = python(*options, *arguments, cwd=program)
    ours = python(*options, "-m", "aioxide", *arguments, cwd=program)
    assert plain.returncode == 0, plain.stderr
    assert (ours.stdout, ours.stderr) == (plain.stdout, "")


@pytest.mark.parametrize(
    "body",
    [
        "def f(): 1 / 0\nf()",
        "raise SystemExit(3)",
        "raise SystemExit('message')",
        "def f(:",
        "import sys; sys.excepthook = lambda kind, *_: print('hook', kind)\n1 / 0",
        "import os, signal; os.kill(os.getpid(), signal.SIGINT)\nimport time; time.sleep(5)",
        "import atexit\natexit.register(lambda: print('late', __name__, f()))\ndef f(): return 1",
        "import does_not_exist",
    ],
)
@pytest.mark.parametrize("way", ["script", "module", "code"])
def test_a_program_ends_as_under_plain_python(tmp_path: Path, body: str, way: str) -> None:
    (tmp_path / "prog.py").write_text(body)
    arguments = {"script": ["prog.py"], "module": ["-m", "prog"], "code": ["-c", body]}[way]
    plain = python(*arguments, cwd=tmp_path)
    ours = python("-m", "aioxide", *arguments, cwd=tmp_path)
    assert ours.returncode == plain.returncode
    assert ours.stdout == plain.stdout
    # The interpreter's own start of -m is two frames of <frozen runpy>: not ours to show or hide.
    # Since 3.13 it also shows -c's source, which it keeps where only it can put it.
    frames = r'(  File "<frozen runpy>".*\n( .*\n)?|    .*\n)'
    if way == "code" or "f(:" not in body:
        assert re.sub(frames, "", ours.stderr) == re.sub(frames, "", plain.stderr)


def test_a_missing_script_is_reported_as_python_does(tmp_path: Path) -> None:
    plain = python("nowhere.py", cwd=tmp_path)
    ours = python("-m", "aioxide", "nowhere.py", cwd=tmp_path)
    assert ours.returncode == plain.returncode == 2
    assert ours.stderr == plain.stderr


def test_a_missing_module_is_reported_as_python_does(tmp_path: Path) -> None:
    plain = python("-m", "nowhere", cwd=tmp_path)
    ours = python("-m", "aioxide", "-m", "nowhere", cwd=tmp_path)
    assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr)


def test_the_version_names_everything_a_bug_report_needs() -> None:
    text = python("-m", "aioxide", "--version").stdout
    assert text.startswith(f"aioxide {aioxide.__version__}\nCPython {sys.version.split()[0]} on ")
    assert "native: event loop" in text


def test_without_a_program_the_usage_is_shown() -> None:
    result = python("-m", "aioxide")
    assert result.returncode == 2
    assert result.stderr.startswith("usage: aioxide")
    assert python("-m", "aioxide", "--help").stdout == result.stderr
