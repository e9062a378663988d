"""Child processes: talk to them, read along, run several, and stop those that hang.

The children here are Python, so that they run everywhere; any program will do. Their names and
arguments are given one by one and not as a line for a shell, so nothing needs quoting.

Output:

    the child answers: HELLO, exit status 0
    read while it runs: step 1
    read while it runs: step 2
    read while it runs: step 3
    three at once, exit statuses 0 1 2
    asked to stop: it cleans up, exit status 0
    too stubborn: killed by SIGKILL
"""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process

import aioxide

SHOUT = "import sys; print(sys.stdin.read().upper())"
STEPS = "for step in (1, 2, 3): print('step', step, flush=True)"
CLEAN = """
import signal, sys, time
def clean_up(*_):
    print("cleans up", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, clean_up)
print("ready", flush=True)
while True: time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True: time.sleep(60)
"""


async def python(program: str, stdin: int | None = None, stdout: int | None = None) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=stdin, stdout=stdout
    )


async def shout(words: str) -> str:
    """One question, one answer, and the end of the child: that is what communicate() is for."""
    child = await python(SHOUT, stdin=PIPE, stdout=PIPE)
    answer, _ = await child.communicate(words.encode())
    return f"{answer.decode().strip()}, exit status {child.returncode}"


async def follow() -> None:
    """A pipe is a StreamReader: what the child says can be read while it goes on."""
    child = await python(STEPS, stdout=PIPE)
    assert child.stdout
    async for line in child.stdout:
        print("read while it runs:", line.decode().strip())
    await child.wait()  # every child wants to be waited for


async def exit_with(status: int) -> int:
    child = await python(f"raise SystemExit({status})")
    return await child.wait()


async def stop(program: str, patience: float) -> str:
    """Ask first. Who does not listen is killed, and that cannot be ignored."""
    child = await python(program, stdout=PIPE)
    assert child.stdout
    await child.stdout.readline()  # it is ready
    child.terminate()
    try:
        async with asyncio.timeout(patience):
            last_words = await child.stdout.read()
            status = await child.wait()
            return f"it {last_words.decode().strip()}, exit status {status}"
    except TimeoutError:
        child.kill()
        # A child that a signal has ended has that signal's number, negative, as its status.
        return f"killed by {signal.Signals(-await child.wait()).name}"


async def main() -> None:
    print("the child answers:", await shout("hello"))
    await follow()
    statuses = await asyncio.gather(*(exit_with(status) for status in range(3)))
    print("three at once, exit statuses", *statuses)
    print("asked to stop:", await stop(CLEAN, patience=60))
    print("too stubborn:", await stop(STUBBORN, patience=0.1))


if __name__ == "__main__":
    aioxide.run(main())
