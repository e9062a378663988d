"""What stays when a TLS connection is over: nothing; and what may be shared meanwhile: contexts.

A transport, its protocol and the SSLObject are a cycle with OpenSSL's callbacks in it, parts of
which the garbage collector does not see.
"""

import asyncio
import contextlib
import gc
import socket
import threading
import warnings
import weakref
from typing import Any

import pytest

from tests.net.parties import Net, Recorder, pair, pattern, reset, send, turns, until
from tests.tls.certificates import Certificates
from tests.tls.parties import SIDES, Contexts, attach, contexts, first_flight, secured

both_sides = pytest.mark.parametrize("side", SIDES)


class Payload:
    """Something that a weak reference can be made to."""


@both_sides
@pytest.mark.parametrize("how", ["close", "abort", "reset", "goodbye", "fault"])
async def test_an_ended_connection_lets_go_of_everything(
    net: Net, certificates: Certificates, side: str, how: str
) -> None:
    recorder = Recorder()
    recorder.payload = Payload()  # type: ignore[attr-defined]
    async with secured(net, contexts(certificates), recorder, side) as peer:
        recorder.transport.write(b"x" * 100)
        if how == "reset":
            reset(peer.sock)
        elif how == "goodbye":
            await peer.close()
        elif how == "fault":
            await send(peer.sock, b"GET / HTTP/1.1\r\n\r\n")
        else:
            getattr(recorder.transport, how)()
            peer.go()
        await asyncio.wait([recorder.lost])
        recorder.lost.result()
        await turns(3)
    gone = [
        weakref.ref(recorder.payload),  # type: ignore[attr-defined]
        weakref.ref(recorder.transport),
        weakref.ref(recorder.transport.get_extra_info("ssl_object")),
    ]
    del recorder
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3


@both_sides
async def test_a_failed_handshake_lets_go_of_everything(
    net: Net, certificates: Certificates, side: str
) -> None:
    recorder = Recorder()
    context = contexts(certificates)[SIDES.index(side)]
    gone: list[weakref.ref[Any]] = [weakref.ref(recorder), weakref.ref(context)]
    with pair() as (sock, peer):
        await send(peer, b"this is no handshake")
        with pytest.raises(OSError):
            await attach(net, recorder, sock, context, side)
        await turns(3)
    del recorder, context
    gc.collect()
    assert [ref() for ref in gone] == [None] * 2


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("state", ["handshake", "open", "closing"])
def test_a_closed_loop_lets_go_of_its_connections(
    net: Net, certificates: Certificates, state: str
) -> None:
    other = Net(net.name, net.new_loop, net.lib)
    gone: list[Any] = []

    async def leave() -> None:
        recorder = Recorder()
        server, client = contexts(certificates)
        peer = await first_flight(peer_sock, client)
        attaching = asyncio.ensure_future(attach(other, recorder, sock, server))
        if state == "handshake":
            await turns(1)
            gone.append(weakref.ref(recorder))
            attaching.cancel()
            await asyncio.wait([attaching])
            return
        transport, _ = await asyncio.gather(attaching, peer.handshake())
        transport.write(pattern(1 << 20))
        if state == "closing":
            transport.close()
        gone.extend((weakref.ref(recorder), weakref.ref(transport)))

    with pair() as (sock, peer_sock):
        other.run(leave())
        other.close()
        sock.close()
        gc.collect()
        assert [ref() for ref in gone] == [None] * len(gone)


def test_a_connection_in_mid_handshake_at_the_end_is_nobodys_fault(
    net: Net, certificates: Certificates
) -> None:
    """A server whose loop ends has no way to close what it was never told of."""
    other = Net(net.name, net.new_loop, net.lib)
    peers: list[socket.socket] = []

    async def serve() -> None:
        server = await other.loop.create_server(
            Recorder, "127.0.0.1", 0, ssl=certificates.server_context()
        )
        for _ in range(3):
            peers.append(socket.create_connection(server.sockets[0].getsockname()))
            await send(peers[-1], b"\x16\x03\x01")
        await turns(20)
        server.close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        other.run(serve())
        other.finish_quietly()
        other.close()
        gc.collect()
    for peer in peers:
        peer.setblocking(True)
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b"", "it is closed"
        peer.close()
    assert [str(warning.message) for warning in caught] == []


def test_loops_in_several_threads_share_contexts(net: Net, certificates: Certificates) -> None:
    both = contexts(certificates)
    sides = [Net(net.name, net.new_loop, net.lib) for _ in range(4)]
    finished: list[int] = []

    def work(number: int) -> None:
        sides[number].run(converse(sides[number], both, number))
        finished.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(sides))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for side in sides:
        side.finish()
        assert side.messages() == []
        side.close()
    assert sorted(finished) == [0, 1, 2, 3]


async def converse(net: Net, both: Contexts, seed: int) -> None:
    """Some connections, one after the other, and data both ways through each."""
    data = pattern(300_000, seed)
    for _ in range(5):
        server, client = Recorder(), Recorder()
        with pair() as (one, other):
            await asyncio.gather(
                attach(net, server, one, both[0]), attach(net, client, other, both[1], "client")
            )
            for end in (server, client):
                end.transport.write(data)
            await until(lambda: len(server.received) == len(client.received) == len(data))
            assert server.received == client.received == data
            client.transport.close()
            await client.lost
            await server.lost


async def test_a_context_may_be_changed_and_dropped_while_it_is_used(
    net: Net, certificates: Certificates
) -> None:
    server, client = contexts(certificates)
    recorder = Recorder()
    async with secured(net, (server, client), recorder) as peer:
        gone = weakref.ref(server)
        server.set_alpn_protocols(["h2"])
        server.load_cert_chain(certificates.rsa)
        server.verify_mode = 2  # type: ignore[assignment]
        del server
        gc.collect()
        assert gone() is recorder.transport.get_extra_info("sslcontext")
        await peer.send(b"still here")
        await until(lambda: recorder.received == b"still here")
        recorder.transport.write(b"me too")
        assert await peer.receive(6) == b"me too"
