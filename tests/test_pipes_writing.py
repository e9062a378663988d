"""Writing to pipes, FIFOs, terminals, character devices and sockets, as asyncio does."""

import asyncio
import contextvars
import gc
import logging
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.loops import Loop, Report, run_turns
from tests.pipes import (
    CHANNELS,
    Ends,
    Recorder,
    Trace,
    closing,
    drain,
    drop,
    fill,
    finish,
    read_from,
    run_until,
    same_on_both,
    write_to,
    writing_file,
)

channels = pytest.mark.parametrize("channel", CHANNELS.values(), ids=CHANNELS.keys())


@channels
def test_a_write_has_happened_when_it_returns(channel: Callable[[], Ends]) -> None:
    def script(loop: Loop) -> Trace:
        reading, writing = channel()
        with closing(reading):
            transport, protocol = write_to(loop, writing)
            transport.write(b"bytes ")
            transport.write(bytearray(b"bytearray "))
            transport.write(memoryview(b"memoryview "))
            transport.write(b"")
            transport.writelines([b"and ", bytearray(b"lines")])
            waits = transport.get_write_buffer_size()
            found = b""
            while len(found) < len(b"bytes bytearray memoryview and lines"):
                found += os.read(reading, 100)  # A terminal takes its time.
            finish(loop, protocol)
            return [found, waits, *protocol.heard]

    same_on_both(script)


def test_each_write_is_one_of_its_own() -> None:
    """A pipe takes up to PIPE_BUF bytes whole, and in packet mode it keeps the borders."""

    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe2(os.O_DIRECT)
        with closing(reading):
            transport, protocol = write_to(loop, writing)
            for message in (b"one", b"two", b"three"):
                transport.write(message)
            trace = [os.read(reading, 100) for _ in range(3)]
            finish(loop, protocol)
            return trace

    same_on_both(script)


def test_the_protocol_pauses_above_the_limit_and_resumes_when_all_is_gone() -> None:
    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe()
        with closing(reading):
            transport, protocol = write_to(loop, writing)
            transport.set_write_buffer_limits(high=1000)
            trace: Trace = [transport.get_write_buffer_limits()]
            room = fill(writing)
            assert drain(reading) == room
            transport.write(bytes(room))
            trace.append(transport.get_write_buffer_size())
            transport.write(bytes(1000))
            trace += [transport.get_write_buffer_size(), list(protocol.heard)]
            transport.write(bytes(1))
            transport.write(bytes(5000))
            trace += [transport.get_write_buffer_size(), list(protocol.heard)]
            trace.append(repr(transport).partition(" polling")[2])
            os.read(reading, 4096)
            run_turns(loop, 3)
            trace += [transport.get_write_buffer_size(), list(protocol.heard)]
            os.read(reading, 8192)
            run_until(loop, lambda: not transport.get_write_buffer_size())
            trace += [list(protocol.heard), repr(transport).partition(" idle")[2]]
            assert drain(reading) == room + 6001 - 4096 - 8192
            transport.set_write_buffer_limits(low=5)
            trace.append(transport.get_write_buffer_limits())
            with pytest.raises(ValueError, match="must be >= low"):
                transport.set_write_buffer_limits(high=1, low=2)
            finish(loop, protocol)
            return [*trace, *protocol.heard]

    same_on_both(script)


def test_what_was_written_is_what_it_was_then(loop: Loop) -> None:
    reading, writing = os.pipe()
    with closing(reading):
        transport, protocol = write_to(loop, writing)
        data = bytearray(b"x" * 200_000)
        transport.write(data)
        transport.write(memoryview(data)[:1000])
        data[:] = b"y" * 200_000
        data.clear()
        os.set_blocking(reading, False)
        found = b""

        def everything() -> bool:
            nonlocal found
            try:
                found += os.read(reading, 1 << 20)
            except BlockingIOError:
                pass
            return len(found) >= 201_000

        run_until(loop, everything)
        assert found == b"x" * 201_000
        finish(loop, protocol)


def test_closing_lets_out_what_waits() -> None:
    def script(loop: Loop) -> Trace:
        trace: Trace = []
        for end in ("close", "write_eof"):
            reading, writing = os.pipe()
            with closing(reading):
                transport, protocol = write_to(loop, writing)
                assert transport.can_write_eof()
                transport.write(bytes(200_000))
                getattr(transport, end)()
                transport.write(b"lost")
                getattr(transport, end)()
                run_turns(loop, 3)
                trace += [transport.is_closing(), list(protocol.heard)]
                trace.append(repr(transport).replace(f"fd={writing}", "FD"))
                found = 0
                while not protocol.lost:
                    found += drain(reading)
                    run_turns(loop, 2)
                found += drain(reading)
                trace += [found, list(protocol.heard)]
                trace.append(repr(transport).replace(f"fd={writing}", "FD"))
        return trace

    same_on_both(script)


