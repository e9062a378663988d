"""Datagram endpoints: what arrives, what is sent, and what becomes of what cannot be.

Each test runs on asyncio's loop and on aioxide's. What differs between versions of asyncio (what
a waiting datagram counts, whether an empty one is sent) is not spelled out: the same script runs on
both loops of the running version, and the two traces must be equal.
"""

import asyncio
import contextvars
import errno
import gc
import logging
import os
import socket
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.loops import LOOPS, Loop, Report, count_descriptors, run_turns

Trace = list[Any]


class Recorder(asyncio.DatagramProtocol):
    """A protocol that writes down everything it hears."""

    def __init__(self) -> None:
        self.heard: Trace = []
        self.transport: Any = None
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.heard.append("made")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.heard.append(("error", type(exc), str(exc)))

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.heard.append(("lost", type(exc), str(exc)))

    @property
    def datagrams(self) -> list[bytes]:
        return [entry[0] for entry in self.heard if isinstance(entry[0], bytes)]


def open_endpoint(loop: Loop, factory: Any = Recorder, **options: Any) -> tuple[Any, Any]:
    if not options:
        options = {"local_addr": ("127.0.0.1", 0)}
    return loop.run_until_complete(loop.create_datagram_endpoint(factory, **options))


def run_until(loop: Loop, condition: Callable[[], Any]) -> None:
    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(poll(), 5))


