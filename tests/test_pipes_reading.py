"""Reading from pipes, FIFOs, terminals, character devices and sockets, as asyncio does."""

import asyncio
import contextvars
import fcntl
import gc
import logging
import os
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.loops import LOOPS, Loop, Report, run_turns
from tests.pipes import (
    CHANNELS,
    Ends,
    Recorder,
    Trace,
    closing,
    drop,
    finish,
    read_from,
    reading_file,
    run_until,
    same_on_both,
)

channels = pytest.mark.parametrize("channel", CHANNELS.values(), ids=CHANNELS.keys())


@channels
def test_what_is_written_is_heard_and_then_the_end(channel: Callable[[], Ends]) -> None:
    def script(loop: Loop) -> Trace:
        reading, writing = channel()
        transport, protocol = read_from(loop, reading)
        os.write(writing, b"one ")
        run_until(loop, lambda: b"one " in protocol.heard)
        os.write(writing, b"two")
        run_until(loop, lambda: b"one two" in protocol.heard)
        os.close(writing)
        run_until(loop, lambda: protocol.lost)
        run_turns(loop)
        return [*protocol.heard, transport.is_closing(), transport.is_reading()]

    same_on_both(script)


def test_data_and_end_that_come_together_are_heard_in_order(loop: Loop) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"all")
    os.close(writing)
    _, protocol = read_from(loop, reading)
    run_until(loop, lambda: protocol.lost)
    assert protocol.heard == ["made", b"all", "eof", ("lost", "NoneType", "None")]


def test_nothing_is_heard_while_paused_not_even_the_end() -> None:
    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe()
        transport, protocol = read_from(loop, reading)
        transport.pause_reading()
        transport.pause_reading()
        os.write(writing, b"data")
        os.close(writing)
        run_turns(loop, 5)
        trace: Trace = [list(protocol.heard), transport.is_reading()]
        transport.resume_reading()
        transport.resume_reading()
        trace.append(transport.is_reading())
        run_until(loop, lambda: protocol.lost)
        return [*trace, *protocol.heard]

    same_on_both(script)


