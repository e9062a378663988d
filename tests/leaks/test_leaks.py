"""Which object it is that stays: one promise about the end of a life each.

Memory and reference counts say that something leaks; these say what. They run on stock
asyncio too, which shows that it is the promise of asyncio that is tested and not a guess.
The last ones leak on purpose, so that the measures themselves are known to work.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import socket
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential import engines
from tests.leaks import memory, network, refcounts
from tests.leaks.lifetimes import WORKLOADS, Payload

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    importlib.import_module("aioxide")
except ImportError:
    BUILT = False
else:
    BUILT = True

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(
    params=[
        "stock",
        pytest.param("aioxide", marks=pytest.mark.skipif(not BUILT, reason="aioxide is not built")),
    ]
)
def engine(request: pytest.FixtureRequest) -> engines.Engine:
    return engines.engine(request.param)


@pytest.fixture
def loop(engine: engines.Engine) -> Iterator[asyncio.AbstractEventLoop]:
    loop = engine.new_event_loop()
    yield loop
    loop.close()


async def _nothing() -> None:
    pass


async def _hold(payload: Payload) -> Payload:
    return payload


def test_a_finished_task_dies_with_its_last_reference(loop: asyncio.AbstractEventLoop) -> None:
    task = loop.create_task(_nothing())
    loop.run_until_complete(task)
    dead = weakref.ref(task)
    del task
    assert dead() is None


def test_a_result_dies_with_its_task(loop: asyncio.AbstractEventLoop) -> None:
    payload = Payload()
    dead = weakref.ref(payload)
    task = loop.create_task(_hold(payload))
    del payload
    loop.run_until_complete(task)
    assert dead() is not None
    del task
    assert dead() is None


def test_a_weakrefs_callback_is_called(loop: asyncio.AbstractEventLoop) -> None:
    called: list[object] = []
    future = loop.create_future()
    dead = weakref.ref(future, called.append)
    del future
    assert called == [dead]


def test_a_finished_future_forgets_its_callbacks(loop: asyncio.AbstractEventLoop) -> None:
    payload = Payload()
    dead = weakref.ref(payload)
    future = loop.create_future()
    future.add_done_callback(lambda _future, payload=payload: None)  # type: ignore[misc]
    del payload
    future.set_result(None)
    loop.run_until_complete(asyncio.sleep(0))
    assert dead() is None


def test_a_finished_task_forgets_what_it_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    async def wait() -> None:
        await loop.create_future()

    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    waiting = [thing for thing in gc.get_referents(task) if asyncio.isfuture(thing)]
    assert waiting == []


def test_a_cancelled_handle_lets_go_at_once(loop: asyncio.AbstractEventLoop) -> None:
    payload = Payload()
    dead = weakref.ref(payload)
    handle = loop.call_soon(print, payload)
    del payload
    handle.cancel()
    assert dead() is None


def test_a_cancelled_timer_lets_go_at_once(loop: asyncio.AbstractEventLoop) -> None:
    payload = Payload()
    dead = weakref.ref(payload)
    timer = loop.call_later(3600, print, payload)
    del payload
    timer.cancel()
    assert dead() is None


def test_a_handle_that_ran_is_let_go_by_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    payload = Payload()
    dead = weakref.ref(payload)
    loop.call_soon(lambda _payload: None, payload)
    del payload
    loop.run_until_complete(asyncio.sleep(0))
    assert dead() is None


def test_a_closed_loop_lets_go_of_what_was_scheduled(engine: engines.Engine) -> None:
    loop = engine.new_event_loop()
    payloads = [Payload() for _ in range(3)]
    dead = [weakref.ref(payload) for payload in payloads]
    loop.call_soon(print, payloads.pop())
    loop.call_later(3600, print, payloads.pop())
    loop.call_soon_threadsafe(print, payloads.pop())
    loop.close()
    assert [ref() for ref in dead] == [None, None, None]


def test_a_closed_loop_dies(engine: engines.Engine) -> None:
    loop = engine.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    dead = weakref.ref(loop)
    del loop
    gc.collect()
    assert dead() is None


def test_an_exception_that_holds_its_task_is_collected(loop: asyncio.AbstractEventLoop) -> None:
    payload = Payload()
    dead = weakref.ref(payload)

    async def fail(payload: Payload) -> None:
        me = asyncio.current_task()  # noqa: F841 - the frame holds the task, the task the frame
        raise ValueError(payload)

    task = loop.create_task(fail(payload))
    del payload
    loop.run_until_complete(asyncio.wait([task]))
    task.exception()
    del task
    gc.collect()
    assert dead() is None


def test_a_pending_task_and_its_future_are_collected(loop: asyncio.AbstractEventLoop) -> None:
    reported: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: reported.append(context["message"]))

    async def wait() -> None:
        payload = Payload()  # noqa: F841 - held by the frame
        await loop.create_future()

    task = loop.create_task(wait())
    dead = weakref.ref(task)
    loop.run_until_complete(asyncio.sleep(0))
    del task
    gc.collect()
    assert dead() is None
    assert reported == ["Task was destroyed but it is pending!"]


def test_a_connection_and_its_protocol_are_collected(loop: asyncio.AbstractEventLoop) -> None:
    transport, side = loop.run_until_complete(_connected(loop))
    transport.pause_reading()  # the loop keeps a transport that reads
    dead, dead_side = weakref.ref(transport), weakref.ref(side)
    descriptor = transport.get_extra_info("socket").fileno()
    del transport, side
    gc.collect()
    assert (dead(), dead_side()) == (None, None)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_closed_transport_lets_go_of_its_protocol(loop: asyncio.AbstractEventLoop) -> None:
    transport, side = loop.run_until_complete(_connected(loop))
    transport.close()
    loop.run_until_complete(side.lost)
    dead = weakref.ref(side)
    side.transport = None
    del side
    gc.collect()  # the future's own cycle
    assert dead() is None
    assert transport.is_closing()


async def _connected(loop: asyncio.AbstractEventLoop) -> tuple[asyncio.Transport, network.Side]:
    ours, theirs = socket.socketpair()
    transport, side = await loop.create_connection(network.Side, sock=ours)
    side.peer = theirs  # which is then open for as long
    return transport, side


@pytest.mark.parametrize("kind", ["Task", "Future"])
def test_a_subclass_and_its_attributes_are_collected(
    engine: engines.Engine, loop: asyncio.AbstractEventLoop, kind: str
) -> None:
    base: Any = getattr(engine, kind)

    class Sub(base):  # type: ignore[misc]
        pass

    instance = Sub(_nothing(), loop=loop) if kind == "Task" else Sub(loop=loop)
    instance.payload = Payload()
    instance.itself = instance
    dead, dead_class = weakref.ref(instance.payload), weakref.ref(Sub)
    if kind == "Task":
        loop.run_until_complete(instance)
    del instance, Sub
    gc.collect()
    assert dead() is None
    assert dead_class() is None


def test_loops_close_their_descriptors(engine: engines.Engine) -> None:
    engine.new_event_loop().close()
    before = memory.descriptors()
    for _ in range(20):
        loop = engine.new_event_loop()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert memory.descriptors() == before


def test_a_context_is_let_go_when_its_task_ends(loop: asyncio.AbstractEventLoop) -> None:
    from contextvars import ContextVar

    var: ContextVar[Payload] = ContextVar("var")
    refs: list[weakref.ref[Payload]] = []

    async def sets() -> None:
        payload = Payload()
        refs.append(weakref.ref(payload))
        var.set(payload)

    task = loop.create_task(sets())
    loop.run_until_complete(task)
    del task
    assert refs[0]() is None


@pytest.mark.parametrize("name", WORKLOADS)
def test_memory_stays_flat(engine: engines.Engine, name: str) -> None:
    growth = memory.measure(engine, name, 20_000)
    assert growth.passed, str(growth)


@pytest.mark.parametrize("use", [memory.leave_nothing, network.leave_open])
def test_closed_loops_leave_nothing(engine: engines.Engine, use: Any) -> None:
    growth = memory.measure_loops(engine, 100, use)
    assert growth.passed, str(growth)


@pytest.mark.skipif(refcounts.total is None, reason="needs a debug build of Python")
@pytest.mark.parametrize("name", WORKLOADS)
def test_references_stay_flat(engine: engines.Engine, name: str) -> None:
    counts = refcounts.measure(engine, name)
    assert counts.passed, str(counts)


# -- the measures measure ------------------------------------------------------------------------


def _leaky(kept: list[object]) -> engines.Engine:
    """The pure-Python engine, but every task leaves 80 bytes behind."""
    loop_type = engines.loop_type(_keeping(kept), engines.PyFuture)
    return engines.Engine("leaky", loop_type, _keeping(kept), engines.PyFuture)


def _keeping(kept: list[object]) -> Any:
    def make(*args: Any, **kwargs: Any) -> Any:
        kept.append(bytearray(16))
        return engines.PyTask(*args, **kwargs)

    return make


def test_a_leak_of_a_few_bytes_is_seen() -> None:
    assert not memory.measure(_leaky([]), "plain_tasks", 100_000).passed


@pytest.mark.skipif(refcounts.total is None, reason="needs a debug build of Python")
def test_a_leak_of_one_reference_is_seen() -> None:
    kept: list[object] = []
    assert not refcounts.measure(_leaky(kept), "plain_tasks").passed

    async def forgets(_engine: engines.Engine, count: int) -> None:
        kept.extend([engines.PyTask] * count)

    assert not refcounts.measure(engines.PYTHON, "forgets", forgets).passed


def test_a_descriptor_left_open_is_seen() -> None:
    kept: list[object] = []

    def forgetful() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop()
        kept.append(asyncio.SelectorEventLoop())
        return loop

    stock = engines.STOCK
    growth = memory.measure_loops(engines.Engine("x", forgetful, stock.Task, stock.Future), 60)
    assert not growth.passed
    for loop in kept:
        assert isinstance(loop, asyncio.SelectorEventLoop)
        loop.close()
    assert sys.getrefcount(kept) >= 1
