"""TLS sessions without a socket: both engines do what `ssl.SSLObject` does, byte for byte.

Every test runs on three: Python's own SSLObject between two memory BIOs, which vouches for what
is asserted, the engine that calls the same methods natively, and the one that calls OpenSSL.
"""

import _ssl
import ctypes
import gc
import os
import ssl
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from aioxide import _core
from tests.tls.certificates import HOST, Certificates

RECORD = 16 * 1024
SIZES = (0, 1, 5, 1024, RECORD - 1, RECORD, RECORD + 1, 65536, 200_000)
AGAIN = (ssl.SSLWantReadError, ssl.SSLSyscallError)


class Session(Protocol):
    """What all three have."""

    @property
    def object(self) -> ssl.SSLObject: ...
    def do_handshake(self) -> bool: ...
    def unwrap(self) -> bool: ...
    def read(self, size: int, /) -> bytes | None: ...
    def write(self, data: bytes, /) -> int | None: ...
    def feed(self, data: bytes | bytearray, size: int = 0) -> list[bytes | None]: ...
    def take_outgoing(self) -> bytes | None: ...


Make = Callable[[ssl.SSLContext, bool, str | None], Session]


class Plain:
    """What a session is, said with Python's own classes."""

    def __init__(self, context: ssl.SSLContext, server_side: bool, name: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side, name)

    def do_handshake(self) -> bool:
        try:
            self.object.do_handshake()
        except AGAIN:
            return False
        return True

    def unwrap(self) -> bool:
        try:
            self.object.unwrap()
        except AGAIN:
            return False
        return True

    def read(self, size: int, /) -> bytes | None:
        try:
            return self.object.read(size)
        except AGAIN:
            return None

    def write(self, data: bytes, /) -> int | None:
        try:
            return self.object.write(data)
        except AGAIN:
            return None

    def feed(self, data: bytes | bytearray, size: int = 0) -> list[bytes | None]:
        self._incoming.write(data)
        pieces: list[bytes | None] = []
        while size:
            piece = self.read(size)
            if piece is None:
                break
            pieces.append(piece or None)
            if not piece:
                break
        return pieces

    def take_outgoing(self) -> bytes | None:
        return self._outgoing.read() or None


def _native(direct: bool) -> Make:
    def make(context: ssl.SSLContext, server_side: bool, name: str | None) -> Session:
        made = _core.tls_session(context, server_side, name, direct=direct)
        assert made.direct == (direct and type(made.object) is ssl.SSLObject)
        return made

    return make


_MAKERS: dict[str, Make] = {"ssl": Plain, "memory": _native(False)}
if _core.tls_engine() == "direct":
    _MAKERS["direct"] = _native(True)


@pytest.fixture(params=_MAKERS)
def make(request: pytest.FixtureRequest) -> Make:
    return _MAKERS[request.param]


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return ssl.TLSVersion[request.param]


def move(sender: Session, receiver: Session) -> None:
    receiver.feed(sender.take_outgoing() or b"")


def handshake(client: Session, server: Session) -> None:
    done = [False, False]
    for _ in range(10):
        done[0] = done[0] or client.do_handshake()
        move(client, server)
        done[1] = done[1] or server.do_handshake()
        move(server, client)
        if all(done):
            # The tickets of TLS 1.3 come after the handshake.
            assert client.read(1) is None
            return
    raise AssertionError("the handshake does not end")


def pair(
    make: Make, certificates: Certificates, version: ssl.TLSVersion | None = None
) -> tuple[Session, Session]:
    contexts = certificates.client_context(), certificates.server_context()
    for context in contexts:
        if version is not None:
            context.minimum_version = context.maximum_version = version
    client, server = make(contexts[0], False, HOST), make(contexts[1], True, None)
    handshake(client, server)
    return client, server


def content(size: int) -> bytes:
    return bytes(at * 7 % 251 for at in range(size))


