"""An echo server and its clients, with streams.

A stream is read like a file: line by line, so many bytes, to the end. The server runs one task for
each connection, so it is written as if there were only one.

Output:

    ada says hello; the echo says hello
    bo says hello; the echo says hello
    cy says hello; the echo says hello
    lines echoed: 3
"""

import asyncio

import aioxide


class Echo:
    def __init__(self) -> None:
        self.lines = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:  # until the client closes its side
            writer.write(line)
            # Waits while more is on its way than the client takes: without it, a client that does
            # not read would fill the memory.
            await writer.drain()
            self.lines += 1
        writer.close()
        await writer.wait_closed()


async def greet(name: str, port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello\n")
    echo = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return f"{name} says hello; the echo says {echo.decode().strip()}"


async def main() -> None:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)  # 0: any port that is free
    async with server:
        port = server.sockets[0].getsockname()[1]
        for line in await asyncio.gather(*(greet(name, port) for name in ("ada", "bo", "cy"))):
            print(line)
    print(f"lines echoed: {echo.lines}")


if __name__ == "__main__":
    aioxide.run(main())
