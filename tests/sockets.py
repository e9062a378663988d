"""Sockets that a program made itself, and waiting for what is done with them."""

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any

from tests.loops import Loop, run_turns

Pair = tuple[socket.socket, socket.socket]


def udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind(("127.0.0.1", 0))
    return made


def listener() -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


def waiting(loop: Loop, call: Awaitable[Any]) -> "asyncio.Task[Any]":
    """A task that has begun to wait."""
    task = loop.create_task(returned(call))
    run_turns(loop, 2)
    assert not task.done()
    return task


async def returned(call: Awaitable[Any]) -> Any:
    return await call


def within(loop: Loop, call: Awaitable[Any]) -> Any:
    return loop.run_until_complete(asyncio.wait_for(call, 10))


def fill(sock: socket.socket) -> int:
    """Send until the socket takes no more."""
    sent = 0
    while True:
        try:
            sent += sock.send(b"x" * 65536)
        except BlockingIOError:
            return sent
