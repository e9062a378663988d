"""A chat room: one task reads each guest's lines, another sends what the others say.

Each guest has a queue between the two, and it is bounded. Who does not read is not waited for: the
room would be as slow as its slowest guest.

Output:

    ada hears: welcome, ada
    bo hears: welcome, bo
    ada hears: bo came
    cy hears: welcome, cy
    ada hears: cy came
    bo hears: cy came
    bo hears: ada: hello, all
    cy hears: ada: hello, all
    ada hears: bo left
    cy hears: bo left
"""

import asyncio
from contextlib import suppress

import aioxide


class Room:
    def __init__(self) -> None:
        self.guests: dict[str, asyncio.Queue[str]] = {}
        self.empty = asyncio.Event()

    def tell(self, text: str, but: str) -> None:
        for name, lines in self.guests.items():
            if name != but and not lines.full():
                lines.put_nowait(text)

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().strip()
        lines: asyncio.Queue[str] = asyncio.Queue(100)
        self.tell(f"{name} came", but=name)
        lines.put_nowait(f"welcome, {name}")
        self.guests[name] = lines
        sending = asyncio.create_task(self.send(lines, writer))
        try:
            async for line in reader:
                self.tell(f"{name}: {line.decode().strip()}", but=name)
        finally:
            sending.cancel()
            writer.close()
            del self.guests[name]
            self.tell(f"{name} left", but=name)
            if not self.guests:
                self.empty.set()

    async def send(self, lines: asyncio.Queue[str], writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # of which the task that reads hears, too
            while True:
                writer.write(f"{await lines.get()}\n".encode())
                await writer.drain()


class Guest:
    """One connection to the room."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def enter(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.say(self.name)

    def say(self, line: str) -> None:
        self.writer.write(f"{line}\n".encode())

    async def hear(self) -> None:
        line = await self.reader.readline()
        print(f"{self.name} hears: {line.decode().strip()}")

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def main() -> None:
    room = Room()
    server = await asyncio.start_server(room.welcome, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ada, bo, cy = guests = Guest("ada"), Guest("bo"), Guest("cy")
    async with server:
        present: list[Guest] = []
        for guest in guests:
            await guest.enter(port)
            await guest.hear()
            for other in present:
                await other.hear()
            present.append(guest)
        ada.say("hello, all")
        await bo.hear()
        await cy.hear()
        await bo.leave()
        await ada.hear()
        await cy.hear()
        await ada.leave()
        await cy.leave()
        await room.empty.wait()


if __name__ == "__main__":
    aioxide.run(main())
