"""A small web server that stops well: what has begun is finished, who only waits is let go.

As much of HTTP/1.1 as fits on a page: GET, and connections that stay open for the next request.

Output:

    GET / -> 200 hello
    GET /slow -> 200 it took a while
    GET /nowhere -> 404 not found
    stopping: 2 connections, 1 request under way
    GET /slow -> 200 it took a while
    the idle connection was closed
    no new connections: refused
"""

import asyncio

import aioxide


async def hello() -> str:
    return "hello"


async def slow() -> str:
    await asyncio.sleep(0.2)
    return "it took a while"


PAGES = {"/": hello, "/slow": slow}


class WebServer:
    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.connections: set[asyncio.Task[None]] = set()
        self.under_way = 0

    async def start(self) -> int:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            while (path := await self.next_request(reader)) is not None:
                self.under_way += 1
                await self.answer(path, writer)
                self.under_way -= 1
        finally:
            self.connections.remove(task)
            writer.close()

    async def next_request(self, reader: asyncio.StreamReader) -> str | None:
        """The path that is asked for; None when there will be no more requests."""
        head = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait([head, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not head.done():
                return None
            return head.result().split()[1].decode()
        except asyncio.IncompleteReadError:
            return None  # the client has closed the connection
        finally:
            head.cancel()
            stopping.cancel()

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        page = PAGES.get(path)
        body = await page() if page else "not found"
        status = "200 OK" if page else "404 Not Found"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode())
        writer.write(body.encode())  # goes out together with the head
        await writer.drain()

    async def stop(self) -> None:
        print(f"stopping: {len(self.connections)} connections, {self.under_way} request under way")
        self.server.close()
        self.stopping.set()
        await asyncio.gather(*self.connections)


class Client:
    """A connection to the server, for one request after the other."""

    async def connect(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)

    async def get(self, path: str) -> None:
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status = head.split()[1]
        length = int(head.partition("Content-Length: ")[2].split()[0])
        body = await self.reader.readexactly(length)
        print(f"GET {path} -> {status} {body.decode()}")


async def main() -> None:
    server = WebServer()
    port = await server.start()
    busy, idle = Client(), Client()
    await busy.connect(port)
    await idle.connect(port)
    await busy.get("/")
    await busy.get("/slow")
    await idle.get("/nowhere")

    last = asyncio.create_task(busy.get("/slow"))
    await asyncio.sleep(0.02)  # it has been asked for, and takes longer
    await server.stop()
    await last
    if await idle.reader.read() == b"":
        print("the idle connection was closed")
    try:
        await Client().connect(port)
    except ConnectionRefusedError:
        print("no new connections: refused")
    busy.writer.close()
    idle.writer.close()


if __name__ == "__main__":
    aioxide.run(main())
