"""What cannot be started raises what the stdlib raises, to the letter, and leaves nothing."""

import asyncio
import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest

import aioxide
from tests.children.parties import PIPE, STDOUT, run
from tests.net.parties import Net

FAILING: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "no program": (("there-is-no-such-program",), {}),
    "no file": (("/there/is/no/such/program",), {}),
    "no program, as bytes": ((b"there-is-no-such-program",), {}),
    "no program, as a path": ((Path("/there/is/no/such/program"),), {}),
    "an empty name": (("",), {}),
    "not executable": (("/etc/passwd",), {}),
    "a directory": (("/tmp",), {}),
    "not below a directory": (("/etc/passwd/x",), {}),
    "no executable": (("true",), {"executable": "/there/is/no/such/program"}),
    "no directory": (("true",), {"cwd": "/there/is/no/such/directory"}),
    "no directory, as a path": (("true",), {"cwd": Path("/there/is/no/such/directory")}),
    "no directory and no program": (("/nowhere",), {"cwd": "/there/is/no/such/directory"}),
    "a bad stdin": (("true",), {"stdin": 999}),
    "a bad stdout in a directory": (("true",), {"stdout": 999, "cwd": "/"}),
    "a bad passed descriptor": (("true",), {"pass_fds": [999]}),
    "a negative passed descriptor": (("true",), {"pass_fds": [-1]}),
    "no such process group": (("true",), {"process_group": 2**30}),
    "a NUL in the program": (("tr\0ue",), {}),
    "a NUL in an argument": (("true", "a\0b"), {}),
    "a NUL in the directory": (("true",), {"cwd": "a\0b"}),
    "a NUL in the environment": (("true",), {"env": {"A": "\0"}}),
    "an equals sign in a name": (("true",), {"env": {"A=B": "C"}}),
    "two paths": (("true",), {"env": {"PATH": "/bin", b"PATH": b"/bin"}}),
    "a number as an argument": (("true", 1), {}),
    "a number as a program": ((1,), {}),
    "a number as an environment": (("true",), {"env": {"A": 1}}),
    "a number as a directory": (("true",), {"cwd": 1.5}),
    "a umask that is no int": (("true",), {"umask": "7"}),
    "a umask that is too large": (("true",), {"umask": 1 << 40}),
    "a umask that is far too small": (("true",), {"umask": -(1 << 40)}),
    "a passed descriptor that is no C int": (("true",), {"pass_fds": [1 << 40]}),
    "a passed descriptor that is larger still": (("true",), {"pass_fds": [1 << 80]}),
    "a list as an environment": (("true",), {"env": [("A", "B")]}),
    "text for a flag": (("true",), {"start_new_session": "yes"}),
    "nothing for a flag": (("true",), {"restore_signals": None}),
    "a pipe size that is no int": (("true",), {"pipesize": "7"}),
    "an unknown option": (("true",), {"colour": "blue"}),
    "a user that is neither": (("true",), {"user": 1.5}),
    "text": (("true",), {"text": True}),
    "universal newlines": (("true",), {"universal_newlines": True}),
    "an encoding": (("true",), {"encoding": "utf-8"}),
    "errors": (("true",), {"errors": "strict"}),
    "a buffer": (("true",), {"bufsize": 1}),
    "shell": (("true",), {"shell": True}),
    "stdout to itself": (("true",), {"stdout": STDOUT}),
    "what is no file": (("true",), {"stdin": object()}),
    "flags of Windows": (("true",), {"creationflags": 1}),
    "startupinfo of Windows": (("true",), {"startupinfo": object()}),
    "preexec_fn fails": (("true",), {"preexec_fn": lambda: 1 / 0}),
}


async def outcome(lib: Any, command: tuple[Any, ...], options: dict[str, Any]) -> Any:
    # With pipes, so that there is something to leave behind.
    pipes = {name: PIPE for name in ("stdin", "stdout", "stderr") if name not in options}
    try:
        process = await lib.create_subprocess_exec(*command, **pipes, **options)
    except Exception as error:
        os_error = isinstance(error, OSError)
        detail = (error.errno, error.filename) if isinstance(error, OSError) else None
        return type(error), str(error), error.args if os_error else None, detail
    await process.communicate()
    return process.returncode


def on_asyncio(command: tuple[Any, ...], options: dict[str, Any]) -> Any:
    loop = asyncio.SelectorEventLoop()
    try:
        return loop.run_until_complete(outcome(asyncio, command, options))
    finally:
        loop.close()


@pytest.mark.parametrize("case", FAILING)
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # of transports without a process, up to 3.12
def test_what_cannot_be_started_is_refused_as_by_asyncio(case: str, way_of_aioxide: str) -> None:
    command, options = FAILING[case]
    expected = on_asyncio(command, options)
    loop = aioxide.new_event_loop()
    try:
        assert loop.run_until_complete(outcome(aioxide, command, options)) == expected
    finally:
        loop.close()


async def test_a_script_without_an_interpreter_is_no_program(net: Net, folder: Path) -> None:
    (folder / "prog").write_text("echo\n")
    (folder / "prog").chmod(0o755)
    with pytest.raises(OSError, match="Exec format error") as caught:
        await run(net.lib, folder / "prog")
    assert (caught.value.errno, Path(caught.value.filename)) == (errno.ENOEXEC, folder / "prog")


async def test_no_descriptors_left_loses_neither_the_child_nor_any_that_were_opened(
    net: Net,
) -> None:
    """However many there are left: it fails cleanly, or the child runs and its end is heard."""
    if net.name == "asyncio":
        return  # up to 3.13 it forgets pipes here
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    await run(net.lib, "true")  # imports and the like
    ends: list[str] = []
    used = max(int(each.name) for each in Path("/proc/self/fd").iterdir()) + 1
    spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(16)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 16, hard))
    try:
        filled = fill()
        for _ in range(14):
            try:
                process = await net.lib.create_subprocess_exec("true", stdin=PIPE, stdout=PIPE)
            except OSError as error:
                ends.append(errno.errorcode[error.errno or 0])
            else:
                await process.communicate()
                ends.append(str(process.returncode))
            os.close(spare.pop())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in (*spare, *filled):
            os.close(number)
    assert ends[0] == "EMFILE"
    assert ends[-1] == "0"
    assert ends == sorted(ends, reverse=True), "neither refused nor run"


def fill() -> list[int]:
    """Open what can be opened."""
    opened: list[int] = []
    while True:
        try:
            opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return opened
