"""Datagrams in trouble: nobody there, too many at once, too large, no room in the kernel.

Datagrams may be lost, but errors may not, and one bad destination must not take the endpoint down.
"""

import asyncio
import errno
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.net.parties import Net, turns, until
from tests.net.refusals import SENDING, refused


class Datagrams(asyncio.DatagramProtocol):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.events: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert type(data) is bytes
        self.got.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


def plain(address: str = "127.0.0.1") -> socket.socket:
    """A bound UDP socket."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.setblocking(False)
    return sock


async def endpoint(net: Net, **given: Any) -> tuple[Any, Datagrams]:
    given = given or {"local_addr": ("127.0.0.1", 0)}
    return await net.loop.create_datagram_endpoint(Datagrams, **given)


async def end(transport: Any, protocol: Datagrams) -> None:
    transport.close()
    assert await protocol.lost is None


async def test_a_closed_port_is_told_to_a_connected_endpoint_which_lives_on(net: Net) -> None:
    with plain() as gone:
        address = gone.getsockname()
    transport, protocol = await endpoint(net, remote_addr=address)
    for round_ in range(1, 4):
        transport.sendto(b"anyone?")
        await until(lambda round_=round_: len(protocol.errors) >= round_)  # type: ignore[misc]
    assert {type(error) for error in protocol.errors} == {ConnectionRefusedError}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
        back.bind(address)
        back.setblocking(False)
        before = len(protocol.errors)
        while True:
            transport.sendto(b"and now?")
            await turns(3)
            try:
                data, _ = back.recvfrom(100)
            except BlockingIOError:
                continue
            break
        assert data == b"and now?"
        assert len(protocol.errors) <= before + 1
    await end(transport, protocol)


async def test_a_closed_port_says_nothing_to_an_unconnected_endpoint(net: Net) -> None:
    with plain() as gone:
        address = gone.getsockname()
    transport, protocol = await endpoint(net)
    transport.sendto(b"anyone?", address)
    with plain() as there:
        transport.sendto(b"hello", there.getsockname())
        await turns(5)
        assert there.recv(100) == b"hello"
    assert protocol.errors == []
    await end(transport, protocol)


async def test_a_datagram_that_is_too_large_is_told_and_the_next_one_is_sent(net: Net) -> None:
    transport, protocol = await endpoint(net)
    with plain() as there:
        transport.sendto(b"x" * 65_508, there.getsockname())
        transport.sendto(b"x" * 65_507, there.getsockname())
        await turns(5)
        assert there.recv(70_000) == b"x" * 65_507
    (error,) = protocol.errors
    assert isinstance(error, OSError)
    assert error.errno == errno.EMSGSIZE
    await end(transport, protocol)


async def test_the_largest_datagram_is_received_whole(net: Net) -> None:
    transport, protocol = await endpoint(net)
    with plain() as there:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        there.sendto(bytes(65_507), transport.get_extra_info("sockname"))
        await until(lambda: protocol.got)
        assert protocol.got == [(bytes(65_507), there.getsockname())]
    await end(transport, protocol)


async def test_an_empty_datagram_is_one(net: Net) -> None:
    transport, protocol = await endpoint(net)
    with plain() as there:
        for data in (b"", b"x", b""):
            there.sendto(data, transport.get_extra_info("sockname"))
        await until(lambda: len(protocol.got) == 3)
        assert [data for data, _ in protocol.got] == [b"", b"x", b""]
    await end(transport, protocol)


async def test_a_bad_destination_is_told_and_the_endpoint_lives_on(net: Net) -> None:
    transport, protocol = await endpoint(net)
    transport.sendto(b"x", ("255.255.255.255", 9))  # broadcast, without leave
    await turns(3)
    (error,) = protocol.errors
    assert isinstance(error, PermissionError)
    with plain() as there:
        transport.sendto(b"hello", there.getsockname())
        await turns(3)
        assert there.recv(100) == b"hello"
    await end(transport, protocol)


async def test_datagrams_stay_whole_and_in_order_in_a_flood(net: Net) -> None:
    transport, protocol = await endpoint(net)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
    with plain() as there:
        sent = [b"%d " % number * (1 + number % 50) for number in range(300)]
        for data in sent:
            there.sendto(data, transport.get_extra_info("sockname"))
        await until(lambda: len(protocol.got) == 300)
        assert [data for data, _ in protocol.got] == sent
    await end(transport, protocol)


async def test_what_is_sent_in_one_step_arrives_whole_and_in_order(net: Net) -> None:
    transport, protocol = await endpoint(net)
    with plain() as one, plain() as two:
        for sock in (one, two):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for number in range(100):
            for sock in (one, two):
                transport.sendto(b"%d" % number, sock.getsockname())
        await turns(3)
        for sock in (one, two):
            assert [sock.recv(10) for _ in range(100)] == [b"%d" % n for n in range(100)]
    await end(transport, protocol)


async def test_a_full_unix_datagram_socket_pauses_and_resumes(net: Net, tmp_path: Path) -> None:
    """UDP on loopback drops what does not fit; a Unix socket makes the sender wait."""
    path = str(tmp_path / "there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind(path)
        there.setblocking(False)
        transport, protocol = await endpoint(net, remote_addr=path, family=socket.AF_UNIX)
        transport.set_write_buffer_limits(high=2000)
        sent = 0
        while "pause" not in protocol.events:
            transport.sendto(b"%06d" % sent * 20)
            sent += 1
            await turns(1)
        assert transport.get_write_buffer_size() > 2000
        got: list[bytes] = []
        while len(got) < sent:
            try:
                got.append(there.recv(1000))
            except BlockingIOError:
                await asyncio.sleep(0.001)
        assert got == [b"%06d" % number * 20 for number in range(sent)]
        await turns(3)
        assert protocol.events == ["pause", "resume"]
        # 3.13.0 counts 8 bytes of header for each datagram and does not take them off again.
        assert transport.get_write_buffer_size() <= 8 * sent
        await end(transport, protocol)


async def test_close_waits_for_what_was_sent_and_abort_does_not(net: Net, tmp_path: Path) -> None:
    for how in ("close", "abort"):
        path = str(tmp_path / how)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
            there.bind(path)
            there.setblocking(False)
            transport, protocol = await endpoint(net, remote_addr=path, family=socket.AF_UNIX)
            for number in range(1000):
                transport.sendto(b"%03d" % number)
            assert transport.get_write_buffer_size() > 0
            getattr(transport, how)()
            await turns(3)
            assert protocol.lost.done() == (how == "abort")
            got = 0
            while got < 1000 and not (how == "abort" and got and _empty(there)):
                try:
                    there.recv(1000)
                    got += 1
                except BlockingIOError:
                    await asyncio.sleep(0.001)
            assert (got == 1000) == (how == "close")
            assert await protocol.lost is None


def _empty(sock: socket.socket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    return False


async def test_a_kernel_without_room_for_a_datagram_is_told_and_the_endpoint_lives_on(
    net: Net,
) -> None:
    """ENOBUFS, from the kernel itself by way of a filter, in a thread since filters stay."""
    seen: list[Any] = []

    def elsewhere() -> None:
        other = Net(net.name, net.new_loop, net.lib)

        async def main() -> None:
            transport, protocol = await endpoint(other)
            with plain() as there:
                refused(SENDING, transport.get_extra_info("socket").fileno(), errno.ENOBUFS)
                for _ in range(3):
                    transport.sendto(b"x", there.getsockname())
                    await turns(2)
                there.sendto(b"hello", transport.get_extra_info("sockname"))
                await until(lambda: protocol.got)
                seen.extend(error.errno for error in protocol.errors)  # type: ignore[attr-defined]
            seen.append(transport.is_closing())
            await end(transport, protocol)

        try:
            other.run(main())
        finally:
            other.close()
        seen.extend(other.messages())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert seen == [errno.ENOBUFS] * 3 + [False]


async def test_a_callback_that_fails_is_reported_and_the_endpoint_lives_on(net: Net) -> None:
    """asyncio lets the exception out of the reader's callback, where the loop reports it."""

    class Failing(Datagrams):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            raise LookupError(data)

    transport, protocol = await net.loop.create_datagram_endpoint(
        Failing, local_addr=("127.0.0.1", 0)
    )
    with plain() as there:
        for _ in range(2):
            there.sendto(b"x", transport.get_extra_info("sockname"))
            await until(lambda: net.reports)
            (report,) = net.take_reports()
            assert isinstance(report["exception"], LookupError)
    assert not transport.is_closing()
    transport.close()
    await protocol.lost


async def test_an_ended_endpoint_can_be_used(net: Net) -> None:
    transport, protocol = await endpoint(net)
    await end(transport, protocol)
    transport.close()
    transport.abort()
    assert transport.is_closing()
    assert transport.get_write_buffer_size() == 0
    with pytest.raises(TypeError, match="data argument must be a bytes-like object"):
        transport.sendto("text", ("127.0.0.1", 9))


async def test_a_connected_endpoint_refuses_another_address(net: Net) -> None:
    with plain() as there:
        transport, protocol = await endpoint(net, remote_addr=there.getsockname())
        with pytest.raises(ValueError, match="Invalid address: must be None or"):
            transport.sendto(b"x", ("127.0.0.1", 9))
        transport.sendto(b"x", there.getsockname())
        transport.sendto(b"y")
        await turns(3)
        assert [there.recv(10), there.recv(10)] == [b"x", b"y"]
        await end(transport, protocol)


async def test_a_local_address_in_use_is_an_error(net: Net) -> None:
    with plain() as holder:
        with pytest.raises(OSError) as caught:
            await endpoint(net, local_addr=holder.getsockname())
        assert caught.value.errno == errno.EADDRINUSE
