"""Talking with a child through its pipes, however much, in both directions."""

import asyncio
import signal
from typing import Any

import pytest

from tests.children.parties import PIPE, STDOUT, Observer
from tests.net.parties import Net

MUCH = bytes(range(256)) * (1 << 14)  # 4 MiB


async def test_communicate_passes_much_both_ways(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    output, errors = await process.communicate(MUCH)
    assert output == MUCH
    assert errors is None
    assert process.returncode == 0


async def test_communicate_gathers_both_outputs(net: Net) -> None:
    process = await net.lib.create_subprocess_shell(
        "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; cat",
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    output, errors = await process.communicate(b"end")
    assert output == bytes(300000) + b"end"
    assert errors == bytes(300000)


async def test_communicate_forgives_a_child_that_does_not_read(net: Net) -> None:
    process = await net.lib.create_subprocess_shell("exec <&-; exit 2", stdin=PIPE, stdout=PIPE)
    assert await process.communicate(MUCH) == (b"", None)
    assert process.returncode == 2


async def test_communicate_without_pipes_waits(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("true")
    assert await process.communicate() == (None, None)
    assert process.returncode == 0


async def test_a_conversation(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    for number in range(50):
        process.stdin.write(b"%d\n" % number)
        await process.stdin.drain()
        assert await process.stdout.readline() == b"%d\n" % number
    process.stdin.close()
    await process.stdin.wait_closed()
    assert await process.stdout.read() == b""
    assert process.stdout.at_eof()
    assert await process.wait() == 0


async def test_output_that_was_written_before_the_end_is_there_after_it(net: Net) -> None:
    process = await net.lib.create_subprocess_shell(
        "head -c 50000 /dev/zero; echo end >&2", stdout=PIPE, stderr=STDOUT
    )
    while process.returncode is None:
        await asyncio.sleep(0.001)
    assert await process.stdout.read() == bytes(50000) + b"end\n"
    await process.wait()


async def test_a_child_waits_while_nobody_reads(net: Net) -> None:
    process = await net.lib.create_subprocess_exec(
        "head", "-c", str(len(MUCH)), "/dev/zero", stdout=PIPE, limit=1000
    )
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert process.returncode is None
    assert await process.stdout.read() == bytes(len(MUCH))
    assert await process.wait() == 0


async def test_drain_waits_for_a_child_that_does_not_read(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("sleep", "60", stdin=PIPE)
    process.stdin.write(MUCH)
    draining = asyncio.ensure_future(process.stdin.drain())
    await asyncio.sleep(0.05)
    assert not draining.done()
    process.kill()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        await draining
    assert await process.wait() == -signal.SIGKILL


async def test_the_limit_is_the_readers(net: Net) -> None:
    process = await net.lib.create_subprocess_shell("printf 1234567890", stdout=PIPE, limit=5)
    with pytest.raises(ValueError, match="limit"):
        await process.stdout.readline()
    await process.communicate()


async def test_stdin_is_a_file_of_the_program(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("cat", "/dev/stdin", stdin=PIPE, stdout=PIPE)
    output, _ = await process.communicate(b"through a name")
    assert output == b"through a name"


async def test_children_in_a_row(net: Net) -> None:
    """One's output is another's input, without this process in between."""
    import os

    read, write = os.pipe()
    first = await net.lib.create_subprocess_exec("cat", stdin=PIPE, stdout=write)
    os.close(write)
    second = await net.lib.create_subprocess_exec("wc", "-c", stdin=read, stdout=PIPE)
    os.close(read)
    await first.communicate(MUCH)
    output, _ = await second.communicate()
    assert int(output) == len(MUCH)


async def test_the_protocol_is_told_of_every_byte(net: Net) -> None:
    """A protocol of one's own gets what streams get, through the usual calls."""

    class Counting(asyncio.subprocess.SubprocessStreamProtocol):
        seen = 0

        def pipe_data_received(self, fd: int, data: Any) -> None:
            self.seen += len(data)
            super().pipe_data_received(fd, data)

    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: Counting(limit=1 << 16, loop=loop), "cat", stdin=PIPE, stdout=PIPE, stderr=None
    )
    process = asyncio.subprocess.Process(transport, protocol, loop)
    output, _ = await process.communicate(MUCH)
    assert output == MUCH
    assert protocol.seen == len(MUCH)


async def test_another_protocol_hears_from_its_beginning_on(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    process.stdin.write(b"one\n")
    assert await process.stdout.readline() == b"one\n"
    other = Observer()
    process._transport.set_protocol(other)
    process.stdin.write(b"two\n")
    process.stdin.close()
    await other.ended
    assert other.output[1] == b"two\n"
    assert sorted(other.events) == ["data 1", "exited", "lost", "pipe lost 0", "pipe lost 1"]
    assert process.returncode == 0
    process._transport.close()  # the first protocol would have
