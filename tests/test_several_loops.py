"""Loops in several threads and in forked processes: each has its own connections and servers."""

import asyncio
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aioxide
from tests.loops import LOOPS, Loop


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve() -> tuple[asyncio.Server, int]:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def talk(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await converse(reader, writer)
    writer.close()
    await writer.wait_closed()


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for number in range(20):
        writer.write(b"%d\n" % number)
        assert await reader.readline() == b"%d\n" % number


@pytest.fixture(autouse=True)
def fork_beside_threads() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # os.fork() in a threaded program
        yield


def in_child(body: Callable[[], object]) -> int:
    """Fork, call `body` in the child, and return the child's number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(20)
            body()
            code = 0
        finally:
            os._exit(code)
    return child


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("new_loop", LOOPS)
def test_loops_in_several_threads_serve_each_other(new_loop: Callable[[], Loop]) -> None:
    count = 4
    ports = [0] * count
    together = threading.Barrier(count, timeout=20)
    failures: list[BaseException] = []

    async def main(index: int) -> None:
        loop = asyncio.get_running_loop()
        server, ports[index] = await serve()
        await loop.run_in_executor(None, together.wait)
        await asyncio.gather(*[talk(port) for port in ports for _ in range(5)])
        await loop.run_in_executor(None, together.wait)
        server.close()
        await server.wait_closed()

    def run(index: int) -> None:
        loop = new_loop()
        try:
            loop.run_until_complete(main(index))
            loop.run_until_complete(loop.shutdown_default_executor())
        except BaseException as exc:
            failures.append(exc)
        finally:
            loop.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_child_has_its_own_loop_while_its_parents_runs(new_loop: Callable[[], Loop]) -> None:
    async def main() -> None:
        server, port = await serve()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await converse(reader, writer)

        def body() -> None:
            async def child_main() -> None:
                own_server, own_port = await serve()
                await talk(own_port)
                await talk(port)
                own_server.close()

            asyncio._set_running_loop(None)
            loop = new_loop()
            loop.run_until_complete(child_main())
            loop.close()

        child = in_child(body)
        ended = asyncio.get_running_loop().run_in_executor(None, exit_code, child)
        while not ended.done():
            await talk(port)
        assert await ended == 0
        await converse(reader, writer)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    loop = new_loop()
    loop.run_until_complete(asyncio.wait_for(main(), 20))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_a_child_that_closes_what_it_inherited_takes_nothing_from_its_parent() -> None:
    # On asyncio it does: they share one epoll descriptor, and the child unregisters there.
    loop = aioxide.new_event_loop()

    async def begin() -> Any:
        server, port = await serve()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await converse(reader, writer)
        return server, port, reader, writer

    server, port, reader, writer = loop.run_until_complete(begin())

    def body() -> None:
        async def child_main() -> None:
            own_server, own_port = await serve()
            await talk(own_port)
            own_server.close()
            server.close()
            writer.transport.abort()
            await asyncio.sleep(0.01)

        loop.run_until_complete(child_main())
        loop.close()

    assert exit_code(in_child(body)) == 0

    async def go_on() -> None:
        await talk(port)
        await converse(reader, writer)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(asyncio.wait_for(go_on(), 20))
    loop.close()


@pytest.mark.parametrize("new_loop", LOOPS)
def test_what_was_written_before_a_fork_is_sent_once(new_loop: Callable[[], Loop]) -> None:
    near, far = socket.socketpair()

    async def main() -> None:
        _, writer = await asyncio.open_connection(sock=near)
        writer.write(b"before ")
        child = os.fork()
        if child == 0:
            sys.exit(0)  # up through the loop, which ends its turn
        assert exit_code(child) == 0
        writer.write(b"after")
        writer.close()
        await writer.wait_closed()

    parent = os.getpid()
    loop = new_loop()
    try:
        loop.run_until_complete(main())
    finally:
        if os.getpid() != parent:
            os._exit(0)
    loop.close()
    with far:
        far.settimeout(10)
        received = b""
        while data := far.recv(100):
            received += data
    assert received == b"before after"