def joined(pieces: list[bytes | None]) -> bytes:
    return b"".join(piece for piece in pieces if piece is not None)


Told = list[tuple[object, ...]]


def told(run: Callable[[], object]) -> tuple[object, ...]:
    """What the exception says, or what was returned."""
    try:
        return ("returned", run())
    except (ssl.SSLError, ValueError) as error:
        names = ("errno", "library", "reason", "verify_code", "verify_message")
        return (type(error), error.args, *(getattr(error, name, None) for name in names))


def same(act: Callable[[Make], Told]) -> Told:
    """Runs the same on all engines; they must agree."""
    outcomes = {name: act(make) for name, make in _MAKERS.items()}
    for name, outcome in outcomes.items():
        assert outcome == outcomes["ssl"], name
    return outcomes["ssl"]


@pytest.mark.parametrize("size", SIZES)
def test_data_of_any_size_comes_through_both_ways(
    make: Make, certificates: Certificates, version: ssl.TLSVersion, size: int
) -> None:
    client, server = pair(make, certificates, version)
    data = content(size)
    for sender, receiver in ((client, server), (server, client)):
        assert sender.write(data) == size
        assert joined(receiver.feed(sender.take_outgoing() or b"", RECORD)) == data
        assert receiver.read(1) is None


@pytest.mark.parametrize("cut", [1, 5, 6, 1000, 7001, RECORD, 40_000])
def test_ciphertext_may_arrive_in_pieces(
    make: Make, certificates: Certificates, version: ssl.TLSVersion, cut: int
) -> None:
    client, server = pair(make, certificates, version)
    data = content(3000 if cut < 100 else 100_000)
    client.write(data)
    sent = client.take_outgoing() or b""
    pieces = [server.feed(sent[at : at + cut], 3000) for at in range(0, len(sent), cut)]
    assert b"".join(map(joined, pieces)) == data


def test_what_is_not_read_is_kept(make: Make, certificates: Certificates) -> None:
    client, server = pair(make, certificates)
    data = content(50_000)
    for start in range(0, len(data), 10_000):
        client.write(data[start : start + 10_000])
        lent = bytearray(client.take_outgoing() or b"")
        server.feed(lent)
        lent[:] = bytes(len(lent))  # The memory was lent, and is somebody else's again.
    received = b""
    while piece := server.read(7_777):
        received += piece
    assert received == data


def test_many_writes_go_out_as_one(make: Make, certificates: Certificates) -> None:
    client, server = pair(make, certificates)
    pieces = [content(size) for size in (10, 5_000, 1, 70_000, 300)]
    for piece in pieces:
        client.write(piece)
    sent = client.take_outgoing()
    assert client.take_outgoing() is None
    assert joined(server.feed(sent or b"", RECORD)) == b"".join(pieces)


