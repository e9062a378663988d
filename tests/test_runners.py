"""`run()` and `Runner`.

The tests run with asyncio's runner on asyncio's loop, with asyncio's runner on aioxide's
loop, and with aioxide's runner, with the same assertions.
"""

import asyncio
import contextvars
import gc
import sys
from collections.abc import AsyncGenerator
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
