"""`getaddrinfo()` and `getnameinfo()`: the answers are those of `socket`, whoever is asked.

Nothing here leaves the machine: names that are not in the hosts file are asked for as numbers only.
What happens while an answer takes long is in `test_dns_slow`.
"""

import asyncio
import concurrent.futures
import gc
import logging
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import aioxide

NUMBERS_ONLY = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV

numeric_hosts = st.sampled_from([
    "127.0.0.1", b"127.0.0.1", "127.1", "0x7f.1", "017700000001", "1", "255.255.255.255",
    "0.0.0.0", "::1", b"::1", "::", "::1%lo", "fe80::1%1", "fe80::1%lo", "fe80::1%nosuch",
    "::ffff:1.2.3.4", "2001:db8::1", "1:2:3:4:5:6:7:8", "1.2.3.4.5", "256.1.1.1", " 127.0.0.1",
    "127.0.0.1 ", "127.0.0.1.",
])  # fmt: skip
odd_hosts = st.sampled_from([
    None, "", b"", "*", "a" * 63, "a" * 64, "a..b", ".", "b\u00fccher.invalid", "\u2488com",
    "\udc80", "\uff11\uff12\uff17.0.0.1", "::1\0", "127.0.0.1\0x", b"127.0.0.1\0x", b"\xff", 5,
    127.1, b"x" * 300, bytearray(b"127.0.0.1"), True, ("127.0.0.1",), "xn--bcher-kva.invalid",
    "localhost.", "LOCALHOST",
])  # fmt: skip
ports = st.sampled_from([
    0, 1, 80, 65535, 65536, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, -(2**70), None, "80", "",
    "080", b"80", " 80", "80 ", "+80", "-1", "4294967295", "4294967376", "99999999999999999999",
    "http", b"http", "nosuchservice", "8\u0660", "\u0668", "80\0", b"80\0", "\udc80", 8.0, True,
    socket.AF_INET, b"",
])  # fmt: skip
families = st.sampled_from(
    [0, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, 99, -1, 2**31, 2**40]
)
kinds = st.sampled_from([0, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, 77, -1, 2**31])
protocols = st.sampled_from([0, socket.IPPROTO_TCP, socket.IPPROTO_UDP, 200, -1, 2**31])
flags = st.integers(min_value=0, max_value=2**11 - 1) | st.sampled_from([0, socket.AI_CANONNAME])


def seen(call: Callable[[], Any]) -> tuple[Any, ...]:
    try:
        result = call()
    except BaseException as exc:
        return (type(exc), exc.args, getattr(exc, "errno", None), str(exc))
    return (result, repr(result))


def run(coro: Coroutine[Any, Any, Any]) -> Any:
    return aioxide.run(coro)


@pytest.fixture
def loop() -> Iterator[aioxide.EventLoop]:
    event_loop = aioxide.new_event_loop()
    yield event_loop
    if not event_loop.is_closed():
        event_loop.run_until_complete(event_loop.shutdown_default_executor())
        event_loop.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[aioxide.EventLoop]:
    event_loop = aioxide.new_event_loop()
    yield event_loop
    event_loop.run_until_complete(event_loop.shutdown_default_executor())
    event_loop.close()


# The answers


