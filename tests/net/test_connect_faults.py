"""Connecting that fails, in each way in which it can, and connecting that almost does.

What is promised is asyncio's: which exception, with which errno and text, how several are joined,
and that a failed or cancelled attempt leaves no socket behind (which every test here checks).
"""

import asyncio
import contextlib
import errno
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.net.parties import Net, Recorder, listening, receive_all, turns

UNREACHABLE = ("224.0.0.1", 9)  # multicast, to which the kernel does not let TCP connect


def closed_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def answers(*addresses: tuple[str, int]) -> Any:
    """A getaddrinfo that gives these addresses for every name."""

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, number, 0, 0) if ":" in address else (address, number),
            )
            for address, number in addresses
        ]

    return getaddrinfo


@contextlib.contextmanager
def full_listener() -> Any:
    """A listener that answers nobody: its backlog is full, so the kernel drops what asks."""
    with listening(backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener


async def test_a_refused_connection_says_who_refused(net: Net) -> None:
    port = closed_port()
    with pytest.raises(ConnectionRefusedError) as caught:
        await net.loop.create_connection(Recorder, "127.0.0.1", port)
    assert caught.value.errno == errno.ECONNREFUSED
    assert f"Connect call failed ('127.0.0.1', {port})" in str(caught.value)


async def test_a_refusal_of_streams_is_the_same(net: Net) -> None:
    port = closed_port()
    with pytest.raises(ConnectionRefusedError, match=f"'127.0.0.1', {port}"):
        await net.lib.open_connection("127.0.0.1", port)


async def test_connecting_can_be_given_up_after_a_while(net: Net) -> None:
    with full_listener() as listener:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await net.loop.create_connection(Recorder, *listener.getsockname())
        with pytest.raises(TimeoutError):
            await net.lib.wait_for(net.lib.open_connection(*listener.getsockname()), 0.05)


async def test_a_kernel_that_gives_up_is_a_timeout(net: Net) -> None:
    """With one attempt and TCP_USER_TIMEOUT a second, and not the usual two minutes."""
    with full_listener() as listener, socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 100)
        with pytest.raises(TimeoutError) as caught:
            await net.loop.sock_connect(sock, listener.getsockname())
    assert caught.value.errno == errno.ETIMEDOUT


async def test_an_unreachable_network_is_an_error_with_its_errno(net: Net) -> None:
    with pytest.raises(OSError, match="Network is unreachable") as caught:
        await net.loop.create_connection(Recorder, *UNREACHABLE)
    assert caught.value.errno == errno.ENETUNREACH


async def test_a_port_out_of_range_is_an_overflow(net: Net) -> None:
    with pytest.raises((OverflowError, OSError)):
        await net.loop.create_connection(Recorder, "127.0.0.1", 70_000)


async def test_an_unknown_name_is_a_gaierror(net: Net) -> None:
    with pytest.raises(socket.gaierror):
        await net.loop.create_connection(Recorder, "no such host", 80)


async def test_no_address_at_all_is_an_error(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(net.loop), "getaddrinfo", lambda *_, **__: answers()("", 0))
    with pytest.raises(OSError, match=r"getaddrinfo\(.*\) returned empty list"):
        await net.loop.create_connection(Recorder, "nowhere.invalid", 80)


# Several addresses


