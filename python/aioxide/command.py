"""The `aioxide` command: an unchanged program, or a REPL, with everything native that can be.

`aioxide.install()` comes first, then the program runs as under plain `python`. Only what precedes
the program's name is read here; the rest is the program's.
"""

import platform
import sys
from pathlib import Path

import aioxide
from aioxide import _core, programs
from aioxide.installation import install

USAGE = """\
usage: aioxide [run] (script.py | -m module | -c code) [args ...]
       aioxide repl
       aioxide --version | --help

Run a Python program, unchanged, with aioxide in asyncio's place; or asyncio's REPL.

  run       may be left out, unless the script is called "run" or "repl"
  repl      the REPL of `python -m asyncio`, where `await` needs no function

Options for Python itself come before: python -X dev -m aioxide script.py
"""


def main() -> int:
    """Run the command line; the program's own exit goes through as SystemExit."""
    match sys.argv[1:]:
        case ["--version" | "-V", *_]:
            print(version())  # noqa: T201
        case ["--help" | "-h", *_]:
            print(USAGE, end="")  # noqa: T201
        case ["repl"]:
            install()
            programs.run_module("asyncio", [])
        case ["repl", *_]:
            return _refuse("repl takes no arguments")
        case ["run", *rest]:
            return _run(rest)
        case rest:
            return _run(rest)
    return 0


def _run(command: list[str]) -> int:
    match command:
        case []:
            return _refuse("no program to run")
        case ["-m" | "-c" as option]:
            return _refuse(f"argument expected for the {option} option")
        case ["-m", module, *args]:
            install()
            programs.run_module(module, args)
        case ["-c", code, *args]:
            install()
            programs.run_code(code, args)
        case [option, *_] if option.startswith("-"):
            return _refuse(f"unknown option {option}")
        case [script, *args]:
            install()
            programs.run_script(script, args)
    return 0


def _refuse(message: str) -> int:
    sys.stderr.write(f"aioxide: {message}\n{USAGE}")
    return 2


def version() -> str:
    """Say what is running, for bug reports."""
    return (
        f"aioxide {aioxide.__version__}\n"
        f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}\n"
        f"I/O: epoll\n"
        f"native: {' '.join(native_names())} ({Path(_core.__file__).name})"
    )


def native_names() -> list[str]:
    """List the public names whose objects are compiled, or are classes built on compiled ones."""
    compiled = [value for value in vars(_core).values() if callable(value)]

    def is_native(value: object) -> bool:
        parts = value.__mro__ if isinstance(value, type) else (value,)
        return any(part is each for part in parts for each in compiled)

    return [name for name in sorted(aioxide.__all__) if is_native(getattr(aioxide, name))]
