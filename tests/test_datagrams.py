"""Datagram endpoints: what arrives, what is sent, and what becomes of what cannot be.

Each test runs on asyncio's loop and on aioxide's. What differs between versions of asyncio (whether
an empty datagram is sent, texts of errors) is not spelled out: the same script runs on both loops
of the running version, and the two traces must be equal.
"""

import contextvars
import errno
import functools
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.datagrams import (
    Recorder,
    Trace,
    drain,
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
def test_a_datagram_of_any_size_arrives_whole(loop: Loop, peer: socket.socket, size: int) -> None:
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
            run_until(loop, lambda: len(protocol.heard) == 3)
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


def note(reports: list[Report], _: Loop, report: Report) -> None:
    reports.append(report)


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
            loop.set_exception_handler(functools.partial(note, reports))
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
