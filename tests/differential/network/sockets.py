"""The loop's sock_* methods on plain sockets, one read and one write at a time, with cancellations.

What the peer got is noted when the script has it collect, and at the end.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tests.differential.network.draw import BULK
from tests.differential.network.streams import READING, WRITING, Waits
from tests.differential.network.world import World, execute, pair, reset

if TYPE_CHECKING:
    from tests.differential.engines import Engine
    from tests.differential.network.script import Act, Script


class _Acts:
    """What the acts of draw.SOCKET and draw.DATAGRAM do."""

    def __init__(self, world: World, ours: socket.socket, peer: socket.socket) -> None:
        self.world, self.loop, self.ours, self.peer = world, world.loop, ours, peer
        self.udp = world.script.wire == "udp"
        self.reads, self.writes = Waits(world, READING), Waits(world, WRITING)
        self.sent = 0

    def act(self, act: Act) -> None:
        getattr(self, act.kind)(act.n)

    def send(self, n: int) -> None:
        data = bytes((self.sent + place) % 251 for place in range(n))
        self.sent += n
        try:
            if self.udp:
                self.peer.sendto(data, self.ours.getsockname())
            else:
                self.peer.send(data)
        except OSError:
            self.world.note(READING, "the peer cannot send")

    def shut(self, _n: int) -> None:
        try:
            self.peer.shutdown(socket.SHUT_WR)
        except OSError:
            self.world.note(READING, "the peer cannot end")

    def end(self, _n: int) -> None:
        self.collect(0)
        self.peer.close()

    def reset(self, _n: int) -> None:
        reset(self.peer)

    def collect(self, _n: int) -> None:
        got: list[int] = []
        outcome = ""
        try:
            while True:
                data = self.peer.recv(1 << 17)
                got.append(len(data))
                if not data and not self.udp:
                    outcome = " and the end"
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            outcome = f" and {type(error).__name__}"
        amount: Any = got if self.udp else sum(got)
        if not self.world.script.bulk:
            self.world.note(WRITING, f"the peer got {amount}{outcome}")
        if sum(got):
            self.world.activity += 1

    # reads

    def recv(self, n: int) -> None:
        self.reads.add(f"sock_recv({n})", lambda: self.loop.sock_recv(self.ours, n))

    def recv_into(self, n: int) -> None:
        async def call() -> Any:
            buffer = bytearray(n)
            count = await self.loop.sock_recv_into(self.ours, buffer)
            return count, bytes(buffer)

        self.reads.add(f"sock_recv_into({n})", call)

    def recvfrom(self, n: int) -> None:
        async def call() -> Any:
            data, address = await self.loop.sock_recvfrom(self.ours, n)
            return data, address == self.peer.getsockname()

        self.reads.add(f"sock_recvfrom({n})", call)

    def recvfrom_into(self, n: int) -> None:
        async def call() -> Any:
            buffer = bytearray(n)
            count, address = await self.loop.sock_recvfrom_into(self.ours, buffer)
            return count, bytes(buffer), address == self.peer.getsockname()

        self.reads.add(f"sock_recvfrom_into({n})", call)

    def cancel_read(self, _n: int) -> None:
        self.reads.cancel()

    # writes

    def sendall(self, n: int) -> None:
        self.writes.add(f"sock_sendall({n})", lambda: self.loop.sock_sendall(self.ours, b"x" * n))

    def sendall_bulk(self, _n: int) -> None:
        data = bytearray(BULK)
        self.writes.add("sock_sendall(much)", lambda: self.loop.sock_sendall(self.ours, data))

    def sendto(self, n: int) -> None:
        address = self.peer.getsockname()
        self.writes.add(
            f"sock_sendto({n})", lambda: self.loop.sock_sendto(self.ours, b"x" * n, address)
        )

    def cancel_write(self, _n: int) -> None:
        self.writes.cancel()


async def _main(world: World) -> None:
    with pair(world.script.wire) as (ours, peer):
        acts = _Acts(world, ours, peer)
        await world.rounds(acts.act)
        if peer.fileno() >= 0:
            acts.collect(0)
        await world.settle()
        await acts.reads.end()
        await acts.writes.end()


def run(engine: Engine, script: Script) -> list[str]:
    """The trace of a script."""
    return execute(engine, script, _main)