@settings(max_examples=1500, deadline=None)
@given(numeric_hosts | odd_hosts, ports, families, kinds, protocols, flags)
@example("127.0.0.1", 80, 0, 0, 0, socket.AI_CANONNAME)
@example("::1%lo", "80", 0, 0, 0, 0)
@example(None, "http", 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
def test_addresses_and_errors_are_those_of_socket(
    shared: aioxide.EventLoop, host: Any, port: Any, family: int, kind: int, proto: int, flags: int
) -> None:
    if host is not None:
        flags |= socket.AI_NUMERICHOST
    ours = seen(
        lambda: shared.run_until_complete(
            shared.getaddrinfo(host, port, family=family, type=kind, proto=proto, flags=flags)
        )
    )
    assert ours == seen(lambda: socket.getaddrinfo(host, port, family, kind, proto, flags))


@pytest.mark.parametrize(
    "name", ["localhost", b"localhost", "LocalHost", "127.0.0.1", "127.1", "::1"]
)
@pytest.mark.parametrize(
    "flags", [0, socket.AI_CANONNAME, socket.AI_ADDRCONFIG, socket.AI_V4MAPPED]
)
@pytest.mark.parametrize("family", [0, socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("port", [None, 80, "http", "nosuchservice"])
def test_names_are_resolved_as_socket_resolves_them(
    shared: aioxide.EventLoop, name: Any, port: Any, family: int, flags: int
) -> None:
    resolve = shared.getaddrinfo(name, port, family=family, flags=flags)
    ours = seen(lambda: shared.run_until_complete(resolve))
    assert ours == seen(lambda: socket.getaddrinfo(name, port, family=family, flags=flags))


@settings(max_examples=1000, deadline=None)
@given(
    numeric_hosts | odd_hosts,
    ports,
    st.lists(st.sampled_from([0, 1, 3, 0xFFFFF, 0x100000, 2**32 - 1, 2**32, -1, None]), max_size=3),
    st.integers(min_value=0, max_value=63),
)
@example("127.0.0.1", 80, [], 0)
@example("::1", 80, [5, 1], 0)
def test_names_of_addresses_are_those_of_socket(
    shared: aioxide.EventLoop, host: Any, port: Any, rest: list[Any], flags: int
) -> None:
    # Only this machine's own address may be looked up.
    if host not in ("127.0.0.1", "::1"):  # some are not hashable
        flags |= socket.NI_NUMERICHOST
    address: Any = (host, port, *rest)
    ours = seen(lambda: shared.run_until_complete(shared.getnameinfo(address, flags)))
    assert ours == seen(lambda: socket.getnameinfo(address, flags))


@pytest.mark.parametrize("address", [("127.0.0.1",), (), ["127.0.0.1", 80], None, "127.0.0.1"])
def test_what_is_no_address_is_refused_as_by_socket(
    shared: aioxide.EventLoop, address: Any
) -> None:
    ours = seen(lambda: shared.run_until_complete(shared.getnameinfo(address)))
    assert ours == seen(lambda: socket.getnameinfo(address, 0))


def test_many_questions_at_once_are_all_answered(loop: aioxide.EventLoop) -> None:
    async def main() -> Any:
        return await asyncio.gather(
            *[loop.getaddrinfo("localhost", port, type=socket.SOCK_STREAM) for port in range(500)]
        )

    for port, found in enumerate(loop.run_until_complete(main())):
        assert found == socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)


def test_loops_in_several_threads_get_their_own_answers() -> None:
    async def main(first: int) -> None:
        loop = asyncio.get_running_loop()
        for port in range(first, first + 100):
            found = await loop.getaddrinfo("localhost", port)
            assert {entry[4][1] for entry in found} == {port}

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(run, main(first)) for first in range(1, 1000, 250)]:
            done.result(timeout=30)


# Who is asked


def native_threads() -> int:
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return names.count("aioxide-dns")


@pytest.mark.parametrize("host", ["127.0.0.1", b"::1", "fe80::1%lo", "127.1"])
def test_a_number_is_answered_on_the_spot(loop: aioxide.EventLoop, host: Any) -> None:
    with pytest.raises(StopIteration) as stopped:
        loop.getaddrinfo(host, 80).send(None)
    assert stopped.value.value == socket.getaddrinfo(host, 80)


def test_numbers_of_a_number_are_answered_on_the_spot(loop: aioxide.EventLoop) -> None:
    with pytest.raises(StopIteration) as stopped:
        loop.getnameinfo(("127.0.0.1", 80), NUMBERS_ONLY).send(None)
    assert stopped.value.value == ("127.0.0.1", "80")


def test_names_need_no_thread_of_pythons(loop: aioxide.EventLoop) -> None:
    before = threading.active_count()
    loop.run_until_complete(loop.getaddrinfo("localhost", 80))
    loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80)))
    assert threading.active_count() == before
    assert loop._default_executor is None
    assert native_threads() >= 1


