"""The same echo by protocol: callbacks instead of tasks.

A protocol is called with the bytes as they come, by the loop, with no task in between. It is the
faster way to serve, and the harder one to write: a packet may hold half a message, or three.

Output:

    the client connected
    the server got 5 bytes: hello
    the server got 7 bytes: , world
    the client heard: hello, world
    the client's connection ended without an error
"""

import asyncio
from typing import cast

import aioxide


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        print(f"the server got {len(data)} bytes: {data.decode()}")
        self.transport.write(data)  # goes out when this method has returned


class Client(asyncio.Protocol):
    """Says one word, and another when the first has come back."""

    def __init__(self) -> None:
        self.words = ["hello", ", world"]
        self.expected = ""
        self.heard = ""
        # For those who would rather await the end than be called back.
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        print("the client connected")
        self.transport = cast("asyncio.Transport", transport)
        self.say()

    def say(self) -> None:
        word = self.words.pop(0)
        self.expected += word
        self.transport.write(word.encode())

    def data_received(self, data: bytes) -> None:
        self.heard += data.decode()
        if self.heard != self.expected:
            return  # the rest is on its way
        if self.words:
            self.say()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.done.set_result(error)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    async with server:
        _, client = await loop.create_connection(Client, *server.sockets[0].getsockname())
        error = await client.done
    print(f"the client heard: {client.heard}")
    print(f"the client's connection ended with{' ' + repr(error) if error else 'out an error'}")


if __name__ == "__main__":
    aioxide.run(main())
