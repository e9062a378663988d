"""Ctrl-C in a protocol's callbacks, which native code calls: it leaves the loop from there too.

The connection is not blamed for it: it stays open, and goes on when the loop does.
"""

import textwrap
from collections.abc import Iterator

import pytest

from tests.signals.processes import outcomes, same_outcome
from tests.tls.certificates import HOST, Certificates, temporary

CONNECTION = """
import ssl
own = trust = host = None

class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        servers.append(self)
    def data_received(self, data):
        say("server got", data)
        if data == b"echo":
            self.transport.write(data)
        if data == b"close":
            self.transport.close()

class Client(asyncio.Protocol):
    interrupted = None
    def happens(self, what):
        say(what)
        if what == self.interrupted:
            self.interrupted = None
            ctrl_c()
    def connection_made(self, transport):
        self.transport = transport
        self.happens("connection_made")
    def data_received(self, data):
        self.happens("data_received")
    def eof_received(self):
        self.happens("eof_received")
        return True
    def connection_lost(self, error):
        self.happens("connection_lost")
        loop.stop()
    def pause_writing(self):
        self.happens("pause_writing")
    def resume_writing(self):
        self.happens("resume_writing")

async def connect(interrupted=None):
    server = await loop.create_server(Server, "127.0.0.1", 0, ssl=own)
    client = Client()
    client.interrupted = interrupted
    listeners.append(server)
    await loop.create_connection(
        lambda: client, *server.sockets[0].getsockname(), ssl=trust, server_hostname=host
    )
    while not servers:
        await asyncio.sleep(0)
    return client

async def happened(*awaited):
    while awaited[0]():
        await asyncio.sleep(0)

servers, listeners = [], []
loop = asyncio.new_event_loop()

def finish(client):
    client.transport.close()
    attempt(loop.run_forever)
    for server in servers:
        server.transport.abort()
    for listener in listeners:
        listener.close()
    turns(loop, 3)
    loop.close()
"""

MOMENTS = {
    "connection_made": """
        connecting = loop.create_task(connect("connection_made"))
        attempt(loop.run_until_complete, connecting)
        client = loop.run_until_complete(connecting)
        say(client.transport.is_closing())
        finish(client)
    """,
    "data_received": """
        client = loop.run_until_complete(connect("data_received"))
        client.transport.write(b"echo")
        attempt(loop.run_forever)
        say(client.transport.is_closing(), client.transport.is_reading())
        client.transport.write(b"close")
        attempt(loop.run_until_complete, happened(lambda: not servers[0].transport.is_closing()))
        finish(client)
    """,
    "eof_received": """
        client = loop.run_until_complete(connect("eof_received"))
        client.transport.write(b"close")
        attempt(loop.run_forever)
        say(client.transport.is_closing())
        finish(client)
    """,
    "connection_lost": """
        client = loop.run_until_complete(connect("connection_lost"))
        client.transport.close()
        attempt(loop.run_forever)
        say(client.transport.is_closing())
        for server in servers:
            server.transport.abort()
        for listener in listeners:
            listener.close()
        turns(loop, 3)
        loop.close()
    """,
    "pause_writing": """
        client = loop.run_until_complete(connect("pause_writing"))
        servers[0].transport.pause_reading()
        client.transport.set_write_buffer_limits(1)
        def write():
            while client.interrupted:
                client.transport.write(bytes(1 << 20))
        loop.call_soon(write)
        attempt(loop.run_forever)
        say(client.transport.is_closing())
        client.transport.abort()
        finish(client)
    """,
    "resume_writing": """
        client = loop.run_until_complete(connect("resume_writing"))
        class Quiet(Server):
            def data_received(self, data):
                pass
        servers[0].transport.set_protocol(Quiet())
        client.transport.set_write_buffer_limits(1)
        def write():
            client.transport.write(bytes(1 << 23))
        loop.call_soon(write)
        attempt(loop.run_forever)
        say(client.transport.is_closing(), client.transport.get_write_buffer_size())
        finish(client)
    """,
    "the client's factory": """
        async def main():
            listener = await loop.create_server(Server, "127.0.0.1", 0)
            try:
                await loop.create_connection(ctrl_c, *listener.sockets[0].getsockname())
            finally:
                listener.close()
        attempt(loop.run_until_complete, main())
        attempt(turns, loop, 5)
        loop.close()
    """,
    "a stream's callback": """
        async def serve(reader, writer):
            say("served")
            writer.close()
            ctrl_c()
        loop.set_exception_handler(lambda _, report: say(report["message"]))
        async def main():
            listener = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            say(await reader.read())
            writer.close()
            await writer.wait_closed()
            listener.close()
        task = loop.create_task(main())
        attempt(loop.run_until_complete, task)
        attempt(loop.run_until_complete, task)
        loop.close()
    """,
    "datagram_received": """
        class Datagrams(asyncio.DatagramProtocol):
            left = 2
            def datagram_received(self, data, address):
                say(data)
                self.left -= 1
                if self.left:
                    ctrl_c()
                loop.stop()
        async def main():
            transport, _ = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
            return transport
        transport = loop.run_until_complete(main())
        for data in (b"one", b"two"):
            loop.call_soon(transport.sendto, data, transport.get_extra_info("sockname"))
        attempt(loop.run_forever)
        attempt(loop.run_forever)
        transport.close()
        turns(loop, 2)
        loop.close()
    """,
    "a pipe's data_received": """
        class Reads(asyncio.Protocol):
            left = 2
            def data_received(self, data):
                say(data)
                self.left -= 1
                if self.left:
                    ctrl_c()
                loop.stop()
        source, sink = os.pipe()
        transport, _ = loop.run_until_complete(
            loop.connect_read_pipe(Reads, os.fdopen(source, "rb", 0))
        )
        os.write(sink, b"one")
        attempt(loop.run_forever)
        os.write(sink, b"two")
        attempt(loop.run_forever)
        transport.close()
        os.close(sink)
        turns(loop, 2)
        loop.close()
    """,
    "a child's process_exited": """
        class Child(asyncio.SubprocessProtocol):
            def process_exited(self):
                say("exited")
                ctrl_c()
            def connection_lost(self, error):
                say("lost")
                loop.stop()
        async def main():
            transport, _ = await loop.subprocess_exec(Child, "cat", stdout=None, stderr=None)
            return transport
        child = loop.run_until_complete(main())
        loop.call_soon(child.get_pipe_transport(0).close)
        attempt(loop.run_forever)
        attempt(loop.run_forever)
        loop.close()
    """,
}