def test_aborting_drops_what_waits() -> None:
    def script(loop: Loop) -> Trace:
        trace: Trace = []
        for first in ("abort", "close"):
            reading, writing = os.pipe()
            with closing(reading):
                transport, protocol = write_to(loop, writing)
                transport.write(bytes(200_000))
                getattr(transport, first)()
                transport.abort()
                trace += [transport.get_write_buffer_size(), list(protocol.heard)]
                run_turns(loop, 2)
                trace += [list(protocol.heard), drain(reading)]
        return trace

    # asyncio ends a second time what is aborted twice, and reports that there is nobody to tell.
    def quietly(loop: Loop) -> Trace:
        loop.set_exception_handler(lambda *_: None)
        return script(loop)

    same_on_both(quietly)


def test_the_end_after_the_end_is_nothing(loop: Loop, reports: list[Report]) -> None:
    reading, writing = os.pipe()
    with closing(reading):
        transport, protocol = write_to(loop, writing)
        transport.close()
        transport.close()
        run_turns(loop, 2)
        transport.close()
        assert protocol.heard == ["made", ("lost", "NoneType", "None")]
        assert reports == []


@pytest.mark.parametrize("name", ["pipe", "fifo", "socket"])
def test_a_peer_that_goes_is_noticed_in_every_state(name: str) -> None:
    """By the descriptor that becomes readable, or by the next write."""

    def idle(transport: Any, reading: int) -> None:
        os.close(reading)

    def with_bytes_waiting(transport: Any, reading: int) -> None:
        transport.write(bytes(1 << 20))
        os.close(reading)

    def closing_with_bytes_waiting(transport: Any, reading: int) -> None:
        transport.write(bytes(1 << 20))
        transport.close()
        os.close(reading)

    def before_a_write(transport: Any, reading: int) -> None:
        os.close(reading)
        transport.write(b"data")
        transport.write(b"more")

    def before_closing(transport: Any, reading: int) -> None:
        os.close(reading)
        transport.close()

    def before_aborting(transport: Any, reading: int) -> None:
        os.close(reading)
        transport.write(b"data")

    states = (
        idle,
        with_bytes_waiting,
        closing_with_bytes_waiting,
        before_a_write,
        before_closing,
        before_aborting,
    )

    def script(loop: Loop) -> Trace:
        reports: list[Report] = []
        loop.set_exception_handler(lambda _, report: reports.append(report))
        trace: Trace = []
        for state in states:
            reading, writing = CHANNELS[name]()
            transport, protocol = write_to(loop, writing)
            state(transport, reading)
            run_until(loop, lambda heard=protocol: heard.lost)  # type: ignore[misc]
            trace += [state.__name__, protocol.heard, transport.get_write_buffer_size()]
        return trace + reports

    same_on_both(script)


def test_a_socket_whose_peer_says_something_counts_as_closed() -> None:
    def script(loop: Loop) -> Trace:
        reading, writing = CHANNELS["socket"]()
        with closing(reading):
            _, protocol = write_to(loop, writing)
            os.write(reading, b"hello")
            run_until(loop, lambda: protocol.lost)
            return list(protocol.heard)

    same_on_both(script)


def test_a_terminal_may_be_typed_at() -> None:
    def script(loop: Loop) -> Trace:
        master, own = CHANNELS["terminal"]()
        with closing(master):
            transport, protocol = write_to(loop, own)
            os.write(master, b"typed")
            run_turns(loop, 5)
            trace: Trace = [transport.is_closing(), list(protocol.heard)]
            os.close(master)
            run_turns(loop, 5)
            trace.append(list(protocol.heard))
            transport.write(b"data")
            run_until(loop, lambda: protocol.lost)
            return [*trace, *protocol.heard]

    same_on_both(script)


def test_a_terminal_that_is_full_is_waited_for() -> None:
    def script(loop: Loop) -> Trace:
        master, own = CHANNELS["terminal"]()
        with closing(master):
            transport, protocol = write_to(loop, own)
            sent = os.urandom(100_000)
            transport.write(sent)
            trace: Trace = [transport.get_write_buffer_size() > 0, list(protocol.heard)]
            _, reader = read_from(loop, os.dup(master))
            run_until(loop, lambda: reader.data == sent)
            trace += [transport.get_write_buffer_size(), protocol.heard]
            finish(loop, protocol, reader)
            return trace

    same_on_both(script)