def resolve_to(net: Net, patch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    found = answers(*addresses)

    async def getaddrinfo(self: Any, host: Any, port: Any, **given: Any) -> Any:
        return await found(host, port, **given)

    patch.setattr(type(net.loop), "getaddrinfo", getaddrinfo)


async def test_when_all_addresses_refuse_one_error_names_them_all(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = closed_port(), closed_port()
    resolve_to(net, monkeypatch, ("127.0.0.1", first), ("127.0.0.2", second))
    with pytest.raises(OSError, match="Connect call failed") as caught:
        await net.loop.create_connection(Recorder, "two.invalid", 1)
    text = str(caught.value)
    if isinstance(caught.value, ConnectionRefusedError):  # all had the same text
        pytest.fail("different addresses have different texts")
    assert text.startswith("Multiple exceptions: ")
    assert str(first) in text
    assert str(second) in text


@pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors is new in 3.12")
@pytest.mark.parametrize("delay", [None, 0.01])
async def test_all_errors_are_given_as_a_group(
    net: Net, monkeypatch: pytest.MonkeyPatch, delay: float | None
) -> None:
    ports = [closed_port() for _ in range(3)]
    resolve_to(net, monkeypatch, *(("127.0.0.1", port) for port in ports))
    given: Any = {"all_errors": True, "happy_eyeballs_delay": delay}
    with pytest.raises(ExceptionGroup) as caught:  # type: ignore[name-defined,unused-ignore]  # noqa: F821, RUF100
        await net.loop.create_connection(Recorder, "three.invalid", 1, **given)
    assert caught.value.message == "create_connection failed"
    assert [type(error) for error in caught.value.exceptions] == [ConnectionRefusedError] * 3
    for port, error in zip(ports, caught.value.exceptions, strict=True):
        assert str(port) in str(error)


async def test_one_address_that_answers_is_enough(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as listener:
        resolve_to(net, monkeypatch, ("127.0.0.1", closed_port()), listener.getsockname())
        transport, recorder = await net.loop.create_connection(Recorder, "one.invalid", 1)
        assert transport.get_extra_info("peername") == listener.getsockname()
        transport.close()
        await recorder.lost


async def test_a_silent_address_is_overtaken_by_the_next(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Happy eyeballs: the second attempt starts before the first has failed."""
    with full_listener() as silent, listening() as listener:
        resolve_to(net, monkeypatch, silent.getsockname(), listener.getsockname())
        transport, recorder = await net.loop.create_connection(
            Recorder, "race.invalid", 1, happy_eyeballs_delay=0.02
        )
        assert transport.get_extra_info("peername") == listener.getsockname()
        transport.close()
        await recorder.lost


async def test_a_local_address_of_the_wrong_family_is_an_error(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = {"remote": ("127.0.0.1", closed_port()), "local": ("::1", 0)}

    async def getaddrinfo(self: Any, host: Any, port: Any, **given: Any) -> Any:
        return await answers(resolved[host])(host, port, **given)

    monkeypatch.setattr(type(net.loop), "getaddrinfo", getaddrinfo)
    with pytest.raises(OSError, match="no matching local address"):
        await net.loop.create_connection(Recorder, "remote", 1, local_addr=("local", 0))


async def test_a_local_address_in_use_is_an_error(net: Net) -> None:
    with listening() as listener, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(OSError, match="error while attempting to bind on address") as caught:
            await net.loop.create_connection(
                Recorder, *listener.getsockname(), local_addr=holder.getsockname()
            )
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_an_attempt_cancelled_at_any_point_leaves_nothing(net: Net, after: int) -> None:
    with listening() as listener:
        attempt = asyncio.ensure_future(
            net.loop.create_connection(Recorder, *listener.getsockname())
        )
        await turns(after)
        attempt.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            transport, _ = await attempt
            transport.abort()
        await turns(5)


async def test_a_failing_factory_closes_the_socket_or_lets_it_go(net: Net) -> None:
    def factory() -> Recorder:
        raise LookupError("no protocol")

    with listening() as listener:
        with pytest.raises(LookupError), socket.create_connection(listener.getsockname()) as sock:
            sock.setblocking(False)
            await net.loop.create_connection(factory, sock=sock)


# Servers


async def test_an_address_in_use_says_which(net: Net) -> None:
    with listening() as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match="address already in use") as caught:
            await net.loop.create_server(Recorder, "127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE
        assert f"error while attempting to bind on address ('127.0.0.1', {port})" in str(
            caught.value
        )
        with pytest.raises(OSError, match="address already in use"):
            await net.lib.start_server(lambda *_: None, "127.0.0.1", port)


async def test_of_several_addresses_none_is_held_when_one_is_in_use(net: Net) -> None:
    with listening() as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match="address already in use"):
            await net.loop.create_server(Recorder, ["127.0.0.2", "127.0.0.1"], port)
        with socket.create_server(("127.0.0.2", port)):
            pass


async def test_an_address_that_is_not_ours_is_an_error(net: Net) -> None:
    # From 3.13 on, asyncio passes over such addresses and says in the end that none was left.
    with pytest.raises(OSError, match=r"annot assign requested address|could not bind on any"):
        await net.loop.create_server(Recorder, "192.0.2.1", 0)


# Unix


async def test_a_unix_path_that_is_too_long_is_an_error(net: Net, tmp_path: Path) -> None:
    path = str(tmp_path / ("x" * 200))
    for attempt in (
        net.loop.create_unix_connection(Recorder, path),
        net.loop.create_unix_server(Recorder, path),
        net.lib.open_unix_connection(path),
        net.lib.start_unix_server(lambda *_: None, path),
    ):
        with pytest.raises(OSError, match="AF_UNIX path too long"):
            await attempt


async def test_a_unix_path_that_does_not_exist_is_an_error(net: Net, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await net.loop.create_unix_connection(Recorder, str(tmp_path / "nobody"))
    with pytest.raises(FileNotFoundError):
        await net.loop.create_unix_server(Recorder, str(tmp_path / "no" / "folder"))


async def test_a_unix_socket_that_nobody_serves_refuses(net: Net, tmp_path: Path) -> None:
    path = str(tmp_path / "stale")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with pytest.raises(ConnectionRefusedError):
        await net.loop.create_unix_connection(Recorder, path)


async def test_a_stale_unix_socket_is_replaced_and_a_file_is_not(net: Net, tmp_path: Path) -> None:
    stale, file = tmp_path / "stale", tmp_path / "file"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    file.write_text("precious")
    server = await net.loop.create_unix_server(Recorder, stale)
    server.close()
    await server.wait_closed()
    with pytest.raises(OSError, match="is already in use") as caught:
        await net.loop.create_unix_server(Recorder, file)
    assert caught.value.errno == errno.EADDRINUSE
    assert file.read_text() == "precious"


async def test_abstract_unix_addresses_work(net: Net) -> None:
    name = f"\0aioxide-test-{os.getpid()}-{net.name}"
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    server = await net.loop.create_unix_server(factory, name)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(name)
        client.setblocking(False)
        while not made:
            await asyncio.sleep(0.001)
        made[0].transport.close()
        assert await receive_all(client) == b""
    server.close()
    await server.wait_closed()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the path is removed from 3.13 on")
@pytest.mark.parametrize("cleanup", [True, False])
async def test_a_unix_servers_path_is_removed_unless_told_otherwise(
    net: Net, tmp_path: Path, cleanup: bool
) -> None:
    path = tmp_path / "socket"
    given: Any = {"cleanup_socket": cleanup}
    server = await net.loop.create_unix_server(Recorder, path, **given)
    server.close()
    await server.wait_closed()
    assert path.exists() == (not cleanup)
