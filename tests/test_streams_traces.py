"""Random scripts of feeding and reading have the same trace on asyncio's StreamReader and on ours.

A script feeds, pauses, ends and breaks a reader while tasks read from it, also two at once and also
cancelled ones. The trace holds every result and exception, what is left in the buffer, and what
the transport was told.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

import aioxide
from tests.loops import Loop, run_turns

LIMITS = [1, 4, 16, 65536]
SEPARATORS: list[Any] = [b"\n", b"ab", b"\n\n", b"aba", b"", memoryview(b"ba"), "a", 5]
SCRIPTS = 150
#: The one whose bytes asyncio loses when it is cancelled or fails, and we do not.
TO_THE_END = "read(-1)"
ALPHABET = b"ab\n"


class Transport:
    """Remembers what a reader asks of it; some cannot be paused."""

    def __init__(self, trace: list[Any], can_pause: bool) -> None:
        self.trace = trace
        self.can_pause = can_pause

    def __repr__(self) -> str:
        return "<Transport>"

    def pause_reading(self) -> None:
        self.trace.append("pause")
        if not self.can_pause:
            raise NotImplementedError

    def resume_reading(self) -> None:
        self.trace.append("resume")


def make_script(seed: int) -> list[tuple[Any, ...]]:
    dice = random.Random(seed)
    steps: list[tuple[Any, ...]] = [("make", dice.choice(LIMITS), dice.random() < 0.9)]
    for _ in range(dice.randrange(4, 30)):
        roll = dice.random()
        if roll < 0.40:
            data = bytes(dice.choices(ALPHABET, k=dice.randrange(12)))
            steps.append(("feed", dice.choice([bytes, bytes, bytearray, memoryview, list])(data)))
        elif roll < 0.75:
            method, argument = dice.choice(
                [
                    ("read", dice.choice([0, 1, 3, 10, 2**70, True])),
                    ("read", -1),
                    ("readexactly", dice.choice([-1, 0, 1, 2, 7])),
                    ("readline", None),
                    ("readuntil", dice.choice(SEPARATORS)),
                ]
            )
            steps.append(("start", method, argument))
        elif roll < 0.92:
            steps.append(("turn",))
        elif roll < 0.95:
            steps.append(("cancel",))
        elif roll < 0.98:
            steps.append(("eof",))
        else:
            steps.append(("break",))
    return steps


def play(loop: Loop, lib: Any, script: list[tuple[Any, ...]], looks: bool) -> list[Any]:
    """With `looks`, look at the buffer all the time: that changes what ours is kept in."""
    trace: list[Any] = []
    reader: Any = None
    tasks: list[tuple[str, asyncio.Task[Any]]] = []

    def look() -> None:
        for name, task in list(tasks):
            if task.done():
                tasks.remove((name, task))
                trace.append((name, outcome(task)))

    for step, *args in script:
        trace.append(step)
        if step == "make":
            reader = lib.StreamReader(limit=args[0], loop=loop)
            reader.set_transport(Transport(trace, args[1]))
        elif step == "feed":
            trace.append(attempt(reader.feed_data, args[0]))
        elif step == "eof":
            reader.feed_eof()
        elif step == "break":
            if not any(name == TO_THE_END for name, _ in tasks):
                reader.set_exception(OSError("broken"))
        elif step == "start":
            method, argument = args
            given = () if argument is None else (argument,)
            name = f"{method}({argument})"
            if name == TO_THE_END and tasks:
                continue
            if "bytes" in repr(reader) and any(
                other.startswith(("readline", "readuntil")) for other, _ in tasks
            ):
                # Who takes bytes from under a search makes asyncio's overlook a separator.
                continue
            tasks.append((name, loop.create_task(getattr(reader, method)(*given))))
        elif step == "cancel":
            for name, task in tasks:
                if name != TO_THE_END:
                    task.cancel()
        run_turns(loop)
        look()
        trace.append((repr(reader), reader._paused, reader.at_eof(), bool(reader._waiter)))
        if looks:
            trace.append(bytes(reader._buffer))
    trace.append(bytes(reader._buffer))
    for _, task in tasks:
        task.cancel()
    run_turns(loop, 2)
    look()
    return trace


def outcome(task: asyncio.Task[Any]) -> Any:
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    if error is None:
        return task.result()
    details = [getattr(error, name, None) for name in ("consumed", "partial", "expected")]
    return type(error).__name__, str(error), details, repr(error.__context__)


def attempt(action: Callable[[Any], Any], argument: object) -> Any:
    try:
        return action(argument)
    except Exception as error:
        return type(error).__name__, str(error)


@pytest.mark.parametrize("looks", [False, True], ids=["unseen", "looked at"])
def test_scripts_have_the_same_trace(loop: Loop, looks: bool) -> None:
    for seed in range(SCRIPTS):
        script = make_script(seed)
        expected = play(loop, asyncio, script, looks)
        assert play(loop, aioxide, script, looks) == expected, seed
