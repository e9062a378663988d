"""A temperature station over UDP.

Datagrams arrive whole, or not at all: who asks has to give up some time and ask again. Here the
station overhears the first question.

Output:

    asking the station: no answer
    asking the station: 21 degrees in the cellar
    the station was asked 2 times
"""

import asyncio
from typing import cast

import aioxide

Address = tuple[str, int]


class Station(asyncio.DatagramProtocol):
    """Answers each question but the first."""

    def __init__(self) -> None:
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: Address) -> None:
        self.asked += 1
        if self.asked > 1:
            self.transport.sendto(b"21 degrees in " + data, address)


class Question(asyncio.DatagramProtocol):
    """Puts what comes into a queue, for those who await it."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[str] = asyncio.Queue()

    def datagram_received(self, data: bytes, _address: Address) -> None:
        self.answers.put_nowait(data.decode())


async def ask(address: Address, where: str) -> str:
    """Ask until there is an answer."""
    loop = asyncio.get_running_loop()
    # With a remote address the socket hears of nobody else, and sends to nobody else.
    transport, question = await loop.create_datagram_endpoint(Question, remote_addr=address)
    try:
        while True:
            transport.sendto(where.encode())
            try:
                return await asyncio.wait_for(question.answers.get(), 0.2)
            except TimeoutError:
                print("asking the station: no answer")
    finally:
        transport.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    transport, station = await loop.create_datagram_endpoint(Station, ("127.0.0.1", 0))
    try:
        answer = await ask(transport.get_extra_info("sockname"), "the cellar")
        print(f"asking the station: {answer}")
    finally:
        transport.close()
    print(f"the station was asked {station.asked} times")


if __name__ == "__main__":
    aioxide.run(main())
