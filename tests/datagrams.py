"""A protocol that writes down what it hears, endpoints for it, and a peer that does not read."""

import asyncio
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.loops import LOOPS, Loop, run_turns

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


class crowded:  # used like a function
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
