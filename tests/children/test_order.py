"""What a protocol is told of a child, and in which order, is what stock asyncio tells."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import aioxide
from tests.children.parties import PIPE, Observer

Story = Callable[[Observer], Coroutine[Any, Any, Any]]


async def silent(observer: Observer) -> Any:
    loop = asyncio.get_running_loop()
    options: Any = {"stdin": None, "stdout": None, "stderr": None}
    transport, _ = await loop.subprocess_exec(lambda: observer, "true", **options)
    observer.events.append("created")
    return transport


async def talking(observer: Observer) -> Any:
    loop = asyncio.get_running_loop()
    # Each step waits for a word from here, so that nothing depends on time.
    text = "read w; echo one; read w; exec 2>&-; read w; echo two; read w; exec >&-; read w; exit 4"
    transport: Any
    transport, _ = await loop.subprocess_shell(lambda: observer, text)
    observer.events.append("created")
    for known in ("created", "data 1", "pipe lost 2", "two", "pipe lost 1"):
        while known not in observer.events and known.encode() not in observer.output[1]:
            await asyncio.sleep(0)
        transport.get_pipe_transport(0).write(b"go on\n")
    assert observer.output[1] == b"one\ntwo\n"
    return transport


async def killed(observer: Observer) -> Any:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_exec(lambda: observer, "cat", stdout=None, stderr=None)
    observer.events.append("created")
    transport.send_signal(signal.SIGKILL)
    return transport


async def closed(observer: Observer) -> Any:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_exec(
        lambda: observer, "sleep", "60", stdin=None, stdout=PIPE, stderr=None
    )
    observer.events.append("created")
    transport.close()
    return transport


STORIES: list[Story] = [silent, talking, killed, closed]


def tell(new_loop: Callable[[], asyncio.AbstractEventLoop], story: Story) -> tuple[list[str], Any]:
    async def main() -> tuple[list[str], Any]:
        observer = Observer()
        async with asyncio.timeout(30):
            transport = await story(observer)
            await observer.ended
        transport.close()
        await asyncio.sleep(0)
        return observer.events, transport.get_returncode()

    loop = new_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def tidied(events: list[str]) -> list[str]:
    """Without what the kernel may order either way: a pipe's end and the exit."""
    known = [event for event in events if event != "exited"]
    lost = sorted(event for event in known if event.startswith("pipe lost"))
    return [event for event in known if not event.startswith("pipe lost")] + lost


@pytest.mark.parametrize("story", STORIES)
def test_the_protocol_hears_the_same_story(story: Story, way_of_aioxide: str) -> None:
    expected, expected_code = tell(asyncio.SelectorEventLoop, story)
    events, code = tell(aioxide.new_event_loop, story)
    assert code == expected_code
    assert tidied(events) == tidied(expected)
    for told in (events, expected):
        assert told[0] == "made"
        assert told[-1] == "lost"
        assert told.count("exited") == 1
        assert told.index("made") < told.index("created") < told.index("exited")
    if story is talking:
        assert events[:-3] == expected[:-3]  # the end of stdin and the exit come together


def test_debug_mode_logs_the_same(way_of_aioxide: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "asyncio")

    def logged(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> list[str]:
        caplog.clear()

        async def main() -> None:
            asyncio.get_running_loop().slow_callback_duration = 100.0
            asyncio.get_running_loop().set_debug(True)
            process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
            numbers[:] = [str(process.pid)]
            await process.communicate(b"x")

        numbers: list[str] = []
        loop = new_loop()
        loop.run_until_complete(main())
        loop.set_debug(False)
        loop.close()
        lines = [record.getMessage().replace(numbers[0], "PID") for record in caplog.records]
        # The pipes' states are left out: where they are by then is a matter of time.
        return [line.split(" stdin=<_")[0].split(" running")[0] for line in lines]

    ours, theirs = logged(aioxide.new_event_loop), logged(asyncio.SelectorEventLoop)
    interesting = ("created: pid", "execute program", "communicate")

    def only(lines: list[str]) -> list[str]:
        return sorted(line for line in lines if any(each in line for each in interesting))

    assert only(ours) == only(theirs)
    assert len(only(ours)) >= 5
