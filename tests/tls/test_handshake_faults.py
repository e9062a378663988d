"""Handshakes that go wrong: a peer that speaks something else, half of it, nothing, or goes away.

Each ends in asyncio's exception, within its time, with the descriptor closed and the protocol never
told of a connection that never was.
"""

import asyncio
import contextlib
import socket
import ssl
import sys
import warnings
from typing import Any, cast

import pytest

from tests.net.parties import Net, Recorder, pair, receive_all, reset, send, turns, until
from tests.net.test_accept_faults import check_refusals, connect_all, free, no_descriptors_left
from tests.tls.certificates import Certificates
from tests.tls.parties import (
    SIDES,
    VERSION_NAMES,
    VERSIONS,
    TlsPeer,
    attach,
    contexts,
    first_flight,
)

both_sides = pytest.mark.parametrize("side", SIDES)
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=VERSION_NAMES)

HELLO = b"\x16\x03\x01"


async def outcome(
    net: Net, certificates: Certificates, side: str, sock: socket.socket, **options: Any
) -> BaseException:
    """What a handshake that fails ends in; the socket is closed then, and nothing was told."""
    recorder = Recorder()
    context = contexts(certificates)[SIDES.index(side)]
    with pytest.raises((OSError, TimeoutError)) as caught:
        await attach(net, recorder, sock, context, side, **options)
    await turns(3)
    assert recorder.events == []
    assert sock.fileno() == -1
    return caught.value


# A peer that speaks something else


@both_sides
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (bytes(100), "WRONG_VERSION_NUMBER"),
        (b"220 mail.test ESMTP\r\n", "WRONG_VERSION_NUMBER"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP_REQUEST"),
        (HELLO + b"\xff\xff" + bytes(70_000), "PACKET_LENGTH_TOO_LONG"),
    ],
    ids=["zeros", "text", "http", "huge record"],
)
async def test_what_is_no_tls_is_refused(
    net: Net, certificates: Certificates, side: str, said: bytes, reason: str
) -> None:
    with pair() as (sock, peer):
        await send(peer, said)
        error = await outcome(net, certificates, side, sock)
        assert isinstance(error, ssl.SSLError)
        assert error.reason == reason
        with contextlib.suppress(ConnectionResetError):
            await receive_all(peer)


@both_sides
async def test_a_hello_without_an_end_is_refused_before_it_fills_the_memory(
    net: Net, certificates: Certificates, side: str
) -> None:
    """A message of 16 MiB, as far as its header goes."""
    message = b"\x01\xff\xff\xff" if side == "server" else b"\x02\xff\xff\xff"
    with pair() as (sock, peer):
        with contextlib.suppress(OSError):
            await send(peer, HELLO + b"\x40\x00" + message + bytes((1 << 14) - 4))
        error = await outcome(net, certificates, side, sock, ssl_handshake_timeout=5)
        assert isinstance(error, ssl.SSLError)
        assert error.reason == "EXCESSIVE_MESSAGE_SIZE"


@both_sides
async def test_a_refusal_by_the_peer_is_told(
    net: Net, certificates: Certificates, side: str
) -> None:
    with pair() as (sock, peer):
        if side == "server":
            hello = await first_flight(peer, certificates.client_context())
            assert hello.tls.version() is None
        await send(peer, b"\x15\x03\x03\x00\x02\x02\x28")
        error = await outcome(net, certificates, side, sock)
        assert isinstance(error, ssl.SSLError)
        assert error.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"


@both_sides
async def test_a_handshake_message_that_is_nonsense_is_refused(
    net: Net, certificates: Certificates, side: str
) -> None:
    with pair() as (sock, peer):
        await send(peer, HELLO + b"\x00\x10" + b"\x01\x00\x00\x0c" + b"\xee" * 12)
        assert isinstance(await outcome(net, certificates, side, sock), ssl.SSLError)


@both_sides
async def test_a_peer_that_only_speaks_tls_1_0_is_refused(
    net: Net, certificates: Certificates, side: str
) -> None:
    server, client = contexts(certificates)
    old = client if side == "server" else server
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, old, server_side=side == "client")
        handshake = asyncio.ensure_future(peer.handshake())
        error = await outcome(net, certificates, side, sock)
        assert isinstance(error, ssl.SSLError)
        assert error.reason in {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"}
        with contextlib.suppress(ssl.SSLError, ConnectionResetError):
            await handshake


@both_sides
@both_versions
@pytest.mark.parametrize("flight", [1, 2])
async def test_a_handshake_that_is_falsified_on_its_way_is_refused(
    net: Net, certificates: Certificates, side: str, version: Any, flight: int
) -> None:
    """One bit in the middle of a flight. Whoever notices first ends it."""
    ours, theirs = contexts(certificates, version)[:: 1 if side == "server" else -1]
    recorder = Recorder()
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, theirs, server_side=side == "client")
        falsifying = asyncio.ensure_future(falsify(peer, flight))
        end: Any
        try:
            await attach(net, recorder, sock, ours, side, ssl_handshake_timeout=2)
        except OSError as error:
            end = error
            assert recorder.events == []
        else:
            end = await recorder.lost
        assert isinstance(end, ssl.SSLError | ConnectionError)
        await falsifying
        await turns(3)
        assert sock.fileno() == -1


