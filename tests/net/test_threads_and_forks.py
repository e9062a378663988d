"""Several loops at once: in other threads, with connections between them, and across a fork."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.net.parties import Net, Recorder, connected, pair, pattern, send, turns, until


class Elsewhere(threading.Thread):
    """A thread with a loop of its own that runs one coroutine; `join()` gives its result."""

    def __init__(self, net: Net, main: Callable[[Net], Coroutine[Any, Any, Any]]) -> None:
        super().__init__()
        self.net, self.main = net, main
        self.result: Any = None
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        other = Net(self.net.name, self.net.new_loop, self.net.lib)
        try:
            self.result = other.run(self.main(other))
            other.finish()
            assert other.messages() == []
        except BaseException as error:
            self.failure = error
        finally:
            other.close()

    def outcome(self) -> Any:
        self.join()
        if self.failure is not None:
            raise self.failure
        return self.result


async def echo_with_streams(net: Net) -> int:
    """A server and ten clients; how many bytes came back."""

    async def handle(reader: Any, writer: Any) -> None:
        while data := await reader.read(5000):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def client(number: int) -> int:
        reader, writer = await net.lib.open_connection(*server.sockets[0].getsockname())
        data = pattern(100_000 + number, number)
        writer.write(data)
        writer.write_eof()
        got = await reader.read()
        assert got == data
        writer.close()
        await writer.wait_closed()
        return len(got)

    server = await net.lib.start_server(handle, "127.0.0.1", 0)
    counts = await asyncio.gather(*map(client, range(10)))
    server.close()
    await server.wait_closed()
    return sum(counts)


def test_loops_in_several_threads_carry_traffic_at_once(net: Net) -> None:
    threads = [Elsewhere(net, echo_with_streams) for _ in range(4)]
    here = net.run(echo_with_streams(net))
    assert [thread.outcome() for thread in threads] == [here] * 4 == [1_000_045] * 4


def test_two_threads_loops_talk_to_each_other(net: Net) -> None:
    data = pattern(2 << 20)

    async def talk(other: Net, sock: socket.socket) -> bytes:
        reader, writer = await other.lib.open_connection(sock=sock)
        writer.write(data)
        got: bytes = await reader.readexactly(len(data))
        writer.close()
        await writer.wait_closed()
        return got

    with pair() as (one, two):
        thread = Elsewhere(net, lambda other: talk(other, one))
        assert net.run(talk(net, two)) == data
        assert thread.outcome() == data


def test_another_thread_may_write_by_way_of_the_loop(net: Net) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with connected(net, recorder) as peer:

            def elsewhere() -> None:
                for number in range(100):
                    net.loop.call_soon_threadsafe(recorder.transport.write, b"%03d" % number)

            thread = threading.Thread(target=elsewhere)
            thread.start()
            got = bytearray()
            while len(got) < 300:
                with contextlib.suppress(BlockingIOError):
                    got += peer.recv(1000)
                await asyncio.sleep(0)
            thread.join()
            assert got == b"".join(b"%03d" % number for number in range(100))

    net.run(main())


def test_what_is_written_while_the_loop_stands_still_goes_out_when_it_runs(net: Net) -> None:
    """asyncio sends at once, even from outside; whoever holds writes back has to send them too."""
    with pair() as (ours, peer):

        async def attach() -> Recorder:
            recorder = Recorder()
            await net.attach(ours, recorder)
            return recorder

        recorder = net.run(attach())
        recorder.transport.write(b"from outside")
        net.run(asyncio.sleep(0.001))
        assert peer.recv(100) == b"from outside"
        recorder.transport.close()
        net.run(asyncio.sleep(0.001))
        assert recorder.lost.done()


def test_what_is_written_in_the_last_callback_before_stop_goes_out(net: Net) -> None:
    with pair() as (ours, peer):

        async def attach() -> Recorder:
            recorder = Recorder()
            await net.attach(ours, recorder)
            return recorder

        recorder = net.run(attach())

        def last() -> None:
            recorder.transport.write(b"last words")
            net.loop.stop()

        net.loop.call_soon(last)
        net.loop.run_forever()
        assert peer.recv(100) == b"last words"
        recorder.transport.abort()
        net.run(turns(3))


def test_a_loop_closed_with_open_transports_does_no_harm(net: Net) -> None:
    """asyncio leaves them to the garbage collector, with a warning each."""
    with pair() as (ours, peer):

        async def attach() -> Recorder:
            recorder = Recorder()
            await net.attach(ours, recorder)
            return recorder

        recorder = net.run(attach())
        net.finish()
        net.close()
        peer.send(b"x")
        assert recorder.events == ["made"]
        with pytest.warns(ResourceWarning, match="unclosed transport"):
            recorder.forget()
    net.loop = net.new_loop()


# Forks


def forked(child: Callable[[], bool]) -> int:
    """Run something in a forked child; its exit code is 0 when that returns true."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if child() else 1
        finally:
            os._exit(code)
    return pid


async def exit_code(pid: int) -> int:
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        await asyncio.sleep(0.002)


def child_with_a_loop_of_its_own(net: Net) -> bool:
    """Traffic on a new loop, in a child whose parent's loop was running."""
    other = Net(net.name, net.new_loop, net.lib)
    try:
        return bool(other.run(echo_with_streams(other)) == 1_000_045)
    finally:
        other.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("child", ["has a loop of its own", "exits at once"])
async def test_a_fork_leaves_the_parents_connections_alone(net: Net, child: str) -> None:
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        await send(peer, b"before ")
        await until(lambda: recorder.received == b"before ")
        pid = forked(
            (lambda: child_with_a_loop_of_its_own(net)) if "own" in child else lambda: True
        )
        await send(peer, b"during ")
        await until(lambda: recorder.received == b"before during ")
        assert await exit_code(pid) == 0
        await send(peer, b"after")
        await until(lambda: recorder.received == b"before during after")
        recorder.transport.write(b"answer")
        await turns(3)
        assert peer.recv(100) == b"answer"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_a_forked_child_does_not_send_what_its_parent_had_pending(net: Net) -> None:
    """Bytes that wait in a transport are in both processes' memory; only one may send them."""
    recorder = Recorder()
    async with connected(net, recorder) as peer:
        recorder.transport.write(b"once")
        pid = forked(lambda: child_with_a_loop_of_its_own(net))
        recorder.transport.write(b" only")
        assert await exit_code(pid) == 0
        await turns(3)
        assert peer.recv(100) == b"once only"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_a_server_goes_on_after_a_fork(net: Net) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0)
    pid = forked(lambda: child_with_a_loop_of_its_own(net))
    assert await exit_code(pid) == 0
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.send(b"hello")
        await until(lambda: made and made[0].received == b"hello")
        made[0].transport.close()
        await made[0].lost
    server.close()
    await server.wait_closed()
