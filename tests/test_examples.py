"""Every example does what its docstring says, on aioxide as on stock asyncio."""

import asyncio
import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

import aioxide

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "tour")
COMMANDS = {"tls_echo": "openssl"}  # what an example needs besides Python
RUNNERS = {"asyncio": asyncio.run, "aioxide": aioxide.run}


def load(name: str) -> ModuleType:
    return importlib.import_module(f"examples.{name}")


def skip_without_its_command(name: str) -> None:
    command = COMMANDS.get(name)
    if command and not shutil.which(command):
        pytest.skip(f"{command} is not installed")


def promised_output(program: ModuleType) -> str:
    """What the docstring shows after "Output:"."""
    assert program.__doc__, "an example opens with a docstring"
    _, heading, output = program.__doc__.partition("\nOutput:\n\n")
    assert heading, "the docstring shows the output"
    return dedent(output)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("runner", RUNNERS)
def test_an_example_prints_what_its_docstring_promises(
    name: str, runner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_without_its_command(name)
    program = load(name)
    run: Callable[[Coroutine[Any, Any, None]], None] = RUNNERS[runner]
    run(program.main())
    printed = capsys.readouterr()
    assert printed.out == promised_output(program)
    assert printed.err == ""


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_alone(name: str) -> None:
    skip_without_its_command(name)
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == promised_output(load(name))
    assert done.stderr == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_says_which_command_it_misses(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    aioxide.run(load(name).main())
    assert f"{COMMANDS[name]} command; please install it" in capsys.readouterr().out


def test_the_tour_visits_every_example() -> None:
    assert sorted(load("tour").PROGRAMS) == NAMES