class _Borrowed:
    """A file object that leaves its descriptor open, for two transports on one number."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        pass


@pytest.mark.parametrize("case", ["terminal: rw", "terminal: wr", "socket: wr"])
def test_one_descriptor_can_be_read_and_written(case: str) -> None:
    """A terminal in any order; a socket if the writing transport comes first, as with asyncio."""
    name, _, order = case.partition(": ")

    def script(loop: Loop) -> Trace:
        here, there = CHANNELS[name]()
        with closing(here, there):
            made = {}
            for which in order:
                connect: Any = loop.connect_read_pipe if which == "r" else loop.connect_write_pipe
                made[which] = loop.run_until_complete(connect(Recorder, _Borrowed(here)))
            (_, reader), (transport, writer) = made["r"], made["w"]
            sent = os.urandom(600_000)
            transport.write(sent)
            waits = transport.get_write_buffer_size() > 0
            os.write(there, b"hello")
            run_until(loop, lambda: b"hello" in reader.heard)
            found = b""
            os.set_blocking(there, False)
            while len(found) < len(sent):
                try:
                    found += os.read(there, 1 << 16)
                except BlockingIOError:
                    run_turns(loop)
            assert found == sent
            os.write(there, b" and bye")
            run_until(loop, lambda: b"hello and bye" in reader.heard)
            finish(loop, writer, reader)
            return [waits, reader.heard, writer.heard]

    same_on_both(script)


@pytest.mark.parametrize("data", ["text", None, [1], 5])
def test_only_bytes_are_taken(data: Any) -> None:
    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe()
        with closing(reading):
            transport, protocol = write_to(loop, writing)
            with pytest.raises(AssertionError) as refusal:
                transport.write(data)
            finish(loop, protocol)
            return [str(refusal.value).splitlines()[0], *protocol.heard]

    same_on_both(script)


def test_what_is_written_to_nobody_is_warned_of_in_the_end(caplog: Any) -> None:
    def script(loop: Loop) -> Trace:
        caplog.clear()
        reading, writing = os.pipe()
        transport, protocol = write_to(loop, writing)
        os.close(reading)
        for _ in range(8):
            transport.write(b"data")
        run_until(loop, lambda: protocol.lost)
        transport.write(b"data")
        return [*[record.getMessage() for record in caplog.records], *protocol.heard]

    same_on_both(script)


def test_devices_take_what_they_take() -> None:
    def script(loop: Loop) -> Trace:
        trace: Trace = []
        for device in ("/dev/null", "/dev/full"):
            transport, protocol = write_to(loop, os.open(device, os.O_WRONLY))
            transport.write(b"data")
            trace.append(transport.is_closing())
            finish(loop, protocol)
            trace += protocol.heard
        return trace

    same_on_both(script)


# asyncio's own transport stumbles in its __del__ over what was never begun.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_regular_files_are_refused(tmp_path: Path) -> None:
    def script(loop: Loop) -> Trace:
        protocol = Recorder()
        with (tmp_path / "regular").open("wb") as pipe, pytest.raises(ValueError) as refusal:
            loop.run_until_complete(loop.connect_write_pipe(lambda: protocol, pipe))
        return [str(refusal.value), protocol.heard]

    same_on_both(script)
    gc.collect()


def test_a_fifo_opened_both_ways_can_be_written_to(tmp_path: Path) -> None:
    """And what waits in it to be read looks like a peer that has gone."""

    def script(loop: Loop) -> Trace:
        path = tmp_path / "fifo"
        os.mkfifo(path)
        transport, protocol = write_to(loop, os.open(path, os.O_RDWR))
        transport.write(b"data")
        run_until(loop, lambda: protocol.lost)
        path.unlink()
        return list(protocol.heard)

    same_on_both(script)


def test_a_protocol_that_raises_is_reported() -> None:
    class Raising(Recorder):
        def pause_writing(self) -> None:
            super().pause_writing()
            raise ValueError("in pause_writing")

        def resume_writing(self) -> None:
            super().resume_writing()
            raise ValueError("in resume_writing")

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            raise ValueError("in connection_lost")

    def script(loop: Loop) -> Trace:
        reports: list[Report] = []
        loop.set_exception_handler(lambda _, report: reports.append(report))
        trace: Trace = []
        for at_once in (True, False):
            reading, writing = os.pipe()
            with closing(reading):
                transport, protocol = write_to(loop, writing, Raising)
                transport.write(bytes(200_000))
                if at_once:
                    transport.close()
                while transport.get_write_buffer_size():
                    drain(reading)
                    run_turns(loop, 2)
                transport.close()
                run_until(loop, lambda heard=protocol: heard.lost)  # type: ignore[misc]
                trace += protocol.heard
        told = [[str(report[key]) for key in ("message", "exception")] for report in reports]
        # asyncio has cancelled the Handle in which this happens, and knows its callback no more.
        ready = "callback _UnixWritePipeTransport._write_ready()"
        return trace + [[text.replace(ready, "callback None()") for text in pair] for pair in told]

    same_on_both(script)


def test_callbacks_run_in_the_context_of_who_wrote() -> None:
    variable = contextvars.ContextVar("variable", default="none")

    class Looking(Recorder):
        def resume_writing(self) -> None:
            self.heard.append(("resume", variable.get()))

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost = True
            self.heard.append(("lost", variable.get()))

    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe()
        token = variable.set("connected")
        transport, protocol = write_to(loop, writing, Looking)
        variable.set("wrote")
        transport.write(bytes(200_000))
        variable.set("later")
        while transport.get_write_buffer_size():
            drain(reading)
            run_turns(loop, 2)
        os.close(reading)
        run_until(loop, lambda: protocol.lost)
        variable.reset(token)
        return list(protocol.heard)

    same_on_both(script)


def test_a_protocol_can_write_and_close_when_it_may_resume() -> None:
    class Writing(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            if self.heard.count("resume") < 3:
                self.transport.write(bytes(200_000))
            else:
                self.transport.write(b"last")
                self.transport.close()

    def script(loop: Loop) -> Trace:
        # asyncio ends a second time what is closed there, and reports that there is nobody to tell.
        loop.set_exception_handler(lambda *_: None)
        reading, writing = os.pipe()
        with closing(reading):
            transport, protocol = write_to(loop, writing, Writing)
            transport.write(bytes(200_000))
            found = 0
            while not protocol.lost:
                found += drain(reading)
                run_turns(loop, 2)
            found += drain(reading)
            return [found, *protocol.heard]

    same_on_both(script)


def test_a_transport_says_what_it_is() -> None:
    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe()
        with closing(reading):
            transport, protocol = write_to(loop, writing)

            def shown() -> str:
                return repr(transport).replace(f"fd={writing}", "FD")

            trace: Trace = [shown(), transport.__class__.__name__]
            classes = (asyncio.ReadTransport, asyncio.WriteTransport, asyncio.Transport)
            trace += [isinstance(transport, kind) for kind in classes]
            for method in ("is_reading", "pause_reading", "resume_reading"):
                with pytest.raises(NotImplementedError):
                    getattr(transport, method)()
            pipe = transport.get_extra_info("pipe")
            trace += [pipe.fileno() == writing, os.get_blocking(writing)]
            trace += [transport.get_extra_info("else"), transport.get_extra_info("else", 5)]
            trace.append(transport.get_write_buffer_limits())
            trace.append(transport.get_protocol() is protocol)
            transport.close()
            trace += [shown(), pipe.closed]
            run_turns(loop, 2)
            trace += [shown(), pipe.closed, protocol.heard, transport.get_protocol()]
            transport.attribute = 1
            assert weakref.ref(transport)() is transport
            return trace

    same_on_both(script)


def test_debug_mode_logs_what_asyncio_logs(caplog: Any) -> None:
    def script(loop: Loop) -> Trace:
        caplog.clear()
        caplog.set_level(logging.DEBUG, "asyncio")
        loop.set_debug(True)
        trace: Trace = []
        for data in (b"", b"data"):
            reading, writing = os.pipe()
            transport, protocol = write_to(loop, writing)
            os.close(reading)
            transport.write(data)
            run_until(loop, lambda heard=protocol: heard.lost)  # type: ignore[misc]
            trace += [
                (record.levelname, record.getMessage().replace(f"fd={writing}", "FD"))
                for record in caplog.records
                if record.getMessage().startswith("<")
            ]
        return trace

    same_on_both(script)


@pytest.mark.parametrize("closed_first", [False, True])
def test_a_transport_that_nobody_closed_warns_and_closes_its_pipe(
    loop: Loop, closed_first: bool
) -> None:
    reading, writing = CHANNELS["terminal"]()
    with closing(reading):
        transport, protocol = write_to(loop, writing)
        pipe = transport.get_extra_info("pipe")
        if closed_first:
            loop.close()
        protocol.transport = None
        alive = weakref.ref(transport)
        shown = "open" if closed_first else "idle bufsize=0"
        parts = [transport]  # the last that holds it
        del transport
        with pytest.warns(ResourceWarning, match=f"unclosed transport <_UnixWrite.* {shown}>"):
            drop(parts)
        assert alive() is None
        assert pipe.closed


def test_a_cancelled_connect_closes_the_pipe(loop: Loop) -> None:
    reading, writing = os.pipe()
    with closing(reading):
        pipe = writing_file(writing)
        task = loop.create_task(loop.connect_write_pipe(Recorder, pipe))
        run_turns(loop, 1)
        task.cancel()
        run_turns(loop, 4)
        assert task.cancelled()
        assert pipe.closed
