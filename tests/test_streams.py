"""StreamReader and StreamWriter by hand: the same promises from asyncio's and from ours."""

import _asyncio
import asyncio
import gc
import inspect
import sys
import warnings
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

import aioxide
from tests.loops import Loop, Report, run_turns

#: Writers over transports that do nothing are closed by nobody.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

Start = Callable[[Any], asyncio.Task[Any]]


def name_of(lib: ModuleType) -> str:
    return lib.__name__


@pytest.fixture(params=[asyncio, aioxide], ids=name_of)
def lib(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["own", "stock"])
def start(request: pytest.FixtureRequest, loop: Loop) -> Start:
    """Makes a task: the loop's own kind, or the standard library's."""
    if request.param == "own":
        return loop.create_task
    return lambda coro: _asyncio.Task(coro, loop=loop)


def connected(loop: Loop, lib: Any, closing: bool = False) -> tuple[Any, Any, Any]:
    """A reader, its protocol and a writer over a transport that does nothing."""
    transport = mock.Mock()
    transport.get_extra_info.return_value = None
    transport.is_closing.return_value = closing
    reader = lib.StreamReader(loop=loop)
    protocol = lib.StreamReaderProtocol(reader, loop=loop)
    protocol.connection_made(transport)
    return reader, protocol, lib.StreamWriter(transport, protocol, reader, loop)


# Reading


def test_a_cancelled_read_loses_nothing(loop: Loop, lib: Any, start: Start) -> None:
    for method, argument in (("readexactly", 10), ("readuntil", b"!"), ("read", 5)):
        reader = lib.StreamReader(loop=loop)
        task = start(getattr(reader, method)(argument))
        run_turns(loop)
        reader.feed_data(b"abc")
        task.cancel()
        run_turns(loop, 2)
        assert task.cancelled()
        assert reader._buffer == b"abc"
        assert reader._waiter is None


@pytest.mark.parametrize("fails", [False, True], ids=["cancelled", "broken"])
def test_a_read_to_the_end_that_does_not_get_there_gives_back(
    loop: Loop, start: Start, fails: bool
) -> None:
    reader = aioxide.StreamReader(limit=2, loop=loop)
    task = start(reader.read())
    for piece in (b"abcde", b"fg"):
        run_turns(loop)
        reader.feed_data(piece)
    run_turns(loop, 2)
    assert reader._buffer == b""  # type: ignore[attr-defined]
    if fails:
        reader.set_exception(OSError())
    else:
        task.cancel()
    reader.feed_data(b"h")
    run_turns(loop, 2)
    assert task.done()
    assert reader._buffer == b"abcdefgh"  # type: ignore[attr-defined]


def test_bytes_that_are_read_as_they_came_are_not_copied(loop: Loop) -> None:
    reader = aioxide.StreamReader(loop=loop)
    piece = b"x" * 1000
    for read in (reader.read(5000), reader.readexactly(1000), reader.read(1000)):
        reader.feed_data(piece)
        assert loop.run_until_complete(read) is piece


def test_a_set_exception_is_what_the_waiting_read_raises(
    loop: Loop, lib: Any, start: Start
) -> None:
    for error in (OSError("gone"), ValueError):
        reader = lib.StreamReader(loop=loop)
        task = start(reader.readline())
        run_turns(loop)
        reader.set_exception(error)
        reader._exception = None
        run_turns(loop, 2)
        assert isinstance(task.exception(), type(error) if error is not ValueError else ValueError)
        assert reader.exception() is None


def test_what_is_put_into_the_buffer_is_read(loop: Loop, lib: Any) -> None:
    reader = lib.StreamReader(loop=loop)
    reader.feed_data(b"abc")
    buffer = reader._buffer
    assert isinstance(buffer, bytearray)
    buffer += b"def\n"
    del buffer[:1]
    assert loop.run_until_complete(reader.read(2)) == b"bc"
    assert buffer == b"def\n"
    assert loop.run_until_complete(reader.readline()) == b"def\n"
    reader._buffer = bytearray(b"new")
    reader.feed_data(b"er")
    assert loop.run_until_complete(reader.readexactly(5)) == b"newer"


