"""Datagrams that wait to be sent: how they count, whom they pause, and what the end does to them.

What a waiting datagram counts differs between versions of asyncio, so most of these are scripts
that run on both loops and must leave the same trace.
"""

import contextvars
import gc
import logging
import socket
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.datagrams import (
    Recorder,
    Trace,
    crowded,
    drain,
    finish,
    open_endpoint,
    run_until,
    same_on_both,
)
from tests.loops import Loop, Report, count_descriptors, run_turns


@pytest.fixture
def crammed(tmp_path: Path, loop: Loop) -> Iterator[tuple[Any, Recorder, socket.socket]]:
    """An endpoint whose peer does not read and whose kernel queue is full, and the peer."""
    with crowded(loop, tmp_path) as made:
        yield made


# Flow control


def test_what_does_not_fit_waits_counts_and_goes_out_in_order(
    loop: Loop, crammed: tuple[Any, Recorder, socket.socket]
) -> None:
    transport, _, peer = crammed
    for number in range(3):
        transport.sendto(b"late %d" % number)
    data = bytearray(b"late 3")
    transport.sendto(data)
    data[:] = b"??????"
    got: list[bytes] = []

    def arrived() -> bool:
        got.extend(drain(peer))
        return got[-4:] == [b"late %d" % number for number in range(4)]

    run_until(loop, arrived)
    assert got[:-4] == [b"%04d" % number for number in range(len(got) - 4)]


def test_waiting_datagrams_count_as_in_asyncio_and_pause_the_protocol_at_its_limits(
    tmp_path: Path,
) -> None:
    def script(loop: Loop) -> Trace:
        trace: Trace = []
        with crowded(loop, tmp_path) as (transport, protocol, peer):
            trace.append(transport.get_write_buffer_size())
            transport.set_write_buffer_limits(high=100, low=40)
            view = memoryview(bytes(40)).cast("I")
            for data in (b"x" * 30, bytearray(20), view, b"y" * 50):
                transport.sendto(data)
                trace.append((transport.get_write_buffer_size(), list(protocol.heard)))
            transport.set_write_buffer_limits(high=10_000)
            trace.append((transport.get_write_buffer_limits(), list(protocol.heard)))
            transport.set_write_buffer_limits(high=0)
            trace.append((transport.get_write_buffer_limits(), list(protocol.heard)))
            transport.set_write_buffer_limits(high=100, low=40)
            # asyncio of some versions never comes down to zero, and so never resumes.
            for _ in range(10):
                drain(peer)
                run_turns(loop, 3)
            trace.append((transport.get_write_buffer_size(), list(protocol.heard)))
            trace.append(repr(transport).replace(f"fd={transport._sock_fd}", "FD"))
        return trace

    same_on_both(script)


def test_limits_are_checked_as_in_asyncio() -> None:
    def script(loop: Loop) -> Trace:
        transport, protocol = open_endpoint(loop)
        trace: Trace = [transport.get_write_buffer_limits()]
        for options in ({"high": 10}, {"low": 10}, {"high": 50, "low": 50}, {}):
            transport.set_write_buffer_limits(**options)
            trace.append(transport.get_write_buffer_limits())
        for options in ({"high": 10, "low": 11}, {"low": -1}, {"high": -8}):
            with pytest.raises(ValueError, match="must be") as caught:
                transport.set_write_buffer_limits(**options)
            trace.append(str(caught.value))
        trace.append(transport.get_write_buffer_limits())
        finish(loop, protocol)
        return trace

    same_on_both(script)


def test_a_failing_pause_or_resume_is_reported_and_changes_nothing(tmp_path: Path) -> None:
    def script(loop: Loop) -> Trace:
        reports: list[Report] = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        with crowded(loop, tmp_path) as (transport, protocol, peer):

            def fail() -> None:
                raise ZeroDivisionError("on purpose")

            protocol.pause_writing = fail  # type: ignore[method-assign]
            protocol.resume_writing = fail  # type: ignore[method-assign]
            transport.set_write_buffer_limits(high=20, low=20)
            transport.sendto(b"z" * 20)
            for _ in range(10):
                drain(peer)
                run_turns(loop, 3)
            assert all(r["transport"] is transport for r in reports)
            return [(r["message"], repr(r["exception"]), sorted(r)) for r in reports]

    same_on_both(script)


