"""What our stream transports promise beyond asyncio's, and what must not be seen of how they work.

One send for everything that a callback or step has written is the difference that matters most. A
socket that keeps the borders of messages (SOCK_SEQPACKET) shows each send as one packet, and so how
many there were.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any, cast

import aioxide
from aioxide import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=aioxide.new_event_loop) as runner:
        runner.run(main())


class Recorder(asyncio.Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.append(exc)
        if not self.lost.done():
            self.lost.set_result(exc)


def packets(peer: socket.socket) -> list[bytes]:
    """The packets that have arrived."""
    found = []
    peer.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while packet := peer.recv(1 << 20):
            found.append(packet)
    return found


async def packet_transport() -> tuple[asyncio.Transport, Recorder, socket.socket]:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here.setblocking(False)
    loop = asyncio.get_running_loop()
    protocol = Recorder()
    made = loop.create_future()
    transport = _core.socket_transport(loop, here, protocol, made)
    await made
    return transport, protocol, there


async def end(transport: asyncio.Transport, protocol: Recorder, peer: socket.socket) -> None:
    transport.abort()
    await protocol.lost
    peer.close()


def test_what_a_step_writes_goes_out_in_one_send() -> None:
    async def main() -> None:
        transport, protocol, peer = await packet_transport()
        for piece in (b"head", bytearray(b"er, "), memoryview(b"body")):
            transport.write(piece)
        transport.writelines([b", and", b" tail"])
        assert packets(peer) == []
        await asyncio.sleep(0)
        assert packets(peer) == [b"header, body, and tail"]
        transport.write(b"next")
        await asyncio.sleep(0)
        assert packets(peer) == [b"next"]
        await end(transport, protocol, peer)

    run(main)


def test_what_a_callback_writes_goes_out_when_it_returns() -> None:
    async def main() -> None:
        transport, protocol, peer = await packet_transport()
        loop = asyncio.get_running_loop()
        seen: list[list[bytes]] = []
        loop.call_soon(transport.writelines, [b"a", b"b"])
        loop.call_soon(lambda: seen.append(packets(peer)))
        await asyncio.sleep(0)
        assert seen == [[b"ab"]]
        await end(transport, protocol, peer)

    run(main)


def test_whatever_could_tell_sends_first() -> None:
    async def main() -> None:
        questions: list[Callable[[asyncio.Transport], object]] = [
            lambda transport: transport.get_write_buffer_size(),
            lambda transport: transport.get_extra_info("socket"),
            lambda transport: transport.set_write_buffer_limits(high=10),
            lambda transport: transport.write_eof(),
            lambda transport: transport.close(),
            lambda transport: transport.abort(),
            repr,
        ]
        for ask in questions:
            transport, protocol, peer = await packet_transport()
            transport.write(b"before")
            ask(transport)
            assert packets(peer) == [b"before"]
            await end(transport, protocol, peer)

    run(main)


def test_a_changed_bytearray_is_sent_as_it_was_written() -> None:
    async def main() -> None:
        transport, protocol, peer = await packet_transport()
        data = bytearray(b"first")
        transport.write(data)
        data[:] = b"other"
        await asyncio.sleep(0)
        assert packets(peer) == [b"first"]
        await end(transport, protocol, peer)

    run(main)


def test_a_large_buffer_is_sent_before_its_owner_can_change_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        transport, protocol = await loop.create_connection(Recorder, sock=here)
        expected = b"small"
        transport.write(b"small")
        for number in range(1, 40):  # until the kernel takes no more, and beyond
            data = bytearray([number]) * 20_000
            expected += bytes(data)
            transport.write(memoryview(data))
            data[:] = bytes(20_000)
        assert transport.get_write_buffer_size() > 0
        received = b""
        while len(received) < len(expected):
            received += await loop.sock_recv(there, 1 << 20)
        assert received == expected
        await end(transport, protocol, there)

    run(main)


def test_a_write_outside_of_the_loops_run_is_sent_at_once() -> None:
    with asyncio.Runner(loop_factory=aioxide.new_event_loop) as runner:
        transport, protocol, peer = runner.run(packet_transport())
        transport.write(b"now")
        assert packets(peer) == [b"now"]
        runner.run(end(transport, protocol, peer))


def test_what_was_written_before_a_stop_is_sent() -> None:
    loop = aioxide.new_event_loop()
    transport, protocol, peer = loop.run_until_complete(packet_transport())

    def write_and_stop() -> None:
        transport.write(b"last")
        raise KeyboardInterrupt

    loop.call_soon(write_and_stop)
    with contextlib.suppress(KeyboardInterrupt):
        loop.run_forever()
    assert packets(peer) == [b"last"]
    loop.run_until_complete(end(transport, protocol, peer))
    loop.close()


def test_a_socket_closed_behind_the_transports_back_is_never_mistaken() -> None:
    async def main() -> None:
        here, there = socket.socketpair()
        here.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Recorder, sock=here)
        number = here.fileno()
        here.close()
        # Another socket takes the number.
        mine, other = socket.socketpair()
        taken = mine if mine.fileno() == number else other
        partner = other if taken is mine else mine
        assert taken.fileno() == number
        partner.setblocking(False)
        transport.write(b"secret")
        exception = await protocol.lost
        assert isinstance(exception, OSError)
        with contextlib.suppress(BlockingIOError):
            assert partner.recv(100) == b"nothing"
        os.fstat(number)  # and it was not closed with the transport
        for sock in (there, mine, other):
            sock.close()

    run(main)


def test_received_bytes_stay_what_they_were_however_long_they_are_kept() -> None:
    """Bytes objects are received into again, but only those that nobody else holds."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for size in (600, 1024, 20_000, 65_536, 100_000):
            here, there = socket.socketpair()
            here.setblocking(False)
            there.setblocking(False)
            transport, protocol = await loop.create_connection(Recorder, sock=here)
            sent = []
            for number in range(20):
                data = bytes([number]) * size
                sent.append(data)
                await loop.sock_sendall(there, data)
                while sum(len(cast("bytes", heard)) for heard in protocol.heard) < len(sent) * size:
                    await asyncio.sleep(0)
                if number % 3 == 0:
                    hash(protocol.heard[-1])
            assert b"".join(cast("list[bytes]", protocol.heard)) == b"".join(sent)
            assert {hash(heard) for heard in protocol.heard} == {
                hash(bytes(bytearray(cast("bytes", heard)))) for heard in protocol.heard
            }
            await end(transport, protocol, there)

    run(main)