def finish(loop: Loop, *protocols: Recorder) -> None:
    for protocol in protocols:
        protocol.transport.abort()
    run_turns(loop, 2)


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """A plain socket on the other side."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture
def crammed(tmp_path: Path, loop: Loop) -> Iterator[tuple[Any, Recorder, socket.socket]]:
    """An endpoint whose peer does not read and whose kernel queue is full, and the peer."""
    with crowded(loop, tmp_path) as made:
        yield made


class crowded:  # noqa: N801  # used like a function
    def __init__(self, loop: Loop, place: Path) -> None:
        self.loop = loop
        self.place = place

    def __enter__(self) -> tuple[Any, Recorder, socket.socket]:
        place = tempfile.mkdtemp(dir=self.place)
        here, there = f"{place}/here", f"{place}/there"
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.peer.setblocking(False)
        self.peer.bind(there)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(here)
        sock.connect(there)
        transport, self.protocol = open_endpoint(self.loop, sock=sock)
        self.count = 0
        while not transport.get_write_buffer_size():
            transport.sendto(b"%04d" % self.count)
            self.count += 1
        return transport, self.protocol, self.peer

    def __exit__(self, *exc: object) -> None:
        if not self.protocol.lost:
            finish(self.loop, self.protocol)
        self.peer.close()


def drain(sock: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(sock.recv(1 << 18))
        except BlockingIOError:
            return found


def same_on_both(script: Callable[[Loop], Trace]) -> None:
    traces = []
    for make in LOOPS:
        loop = make()
        try:
            traces.append(script(loop))
        finally:
            loop.close()
    assert traces[0] == traces[1]
    assert traces[0], "the script shows nothing"


# Receiving


def test_datagrams_arrive_in_order_with_their_senders_address(
    loop: Loop, peer: socket.socket
) -> None:
    transport, protocol = open_endpoint(loop)
    address = transport.get_extra_info("sockname")
    for number in range(100):
        peer.sendto(b"%d" % number, address)
    run_until(loop, lambda: len(protocol.heard) == 101)
    assert protocol.heard == ["made", *((b"%d" % n, peer.getsockname()) for n in range(100))]
    finish(loop, protocol)


@pytest.mark.parametrize("size", [0, 1, 1024, 65507])
def test_a_datagram_of_any_size_arrives_whole(
    loop: Loop, peer: socket.socket, size: int
) -> None:
    transport, protocol = open_endpoint(loop)
    data = os.urandom(size)
    peer.sendto(data, transport.get_extra_info("sockname"))
    run_until(loop, lambda: len(protocol.heard) == 2)
    assert protocol.heard[1] == (data, peer.getsockname())
    finish(loop, protocol)


def test_a_unix_datagram_may_be_larger_than_any_of_udp(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "here")
    _, protocol = open_endpoint(loop, family=socket.AF_UNIX, local_addr=path)
    data = os.urandom(100_000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(data, path)
    run_until(loop, lambda: len(protocol.heard) == 2)
    assert protocol.heard[1] == (data, None)
    finish(loop, protocol)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def addresses(tmp_path: Path) -> dict[str, tuple[int, Any]]:
    found: dict[str, tuple[int, Any]] = {
        "ipv4": (socket.AF_INET, ("127.0.0.1", 0)),
        "path": (socket.AF_UNIX, str(tmp_path / "peer")),
        "bytes": (socket.AF_UNIX, str(tmp_path / "peer\udcff")),
        "abstract": (socket.AF_UNIX, f"\0aioxide-{os.getpid()}"),
    }
    if has_ipv6():
        found["ipv6"] = (socket.AF_INET6, ("::1", 0))
    return found


def test_peers_are_named_as_the_socket_module_names_them_and_can_be_answered(
    loop: Loop, tmp_path: Path
) -> None:
    class Echo(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.transport.sendto(data.upper(), addr)

    for kind, (family, address) in addresses(tmp_path).items():
        local = str(tmp_path / f"local-{kind}") if family == socket.AF_UNIX else address
        transport, protocol = open_endpoint(loop, Echo, family=family, local_addr=local)
        sock = socket.socket(family, socket.SOCK_DGRAM)
        with sock:
            sock.settimeout(5)
            sock.bind(address)
            for text in (b"hello", b"again"):
                sock.sendto(text, transport.get_extra_info("sockname"))
            run_until(loop, lambda: len(protocol.heard) == 3)  # noqa: B023
            name = sock.getsockname()
            assert protocol.heard[1:] == [(b"hello", name), (b"again", name)]
            assert type(protocol.heard[1][1]) is type(name)
            assert [sock.recv(99), sock.recv(99)] == [b"HELLO", b"AGAIN"]
        finish(loop, protocol)


def test_many_peers_are_told_apart(loop: Loop) -> None:
    class Echo(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(data + b"%d" % addr[1], addr)

    transport, protocol = open_endpoint(loop, Echo)
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
    for _ in range(2):
        for sock in socks:
            sock.sendto(b"port ", transport.get_extra_info("sockname"))
    got: dict[socket.socket, list[bytes]] = {sock: [] for sock in socks}

    def all_answered() -> bool:
        for sock in socks:
            got[sock] += drain(sock)
        return all(len(answers) == 2 for answers in got.values())

    run_until(loop, all_answered)
    for sock, answers in got.items():
        assert answers == [b"port %d" % sock.getsockname()[1]] * 2
        sock.close()
    finish(loop, protocol)


def test_nothing_is_heard_while_reading_is_paused(loop: Loop, peer: socket.socket) -> None:
    class Pausing(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data.endswith(b"0"):
                self.transport.pause_reading()

    transport, protocol = open_endpoint(loop, Pausing)
    expected = []
    for number in range(60):
        peer.sendto(b"%d" % number, transport.get_extra_info("sockname"))
        expected.append(b"%d" % number)
    for stop in range(1, 61, 10):
        run_until(loop, lambda: not transport.is_reading())
        run_turns(loop, 5)
        assert protocol.datagrams == expected[:stop]
        transport.resume_reading()
        assert transport.is_reading()
    run_until(loop, lambda: len(protocol.datagrams) == 60)
    assert protocol.datagrams == expected
    finish(loop, protocol)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_nothing_is_heard_after_the_end(loop: Loop, peer: socket.socket, end: str) -> None:
    class Closing(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"30":
                getattr(self.transport, end)()

    transport, protocol = open_endpoint(loop, Closing)
    for number in range(60):
        peer.sendto(b"%d" % number, transport.get_extra_info("sockname"))
    run_until(loop, lambda: protocol.lost)
    assert protocol.datagrams == [b"%d" % number for number in range(31)]
    assert protocol.heard[-1] == ("lost", type(None), "None")


def test_the_protocol_that_is_set_now_hears_the_next_datagram(
    loop: Loop, peer: socket.socket
) -> None:
    second = Recorder()

    class First(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"20":
                self.transport.set_protocol(second)

    transport, first = open_endpoint(loop, First)
    assert transport.get_protocol() is first
    for number in range(40):
        peer.sendto(b"%d" % number, transport.get_extra_info("sockname"))
    run_until(loop, lambda: len(second.heard) == 19)
    assert transport.get_protocol() is second
    assert first.datagrams == [b"%d" % number for number in range(21)]
    assert second.datagrams == [b"%d" % number for number in range(21, 40)]
    transport.close()
    run_until(loop, lambda: second.lost)
    assert not first.lost


def test_a_method_that_is_replaced_is_called(loop: Loop, peer: socket.socket) -> None:
    transport, protocol = open_endpoint(loop)
    heard = []
    protocol.datagram_received = lambda data, _addr: heard.append(data)
    peer.sendto(b"one", transport.get_extra_info("sockname"))
    run_until(loop, lambda: heard)
    assert heard == [b"one"]
    finish(loop, protocol)


def test_one_busy_socket_does_not_keep_others_waiting(loop: Loop, peer: socket.socket) -> None:
    order = []

    class Busy(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            order.append("busy")
            peer.sendto(data, self.transport.get_extra_info("sockname"))

    class Calm(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            order.append("calm")

    busy_transport, busy = open_endpoint(loop, Busy)
    calm_transport, calm = open_endpoint(loop, Calm)
    for _ in range(10):
        peer.sendto(b"busy", busy_transport.get_extra_info("sockname"))
    run_until(loop, lambda: len(order) > 500)
    order.clear()
    peer.sendto(b"calm", calm_transport.get_extra_info("sockname"))
    run_until(loop, lambda: "calm" in order)
    assert order.index("calm") <= 100
    finish(loop, busy, calm)


def test_what_a_callback_raises_is_reported_and_the_next_datagram_arrives() -> None:
    def script(loop: Loop) -> Trace:
        class Failing(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                if data == b"3":
                    raise ZeroDivisionError("on purpose")

        reports: list[Trace] = []

        def note(_: Loop, report: Report) -> None:
            handle = repr(report["handle"]).split(" at ")[0]
            reports.append([report["message"], handle, type(report["exception"]), sorted(report)])

        loop.set_exception_handler(note)
        transport, protocol = open_endpoint(loop, Failing)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(6):
                sock.sendto(b"%d" % number, transport.get_extra_info("sockname"))
        run_until(loop, lambda: len(protocol.datagrams) == 6)
        assert not transport.is_closing()
        finish(loop, protocol)
        return [protocol.datagrams, reports]

    same_on_both(script)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_callback_leaves_the_loop(
    loop: Loop, peer: socket.socket, kind: type[BaseException]
) -> None:
    class Interrupted(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"stop":
                raise kind

    transport, protocol = open_endpoint(loop, Interrupted)
    peer.sendto(b"stop", transport.get_extra_info("sockname"))
    peer.sendto(b"more", transport.get_extra_info("sockname"))
    with pytest.raises(kind):
        loop.run_forever()
    run_until(loop, lambda: len(protocol.datagrams) == 2)
    finish(loop, protocol)


# Sending


def test_whatever_holds_bytes_can_be_sent_and_changed_right_after(
    loop: Loop, peer: socket.socket
) -> None:
    transport, protocol = open_endpoint(loop)
    array = bytearray(b"array")
    for data in (b"bytes", array, memoryview(b"a view")[2:], memoryview(array)):
        transport.sendto(data, peer.getsockname())
    array[:] = b"other"
    assert [peer.recv(99) for _ in range(4)] == [b"bytes", b"array", b"view", b"array"]
    finish(loop, protocol)


def test_a_datagram_is_on_its_way_when_sendto_returns(loop: Loop, peer: socket.socket) -> None:
    transport, protocol = open_endpoint(loop)

    async def send() -> bytes:
        transport.sendto(b"now", peer.getsockname())
        return peer.recv(99)

    assert loop.run_until_complete(send()) == b"now"
    finish(loop, protocol)


def test_names_of_hosts_and_other_forms_of_addresses_are_the_sockets_business(
    loop: Loop, peer: socket.socket
) -> None:
    transport, protocol = open_endpoint(loop)
    port = peer.getsockname()[1]
    class Pair(tuple[str, int]):
        __slots__ = ()

    forms: list[Any] = [
        ("localhost", port),
        (b"127.0.0.1", port),
        (bytearray(b"127.0.0.1"), port),
        Pair(("127.0.0.1", port)),
        ("127.1", port),
    ]
    for number, form in enumerate(forms):
        transport.sendto(b"%d" % number, form)
        assert peer.recv(99) == b"%d" % number
    assert protocol.heard == ["made"]
    finish(loop, protocol)


def test_an_address_that_is_none_ends_the_transport_as_in_asyncio() -> None:
    def script(loop: Loop) -> Trace:
        trace: Trace = []
        for address in (
            None,
            "127.0.0.1",
            ("127.0.0.1",),
            ("127.0.0.1", 65536),
            ("127.0.0.1", -1),
            ("127.0.0.1", "80"),
            ("127.0.0.1\0", 80),
            ("127.0.0.1", 80, 0),
            ("::1", 80),
            ["127.0.0.1", 80],
        ):
            reports: list[Report] = []
            loop.set_exception_handler(lambda _, context, to=reports: to.append(context))
            transport, protocol = open_endpoint(loop)
            transport.sendto(b"data", address)
            trace.append((transport.is_closing(), transport.get_write_buffer_size()))
            run_turns(loop, 3)
            for report in reports:
                assert report["transport"] is transport
                assert report["protocol"] is protocol
            trace.append([(r["message"], repr(r["exception"]), sorted(r)) for r in reports])
            trace.append(protocol.heard)
            transport.abort()
            run_turns(loop, 2)
        return trace

    same_on_both(script)


def test_only_bytes_like_objects_are_taken() -> None:
    def script(loop: Loop) -> Trace:
        transport, protocol = open_endpoint(loop)
        trace: Trace = []
        for data in ("text", 1, None, [b"list"], object()):
            with pytest.raises(TypeError) as caught:
                transport.sendto(data, ("127.0.0.1", 9))
            trace.append(str(caught.value))
        with pytest.raises(TypeError):
            transport.sendto()
        finish(loop, protocol)
        return trace

    same_on_both(script)


def test_a_view_that_is_not_in_one_piece_cannot_be_sent() -> None:
    def script(loop: Loop) -> Trace:
        reports: list[Report] = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        transport, protocol = open_endpoint(loop)
        transport.sendto(memoryview(b"abcdef")[::2], ("127.0.0.1", 9))
        run_turns(loop, 3)
        return [protocol.heard, [(r["message"], repr(r["exception"])) for r in reports]]

    same_on_both(script)


def test_an_empty_datagram_is_sent_if_the_running_asyncio_sends_it() -> None:
    def script(loop: Loop) -> Trace:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            transport, protocol = open_endpoint(loop)
            for data in (b"", b"full", bytearray(), memoryview(b"")):
                transport.sendto(data, sock.getsockname())
            found = drain(sock)
            finish(loop, protocol)
            return found

    same_on_both(script)


def test_errors_of_the_kernel_go_to_the_protocol_before_sendto_returns(
    loop: Loop, peer: socket.socket
) -> None:
    transport, protocol = open_endpoint(loop)
    transport.sendto(bytes(70_000), peer.getsockname())
    assert protocol.heard[1:] == [
        ("error", OSError, f"[Errno {errno.EMSGSIZE}] {os.strerror(errno.EMSGSIZE)}")
    ]
    transport.sendto(b"fine", peer.getsockname())
    assert peer.recv(99) == b"fine"
    assert not transport.is_closing()
    finish(loop, protocol)


def test_what_error_received_raises_comes_out_of_sendto(loop: Loop, peer: socket.socket) -> None:
    class Raising(Recorder):
        def error_received(self, exc: Exception) -> None:
            raise exc

    transport, protocol = open_endpoint(loop, Raising)
    with pytest.raises(OSError, match="too long"):
        transport.sendto(bytes(70_000), peer.getsockname())
    finish(loop, protocol)


def test_a_peer_that_is_gone_is_an_error_received_and_not_the_end(loop: Loop) -> None:
    gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gone.bind(("127.0.0.1", 0))
    address = gone.getsockname()
    gone.close()
    transport, protocol = open_endpoint(loop, remote_addr=address)
    transport.sendto(b"anybody?")
    run_until(loop, lambda: len(protocol.heard) == 2)
    assert protocol.heard[1][:2] == ("error", ConnectionRefusedError)
    assert not transport.is_closing()
    finish(loop, protocol)


def test_a_connected_endpoint_sends_to_its_peer_and_to_nobody_else() -> None:
    def script(loop: Loop) -> Trace:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            transport, protocol = open_endpoint(loop, remote_addr=sock.getsockname())
            assert transport.get_extra_info("peername") == sock.getsockname()
            transport.sendto(b"one")
            transport.sendto(b"two", sock.getsockname())
            transport.sendto(b"three", None)
            trace: Trace = []
            for other in (("127.0.0.1", 9), "text", 0):
                with pytest.raises(ValueError, match="Invalid address") as caught:
                    transport.sendto(b"never", other)
                trace.append(str(caught.value).replace(str(sock.getsockname()[1]), "PORT"))
            trace += drain(sock)
            sock.sendto(b"answer", transport.get_extra_info("sockname"))
            run_until(loop, lambda: protocol.datagrams)
            trace += protocol.datagrams
            finish(loop, protocol)
            return trace

    same_on_both(script)


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


def test_datagrams_are_heard_in_the_context_of_the_endpoints_maker(
    loop: Loop, peer: socket.socket
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    heard = []

    class Looking(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            heard.append(variable.get())
            variable.set("not for others")

        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            heard.append(variable.get())
            variable.set("kept")

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            heard.append(variable.get())

    async def open_here() -> Any:
        variable.set("maker")
        return await loop.create_datagram_endpoint(Looking, local_addr=("127.0.0.1", 0))

    transport, protocol = loop.run_until_complete(open_here())
    for _ in range(2):
        peer.sendto(b"look", transport.get_extra_info("sockname"))
        run_until(loop, lambda: len(heard) % 2 == 0 or len(heard) == 3)
    run_until(loop, lambda: len(heard) == 3)

    def resume() -> None:
        variable.set("resumer")
        transport.pause_reading()
        transport.resume_reading()

    contextvars.copy_context().run(resume)
    peer.sendto(b"look", transport.get_extra_info("sockname"))
    run_until(loop, lambda: len(heard) == 4)

    def close() -> None:
        variable.set("closer")
        transport.close()

    contextvars.copy_context().run(close)
    run_until(loop, lambda: protocol.lost)
    assert heard == ["maker", "maker", "kept", "resumer", "closer"]


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
    with pytest.warns(ResourceWarning) as caught:
        del transport
        gc.collect()
    assert [str(warning.message) for warning in caught] == [f"unclosed transport {shown}"]
    assert count_descriptors() == before


def test_endpoints_that_are_closed_leave_nothing_behind(loop: Loop) -> None:
    before = count_descriptors()
    seen = []
    for _ in range(50):
        transport, protocol = open_endpoint(loop)
        transport.sendto(b"x", transport.get_extra_info("sockname"))
        run_until(loop, lambda: protocol.datagrams)  # noqa: B023
        seen.append(weakref.ref(transport))
        finish(loop, protocol)
    del transport, protocol
    gc.collect()
    assert count_descriptors() == before
    assert [ref() for ref in seen] == [None] * 50


# What the transport is


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
    transport.attribute = protocol
    assert vars(transport)["attribute"] is protocol
    assert weakref.ref(transport)() is transport
    finish(loop, protocol)
    assert transport.get_extra_info("sockname")[0] == "127.0.0.1"


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
            method(*args)  # type: ignore[operator]
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


def test_a_socket_of_another_class_is_used_by_its_methods(
    loop: Loop, peer: socket.socket
) -> None:
    calls = []

    class Special(socket.socket):
        def recvfrom(self, *args: Any) -> Any:  # type: ignore[override]
            data, addr = super().recvfrom(*args)
            calls.append("recvfrom")
            if data == b"broken":
                raise ZeroDivisionError("on purpose")
            return data + b"!", addr

        def sendto(self, data: Any, *args: Any) -> int:  # type: ignore[override]
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
