"""`aioxide repl` is `python -m asyncio` on aioxide, through a pipe and on a terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OURS = [sys.executable, "-m", "aioxide", "repl"]
STOCK = [sys.executable, "-m", "asyncio"]


def run(source: str, command: list[str] = OURS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=source, capture_output=True, text=True, timeout=60, check=False
    )


def test_await_needs_no_function_and_everything_is_ours() -> None:
    result = run(
        "await asyncio.sleep(0.001, 6 * 7)\n"
        "type(asyncio.get_running_loop())\n"
        "asyncio.sleep.__module__[:7], type(asyncio.create_task(asyncio.sleep(0))).__module__\n"
        "(await asyncio.gather(asyncio.sleep(0, 'a'), asyncio.sleep(0, 'b')))\n"
        "import sys; print(sys.argv[1:], sys.path[0])\n"
    )
    assert result.returncode == 0, result.stderr
    lines = re.sub(r"^(>>> )+", "", result.stdout, flags=re.MULTILINE).splitlines()
    assert lines[:5] == [
        "42",
        "<class 'aioxide.event_loop.EventLoop'>",
        "('aioxide', 'aioxide')",
        "['a', 'b']",
        f"[] {Path.cwd()}",
    ]
    assert "asyncio REPL" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_failure_shows_a_traceback_and_the_repl_goes_on() -> None:
    result = run("await asyncio.wait_for(asyncio.sleep(9), 0.001)\nprint('still', 'here')\n")
    assert result.returncode == 0
    assert "TimeoutError" in result.stderr
    assert "still here" in result.stdout


def test_exit_ends_as_in_asyncios() -> None:
    source = "await asyncio.sleep(0)\nraise SystemExit(3)\nprint('after', 'wards')\n"
    ours, stock = run(source), run(source, STOCK)
    assert ours.returncode == stock.returncode
    assert ours.stdout == stock.stdout
    assert ours.stderr.splitlines()[-1] == stock.stderr.splitlines()[-1]


# On a terminal


class Terminal:
    """A REPL on a pseudo-terminal, and what it has written."""

    def __init__(self, command: list[str], home: Path, basic: bool) -> None:
        self.seen = ""
        environment = {
            **os.environ,
            "TERM": "xterm",
            "HOME": str(home),
            "PYTHON_HISTORY": str(home / "history"),
            "PYTHON_COLORS": "0",
        }
        if basic:
            environment["PYTHON_BASIC_REPL"] = "1"
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.execve(command[0], command, environment)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, pattern: str, seconds: float = 30) -> str:
        """Wait for output, from where the last one ended, and return what came up to its end."""
        until = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.fd], [], [], max(0, until - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.seen!r}"
            try:
                data = os.read(self.fd, 4096)
            except OSError:  # Linux says so when the other side is closed
                data = b""
            assert data, f"ended without {pattern!r}: {self.seen!r}"
            self.seen += re.sub(r"\x1b(\[[?0-9;]*[a-zA-Z@]|[=>])", "", data.decode())
        text, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return text

    def wait(self) -> int:
        """Read what is left, and return the exit status."""
        try:
            while data := os.read(self.fd, 4096):
                self.seen += data.decode()
        except OSError:
            pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture(params=[STOCK, OURS], ids=["asyncio", "aioxide"])
def command(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["basic", "default"])
def terminal(
    command: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Terminal]:
    """From 3.13 on the default is the REPL that edits several lines, where it has a terminal."""
    try:
        made = Terminal(command, tmp_path, basic=request.param == "basic")
    except OSError as exc:
        pytest.skip(f"no pseudo-terminal can be had here: {exc}")
    yield made
    made.close()


def test_on_a_terminal_lines_are_awaited_and_exit_leaves(
    terminal: Terminal, command: list[str]
) -> None:
    terminal.expect("asyncio REPL")
    terminal.expect("import asyncio")
    terminal.expect(">>> ")
    terminal.type("await asyncio.sleep(0.01, 6 * 7)\r")
    terminal.expect(r"\b42\r?\n")
    terminal.expect(">>> ")
    terminal.type("type(asyncio.get_running_loop()).__module__\r")
    terminal.expect("'aioxide.event_loop'" if command is OURS else "'asyncio.unix_events'")
    terminal.expect(">>> ")
    terminal.type("exit()\r")
    assert terminal.wait() == 0
    assert "Traceback" not in terminal.seen


def test_ctrl_c_ends_what_is_awaited_and_not_the_repl(terminal: Terminal) -> None:
    terminal.expect("import asyncio")
    terminal.expect(">>> ")
    terminal.type(
        # Says so from a callback: the key must not come while the Task itself runs.
        "async def f(): f.me = asyncio.current_task(); asyncio.get_running_loop()"
        ".call_later(0.05, print, 'has ' + 'begun'); await asyncio.sleep(60)\r\r"
    )
    terminal.expect(">>> ")
    begun = time.monotonic()
    terminal.type("await f()\r")
    terminal.expect("has begun")
    terminal.type("\x03")
    terminal.expect("KeyboardInterrupt")
    terminal.expect(">>> ")
    assert time.monotonic() - begun < 30
    terminal.type("await asyncio.sleep(0, [f.me.cancelled(), 'going ' + 'on'])\r")
    terminal.expect(r"\[True, 'going on'\]")
    terminal.expect(">>> ")
    terminal.type("\x04")
    terminal.expect("exiting asyncio REPL")
    assert terminal.wait() == 0


def test_the_repl_is_asyncios_own_module() -> None:
    # Not a copy of it: what a newer Python teaches it is there at once.
    result = run("import sys; print(sys.modules['__main__'].__spec__.name, sys.argv[0])\n")
    assert f"asyncio.__main__ {Path(os.__file__).parent}" in result.stdout