def test_an_accepted_connection_knows_its_addresses_after_its_end() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[Recorder] = []

        def make() -> Recorder:
            made.append(Recorder())
            return made[-1]

        server = await loop.create_server(make, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        client = socket.create_connection(address)
        own = client.getsockname()
        while not made or not hasattr(made[0], "transport"):
            await asyncio.sleep(0)
        client.close()
        await made[0].lost
        transport = made[0].transport
        assert transport.get_extra_info("sockname") == address
        assert transport.get_extra_info("peername") == own
        assert transport.get_extra_info("nothing", "default") == "default"
        server.close()

    run(main)


def test_arguments_can_be_given_by_name() -> None:
    async def main() -> None:
        transport, protocol, peer = await packet_transport()
        transport.write(data=b"a")
        transport.writelines(list_of_data=[b"b"])
        transport.set_protocol(protocol=protocol)
        await asyncio.sleep(0)
        assert packets(peer) == [b"ab"]
        await end(transport, protocol, peer)

    run(main)


def test_small_writes_never_wait_for_an_acknowledgement_on_either_end() -> None:
    async def main() -> None:
        accepted: list[Recorder] = []

        def make() -> Recorder:
            accepted.append(Recorder())
            return accepted[-1]

        loop = asyncio.get_running_loop()
        server = await loop.create_server(make, "127.0.0.1", 0)
        transport, _ = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
        while not (accepted and hasattr(accepted[0], "transport")):
            await asyncio.sleep(0)
        for end in (transport, accepted[0].transport):
            sock = end.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            end.close()
        await accepted[0].lost
        server.close()

    run(main)
