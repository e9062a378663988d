"""Who takes part in a test of TLS: the transport under test, and a peer that does TLS by hand.

The peer is a plain socket and an `ssl.SSLObject` between two memory BIOs. What it encrypts can be
held back, cut or falsified before it is sent, and what it receives is decrypted when the test says
so; it shares nothing with a transport. The transport is on either side: SIDES says which.
"""

import asyncio
import contextlib
import socket
import ssl
from asyncio.sslproto import _SSLProtocolTransport
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.net.parties import Net, pair, send, turns
from tests.tls.certificates import HOST, Certificates

#: What the transport under test is.
SIDES = ("server", "client")
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
VERSION_NAMES = ("1.2", "1.3")

#: A server's and a client's.
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


class TlsPeer:
    """A socket's TLS, step by step."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_side,
            server_hostname=None if server_side else HOST,
            session=session,
        )

    async def flush(self) -> None:
        """Send what was encrypted so far."""
        if self.outgoing.pending:
            await send(self.sock, self.outgoing.read())

    async def fill(self) -> None:
        """Wait for something encrypted, or for the end of it."""
        turns_waited = 0
        while True:
            try:
                data = self.sock.recv(1 << 16)
            except BlockingIOError:
                turns_waited += 1
                await asyncio.sleep(0 if turns_waited < 10 else 0.001)
                continue
            if data:
                self.incoming.write(data)
            else:
                self.incoming.write_eof()
            return

    async def do(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call something of `tls` until it has what it needs; its errors are told to the other."""
        while True:
            try:
                result = call(*args)
            except ssl.SSLWantReadError:
                await self.flush()
                await self.fill()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self.flush()
                raise
            else:
                await self.flush()
                return result

    async def handshake(self) -> None:
        await self.do(self.tls.do_handshake)

    def encrypt(self, data: bytes) -> bytes:
        """The records that hold this, which are not sent."""
        for start in range(0, len(data), 1 << 14):
            self.tls.write(data[start : start + (1 << 14)])
        return self.outgoing.read()

    async def send(self, data: bytes) -> None:
        await send(self.sock, self.encrypt(data))

    async def receive(self, count: int) -> bytes:
        """Exactly so many bytes, fewer if the other side ended them properly."""
        got = bytearray()
        while len(got) < count:
            try:
                piece = await self.do(self.tls.read, min(count - len(got), 1 << 16))
            except ssl.SSLZeroReturnError:  # this side has ended its half, too
                break
            if not piece:
                break
            got += piece
        return bytes(got)

    async def receive_all(self) -> bytes:
        """Everything up to a close_notify; ssl.SSLEOFError if there is none."""
        return await self.receive(1 << 40)

    def close_notify(self) -> bytes:
        """The record that ends what this side says, which is not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    def go(self) -> None:
        """Close the socket without a word, and without a reset because of what was not read."""
        with contextlib.suppress(OSError):
            while self.sock.recv(1 << 16):
                pass
        self.sock.close()

    async def close(self) -> None:
        """Say that this is the end, and go."""
        await send(self.sock, self.close_notify())
        self.go()


def contexts(certificates: Certificates, version: ssl.TLSVersion | None = None) -> Contexts:
    """A server's and a client's context, that speak only this version."""
    made = certificates.server_context(), certificates.client_context()
    for context in made:
        if version is not None:
            context.minimum_version = context.maximum_version = version
    return made


async def attach(
    net: Net,
    protocol: Any,
    sock: socket.socket,
    context: ssl.SSLContext,
    side: str = "server",
    **options: Any,
) -> Any:
    """A TLS transport around a connected socket, after its handshake."""
    if side == "server":
        transport, _ = await net.loop.connect_accepted_socket(
            lambda: protocol, sock, ssl=context, **options
        )
    else:
        transport, _ = await net.loop.create_connection(
            lambda: protocol, sock=sock, ssl=context, server_hostname=HOST, **options
        )
    return transport


def is_asyncios(transport: Any) -> bool:
    """Whether asyncio's own code does the TLS, and so makes the mistakes that asyncio makes."""
    return type(transport) is _SSLProtocolTransport


@contextlib.asynccontextmanager
async def secured(
    net: Net,
    both: Contexts,
    protocol: Any,
    side: str = "server",
    *,
    kind: str = "tcp",
    session: ssl.SSLSession | None = None,
    **options: Any,
) -> AsyncIterator[TlsPeer]:
    """A protocol's connection after the handshake, from the peer's end.

    At the end the transport is aborted, if it still is open.
    """
    server, client = both
    ours, theirs = (server, client) if side == "server" else (client, server)
    with pair(kind) as (sock, peer_sock):
        peer = TlsPeer(peer_sock, theirs, server_side=side == "client", session=session)
        handshake = asyncio.ensure_future(peer.handshake())
        transport = await attach(net, protocol, sock, ours, side, **options)
        await handshake
        try:
            yield peer
        finally:
            if not protocol.lost.done():
                transport.abort()
            await turns(5)


async def first_flight(
    sock: socket.socket, context: ssl.SSLContext, *, server_side: bool = False
) -> TlsPeer:
    """A peer that has sent all it can say before it hears something."""
    peer = TlsPeer(sock, context, server_side=server_side)
    with contextlib.suppress(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    await peer.flush()
    return peer