# The others leave asyncio's TLS waiting for ever.
OVER_TLS = ["data_received", "connection_lost", "pause_writing"]


@pytest.fixture(scope="module")
def certificates() -> Iterator[Certificates]:
    with temporary() as made:
        yield made


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_in_a_protocol(moment: str) -> None:
    outcome = same_outcome(CONNECTION + textwrap.dedent(MOMENTS[moment]))
    assert outcome.status == 0
    assert any("KeyboardInterrupt" in line for line in outcome.printed)


@pytest.mark.parametrize("moment", OVER_TLS)
def test_ctrl_c_in_a_protocol_over_tls(moment: str, certificates: Certificates) -> None:
    contexts = f"""
own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
own.load_cert_chain({str(certificates.server)!r})
trust = ssl.create_default_context(cafile={str(certificates.authority)!r})
host = {HOST!r}
"""
    outcome = same_outcome(CONNECTION + contexts + textwrap.dedent(MOMENTS[moment]))
    assert outcome.status == 0
    assert any("KeyboardInterrupt" in line for line in outcome.printed)


def test_ctrl_c_in_a_servers_factory_costs_one_connection() -> None:
    program = """
        def factory():
            if not servers:
                servers.append(None)
                ctrl_c()
            servers[0] = Server()
            return servers[0]
        async def main():
            listener = await loop.create_server(factory, "127.0.0.1", 0)
            listeners.append(listener)
            for _ in range(2):
                reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
                writers.append(writer)
        writers = []
        task = loop.create_task(main())
        attempt(loop.run_until_complete, task)
        attempt(loop.run_until_complete, task)
        attempt(loop.run_until_complete, happened(lambda: len(servers) < 2))
        for writer in writers:
            writer.close()
        turns(loop, 5)
        listeners[0].close()
        turns(loop)
        loop.close()
    """
    results = outcomes(CONNECTION + textwrap.dedent(program))
    # asyncio runs the factory in a task of its own, of whose end it then complains.
    assert results["aioxide"].printed == results["asyncio"].printed
    assert results["aioxide"].printed[0].startswith("raised KeyboardInterrupt")
    assert results["aioxide"].complained == []
