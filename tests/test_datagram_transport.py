"""What the transport of a datagram endpoint says of itself, and the sockets that it is made of."""

import asyncio
import gc
import logging
import socket
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tests.datagrams import (
    Trace,
    finish,
    open_endpoint,
    run_until,
    same_on_both,
)
from tests.loops import Loop, Report, run_turns


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """A plain socket on the other side."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind(("127.0.0.1", 0))
        yield sock


def test_a_transport_says_what_it_is() -> None:
    def script(loop: Loop) -> Trace:
        transport, protocol = open_endpoint(loop)
        fd = transport.get_extra_info("socket").fileno()

        def shown() -> str:
            return repr(transport).replace(f"fd={fd}", "FD")

        trace: Trace = [shown(), transport.__class__.__name__]
        classes = (asyncio.DatagramTransport, asyncio.Transport, asyncio.BaseTransport)
        trace += [isinstance(transport, kind) for kind in classes]
        transport.pause_reading()
        trace += [shown(), transport.is_reading()]
        transport.pause_reading()
        transport.resume_reading()
        transport.resume_reading()
        trace += [shown(), transport.is_reading()]
        transport.close()
        trace += [shown(), transport.is_reading()]
        transport.pause_reading()
        transport.resume_reading()
        run_turns(loop, 2)
        trace += [shown(), transport.is_reading(), protocol.heard]
        return trace

    same_on_both(script)


def test_extra_information_is_asyncios(loop: Loop) -> None:
    transport, protocol = open_endpoint(loop)
    sock = transport.get_extra_info("socket")
    assert type(sock) is asyncio.trsock.TransportSocket  # type: ignore[attr-defined]
    assert transport.get_extra_info("sockname") == sock.getsockname()
    assert transport.get_extra_info("peername", "default") is None
    assert transport.get_extra_info("else") is None
    assert transport.get_extra_info("else", 5) == 5
    assert transport.get_extra_info(name="else", default=6) == 6
    finish(loop, protocol)
    assert transport.get_extra_info("sockname")[0] == "127.0.0.1"


def test_a_transport_can_be_given_attributes_and_weak_references(loop: Loop) -> None:
    transport, protocol = open_endpoint(loop)
    transport.attribute = protocol
    assert vars(transport)["attribute"] is protocol
    alive = weakref.ref(transport)
    assert alive() is transport
    finish(loop, protocol)


def test_the_loop_refuses_to_watch_the_descriptor_of_a_transport(loop: Loop) -> None:
    transport, protocol = open_endpoint(loop)
    fd = transport.get_extra_info("socket").fileno()
    for method, args in (
        (loop.add_reader, (fd, print)),
        (loop.add_writer, (fd, print)),
        (loop.remove_reader, (fd,)),
        (loop.remove_writer, (fd,)),
    ):
        with pytest.raises(RuntimeError, match=f"File descriptor {fd} is used by transport"):
            method(*args)
    transport.close()
    loop.remove_reader(fd)
    finish(loop, protocol)


def test_debug_mode_logs_the_pauses(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_debug(True)
    transport, protocol = open_endpoint(loop)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        caplog.clear()
        transport.pause_reading()
        transport.resume_reading()
    texts = [record.getMessage() for record in caplog.records]
    assert [text.split("> ")[-1] for text in texts] == ["pauses reading", "resumes reading"]
    finish(loop, protocol)


def test_a_socket_of_another_class_is_used_by_its_methods(loop: Loop, peer: socket.socket) -> None:
    calls = []

    class Special(socket.socket):
        def recvfrom(self, *args: Any) -> Any:
            data, addr = super().recvfrom(*args)
            calls.append("recvfrom")
            if data == b"broken":
                raise ZeroDivisionError("on purpose")
            return data + b"!", addr

        def sendto(self, data: Any, *args: Any) -> int:
            calls.append("sendto")
            return super().sendto(bytes(data) + b"?", *args)

    reports: list[Report] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    sock = Special(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    transport, protocol = open_endpoint(loop, sock=sock)
    transport.sendto(b"question", peer.getsockname())
    assert peer.recv(99) == b"question?"
    peer.sendto(b"answer", sock.getsockname())
    run_until(loop, lambda: protocol.datagrams)
    assert protocol.datagrams == [b"answer!"]
    assert calls == ["sendto", "recvfrom"]
    peer.sendto(b"broken", sock.getsockname())
    run_until(loop, lambda: protocol.lost)
    assert protocol.heard[-1] == ("lost", ZeroDivisionError, "on purpose")
    assert [r["message"] for r in reports] == ["Fatal read error on datagram transport"]


def test_a_socket_that_was_closed_behind_the_transports_back_is_never_mistaken(
    loop: Loop, peer: socket.socket
) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    fd = sock.fileno()
    transport, protocol = open_endpoint(loop, sock=sock)
    sock.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        assert other.fileno() == fd
        transport.sendto(b"astray", peer.getsockname())
        assert protocol.heard[1:] == [("error", OSError, "[Errno 9] Bad file descriptor")]
        peer.settimeout(0.05)
        with pytest.raises(TimeoutError):
            peer.recv(99)
    finish(loop, protocol)


def test_endpoints_on_a_closed_loop_fail_as_in_asyncio() -> None:
    def script(loop: Loop) -> Trace:
        transport, protocol = open_endpoint(loop)
        loop.close()
        trace: Trace = [type(transport.get_protocol()) is type(protocol)]
        with pytest.raises(RuntimeError) as caught:
            transport.close()
        trace += [str(caught.value), repr(transport).startswith("<_SelectorDatagramTransport")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            protocol.transport = None
            del transport
            gc.collect()
        return trace

    same_on_both(script)
