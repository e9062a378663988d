"""Programs that get signals, each in a process of its own: on asyncio and on aioxide.

A signal ends processes, is inherited, and is heard by one thread only, so what is promised about it
is best seen from outside. Each program is run twice, by plain `python` and by `python -m aioxide`,
and has to print the same and to end in the same way; asyncio's half also says whether the program
does what its author thinks, so most programs come without a list of what they print.

No program may depend on time. A signal is raised by the very line that wants it; or it is sent once
the main thread is asleep, as the kernel sees it (`when_asleep`), or once something has happened.
"""

import re
import subprocess
import sys
import textwrap
from typing import NamedTuple

PROLOGUE = r"""
import asyncio, contextlib, functools, os, signal, socket, sys, threading, time

# A shell starts what it sends to the background with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def say(*words):
    # In one piece: threads say things too.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()

def ctrl_c():
    signal.raise_signal(signal.SIGINT)

def attempt(function, *args):
    try:
        say("returned", function(*args))
    except BaseException as error:
        say("raised", type(error).__name__, error)

def turns(loop, number=1):
    for _ in range(number):
        loop.call_soon(loop.stop)
        loop.run_forever()

def when_asleep(act, *args):
    # Asleep three times in a row, while this thread does not keep the main thread waiting.
    def watch():
        asleep = 0
        while asleep < 3:
            time.sleep(0.005)
            with open(f"/proc/self/task/{threading.main_thread().native_id}/stat") as stat:
                state = stat.read().rpartition(")")[2].split()[0]
            asleep = asleep + 1 if state == "S" else 0
        act(*args)
    threading.Thread(target=watch, daemon=True).start()

kill_when_asleep = functools.partial(when_asleep, os.kill, os.getpid())
"""

EPILOGUE = """
# What a program leaves behind is reported now, and not to an interpreter that is half gone.
for name in [name for name in globals() if not name.startswith("__")]:
    del globals()[name]
import gc
gc.collect()
"""

COMMANDS = {
    "asyncio": [sys.executable, "-c"],
    "aioxide": [sys.executable, "-m", "aioxide", "-c"],
}
PATIENCE = 60


class Outcome(NamedTuple):
    """What a program did, as far as somebody who started it can tell."""

    printed: list[str]
    complained: list[str]
    status: int


def outcomes(program: str, *options: str) -> dict[str, Outcome]:
    """Run the program on both, side by side."""
    source = PROLOGUE + textwrap.dedent(program) + EPILOGUE
    running = {
        name: subprocess.Popen(
            [command[0], *options, *command[1:], source],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, command in COMMANDS.items()
    }
    results = {}
    try:
        for name, process in running.items():
            printed, complained = process.communicate(timeout=PATIENCE)
            results[name] = Outcome(
                [_without_addresses(line) for line in printed.splitlines()],
                _without_frames(complained),
                process.returncode,
            )
    finally:
        for process in running.values():
            if process.poll() is None:
                process.kill()
                process.communicate()
    return results


def same_outcome(program: str, *options: str) -> Outcome:
    """Run the program on both; what it does must be the same, and is returned."""
    results = outcomes(program, *options)
    assert results["aioxide"] == results["asyncio"]
    assert results["asyncio"].printed, "the program shows nothing"
    return results["asyncio"]


def _without_addresses(line: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", line)


def _without_frames(complained: str) -> list[str]:
    """Drop what differs by design (a traceback's frames, what a task waits for) or by chance.

    By chance, because debug mode complains of a callback that a busy machine has made slow.
    """
    return [
        re.sub(r" (wait_for|cb)=.*", ">", _without_addresses(line))
        for line in complained.splitlines()
        if not line.startswith((" ", "Traceback ", "Executing "))
    ]