def test_overridden_methods_are_called(loop: Loop, lib: Any, start: Start) -> None:
    calls: list[Any] = []

    class Reader(lib.StreamReader):  # type: ignore[misc]
        def feed_data(self, data: bytes) -> None:
            calls.append("feed_data")
            super().feed_data(data.upper())

        def feed_eof(self) -> None:
            calls.append("feed_eof")
            super().feed_eof()

        async def _wait_for_data(self, func_name: str) -> None:
            calls.append(func_name)
            await super()._wait_for_data(func_name)

        def _wakeup_waiter(self) -> None:
            calls.append("wake")
            super()._wakeup_waiter()

        def _maybe_resume_transport(self) -> None:
            calls.append("resume")
            super()._maybe_resume_transport()

        async def readuntil(self, separator: Any = b"\n") -> bytes:
            calls.append(separator)
            line: bytes = await super().readuntil(separator)
            return b"<" + line

        async def read(self, n: int = -1) -> bytes:
            calls.append(n)
            data: bytes = await super().read(n)
            return data

    reader = Reader(loop=loop, limit=4)
    protocol = lib.StreamReaderProtocol(reader, loop=loop)
    task = start(reader.readline())
    run_turns(loop)
    protocol.data_received(b"a\n")
    run_turns(loop, 2)
    assert task.result() == b"<A\n"
    assert calls == [b"\n", "readuntil", "feed_data", "wake", "resume"]
    calls.clear()
    task = start(reader.read())
    run_turns(loop)
    protocol.data_received(b"bcd")
    run_turns(loop, 2)
    protocol.eof_received()
    run_turns(loop, 2)
    assert task.result() == b"BCD"
    blocks = [4, "read", "feed_data", "wake", "resume", 4, "read", "feed_eof", "wake", "resume"]
    assert calls == [-1, *blocks]


def test_methods_patched_on_the_object_are_called(loop: Loop, lib: Any) -> None:
    reader = lib.StreamReader(loop=loop)
    reader.feed_data(b"x\n")
    assert loop.run_until_complete(reader.readline()) == b"x\n"
    with mock.patch.object(reader, "readuntil", mock.AsyncMock(return_value=b"patched")):
        assert loop.run_until_complete(reader.readline()) == b"patched"
    with mock.patch.object(lib.StreamReader, "readuntil", mock.AsyncMock(return_value=b"class")):
        assert loop.run_until_complete(reader.readline()) == b"class"
    reader.feed_data(b"y\n")
    assert loop.run_until_complete(reader.readline()) == b"y\n"


def test_a_tuple_of_separators_finds_the_first_to_end(loop: Loop) -> None:
    reader: Any = aioxide.StreamReader(loop=loop)
    reader.feed_data(b"one; two, three--")
    read = [
        loop.run_until_complete(reader.readuntil((b"--", b", ", b";"))),
        loop.run_until_complete(reader.readuntil((b"--", b", ", b";"))),
        loop.run_until_complete(reader.readuntil((b"e--", b"--"))),
    ]
    assert read == [b"one;", b" two, ", b"three--"]


def test_a_foreign_future_as_waiter_is_woken(loop: Loop, lib: Any) -> None:
    reader = lib.StreamReader(loop=loop)
    reader._waiter = waiter = loop.create_future()
    reader.feed_data(b"x")
    assert waiter.done()
    assert reader._waiter is None


def test_the_methods_are_coroutine_functions(lib: Any) -> None:
    for method in ("read", "readline", "readexactly", "readuntil"):
        assert inspect.iscoroutinefunction(getattr(lib.StreamReader, method))
        ours = inspect.signature(getattr(lib.StreamReader, method))
        assert ours == inspect.signature(getattr(asyncio.StreamReader, method))
    for method in ("drain", "wait_closed", "start_tls"):
        assert inspect.iscoroutinefunction(getattr(lib.StreamWriter, method))


# Writing


def test_draining_waits_until_the_transport_resumes(loop: Loop, lib: Any, start: Start) -> None:
    _, protocol, writer = connected(loop, lib)
    protocol.pause_writing()
    tasks = [start(writer.drain()) for _ in range(3)]
    run_turns(loop)
    assert not any(task.done() for task in tasks)
    assert len(protocol._drain_waiters) == 3
    tasks[1].cancel()
    run_turns(loop, 2)
    assert len(protocol._drain_waiters) == 2
    protocol.resume_writing()
    run_turns(loop, 2)
    assert [task.done() for task in tasks] == [True] * 3
    assert not protocol._drain_waiters


@pytest.mark.parametrize("error", [None, OSError("reset")], ids=["closed", "reset"])
def test_a_lost_connection_ends_all_drains(
    loop: Loop, lib: Any, start: Start, error: OSError | None
) -> None:
    reader, protocol, writer = connected(loop, lib)
    protocol.pause_writing()
    tasks = [start(writer.drain()) for _ in range(2)]
    closed = start(writer.wait_closed())
    run_turns(loop)
    protocol.connection_lost(error)
    run_turns(loop, 2)
    assert [task.exception() for task in (*tasks, closed)] == [error] * 3
    later = start(writer.drain())
    run_turns(loop, 2)
    assert type(later.exception()) is (OSError if error else ConnectionResetError)
    assert reader.at_eof() is (error is None)
    late = start(writer.wait_closed())
    run_turns(loop)
    assert late.exception() is error