def test_a_replaced_getaddrinfo_is_called(
    loop: aioxide.EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: [args])
    monkeypatch.setattr(socket, "getnameinfo", lambda *args: args)
    found = loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80, type=1, flags=4))
    assert found == [("127.0.0.1", 80, 0, 1, 0, 4)]
    name: Any = loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80), NUMBERS_ONLY))
    assert name == (("127.0.0.1", 80), NUMBERS_ONLY)


def test_an_executor_of_the_programs_has_the_names_too(loop: aioxide.EventLoop) -> None:
    class Counting(concurrent.futures.ThreadPoolExecutor):
        calls = 0

        def submit(self, *args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return super().submit(*args, **kwargs)

    executor = Counting()
    loop.set_default_executor(executor)
    loop.run_until_complete(loop.getaddrinfo("localhost", 80))
    loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80)))
    assert executor.calls == 2


def test_a_loop_with_its_own_run_in_executor_sees_the_names() -> None:
    seen_calls: list[Any] = []

    class Curious(aioxide.EventLoop):
        def run_in_executor(  # type: ignore[override]
            self, executor: Any, func: Any, *args: Any
        ) -> Any:
            seen_calls.append(func)
            return super().run_in_executor(executor, func, *args)

    loop = Curious()
    loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert seen_calls == [socket.getaddrinfo]


def test_after_the_executors_shutdown_there_is_nobody_to_ask(loop: aioxide.EventLoop) -> None:
    loop.run_until_complete(loop.shutdown_default_executor())
    for asking in (loop.getaddrinfo("127.0.0.1", 80), loop.getnameinfo(("127.0.0.1", 80))):
        with pytest.raises(RuntimeError, match=r"^Executor shutdown has been called$"):
            loop.run_until_complete(asking)


def test_a_closed_loop_asks_nobody(loop: aioxide.EventLoop) -> None:
    loop.close()
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        loop.getaddrinfo("127.0.0.1", 80).send(None)


def test_debug_mode_logs_how_long_it_took(
    loop: aioxide.EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    with caplog.at_level(logging.DEBUG, "asyncio"):
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM))
    texts = [record.getMessage() for record in caplog.records]
    question = f"127.0.0.1:80, type={socket.SOCK_STREAM!r}"
    assert f"Get address info {question}" in texts
    assert any(text.startswith(f"Getting address info {question} took ") for text in texts)


audited: list[tuple[str, Any]] | None = None


def audit(event: str, args: Any) -> None:
    if audited is not None and event in {"socket.getaddrinfo", "socket.getnameinfo"}:
        audited.append((event, args))


def test_who_audits_hears_of_each_question(loop: aioxide.EventLoop) -> None:
    global audited  # a hook can never be removed
    sys.addaudithook(audit)
    audited = []
    loop.run_until_complete(loop.getaddrinfo("localhost", "http", type=1))
    loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80)))
    ours, audited = audited, []
    socket.getaddrinfo("localhost", "http", type=1)
    socket.getnameinfo(("127.0.0.1", 80), 0)
    theirs, audited = audited, None
    assert ours == theirs


# What stays


def test_a_loop_that_has_its_answers_is_kept_by_nobody() -> None:
    loop = aioxide.new_event_loop()
    loop.run_until_complete(loop.getaddrinfo("localhost", 80))
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(loop)
        loop.close()
        del loop
        assert gone() is None
    finally:
        gc.enable()


def test_an_error_closes_no_cycle(loop: aioxide.EventLoop) -> None:
    class Marked(asyncio.Future[Any]):
        pass

    made: list[weakref.ref[Any]] = []

    def create_future() -> Any:
        future = Marked(loop=loop)
        made.append(weakref.ref(future))
        return future

    loop.create_future = create_future  # type: ignore[method-assign]

    async def main() -> None:
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("a.invalid", 80, flags=socket.AI_NUMERICHOST)

    gc.collect()
    gc.disable()
    try:
        loop.run_until_complete(main())
        assert [ref() for ref in made] == [None]
    finally:
        gc.enable()