def test_the_end_is_told_and_answered(
    make: Make, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    client, server = pair(make, certificates, version)
    client.write(b"last words")
    assert not client.unwrap()
    assert server.feed(client.take_outgoing() or b"", 100) == [b"last words", None]
    assert server.read(10) == b""
    assert server.unwrap()
    move(server, client)
    assert client.unwrap()


def test_the_other_side_may_still_be_read_after_an_end(certificates: Certificates) -> None:
    def act(make: Make) -> Told:
        client, server = pair(make, certificates)
        server.write(b"on its way")
        client.unwrap()
        sent = server.take_outgoing() or b""
        return [
            told(lambda: client.feed(sent, 100)),
            told(lambda: server.feed(client.take_outgoing() or b"", 100)),
            told(lambda: server.write(b"more")),
            told(server.unwrap),
            told(lambda: client.feed(server.take_outgoing() or b"", 100)),
            told(lambda: client.read(100)),
            told(lambda: client.write(b"too late")),
            told(client.unwrap),
            told(lambda: client.read(100)),
        ]

    same(act)


def _damaged(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    "damage",
    [
        _damaged,
        lambda _: b"GET / HTTP/1.1\r\n\r\n",
        lambda _: b"\x17\x03\x03\xff\xff" + bytes(100),
        lambda data: b"\x99" + data[1:],
        lambda data: data[:3] + b"\x00\x00" + data[5:],
        lambda data: b"\x16" + data[1:],
        lambda data: data + data,
        lambda data: b"\x15\x03\x03\x00\x02\x02\x28" + data,
        lambda data: b"\x14\x03\x03\x00\x01\x01" * 40 + data,
        lambda _: b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",
    ],
    ids=[
        "a flipped bit",
        "another protocol",
        "a huge record",
        "an unknown type",
        "an empty record",
        "a handshake",
        "twice",
        "an alert in the clear",
        "cipher changes",
        "a request for a handshake",
    ],
)
def test_what_is_wrong_is_told_as_python_tells_it(
    certificates: Certificates, version: ssl.TLSVersion, damage: Callable[[bytes], bytes]
) -> None:
    def act(make: Make) -> Told:
        client, server = pair(make, certificates, version)
        client.write(b"good")
        seen = [told(lambda: server.feed(client.take_outgoing() or b"", 100))]
        client.write(b"text")
        wrong = damage(client.take_outgoing() or b"")
        seen += [told(lambda: server.feed(wrong, 100)) for _ in range(2)]
        seen += [told(lambda: server.read(100)), told(lambda: server.write(b"answer"))]
        # The alert, and what becomes of it.
        alert = server.take_outgoing()
        seen += [told(lambda: client.feed(alert or b"", 100)), told(lambda: client.read(100))]
        seen += [told(client.unwrap), told(server.unwrap)]
        return [*seen, ("an alert", alert is not None)]

    assert "returned" not in {step[0] for step in same(act)[2:3]}


def test_a_truncated_record_waits_for_its_rest(make: Make, certificates: Certificates) -> None:
    client, server = pair(make, certificates)
    client.write(b"text")
    sent = client.take_outgoing() or b""
    assert server.feed(sent[:-1], 100) == []
    assert server.read(100) is None
    assert server.feed(sent[-1:], 100) == [b"text"]


def test_a_client_without_certificate_hears_of_it(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    def act(make: Make) -> Told:
        asking = certificates.server_context()
        asking.load_verify_locations(certificates.authority)
        asking.verify_mode = ssl.CERT_REQUIRED
        asking.minimum_version = asking.maximum_version = version
        client = make(certificates.client_context(), False, HOST)
        server = make(asking, True, None)
        seen = []
        for _ in range(4):
            seen.append(told(client.do_handshake))
            move(client, server)
            seen.append(told(server.do_handshake))
            sent = server.take_outgoing() or b""
            seen.append(told(lambda sent=sent: client.feed(sent)))  # type: ignore[misc]
        return [*seen, told(lambda: client.read(100)), told(lambda: client.write(b"text"))]

    assert any(isinstance(step[0], type) for step in same(act))


@pytest.mark.parametrize("server", ["elsewhere", "expired", "self_signed", "foreign"])
def test_a_wrong_certificate_is_told_as_python_tells_it(
    certificates: Certificates, server: str
) -> None:
    def act(make: Make) -> Told:
        client = make(certificates.client_context(), False, HOST)
        other = make(certificates.server_context(getattr(certificates, server)), True, None)
        seen = [told(client.do_handshake)]
        move(client, other)
        seen.append(told(other.do_handshake))
        move(other, client)
        seen.append(told(client.do_handshake))
        move(client, other)
        return [*seen, told(other.do_handshake), told(lambda: other.read(10))]

    assert same(act)[2][0] is ssl.SSLCertVerificationError


def test_reading_and_writing_before_the_handshake(certificates: Certificates) -> None:
    def act(make: Make) -> Told:
        client = make(certificates.client_context(), False, HOST)
        return [
            told(lambda: client.read(10)),
            told(lambda: client.write(b"early")),
            told(client.unwrap),
            ("sent", (client.take_outgoing() or b"")[:3]),
        ]

    same(act)


@pytest.mark.parametrize("fails", [False, True])
def test_messages_are_shown_to_the_contexts_callback(
    certificates: Certificates, fails: bool
) -> None:
    def act(make: Make) -> Told:
        seen: Told = []

        def show(_: Any, *message: Any) -> None:
            seen.append(message[:3])
            if fails and armed:
                raise ArithmeticError("the callback's own")

        armed = False
        context = certificates.server_context()
        context._msg_callback = show  # type: ignore[attr-defined]
        client, server = make(certificates.client_context(), False, HOST), make(context, True, None)
        handshake(client, server)
        client.write(b"text")
        armed = True
        try:
            seen.append(("read", server.feed(client.take_outgoing() or b"", 100)))
        except ArithmeticError as error:
            seen.append((repr(error),))
        return seen

    assert ("ArithmeticError" in str(same(act))) == fails


class Loud(ssl.SSLObject):
    """A class with methods of its own."""

    def read(self, size: int = 1024, buffer: Any = None) -> Any:
        return super().read(size, buffer).upper()

    def write(self, data: Any) -> int:
        return super().write(bytes(data) + b"!") - 1


def test_methods_of_a_class_of_ones_own_are_called(make: Make, certificates: Certificates) -> None:
    context = certificates.server_context()
    context.sslobject_class = Loud
    client, server = make(certificates.client_context(), False, HOST), make(context, True, None)
    handshake(client, server)
    client.write(b"quiet")
    assert server.feed(client.take_outgoing() or b"", 100) == [b"QUIET"]
    assert server.write(b"loud") == 4
    assert client.feed(server.take_outgoing() or b"", 100) == [b"loud!"]


def test_a_context_may_be_replaced_in_the_handshake(make: Make, certificates: Certificates) -> None:
    first, second = certificates.server_context(), certificates.server_context(certificates.rsa)

    def choose(chosen: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        assert name == HOST
        chosen.context = second

    first.sni_callback = choose
    client, server = make(certificates.client_context(), False, HOST), make(first, True, None)
    handshake(client, server)
    assert server.object.context is second
    client.write(b"text")
    assert server.feed(client.take_outgoing() or b"", 100) == [b"text"]


@pytest.mark.parametrize("make", [name for name in _MAKERS if name != "ssl"], indirect=True)
def test_who_comes_back_during_a_handshake_is_told_to_come_again(
    make: Make, certificates: Certificates
) -> None:
    # Not with an SSLObject itself: OpenSSL crashes when it is entered twice.
    told: list[object] = []

    def come_back(*_: object) -> None:
        told.append((server.read(10), server.write(b"early"), server.do_handshake()))
        told.append(server.unwrap())

    context = certificates.server_context()
    context.sni_callback = come_back
    client, server = make(certificates.client_context(), False, HOST), make(context, True, None)
    handshake(client, server)
    assert told == [(None, None, False), False]
    client.write(b"text")
    assert server.feed(client.take_outgoing() or b"", 100) == [b"text"]


def test_the_object_outlives_the_session(make: Make, certificates: Certificates) -> None:
    client, server = pair(make, certificates)
    client.write(b"text")
    server.feed(client.take_outgoing() or b"")
    left = server.object
    del server
    gc.collect()
    assert left.read(100) == b"text"
    with pytest.raises(ssl.SSLWantReadError):
        left.read(100)


def test_the_object_and_the_session_share_what_arrives(
    make: Make, certificates: Certificates
) -> None:
    client, server = pair(make, certificates)
    for by_object in (True, False, True):
        client.write(b"text")
        server.feed(client.take_outgoing() or b"")
        read = server.object.read if by_object else server.read
        assert read(100) == b"text"
    server.object.write(b"answer")
    assert client.feed(server.take_outgoing() or b"", 100) == [b"answer"]


def test_a_session_in_a_cycle_is_collected(make: Make, certificates: Certificates) -> None:
    server = make(certificates.server_context(), True, None)
    server.object.session_of_it = server  # type: ignore[attr-defined]
    gone = weakref.ref(server.object)
    del server
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("own", ["client", "foreign_client", None])
def test_a_certificate_may_be_asked_for_later(certificates: Certificates, own: str | None) -> None:
    def act(make: Make) -> Told:
        asking = certificates.server_context()
        asking.load_verify_locations(certificates.authority)
        asking.verify_mode = ssl.CERT_REQUIRED
        asked = certificates.client_context(getattr(certificates, own) if own else None)
        asking.post_handshake_auth = asked.post_handshake_auth = True
        client, server = make(asked, False, HOST), make(asking, True, None)
        handshake(client, server)
        server.object.verify_client_post_handshake()
        server.write(b"who are you?")
        seen = [told(lambda: client.feed(server.take_outgoing() or b"", 100))]
        client.write(b"it is me")
        seen.append(told(lambda: server.feed(client.take_outgoing() or b"", 100)))
        seen.append(told(server.object.getpeercert))
        return [*seen, told(lambda: client.feed(server.take_outgoing() or b"", 100))]

    assert (same(act)[1] == ("returned", [b"it is me"])) == (own == "client")


def test_keys_are_logged_as_the_context_has_it(
    make: Make, certificates: Certificates, tmp_path: Path
) -> None:
    context = certificates.server_context()
    context.keylog_filename = str(tmp_path / "keys")
    client, server = make(certificates.client_context(), False, HOST), make(context, True, None)
    handshake(client, server)
    client.write(b"text")
    assert server.feed(client.take_outgoing() or b"", 100) == [b"text"]
    assert "CLIENT_TRAFFIC_SECRET_0" in (tmp_path / "keys").read_text()


@pytest.mark.skipif("direct" not in _MAKERS, reason="OpenSSL cannot be called directly here")
def test_errors_that_others_left_do_not_count(certificates: Certificates) -> None:
    openssl = ctypes.CDLL(getattr(_ssl, "__file__", None))

    def leave_an_error() -> None:
        assert openssl.BIO_new_file(b"/no such file", b"r") == 0
        assert openssl.ERR_peek_error() != 0

    client, server = pair(_MAKERS["direct"], certificates)
    leave_an_error()
    assert server.read(100) is None
    leave_an_error()
    assert client.write(b"text") == 4
    sent = client.take_outgoing() or b""
    leave_an_error()
    assert server.feed(sent[:10], 100) == []
    assert server.feed(sent[10:], 100) == [b"text"]
    client.unwrap()
    leave_an_error()
    assert server.feed(client.take_outgoing() or b"", 100) == [None]


def test_an_engine_is_chosen_by_the_environment() -> None:
    def engine(choice: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", "from aioxide import _core; print(_core.tls_engine())"],
            env={**os.environ, "AIOXIDE_TLS": choice},
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()

    assert engine("memory") == "memory"
    assert engine("direct") == engine("") != "memory"
    assert engine("nonsense") == ""


@pytest.fixture
def busy() -> Iterator[list[Exception]]:
    failed: list[Exception] = []
    yield failed
    assert not failed


def test_another_thread_may_ask_the_object_meanwhile(
    make: Make, certificates: Certificates, busy: list[Exception]
) -> None:
    client, server = pair(make, certificates)
    over = threading.Event()

    def ask() -> None:
        try:
            while not over.is_set():
                server.object.pending()
                server.object.cipher()
                server.object.version()
        except Exception as error:
            busy.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(200):
            client.write(content(1000))
            assert joined(server.feed(client.take_outgoing() or b"", 100)) == content(1000)
            server.write(content(1000))
            assert joined(client.feed(server.take_outgoing() or b"", 100)) == content(1000)
    finally:
        over.set()
        thread.join()