def test_draining_while_closing_lets_the_loop_turn(loop: Loop, lib: Any, start: Start) -> None:
    _, protocol, writer = connected(loop, lib, closing=True)
    task = start(writer.drain())
    run_turns(loop)
    assert not task.done()
    protocol.connection_lost(None)
    run_turns(loop)
    assert isinstance(task.exception(), ConnectionResetError)


def test_a_drain_that_need_not_wait_does_not_suspend(loop: Loop, lib: Any) -> None:
    _, _, writer = connected(loop, lib)
    with pytest.raises(StopIteration):
        writer.drain().send(None)


def test_a_protocol_of_ones_own_is_awaited(loop: Loop, lib: Any, start: Start) -> None:
    class Protocol(lib.StreamReaderProtocol):  # type: ignore[misc]
        async def _drain_helper(self) -> None:
            helped.append("drain")
            await super()._drain_helper()

        def _get_close_waiter(self, stream: Any) -> Any:
            helped.append(stream)
            return super()._get_close_waiter(stream)

    helped: list[Any] = []
    reader = lib.StreamReader(loop=loop)
    protocol = Protocol(reader, loop=loop)
    transport = mock.Mock()
    transport.is_closing.return_value = False
    transport.get_extra_info.return_value = None
    writer = lib.StreamWriter(transport, protocol, reader, loop)
    loop.run_until_complete(start(writer.drain()))
    protocol.connection_lost(None)
    loop.run_until_complete(start(writer.wait_closed()))
    assert helped == ["drain", writer]


def test_the_protocol_does_not_keep_the_reader(loop: Loop, lib: Any) -> None:
    reader, protocol, writer = connected(loop, lib)
    seen = weakref.ref(reader)
    del reader, writer
    gc.collect()
    assert seen() is None
    protocol.data_received(b"nobody cares")
    protocol.connection_lost(None)


def test_a_server_keeps_the_reader_until_it_is_connected(loop: Loop, lib: Any) -> None:
    met: list[Any] = []
    reader = lib.StreamReader(loop=loop)
    protocol = lib.StreamReaderProtocol(reader, lambda *pair: met.append(pair), loop=loop)
    seen = weakref.ref(reader)
    del reader
    gc.collect()
    assert seen() is not None
    transport = mock.Mock()
    protocol.connection_made(transport)
    assert met[0][0] is seen()
    assert met[0][1].transport is transport


def test_a_server_reports_what_its_coroutine_raises(
    loop: Loop, lib: Any, reports: list[Report]
) -> None:
    async def fail(reader: Any, writer: Any) -> None:
        raise ValueError("mine")

    reader = lib.StreamReader(loop=loop)
    protocol = lib.StreamReaderProtocol(reader, fail, loop=loop)
    transport = mock.Mock()
    protocol.connection_made(transport)
    run_turns(loop, 3)
    assert [report["message"] for report in reports] == [
        "Unhandled exception in client_connected_cb"
    ]
    assert transport.close.called


def test_an_unclosed_writer_is_closed_with_a_warning(loop: Loop, lib: Any) -> None:
    reader, protocol, writer = connected(loop, lib)
    transport = writer.transport
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del writer
        gc.collect()
    assert transport.close.called
    assert [str(each.message).split()[0] for each in seen] == ["unclosed"]
    assert repr(reader)[:13] == "<StreamReader"
    del protocol


def test_a_writer_wants_a_reader_or_none(loop: Loop, lib: Any) -> None:
    lib.StreamWriter(mock.Mock(), mock.Mock(), None, loop)
    with pytest.raises(AssertionError):
        lib.StreamWriter(mock.Mock(), mock.Mock(), mock.Mock(), loop)


def test_start_tls_replaces_the_transport(loop: Loop, lib: Any) -> None:
    _, protocol, writer = connected(loop, lib)
    secure = mock.Mock()
    secure.is_closing.return_value = True
    fake = mock.Mock(wraps=loop)
    fake.start_tls = mock.AsyncMock(return_value=secure)
    writer._loop = protocol._loop = fake
    if sys.version_info < (3, 13):
        writer._protocol = protocol
    loop.run_until_complete(writer.start_tls(object()))
    assert writer.transport is secure
    assert protocol._transport is secure
    assert protocol._over_ssl
    assert protocol.eof_received() is False


def test_the_protocol_is_asyncios_to_isinstance(loop: Loop, lib: Any) -> None:
    protocol = lib.StreamReaderProtocol(None, loop=loop)
    assert isinstance(protocol, asyncio.Protocol)
    assert not isinstance(protocol, asyncio.BufferedProtocol)