async def falsify(peer: TlsPeer, flight: int) -> None:
    """Shake hands, with one bit of one flight turned; then listen to the end, and go."""
    number = 0
    with contextlib.suppress(ssl.SSLError, OSError):
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            if said := bytearray(peer.outgoing.read()):
                number += 1
                if number == flight:
                    said[len(said) // 2] ^= 1
                await send(peer.sock, bytes(said))
            await peer.fill()
            if peer.incoming.eof:
                break
    with contextlib.suppress(OSError):
        await peer.flush()
    peer.go()


# A peer that says too little


@both_sides
@pytest.mark.parametrize(
    "said",
    [b"", HELLO, HELLO + b"\x02\x00" + b"abc", HELLO + b"\x00\x00"],
    ids=["nothing", "half a header", "half a record", "an empty record"],
)
async def test_a_peer_that_stays_silent_is_given_up_in_time(
    net: Net, certificates: Certificates, side: str, said: bytes
) -> None:
    with pair() as (sock, peer):
        await send(peer, said)
        error = await outcome(net, certificates, side, sock, ssl_handshake_timeout=0.05)
        assert isinstance(error, ConnectionAbortedError)
        assert str(error) == (
            "SSL handshake is taking longer than 0.05 seconds: aborting the connection"
        )


@both_sides
async def test_a_peer_that_drips_its_hello_is_given_up_in_time(
    net: Net, certificates: Certificates, side: str
) -> None:
    """The time is that of the whole handshake, however busy the peer looks."""
    with pair() as (sock, peer):

        async def drip() -> None:
            with contextlib.suppress(OSError):
                await send(peer, HELLO + b"\x40\x00")
                while True:
                    await send(peer, b"\x01")
                    await asyncio.sleep(0.005)

        dripping = asyncio.ensure_future(drip())
        error = await outcome(net, certificates, side, sock, ssl_handshake_timeout=0.1)
        assert isinstance(error, ConnectionAbortedError | ssl.SSLError)
        await dripping


# A peer that goes away


@both_sides
@both_versions
@pytest.mark.parametrize("how", ["fin", "half", "rst"])
@pytest.mark.parametrize("flight", [0, 1, 2])
async def test_a_peer_that_goes_in_the_handshake_ends_it(
    net: Net, certificates: Certificates, side: str, version: Any, how: str, flight: int
) -> None:
    """`flight` is how many of its own it sends before, where the handshake has so many."""
    ours, theirs = contexts(certificates, version)[:: 1 if side == "server" else -1]
    recorder = Recorder()
    with pair() as (sock, peer_sock):
        peer = TlsPeer(peer_sock, theirs, server_side=side == "client")

        async def talk() -> None:
            if side == "client":
                await peer.fill()
            for number in range(flight):
                with contextlib.suppress(ssl.SSLWantReadError):
                    peer.tls.do_handshake()
                await peer.flush()
                if number + 1 < flight:
                    await peer.fill()
            if how == "half":
                peer_sock.shutdown(socket.SHUT_WR)
            elif how == "fin":
                peer.go()
            else:
                reset(peer_sock)

        talking = asyncio.ensure_future(talk())
        try:
            await attach(net, recorder, sock, ours, side)
        except OSError as error:
            # A FIN in the handshake is a reset connection; a client whose flight is the last hears
            # of it afterwards.
            assert isinstance(error, ConnectionResetError | BrokenPipeError)  # noqa: PT017
            assert recorder.events == []
        else:
            assert flight > 0
            await recorder.lost
            assert recorder.events[0] == "made"
        await talking
        await turns(3)
        assert sock.fileno() == -1


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_server_goes_on_after_clients_that_went_in_the_handshake(
    net: Net, certificates: Certificates, how: str
) -> None:
    theirs, ours = contexts(certificates)
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    for flights in (0, 1):
        with socket.create_connection(address) as gone:
            gone.setblocking(False)
            if flights:
                await first_flight(gone, ours)
            await turns(5)
            if how == "rst":
                reset(gone)
    transport, client = await net.loop.create_connection(Recorder, *address, ssl=ours)
    transport.write(b"hello")
    await until(lambda: made and made[-1].received == b"hello")
    transport.close()
    await client.lost
    await made[-1].lost
    assert all(one.events == [] for one in made[:-1])
    server.close()
    await server.wait_closed()


# A program that gives up


@pytest.mark.parametrize("turn", range(14))
async def test_a_connect_can_be_cancelled_at_each_turn(
    net: Net, certificates: Certificates, turn: int
) -> None:
    """Whatever it has come to, no descriptor and no task is left, and the server goes on."""
    theirs, ours = contexts(certificates)
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    connecting = asyncio.ensure_future(
        net.lib.open_connection(*address, ssl=ours, ssl_handshake_timeout=5)
    )
    await turns(turn)
    connecting.cancel()
    try:
        _, writer = await connecting
    except asyncio.CancelledError:
        pass
    else:
        writer.transport.abort()
        await turns(3)
    _, writer = await net.lib.open_connection(*address, ssl=ours)
    await until(lambda: made and made[-1].events == ["made"])
    writer.close()
    await writer.wait_closed()
    for one in made:
        if one.events:
            await one.lost
    server.close()
    await server.wait_closed()


@both_sides
@pytest.mark.parametrize("flight", [0, 1])
async def test_a_handshake_that_is_cancelled_closes_its_socket(
    net: Net, certificates: Certificates, side: str, flight: int
) -> None:
    ours, theirs = contexts(certificates)[:: 1 if side == "server" else -1]
    recorder = Recorder()
    with pair() as (sock, peer_sock):
        attaching = asyncio.ensure_future(attach(net, recorder, sock, ours, side))
        if flight:
            peer = TlsPeer(peer_sock, theirs, server_side=side == "client")
            if side == "client":
                await peer.fill()
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            await peer.flush() if side == "server" else None
        await turns(5)
        attaching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attaching
        await turns(3)
        assert sock.fileno() == -1
    assert recorder.events == []


async def test_a_wait_for_around_open_connection_leaves_nothing(
    net: Net, certificates: Certificates
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for seconds in (0.0, 0.001, 0.02):
            with pytest.raises(TimeoutError):
                await net.lib.wait_for(
                    net.lib.open_connection(
                        *silent.getsockname(), ssl=certificates.client_context()
                    ),
                    seconds,
                )
    await turns(3)


async def test_a_loop_may_close_in_the_middle_of_handshakes(
    net: Net, certificates: Certificates
) -> None:
    """In a thread's place: a loop of its own, left with a server and two unfinished handshakes."""
    await asyncio.to_thread(leave_handshakes, Net(net.name, net.new_loop, net.lib), certificates)


def leave_handshakes(other: Net, certificates: Certificates) -> None:
    import gc

    async def begin() -> None:
        server = await other.loop.create_server(
            Recorder, "127.0.0.1", 0, ssl=certificates.server_context()
        )
        servers.append(server)
        sock = socket.create_connection(server.sockets[0].getsockname())
        sock.setblocking(False)
        await first_flight(sock, certificates.client_context())
        await turns(5)
        sock.close()
        server.close()

    servers: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        other.run(begin())
        servers.clear()
        other.close()
        gc.collect()


async def test_a_server_may_close_in_the_middle_of_a_handshake(
    net: Net, certificates: Certificates
) -> None:
    """What was accepted is finished; only new connections are refused."""
    theirs, ours = contexts(certificates)
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0, ssl=theirs)
    with socket.create_connection(server.sockets[0].getsockname()) as sock:
        sock.setblocking(False)
        peer = await first_flight(sock, ours)
        await until(lambda: made)
        server.close()
        await turns(3)
        await peer.handshake()
        await peer.send(b"hello")
        await until(lambda: made[0].received == b"hello")
        await peer.close()
        assert await made[0].lost is None
    await server.wait_closed()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
async def test_a_server_may_abort_its_clients_in_the_middle_of_a_handshake(
    net: Net, certificates: Certificates
) -> None:
    theirs, ours = contexts(certificates)
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_server(factory, "127.0.0.1", 0, ssl=theirs)
    with socket.create_connection(server.sockets[0].getsockname()) as sock:
        sock.setblocking(False)
        await first_flight(sock, ours)
        await until(lambda: made)
        await turns(5)
        server.close()
        cast("Any", server).abort_clients()  # new in 3.13
        with contextlib.suppress(ConnectionResetError):
            await receive_all(sock)
    await server.wait_closed()
    assert made[0].events == []


# No descriptors


async def test_a_tls_server_without_descriptors_waits_and_recovers(
    net: Net, certificates: Certificates
) -> None:
    theirs, ours = contexts(certificates)

    class Greeting(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.write(b"welcome")
            transport.close()

    server = await net.loop.create_server(Greeting, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(3)]
        with no_descriptors_left() as held:
            await connect_all(clients, address)
            await until(lambda: net.reports)
            free(held)
            for client in clients:
                peer = TlsPeer(client, ours)
                await peer.handshake()
                assert await peer.receive_all() == b"welcome"
                await peer.close()
        check_refusals(net, 24)
    server.close()
    await server.wait_closed()


async def test_a_tls_client_without_descriptors_says_so(
    net: Net, certificates: Certificates
) -> None:
    context = certificates.client_context()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with no_descriptors_left(), pytest.raises(OSError, match="Too many open files"):
            await net.loop.create_connection(Recorder, *listener.getsockname(), ssl=context)