def test_a_protocol_can_pause_in_the_middle_and_before_the_beginning() -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    class NotYet(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    def script(loop: Loop) -> Trace:
        trace: Trace = []
        for kind in (Pausing, NotYet):
            reading, writing = os.pipe()
            os.write(writing, b"first")
            transport, protocol = read_from(loop, reading, kind)
            run_turns(loop, 5)
            os.write(writing, b"second")
            run_turns(loop, 5)
            trace += [list(protocol.heard), repr(transport).rpartition(" ")[2]]
            transport.resume_reading()
            run_until(loop, lambda heard=protocol: b"second" in heard.data)  # type: ignore[misc]
            trace += protocol.heard
            os.close(writing)
            finish(loop, protocol)
        return trace

    same_on_both(script)


def test_a_transport_closed_while_data_waits_delivers_no_more() -> None:
    class Closing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.close()
            self.transport.close()
            self.transport.resume_reading()

    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe()
        with closing(writing):
            transport, protocol = read_from(loop, reading, Closing)
            os.write(writing, b"data")
            run_until(loop, lambda: protocol.lost)
            with pytest.raises(BrokenPipeError):
                os.write(writing, b"more")
            transport.close()
            transport.pause_reading()
            return [*protocol.heard, transport.get_protocol(), transport.is_closing()]

    same_on_both(script)


def test_a_protocol_that_raises_is_reported_and_goes_on_hearing() -> None:
    class Raising(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            raise ValueError("in data_received")

        def eof_received(self) -> None:
            super().eof_received()
            raise ValueError("in eof_received")

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            raise ValueError("in connection_lost")

    def script(loop: Loop) -> Trace:
        reports: list[Report] = []
        loop.set_exception_handler(lambda _, report: reports.append(report))
        reading, writing = os.pipe()
        transport, protocol = read_from(loop, reading, Raising)
        os.write(writing, b"one")
        run_until(loop, lambda: len(reports) == 1)
        os.write(writing, b"two")
        run_until(loop, lambda: len(reports) == 2)
        os.close(writing)
        run_until(loop, lambda: len(reports) == 4)
        assert transport.get_extra_info("pipe").closed
        told = [[str(report[key]) for key in ("message", "exception")] for report in reports]
        # A bound method of the protocol shows its address.
        told[2][0] = told[2][0].partition("<")[0]
        return [*protocol.heard, *told]

    same_on_both(script)


@pytest.mark.parametrize("make", LOOPS)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_programs_ends_the_loops_run(make: Any, kind: type[BaseException]) -> None:
    class Ending(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if data == b"stop":
                raise kind

    loop = make()
    reading, writing = os.pipe()
    with closing(writing):
        _, protocol = read_from(loop, reading, Ending)
        os.write(writing, b"stop")
        with pytest.raises(kind):
            loop.run_forever()
        os.write(writing, b"on")
        run_until(loop, lambda: b"stopon" in protocol.heard)
        finish(loop, protocol)
    loop.close()


# asyncio's own transport stumbles in its __del__ over what was never begun.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_files_that_cannot_be_waited_for_are_refused(tmp_path: Path) -> None:
    regular = tmp_path / "regular"
    regular.write_bytes(b"data")

    def script(loop: Loop) -> Trace:
        with regular.open("rb") as closed:
            pass
        trace: Trace = []
        with regular.open("rb", buffering=0) as opened:
            for pipe in (opened, closed, "a string"):
                protocol = Recorder()
                connect: Any = loop.connect_read_pipe(lambda p=protocol: p, pipe)  # type: ignore[misc]
                with pytest.raises((ValueError, AttributeError)) as refusal:
                    loop.run_until_complete(connect)
                trace += [type(refusal.value), str(refusal.value), protocol.heard]
            assert not opened.closed
        return trace

    same_on_both(script)
    gc.collect()


def test_a_device_that_the_kernel_does_not_watch_is_reported_and_never_read() -> None:
    def script(loop: Loop) -> Trace:
        reports: list[Report] = []
        loop.set_exception_handler(lambda _, report: reports.append(report))
        fd = os.open("/dev/null", os.O_RDONLY)
        transport, protocol = read_from(loop, fd)
        run_turns(loop, 3)
        shown = repr(transport).replace(f"fd={fd}", "FD")
        finish(loop, protocol)
        (report,) = reports
        message = report["message"].partition("(")[0]
        return [
            message,
            type(report["exception"]),
            report["exception"].errno,
            shown,
            protocol.heard,
        ]

    same_on_both(script)


def test_a_fifo_opened_both_ways_never_ends(tmp_path: Path) -> None:
    def script(loop: Loop) -> Trace:
        path = tmp_path / "fifo"
        os.mkfifo(path)
        _, protocol = read_from(loop, os.open(path, os.O_RDWR))
        for message in (b"one", b"two"):
            with path.open("wb") as other:
                other.write(message)
            run_until(loop, lambda end=message: protocol.data.endswith(end))  # type: ignore[misc]
        run_turns(loop, 5)
        path.unlink()
        heard = list(protocol.heard)
        finish(loop, protocol)
        return heard

    same_on_both(script)


def test_a_terminal_that_hangs_up_is_an_error_nobody_hears_of(caplog: Any) -> None:
    def script(loop: Loop) -> Trace:
        caplog.clear()
        caplog.set_level(logging.DEBUG, "asyncio")
        trace: Trace = []
        for debug in (False, True):
            loop.set_debug(debug)
            reading, writing = CHANNELS["terminal"]()
            _, protocol = read_from(loop, reading)
            os.close(writing)
            run_until(loop, lambda heard=protocol: heard.lost)  # type: ignore[misc]
            trace += protocol.heard
            texts = [
                record.getMessage().replace(f"fd={reading}", "FD") for record in caplog.records
            ]
            trace += [text for text in texts if "Fatal" in text]
        return trace

    same_on_both(script)


def test_any_other_error_is_reported() -> None:
    def script(loop: Loop) -> Trace:
        reports: list[Report] = []
        loop.set_exception_handler(lambda _, report: reports.append(report))
        listener = socket.create_server(("127.0.0.1", 0))
        peer = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        transport, protocol = read_from(loop, accepted.detach())
        # A reset instead of an end.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        listener.close()
        run_until(loop, lambda: protocol.lost)
        (report,) = reports
        assert report["transport"] is transport
        assert report["protocol"] is protocol
        return [report["message"], type(report["exception"]), *protocol.heard]

    same_on_both(script)


def test_records_are_read_whole(loop: Loop) -> None:
    """What a read leaves of a datagram is lost."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    class Packets(Recorder):
        def data_received(self, data: bytes) -> None:
            self.heard.append(data)

    _, protocol = read_from(loop, here.detach(), Packets)
    sent = [bytes([size % 251]) * size for size in (1, 5000, 100_000, 3, 150_000)]
    for packet in sent:
        there.send(packet)
        run_until(loop, lambda: protocol.heard[-1] == packet)
    assert protocol.heard == ["made", *sent]
    finish(loop, protocol)
    there.close()


def test_a_large_pipe_is_read_in_large_pieces(loop: Loop) -> None:
    class Pieces(Recorder):
        def data_received(self, data: bytes) -> None:
            self.heard.append(data)

    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 18)
    _, protocol = read_from(loop, reading, Pieces)
    data = os.urandom(size)
    with closing(writing):
        for _ in range(4):
            assert os.write(writing, data) == size
            run_until(loop, lambda: sum(map(len, protocol.heard[1:])) == size)
            largest = max(map(len, protocol.heard[1:]))
            assert b"".join(protocol.heard[1:]) == data
            del protocol.heard[1:]
        assert largest == size
        finish(loop, protocol)


def test_what_the_protocol_keeps_is_never_changed(loop: Loop) -> None:
    class Keeping(Recorder):
        def data_received(self, data: bytes) -> None:
            self.heard.append(data)

    reading, writing = os.pipe()
    _, protocol = read_from(loop, reading, Keeping)
    sizes = (60_000, 65_536, 40_000, 65_536, 600, 65_536, 10, 65_536)
    pieces: Trace = [os.urandom(size) for size in sizes]
    with closing(writing):
        for count, piece in enumerate(pieces):
            os.write(writing, piece)
            run_until(loop, lambda: len(protocol.heard) == count + 2)
            if count % 2:  # not kept, so that its memory is used again
                assert protocol.heard[-1] == piece
                protocol.heard[-1] = pieces[count] = None
        assert protocol.heard[1:] == pieces
        finish(loop, protocol)


def test_callbacks_run_in_the_context_of_who_connected_or_resumed() -> None:
    variable = contextvars.ContextVar("variable", default="none")

    class Looking(Recorder):
        def data_received(self, data: bytes) -> None:
            self.heard.append((data, variable.get()))

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.heard.append(variable.get())

    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe()
        with closing(writing):
            token = variable.set("connected")
            transport, protocol = read_from(loop, reading, Looking)
            variable.set("later")
            os.write(writing, b"one")
            run_until(loop, lambda: len(protocol.heard) == 2)
            transport.pause_reading()
            variable.set("resumed")
            transport.resume_reading()
            variable.set("at last")
            os.write(writing, b"two")
            run_until(loop, lambda: len(protocol.heard) == 3)
            finish(loop, protocol)
            variable.reset(token)
            return list(protocol.heard)

    same_on_both(script)


def test_a_new_protocol_hears_from_the_next_read_on() -> None:
    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe()
        transport, first = read_from(loop, reading)
        os.write(writing, b"one")
        run_until(loop, lambda: b"one" in first.heard)
        second = Recorder()
        second.heard.append("set")
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        os.write(writing, b"two")
        run_until(loop, lambda: b"two" in second.heard)
        os.close(writing)
        run_until(loop, lambda: second.lost)
        return [first.heard, second.heard]

    same_on_both(script)


def test_a_transport_says_what_it_is() -> None:
    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe()
        with closing(writing):
            transport, protocol = read_from(loop, reading)

            def shown() -> str:
                return repr(transport).replace(f"fd={reading}", "FD")

            trace: Trace = [shown(), transport.__class__.__name__, transport.max_size]
            classes = (asyncio.ReadTransport, asyncio.WriteTransport, asyncio.BaseTransport)
            trace += [isinstance(transport, kind) for kind in classes]
            pipe = transport.get_extra_info("pipe")
            trace += [pipe.fileno() == reading, os.get_blocking(reading)]
            trace += [transport.get_extra_info("else"), transport.get_extra_info("else", 5)]
            transport.pause_reading()
            trace.append(shown())
            transport.close()
            trace += [shown(), pipe.closed]
            run_turns(loop, 2)
            trace += [shown(), pipe.closed, protocol.heard]
            transport.attribute = 1
            assert weakref.ref(transport)() is transport
            return trace

    same_on_both(script)


def test_debug_mode_logs_what_asyncio_logs(caplog: Any) -> None:
    def script(loop: Loop) -> Trace:
        caplog.clear()
        caplog.set_level(logging.DEBUG, "asyncio")
        loop.set_debug(True)
        reading, writing = os.pipe()
        transport, protocol = read_from(loop, reading)
        transport.pause_reading()
        transport.resume_reading()
        os.close(writing)
        run_until(loop, lambda: protocol.lost)
        return [
            (record.levelname, record.getMessage().replace(f"fd={reading}", "FD"))
            for record in caplog.records
            if record.getMessage().startswith("<")
        ]

    same_on_both(script)


@pytest.mark.parametrize("paused", [False, True])
def test_a_transport_that_nobody_closed_warns_and_closes_its_pipe(loop: Loop, paused: bool) -> None:
    reading, writing = os.pipe()
    transport, protocol = read_from(loop, reading)
    pipe = transport.get_extra_info("pipe")
    if paused:
        transport.pause_reading()
    else:
        loop.close()
    protocol.transport = None
    alive = weakref.ref(transport)
    shown = "idle" if paused else "open"
    parts = [transport]  # the last that holds it
    del transport
    with pytest.warns(ResourceWarning, match=f"unclosed transport <_UnixRead.* {shown}>"):
        drop(parts)
    assert alive() is None
    assert pipe.closed
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"data")
    os.close(writing)


def test_a_transport_that_reads_lives_without_its_users(loop: Loop) -> None:
    reading, writing = os.pipe()
    transport, protocol = read_from(loop, reading)
    protocol.transport = None
    del transport
    gc.collect()
    os.write(writing, b"data")
    os.close(writing)
    run_until(loop, lambda: protocol.lost)
    assert protocol.heard[1] == b"data"


def test_who_watches_the_descriptor_last_has_it() -> None:
    def script(loop: Loop) -> Trace:
        reading, writing = os.pipe()
        with closing(writing):
            transport, protocol = read_from(loop, reading)
            seen: Trace = []
            loop.add_reader(reading, lambda: seen.append(os.read(reading, 100)))
            os.write(writing, b"program")
            run_until(loop, lambda: seen)
            trace = [list(protocol.heard), loop.remove_reader(reading), loop.remove_reader(reading)]
            transport.pause_reading()
            transport.resume_reading()
            os.write(writing, b"transport")
            run_until(loop, lambda: b"transport" in protocol.heard)
            trace += [seen, loop.remove_reader(reading)]
            finish(loop, protocol)
            return [*trace, protocol.heard]

    same_on_both(script)


def test_a_cancelled_connect_closes_the_pipe(loop: Loop) -> None:
    reading, writing = os.pipe()
    pipe = reading_file(reading)
    task = loop.create_task(loop.connect_read_pipe(Recorder, pipe))
    run_turns(loop, 1)
    task.cancel()
    run_turns(loop, 4)
    assert task.cancelled()
    assert pipe.closed
    os.close(writing)
