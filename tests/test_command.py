"""`python -m aioxide` and the `aioxide` command: programs run as under plain `python`."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import aioxide


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


@pytest.mark.parametrize("command", [["prog.py"], ["-m", "prog"], ["-c", "{}"]])
def test_run_may_be_said_or_left_out(tmp_path: Path, command: list[str]) -> None:
    source = "import asyncio, sys; print(sys.argv[1:], asyncio.sleep.__module__.partition('.')[0])"
    (tmp_path / "prog.py").write_text(source)
    command = [part.format(source) for part in command]
    short = python("-m", "aioxide", *command, "-m", "--version", cwd=tmp_path)
    long = python("-m", "aioxide", "run", *command, "-m", "--version", cwd=tmp_path)
    assert short.stdout == "['-m', '--version'] aioxide\n", short.stderr
    assert (long.stdout, long.stderr) == (short.stdout, short.stderr)


def test_the_installed_command_is_python_m_aioxide(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("aioxide")
    (tmp_path / "prog.py").write_text("import sys; print(sys.argv, sys.path[0])")
    result = subprocess.run(
        [command, "run", "prog.py", "a"], capture_output=True, text=True, timeout=30, cwd=tmp_path
    )
    assert (result.stdout, result.stderr) == (f"['prog.py', 'a'] {tmp_path}\n", "")
    assert subprocess.run([command], capture_output=True, timeout=30).returncode == 2


def test_a_program_sees_only_aioxide_and_no_warning() -> None:
    source = """
import asyncio, aioxide
from asyncio import Task, sleep
async def main():
    task = asyncio.create_task(sleep(0, 1))
    assert type(asyncio.get_running_loop()) is aioxide.EventLoop
    assert type(task) is aioxide.Task is Task
    assert await task == 1
    return 5
assert asyncio.run(main()) == 5
with asyncio.Runner() as runner:
    assert runner.run(main()) == 5
loop = asyncio.new_event_loop()
assert loop.run_until_complete(main()) == 5
loop.close()
"""
    result = python("-W", "error", "-m", "aioxide", "-c", source)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_main_thread_has_a_loop_for_whoever_asks_and_other_threads_have_not() -> None:
    source = """
import aioxide, asyncio, threading
def other():
    try:
        asyncio.get_event_loop()
    except RuntimeError as exc:
        print(exc)
thread = threading.Thread(target=other, name="other")
thread.start(); thread.join()
loop = asyncio.get_event_loop()
assert type(loop) is aioxide.EventLoop and asyncio.get_event_loop() is loop
print(loop.run_until_complete(asyncio.sleep(0, "ran")))
loop.close()
"""
    result = python("-W", "error", "-m", "aioxide", "-c", source)
    assert result.stderr == ""
    assert result.stdout == "There is no current event loop in thread 'other'.\nran\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no program to run"),
        (["run"], "no program to run"),
        (["-m"], "argument expected for the -m option"),
        (["run", "-c"], "argument expected for the -c option"),
        (["-X", "dev", "prog.py"], "unknown option -X"),
        (["run", "--version"], "unknown option --version"),
        (["repl", "prog.py"], "repl takes no arguments"),
    ],
)
def test_a_wrong_command_line_is_explained(arguments: list[str], message: str) -> None:
    result = python("-m", "aioxide", *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"aioxide: {message}\nusage: aioxide [run] ")
    assert result.stderr.endswith(python("-m", "aioxide", "--help").stdout)


def test_the_version_names_everything_a_bug_report_needs() -> None:
    text = python("-m", "aioxide", "--version").stdout
    assert text.startswith(f"aioxide {aioxide.__version__}\nCPython {sys.version.split()[0]} on ")
    assert "\nI/O: epoll\n" in text
    native = text.partition("\nnative: ")[2].split()
    assert {"EventLoop", "Future", "Task", "sleep"} <= set(native)


def test_what_is_called_native_is_found_out_and_not_claimed() -> None:
    source = """
import asyncio, aioxide
from aioxide.command import native_names
before = native_names()
aioxide.sleep, aioxide.gather = asyncio.sleep, aioxide._core.live_loops
print(set(before) ^ set(native_names()) >= {"sleep"}, "gather" in native_names())
print({"Runner", "run", "EventLoopPolicy", "__version__", "install"} & set(before))
"""
    assert python("-c", source).stdout == "True True\nset()\n"
