"""Servers in trouble: no descriptors left, a listener closed in mid-accept, a factory that fails.

A server that spins or dies when descriptors run out takes its machine or its service with it. The
descriptor table is filled for real here (RLIMIT_NOFILE is lowered for the time of the test, and
the table filled up to it); other reasons for which the kernel may refuse come from a seccomp
filter (refusals.py).
"""

import asyncio
import contextlib
import errno
import gc
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.net.parties import Net, Recorder, receive_all, reset, turns, until
from tests.net.refusals import ACCEPTING, refused

ACCEPT_RETRY_DELAY = 1.0


class Served(Recorder):
    """A server's side that answers with a greeting and closes."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.write(b"welcome")
        transport.close()


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[list[int]]:
    """Every descriptor in use; those in the list may be closed to make room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 4, hard))
    held: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield held
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


def free(held: list[int]) -> None:
    while held:
        os.close(held.pop())


async def connect_all(clients: list[socket.socket], address: Any) -> None:
    for client in clients:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect(address)
    await turns(3)


def check_refusals(net: Net, number: int) -> None:
    """At least one report of `number`, and nothing else."""
    reports = net.take_reports()
    net.retries_late = net.name == "asyncio"
    assert reports
    for report in reports:
        assert report["message"] == "socket.accept() out of system resource"
        assert report["exception"].errno == number
        assert set(report) == {"message", "exception", "socket"}


async def test_a_server_without_descriptors_waits_and_recovers(net: Net) -> None:
    server = await net.loop.create_server(Served, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(5)]
        with no_descriptors_left() as held:
            await connect_all(clients, address)
            await until(lambda: net.reports)
            used = time.thread_time()
            await asyncio.sleep(0.5)
            assert time.thread_time() - used < 0.2, "the server spins"
            free(held)
            began = time.monotonic()
            for client in clients:
                assert await receive_all(client) == b"welcome"
            assert time.monotonic() - began < ACCEPT_RETRY_DELAY + 1
        check_refusals(net, errno.EMFILE)
        server.close()
        await server.wait_closed()


async def test_other_connections_are_served_while_descriptors_are_out(net: Net) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with socket.socket() as early, socket.socket() as late:
        await connect_all([early], address)
        await until(lambda: made)
        with no_descriptors_left() as held:
            await connect_all([late], address)
            await until(lambda: net.reports)
            early.send(b"still there?")
            await until(lambda: made[0].received)
            made[0].transport.close()  # its descriptor is room for the other one
            await until(lambda: len(made) == 2)
            free(held)
        check_refusals(net, errno.EMFILE)
        made[1].transport.close()
        server.close()
        await server.wait_closed()


async def test_a_server_closed_while_it_waits_for_descriptors_stays_closed(net: Net) -> None:
    server = await net.loop.create_server(Served, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with socket.socket() as client:
        with no_descriptors_left() as held:
            await connect_all([client], address)
            await until(lambda: net.reports)
            server.close()
            free(held)
        await asyncio.sleep(ACCEPT_RETRY_DELAY + 0.2)
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(address)
    net.take_reports()


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM, errno.ENFILE])
async def test_a_kernel_without_room_is_treated_like_one_without_descriptors(
    net: Net, number: int
) -> None:
    """In a thread of its own, since the filter holds for a thread and cannot be taken off."""
    done: list[str] = []

    def elsewhere() -> None:
        other = Net(net.name, net.new_loop, net.lib)

        async def main() -> None:
            server = await other.loop.create_server(Served, "127.0.0.1", 0)
            listener = server.sockets[0]
            refused(ACCEPTING, listener.fileno(), number)
            with socket.socket() as client:
                await connect_all([client], listener.getsockname())
                await until(lambda: other.reports)
                used = time.thread_time()
                await asyncio.sleep(0.3)
                assert time.thread_time() - used < 0.15, "the server spins"
                check_refusals(other, number)
                server.close()
            await turns(3)

        try:
            other.run(main())
            done.append("well")
        finally:
            other.close()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert done == ["well"]


# Who is gone before it is accepted


