"""A thread that computes, beside a loop that serves: neither may starve the other.

The interpreter's lock changes hands every 5 ms when both want it. A loop that lets go of it for
each wait, however short, has it back only then, and answers 200 requests a second. Ours looks
before it lets go, and keeps it through waits that have lately been short, while the thread gets it
whenever it asks.
"""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
import threading
import time

import aioxide


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def test_a_busy_thread_and_a_busy_loop_share_the_interpreter() -> None:
    serving: queue.Queue[tuple[tuple[str, int], asyncio.Future[None]]] = queue.Queue()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        stopped = loop.create_future()
        serving.put((server.sockets[0].getsockname(), stopped))
        await stopped
        server.close()

    def run_loop() -> None:
        with asyncio.Runner(loop_factory=aioxide.new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run_loop)
    thread.start()
    address, stopped = serving.get()
    # Asked by another process, so that only the two share this interpreter.
    command = [sys.executable, "-c", CLIENT, *map(str, address)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        steps = 0
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            steps += 1
        assert client.stdout is not None
        answers = int(client.stdout.read())
    stopped.get_loop().call_soon_threadsafe(stopped.set_result, None)
    thread.join()
    # Alone it does millions; a thread that starves does next to none.
    assert steps > 50_000
    # 5 ms for each would be 200 in the second.
    assert answers > 600


CLIENT = """
import socket, sys, time
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
answers, end = 0, time.monotonic() + 1
while time.monotonic() < end:
    sock.sendall(b"x")
    sock.recv(1)
    answers += 1
print(answers)
"""
