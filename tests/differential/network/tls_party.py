"""What all runs over TLS share: contexts, a peer held by hand, and how their errors are told."""

from __future__ import annotations

import functools
import ssl
from typing import TYPE_CHECKING, Any

from tests.differential.network.trace import told
from tests.tls.certificates import temporary

if TYPE_CHECKING:
    import socket

#: A handshake and the goodbyes take some turns in which nothing is noted.
IDLE_TURNS = 12
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
JUNK = (
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x17\x03\x03\x00\x20" + bytes(32),
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x16\x03\x03",
)


@functools.cache
def contexts(way: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's context for a way."""
    version, _, how = way.partition(" ")
    with temporary() as certificates:
        elsewhere = certificates.elsewhere if how == "other name" else None
        server = certificates.server_context(elsewhere)
        client = certificates.client_context()
        if how == "stranger":
            client = ssl.create_default_context()
        if how == "no certificate":
            server.verify_mode = ssl.CERT_REQUIRED
            server.load_verify_locations(certificates.authority)
    for context in (client, server):
        context.minimum_version = context.maximum_version = _VERSIONS[version]
        context.set_alpn_protocols(["h2", "http/1.1"])
    if how == "old client":
        one, other = (client, server) if version == "1.2" else (server, client)
        one.minimum_version = one.maximum_version = ssl.TLSVersion.TLSv1_2
        other.minimum_version = other.maximum_version = ssl.TLSVersion.TLSv1_3
    if how == "no protocol":
        server.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # the key is of another kind
    return client, server


def told_all(error: BaseException | None) -> str:
    """An exception with what else a program might look at."""
    names = ("errno", "library", "reason", "verify_code", "verify_message")
    extra = {name: getattr(error, name) for name in names if hasattr(error, name)}
    return f"{told(error)} {extra}"


def send_out(transport: Any) -> None:
    """Have what was written handed to the kernel: by whoever has it, for asyncio's TLS has a
    transport under it that may put writes off."""
    transport.get_write_buffer_size()
    below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    if below is not None:
        below.get_write_buffer_size()


class Party:
    """A socket and an SSLObject, with the face of a plain peer."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.family = sock.family
        self.over = False

    def hello(self) -> bool:
        """Go on with the handshake; whether it is done."""
        self._receive()
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self.flush()
        return True

    def _receive(self) -> None:
        try:
            while data := self.sock.recv(1 << 16):
                self.incoming.write(data)
            self.over = True
        except BlockingIOError:
            pass

    def flush(self) -> None:
        """Send what TLS has to say."""
        if data := self.outgoing.read():
            self.sock.sendall(data)

    def send(self, data: bytes) -> None:
        """As a record."""
        self.tls.write(data)
        self.flush()

    def halves(self, data: bytes) -> tuple[bytes, bytes]:
        """A record in two parts."""
        self.tls.write(data)
        record = self.outgoing.read()
        return record[: len(record) // 2], record[len(record) // 2 :]

    def recv(self, n: int) -> bytes:
        """What came, as from a socket; an end without a goodbye is an error."""
        self._receive()
        try:
            return self.tls.read(n)
        except ssl.SSLWantReadError:
            if self.over:
                raise ConnectionAbortedError from None
            raise BlockingIOError from None

    def shutdown(self, _how: int) -> None:
        """Say goodbye, and wait for no answer."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def fileno(self) -> int:
        return self.sock.fileno()

    def setsockopt(self, *args: Any) -> None:
        self.sock.setsockopt(*args)

    def close(self) -> None:
        self.sock.close()