async def test_a_client_that_resets_before_it_is_accepted_does_no_harm(net: Net) -> None:
    server = await net.loop.create_server(Served, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    for _ in range(3):
        with socket.create_connection(address) as gone:
            reset(gone)
    with socket.create_connection(address) as stays:
        stays.setblocking(False)
        assert await receive_all(stays) == b"welcome"
    server.close()
    await server.wait_closed()


async def test_a_listener_closed_by_what_it_accepts_stops_accepting(net: Net) -> None:
    """The first of several waiting clients has the server closed, in the middle of a batch."""
    made: list[Served] = []

    class Closer(Served):
        def connection_made(self, transport: Any) -> None:
            made.append(self)
            server.close()
            super().connection_made(transport)

    server = await net.loop.create_server(Closer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(20)]
        await connect_all(clients, address)
        await until(lambda: made)
        await asyncio.gather(*(one.lost for one in made))
        await turns(5)
        ends = [await outcome(client) for client in clients]
    assert b"welcome" in ends
    assert set(ends) <= {b"welcome", b"", ConnectionResetError, ConnectionRefusedError}
    assert not server.is_serving()
    await server.wait_closed()


async def outcome(client: socket.socket) -> Any:
    try:
        return await receive_all(client)
    except OSError as error:
        return type(error)


async def test_a_listener_can_be_closed_by_a_callback_of_the_turn_it_is_ready_in(net: Net) -> None:
    server = await net.loop.create_server(Served, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with socket.create_connection(address) as client:
        client.setblocking(False)
        net.loop.call_soon(server.close)
        end = await outcome(client)
        assert end in {b"welcome", b"", ConnectionResetError}
    await server.wait_closed()


# Factories that fail


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("debug", [False, True])
async def test_a_server_goes_on_after_a_factory_that_fails(net: Net, debug: bool) -> None:
    """asyncio reports it in debug mode only, and leaves the socket to the garbage collector."""
    failing = [True, False]

    def factory() -> Recorder:
        if failing.pop(0):
            raise LookupError("no protocol today")
        return Served()

    net.loop.set_debug(debug)
    server = await net.loop.create_server(factory, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with socket.create_connection(address) as unlucky, socket.create_connection(address) as lucky:
        unlucky.setblocking(False)
        lucky.setblocking(False)
        assert await receive_all(lucky) == b"welcome"
        await turns(5)
        reports = net.take_reports()
        assert [type(report["exception"]) for report in reports] == [LookupError] * debug
        for report in reports:
            assert report["message"] == "Error on transport creation for incoming connection"
            report.clear()
        gc.collect()
        assert await receive_all(unlucky) == b""
    net.loop.set_debug(False)
    server.close()
    await server.wait_closed()


# Servers and their ends


async def test_a_closed_server_leaves_its_connections_alone(net: Net) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with socket.create_connection(address) as client:
        client.setblocking(False)
        await until(lambda: made)
        server.close()
        server.close()
        assert not server.is_serving()
        assert server.sockets == ()
        made[0].transport.write(b"still here")
        client.send(b"me too")
        await until(lambda: made[0].received == b"me too")
        waiting = asyncio.ensure_future(server.wait_closed())
        await turns(5)
        # Up to 3.12.0 wait_closed() returned at once when the server was closed before.
        assert waiting.done() == (sys.version_info < (3, 12, 1))
        made[0].transport.close()
        await waiting
        assert await receive_all(client) == b"still here"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
async def test_a_server_ends_its_connections_when_told_to(net: Net, how: str) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(10)]
        await until(lambda: len(made) == 10)
        for recorder in made:
            recorder.transport.write(b"x" * (4 << 20))
        server.close()
        getattr(server, how)()
        closed = asyncio.ensure_future(server.wait_closed())
        await turns(5)
        assert closed.done() == (how == "abort_clients")
        for client in clients:
            client.setblocking(False)
            got = await receive_all(client)
            assert (len(got) == 4 << 20) == (how == "close_clients")
        await closed
    assert [recorder.events[-1] for recorder in made] == ["lost"] * 10


async def test_a_cancelled_serve_forever_closes_the_server(net: Net) -> None:
    async with await net.loop.create_server(Served, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        forever = asyncio.ensure_future(server.serve_forever())
        await turns(3)
        assert server.is_serving()
        forever.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forever
        assert not server.is_serving()
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(address)


async def test_a_server_that_has_not_started_serves_nobody(net: Net) -> None:
    server = await net.loop.create_server(Served, "127.0.0.1", 0, start_serving=False)
    address = server.sockets[0].getsockname()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    await server.start_serving()
    await server.start_serving()
    with socket.create_connection(address) as client:
        client.setblocking(False)
        assert await receive_all(client) == b"welcome"
    server.close()
    await server.wait_closed()
    with pytest.raises(RuntimeError, match="is closed"):
        await server.serve_forever()