def test_callbacks_of_writing_run_in_the_context_of_who_sent_what_did_not_fit(
    loop: Loop, tmp_path: Path
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    heard = []
    with crowded(loop, tmp_path) as (transport, protocol, peer):

        def is_idle() -> bool:
            drain(peer)
            return "write=<idle" in repr(transport)

        run_until(loop, is_idle)

        def cram() -> None:
            variable.set("crammer")
            while "write=<idle" in repr(transport):
                transport.sendto(b"....")

        protocol.resume_writing = lambda: heard.append(variable.get())  # type: ignore[method-assign]
        contextvars.copy_context().run(cram)
        transport.set_write_buffer_limits(high=1)
        transport.set_write_buffer_limits(high=1_000_000)
        run_until(loop, is_idle)
    assert heard == ["crammer"]


# The end


def test_close_waits_for_what_was_sent_before(tmp_path: Path) -> None:
    def script(loop: Loop) -> Trace:
        with crowded(loop, tmp_path) as (transport, protocol, peer):
            transport.sendto(b"last")
            transport.close()
            transport.close()
            trace: Trace = [transport.is_closing(), transport.is_reading(), list(protocol.heard)]
            transport.sendto(b"even later")
            run_turns(loop, 3)
            trace.append(list(protocol.heard))
            trace.append(repr(transport).replace(f"fd={transport._sock_fd}", "FD"))
            got: list[bytes] = []
            while not protocol.lost:
                got += drain(peer)
                run_turns(loop)
            got += drain(peer)
            trace += [got[-2:], protocol.heard, transport.get_write_buffer_size()]
            return trace

    same_on_both(script)


def test_abort_drops_what_waits(tmp_path: Path) -> None:
    def script(loop: Loop) -> Trace:
        with crowded(loop, tmp_path) as (transport, protocol, peer):
            transport.sendto(b"never")
            transport.abort()
            trace: Trace = [transport.is_closing(), list(protocol.heard)]
            run_turns(loop, 2)
            transport.abort()
            assert b"never" not in drain(peer)
            trace += [protocol.heard, transport.get_write_buffer_size()]
            return trace

    same_on_both(script)


def test_abort_ends_a_close_that_waits(tmp_path: Path) -> None:
    def script(loop: Loop) -> Trace:
        with crowded(loop, tmp_path) as (transport, protocol, _):
            transport.close()
            run_turns(loop, 2)
            trace: Trace = list(protocol.heard)
            transport.abort()
            run_turns(loop, 2)
            return trace + protocol.heard

    same_on_both(script)


def test_a_peer_that_goes_while_datagrams_wait_is_heard_of(tmp_path: Path) -> None:
    def script(loop: Loop) -> Trace:
        with crowded(loop, tmp_path) as (transport, protocol, peer):
            for _ in range(3):
                transport.sendto(b"more")
            transport.set_write_buffer_limits(high=1)
            peer.close()
            run_until(loop, lambda: len(protocol.heard) >= 6)
            run_turns(loop, 5)
            trace = [transport.get_write_buffer_size(), list(protocol.heard)]
            transport.close()
            run_until(loop, lambda: protocol.lost)
            return [*trace, protocol.heard]

    same_on_both(script)


def test_connection_lost_comes_in_a_turn_of_its_own_and_then_the_socket_is_closed(
    loop: Loop,
) -> None:
    class Looking(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.heard.append(self.transport.get_extra_info("socket").fileno() >= 0)

    transport, protocol = open_endpoint(loop, Looking)
    transport.close()
    assert protocol.heard == ["made"]
    assert transport.is_closing()
    run_turns(loop)
    assert protocol.heard == ["made", ("lost", type(None), "None"), True]
    assert transport.get_extra_info("socket").fileno() == -1
    assert transport.get_protocol() is None
    transport.close()
    transport.abort()
    run_turns(loop)
    assert protocol.heard[3:] == []


def test_sending_after_the_end_does_what_it_does_in_asyncio(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def script(loop: Loop) -> Trace:
        trace: Trace = []
        caplog.clear()
        transport, protocol = open_endpoint(loop, remote_addr=("127.0.0.1", 9))
        transport.close()
        for turn in range(8):
            transport.sendto(b"to nobody")
            trace.append([(r.levelname, r.getMessage()) for r in caplog.records])
            if turn == 2:
                run_turns(loop, 2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            transport, protocol = open_endpoint(loop)
            transport.close()
            transport.sendto(b"the socket is still open", sock.getsockname())
            trace += drain(sock)
            run_turns(loop, 2)
            with pytest.raises(AttributeError) as caught:
                transport.sendto(b"it is not", sock.getsockname())
            trace += [str(caught.value), protocol.heard]
        return trace

    with caplog.at_level(logging.WARNING, "asyncio"):
        same_on_both(script)


def test_what_connection_lost_raises_is_reported_and_the_socket_is_closed(
    loop: Loop, reports: list[Report]
) -> None:
    class Failing(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            raise ZeroDivisionError("on purpose")

    transport, _ = open_endpoint(loop, Failing)
    sock = transport.get_extra_info("socket")
    transport.close()
    run_turns(loop, 2)
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]
    assert sock.fileno() == -1


def test_a_transport_that_nobody_closed_warns_and_closes_its_socket(loop: Loop) -> None:
    before = count_descriptors()
    transport, protocol = open_endpoint(loop)
    transport.pause_reading()
    shown = repr(transport)
    protocol.transport = None
    kept = [transport]
    del transport
    with pytest.warns(ResourceWarning) as caught:
        kept.clear()
    assert [str(warning.message) for warning in caught] == [f"unclosed transport {shown}"]
    assert count_descriptors() == before


def test_endpoints_that_are_closed_leave_nothing_behind(loop: Loop) -> None:
    def live() -> weakref.ref[Any]:
        transport, protocol = open_endpoint(loop)
        transport.sendto(b"x", transport.get_extra_info("sockname"))
        run_until(loop, lambda: protocol.datagrams)
        finish(loop, protocol)
        return weakref.ref(transport)

    before = count_descriptors()
    seen = [live() for _ in range(50)]
    gc.collect()
    assert count_descriptors() == before
    assert [ref() for ref in seen] == [None] * 50
