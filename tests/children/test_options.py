"""Every option of Popen does for a child what it does in the stdlib."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.children.parties import DEVNULL, PIPE, STDOUT, run, script
from tests.net.parties import Net

IS_ROOT = os.geteuid() == 0


async def test_cwd_is_where_the_program_runs(net: Net, folder: Path) -> None:
    assert await run(net.lib, "pwd", "-P", cwd=folder) == (0, f"{folder.resolve()}\n".encode())
    encoded = os.fsencode(folder)
    assert await run(net.lib, "pwd", "-P", cwd=encoded) == (0, f"{folder.resolve()}\n".encode())


async def test_a_relative_program_is_looked_for_in_cwd(net: Net, folder: Path) -> None:
    (folder / "here").write_text("#!/bin/sh\necho found\n")
    (folder / "here").chmod(0o755)
    assert await run(net.lib, "./here", cwd=folder) == (0, b"found\n")


async def test_env_is_all_that_the_program_gets(net: Net) -> None:
    assert await run(net.lib, "/usr/bin/env", env={"A": "1", "B": "\udce9"}) == (
        0,
        b"A=1\nB=\xe9\n",
    )
    assert await run(net.lib, "/usr/bin/env", env={b"A": b"1"}) == (0, b"A=1\n")
    assert await run(net.lib, "/usr/bin/env", env={}) == (0, b"")


async def test_without_env_it_is_what_os_environ_says_now(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOXIDE_TEST", "one")
    assert await script(net.lib, "echo $AIOXIDE_TEST") == (0, b"one\n")
    monkeypatch.delenv("AIOXIDE_TEST")
    assert await script(net.lib, "echo $AIOXIDE_TEST") == (0, b"\n")


async def test_a_program_is_searched_in_the_path_of_its_env(
    net: Net, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = folder / "first", folder / "second"
    for place in (first, second):
        place.mkdir()
        (place / "prog").write_text(f"#!/bin/sh\necho {place.name}\n")
        (place / "prog").chmod(0o755)
    both = f"{first}:{second}/"
    assert await run(net.lib, "prog", env={"PATH": both}) == (0, b"first\n")
    # What may not be executed is passed over, and is the error only if nothing else is found.
    (first / "prog").chmod(0o644)
    assert await run(net.lib, "prog", env={"PATH": both}) == (0, b"second\n")
    monkeypatch.setenv("PATH", both)
    assert await run(net.lib, "prog") == (0, b"second\n")
    (second / "prog").unlink()
    with pytest.raises(PermissionError) as caught:
        await run(net.lib, "prog")
    assert caught.value.filename == "prog"
    monkeypatch.setenv("PATH", str(second))
    with pytest.raises(FileNotFoundError):
        await run(net.lib, "prog")


async def test_executable_replaces_the_program_and_not_its_name(net: Net) -> None:
    assert await run(net.lib, "name", "-c", "echo $0", executable="/bin/sh") == (0, b"name\n")


async def test_only_the_standard_descriptors_are_inherited(net: Net) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        _, seen = await run(net.lib, "ls", "/proc/self/fd")
        assert str(write).encode() not in seen.split()
        _, seen = await run(net.lib, "ls", "/proc/self/fd", close_fds=False)
        assert str(write).encode() in seen.split()
        assert str(read).encode() not in seen.split()
    finally:
        os.close(read)
        os.close(write)


async def test_pass_fds_are_inherited_under_their_numbers(net: Net) -> None:
    ends = os.pipe(), os.pipe()
    (_, first), (_, second) = ends
    try:
        text = f"echo one >/dev/fd/{first}; echo two >/dev/fd/{second}; ls /proc/self/fd"
        _, seen = await script(net.lib, text, pass_fds=(second, first, second))
        assert {str(first).encode(), str(second).encode()} <= set(seen.split())
        assert str(ends[0][0]).encode() not in seen.split()
        assert os.read(ends[0][0], 9) == b"one\n"
        assert os.read(ends[1][0], 9) == b"two\n"
        assert not os.get_inheritable(first)
    finally:
        for end in (*ends[0], *ends[1]):
            os.close(end)


async def test_a_new_session_and_a_process_group(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("sleep", "60", start_new_session=True)
    assert os.getsid(process.pid) == process.pid == os.getpgid(process.pid)
    process.kill()
    await process.wait()
    leader = await net.lib.create_subprocess_exec("sleep", "60", process_group=0)
    assert os.getpgid(leader.pid) == leader.pid
    assert os.getsid(leader.pid) == os.getsid(0)
    member = await net.lib.create_subprocess_exec("sleep", "60", process_group=leader.pid)
    assert os.getpgid(member.pid) == leader.pid
    os.killpg(leader.pid, signal.SIGKILL)
    assert await leader.wait() == await member.wait() == -signal.SIGKILL


async def test_umask(net: Net) -> None:
    before = os.umask(0o22)
    try:
        assert await script(net.lib, "umask", umask=0o77) == (0, b"0077\n")
        assert await script(net.lib, "umask") == (0, b"0022\n")
    finally:
        assert os.umask(before) == 0o22


@pytest.mark.skipif(not IS_ROOT, reason="only root may change users")
async def test_user_group_and_extra_groups(net: Net) -> None:
    options: Any = {"user": 65534, "group": 65533, "extra_groups": [65532]}
    _, seen = await script(net.lib, "id -u; id -g; id -G", **options)
    assert seen.split() == [b"65534", b"65533", b"65533", b"65532"]
    with pytest.raises(KeyError):
        await run(net.lib, "true", user="nobody-of-this-name")


async def test_preexec_fn_runs_in_the_child(net: Net) -> None:
    assert await script(net.lib, "umask", preexec_fn=lambda: os.umask(0o70)) == (0, b"0070\n")


def signals_of(status: bytes, kind: str) -> int:
    lines = dict(line.split(":", 1) for line in status.decode().splitlines())
    return int(lines[kind], 16)


def bit(number: int) -> int:
    return 1 << (number - 1)


async def test_signals_that_python_ignores_are_restored(net: Net) -> None:
    _, status = await run(net.lib, "cat", "/proc/self/status")
    assert not signals_of(status, "SigIgn") & (bit(signal.SIGPIPE) | bit(signal.SIGXFSZ))
    _, status = await run(net.lib, "cat", "/proc/self/status", restore_signals=False)
    assert signals_of(status, "SigIgn") & bit(signal.SIGPIPE)


async def test_ignored_and_blocked_signals_are_inherited_and_handlers_are_not(net: Net) -> None:
    handled = signal.signal(signal.SIGUSR1, lambda *_: None)
    ignored = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
    try:
        _, status = await run(net.lib, "cat", "/proc/self/status")
        after = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, handled)
        signal.signal(signal.SIGUSR2, ignored)
    assert after == {*mask, signal.SIGWINCH}
    assert signals_of(status, "SigIgn") & bit(signal.SIGUSR2)
    assert not signals_of(status, "SigCgt")
    expected = sum(map(bit, after))
    assert signals_of(status, "SigBlk") == expected


async def test_what_belongs_to_the_loops_thread_is_inherited(net: Net) -> None:
    processors = os.sched_getaffinity(0)
    only = {min(processors)}
    os.sched_setaffinity(0, only)
    try:
        _, seen = await script(net.lib, "cat /proc/self/status")
    finally:
        os.sched_setaffinity(0, processors)
    [line] = [line for line in seen.decode().splitlines() if line.startswith("Cpus_allowed_list")]
    assert line.split()[1] == str(min(processors))


async def test_pipesize(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("cat", stdin=PIPE, pipesize=4096)
    popen = process._transport.get_extra_info("subprocess")
    assert popen.pipesize == 4096
    await process.communicate(b"")
    assert process.returncode == 0


async def test_standard_streams_of_every_kind(net: Net, folder: Path) -> None:
    text = "cat; echo out; echo err >&2"
    source, target = folder / "in", folder / "out"
    source.write_bytes(b"in\n")
    with source.open("rb") as stdin, target.open("wb") as stdout:
        options: Any = {"stdin": stdin, "stdout": stdout.fileno(), "stderr": STDOUT}
        process = await net.lib.create_subprocess_shell(text, **options)
        assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
        assert await process.wait() == 0
    assert target.read_bytes() == b"in\nout\nerr\n"
    assert await script(net.lib, text, stdin=DEVNULL, stderr=STDOUT) == (0, b"out\nerr\n")
    process = await net.lib.create_subprocess_shell(
        text, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
    )
    assert await process.communicate() == (None, b"err\n")
    process = await net.lib.create_subprocess_shell(text, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert await process.communicate(b"given\n") == (b"given\nout\n", b"err\n")


async def test_standard_streams_may_be_each_others_numbers(net: Net, folder: Path) -> None:
    """stdout of the child is what is our stderr, and so on: none is overwritten before its turn."""
    saved = [os.dup(number) for number in range(3)]
    files = [os.open(folder / str(number), os.O_RDWR | os.O_CREAT) for number in range(3)]
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        process = await net.lib.create_subprocess_shell(
            "echo to-one >&1; echo to-two >&2; echo to-zero >&0", stdin=1, stdout=2, stderr=0
        )
        status = await process.wait()
    finally:
        for number, file in enumerate(saved):
            os.dup2(file, number)
        for file in (*files, *saved):
            os.close(file)
    assert status == 0
    assert [(folder / str(n)).read_text() for n in range(3)] == [
        "to-two\n",
        "to-zero\n",
        "to-one\n",
    ]


async def test_what_is_moved_out_of_the_way_is_not_inherited(net: Net) -> None:
    text = "ls /proc/self/fd"
    plain = await script(net.lib, text, close_fds=False)
    assert plain[0] == 0
    # Our 0 is moved before it becomes stderr.
    assert await script(net.lib, text, close_fds=False, stderr=0) == plain


async def test_a_program_without_standard_streams_starts_children(net: Net) -> None:
    """The lowest numbers are free then, and what is opened for the child gets them."""
    if net.name == "asyncio":
        return  # the stdlib's own affair
    saved = [os.dup(number) for number in range(3)]
    try:
        for number in range(3):
            os.close(number)
        process = await net.lib.create_subprocess_shell(
            "cat; echo out; echo err >&2", stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        outcome = await process.communicate(b"in\n")
        with pytest.raises(FileNotFoundError):
            await net.lib.create_subprocess_exec("/there/is/no/such/program")
    finally:
        for number, file in enumerate(saved):
            os.dup2(file, number)
            os.close(file)
    assert outcome == (b"in\nout\n", b"err\n")
    assert process.returncode == 0


async def test_the_popen_object_is_the_stdlibs(net: Net) -> None:
    import subprocess

    process = await net.lib.create_subprocess_exec("cat", stdin=PIPE)
    popen = process._transport.get_extra_info("subprocess")
    assert isinstance(popen, subprocess.Popen)
    assert repr(popen) == "<Popen: returncode: None args: ('cat',)>"
    assert (popen.pid, popen.returncode, popen.args) == (process.pid, None, ("cat",))
    assert popen.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        popen.wait(0.01)
    popen.send_signal(signal.SIGTERM)
    assert await process.wait() == popen.returncode == -signal.SIGTERM
    assert popen.wait() == popen.poll() == -signal.SIGTERM


async def test_audit_hooks_hear_of_the_program(net: Net) -> None:
    heard: list[Any] = []
    hooks.append(heard)
    try:
        await run(net.lib, "true", "x", cwd="/", env={"PATH": "/usr/bin:/bin"})
        await script(net.lib, "true")
    finally:
        hooks.remove(heard)
    assert heard[0] == ("true", ["true", "x"], "/", {"PATH": "/usr/bin:/bin"})
    assert heard[1] == ("sh", ["sh", "-c", "true"], None, None)


hooks: list[list[Any]] = []


def audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        for heard in hooks:
            heard.append(args)


sys.addaudithook(audit)


async def test_an_audit_hook_can_refuse(net: Net) -> None:
    class Refuses(list[Any]):
        def append(self, item: object) -> None:
            raise PermissionError("not here")

    hooks.append(Refuses())
    try:
        with pytest.raises(PermissionError, match="not here"):
            await net.lib.create_subprocess_exec("true", stdin=PIPE)
    finally:
        hooks.clear()


async def test_streams_are_of_the_modules_kind(net: Net) -> None:
    process = await net.lib.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    assert isinstance(process, asyncio.subprocess.Process)
    assert type(process.stdout) is net.lib.StreamReader
    assert type(process.stdin) is net.lib.StreamWriter
    await process.communicate(b"")
