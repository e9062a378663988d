"""Where callbacks meet await: a result that comes later.

A Future is a place for a result that somebody else will fill in. You rarely make one yourself,
except to give an awaitable face to something that calls back.

Output:

    the radio answers: hello, earth
    the radio failed: no signal
    callbacks run in the order they were added: first, second
    whoever comes too late is called too: third
"""

import asyncio
from collections.abc import Callable

import aioxide


class Radio:
    """A library from before await: it takes a function and calls it when there is an answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def send(
        self, message: str, on_answer: Callable[[str], None], on_error: Callable[[Exception], None]
    ) -> None:
        if message:
            self._loop.call_later(0.005, on_answer, f"{message}, earth")
        else:
            self._loop.call_later(0.005, on_error, ConnectionError("no signal"))


async def send(radio: Radio, message: str) -> str:
    """The same with await: the future's own setters are the callbacks."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    radio.send(message, answer.set_result, answer.set_exception)
    return await answer


async def main() -> None:
    loop = asyncio.get_running_loop()
    radio = Radio(loop)

    print(f"the radio answers: {await send(radio, 'hello')}")
    try:
        await send(radio, "")
    except ConnectionError as error:
        # The exception that was set is raised where the future is awaited.
        print(f"the radio failed: {error}")

    # Done-callbacks get the future. They never run at once, but at the loop's next turn: whoever
    # sets a result is not interrupted by those who waited for it.
    called: list[str] = []
    future: asyncio.Future[None] = loop.create_future()
    future.add_done_callback(lambda _: called.append("first"))
    future.add_done_callback(lambda _: called.append("second"))
    future.set_result(None)
    assert called == []
    await asyncio.sleep(0)
    print(f"callbacks run in the order they were added: {', '.join(called)}")

    future.add_done_callback(lambda _: called.append("third"))
    await asyncio.sleep(0)
    print(f"whoever comes too late is called too: {called[-1]}")


if __name__ == "__main__":
    aioxide.run(main())
