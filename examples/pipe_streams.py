"""Pipes as streams: from a thread into the loop, out of the loop, and between two children.

A pipe has two ends, and each can be handed to the loop, which then reads or writes it without
blocking. That is the way to anything that has only a file to offer: a library that logs to one, a
named pipe, the program's own stdin.

Output:

    the thread wrote: working
    the thread wrote: still working
    the thread wrote: done
    through our pipe: 12 bytes
    sorted by a child: apple cherry plum
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

import aioxide

FRUIT = "print('plum', 'apple', 'cherry', sep='\\n')"
SORT = "import sys; print(*sorted(sys.stdin.read().split()))"


async def open_reader(descriptor: int) -> asyncio.StreamReader:
    """Read this end of a pipe as a stream."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    # The transport takes the file over, and closes it at the end of what is written.
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    return reader


async def open_writer(descriptor: int) -> asyncio.StreamWriter:
    """Write to this end of a pipe as to a stream."""
    loop = asyncio.get_running_loop()
    # Nothing is read here, but drain() asks the protocol whether there is room.
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()),
        os.fdopen(descriptor, "wb", buffering=0),
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


def log_to(descriptor: int) -> None:
    """Stand for a library that knows nothing of asyncio; it runs in a thread."""
    with open(descriptor, "w") as log:
        for line in ("working", "still working", "done"):
            print(line, file=log)


async def listen() -> None:
    source, sink = os.pipe()
    reader = await open_reader(source)
    logging = asyncio.create_task(asyncio.to_thread(log_to, sink))
    async for line in reader:  # until the thread closes its end
        print("the thread wrote:", line.decode().strip())
    await logging


async def send(data: bytes) -> bytes:
    source, sink = os.pipe()
    reader, writer = await open_reader(source), await open_writer(sink)
    writer.write(data)
    await writer.drain()
    writer.close()  # the reader sees the end
    return await reader.read()


async def pipeline() -> str:
    """Like `fruit | sort` in a shell: what passes between the two does not pass through here."""
    source, sink = os.pipe()
    fruit = await asyncio.create_subprocess_exec(sys.executable, "-c", FRUIT, stdout=sink)
    sort = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SORT, stdin=source, stdout=PIPE
    )
    # The children have their own copies. The pipe ends when the last copy of its sink is closed.
    os.close(source)
    os.close(sink)
    (output, _), _ = await asyncio.gather(sort.communicate(), fruit.wait())
    return output.decode().strip()


async def main() -> None:
    await listen()
    print("through our pipe:", len(await send(b"twelve bytes")), "bytes")
    print("sorted by a child:", await pipeline())


if __name__ == "__main__":
    aioxide.run(main())
