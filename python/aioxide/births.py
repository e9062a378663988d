"""Starting a program without waiting until it is executed.

`Popen` is the stdlib's: it understands and checks the arguments, opens pipes and wraps them. Only
its last step, `_execute_child()`, is ours where it can be. The stdlib makes the child there and
waits, with the GIL, until that has executed its program or failed to; here the native side makes
it (`src/children`), and the loop hears how it went. What needs Python code or another user in the
child, and what somebody has put in the stdlib's place, is left to the stdlib.
"""

import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import BuiltinFunctionType
from typing import Any

from aioxide import _core

__all__ = ["Popen", "is_wanted"]

StockPopen = subprocess.Popen

# Kernels and sandboxes that have no such thing say one of these.
_REFUSALS = (errno.EINVAL, errno.ENOSYS, errno.EPERM)

# Not for programs: for tools that know no such child, as valgrind, and to rule it out as a cause.
_native = _core.can_start_children and os.environ.get("AIOXIDE_CHILDREN") != "popen"

# The last PATH that was searched, and its directories as bytes that end in a slash.
_searched: tuple[str, list[bytes]] = ("", [b""])


def is_wanted() -> bool:
    """Tell whether a program's children are to be `Popen` objects of this module."""
    # A debugger that follows children, or a test, puts its own in these places.
    return (
        _native
        and subprocess.Popen is StockPopen
        and type(vars(subprocess).get("_fork_exec")) is BuiltinFunctionType
        and vars(subprocess).get("_USE_VFORK", True)
    )


class Popen(StockPopen[bytes]):
    """A child process; if `child` is set, it is still to be heard how its birth went."""

    child: _core.Child | None = None
    _program: Any = None
    _directory: Any = None
    _is_plain = False  # so that posix_spawn() could have started it

    def _execute_child(  # noqa: PLR0917  # the stdlib's signature
        self,
        args: Any,
        executable: Any,
        preexec_fn: Any,
        close_fds: bool,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        startupinfo: Any,
        creationflags: int,
        shell: bool,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        restore_signals: bool,
        gid: int | None,
        gids: list[int] | None,
        uid: int | None,
        umask: int,
        start_new_session: bool,
        process_group: int,
    ) -> None:
        global _native
        ends = (p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        if preexec_fn is None and gid is None and gids is None and uid is None:
            command = _command(args, shell, executable)
            program = command[0] if executable is None else executable
            sys.audit("subprocess.Popen", program, command, cwd, env)
            # Before the paths: what is no environment is refused as such.
            environment = None if env is None else _environment(env)
            try:
                self.child = _core.start_child(
                    _candidates(program, env),
                    [os.fsencode(each) for each in command],
                    environment,
                    None if cwd is None else os.fsencode(cwd),
                    close_fds,
                    sorted({int(fd) for fd in pass_fds}),
                    ends,
                    restore_signals,
                    start_new_session,
                    process_group,
                    umask,
                )
            except OSError as error:
                if error.errno not in _REFUSALS:
                    raise
                _native = False
            else:
                self.pid = self.child.pid
                self._child_created = True
                self._program = program
                self._directory = cwd
                self._is_plain = (
                    (not close_fds or _CAN_SPAWN_AND_CLOSE)
                    and not pass_fds
                    and cwd is None
                    and not start_new_session
                    and process_group == -1
                    and umask < 0
                )
                self._close_pipe_fds(*ends)  # type: ignore[attr-defined]
                return
        super()._execute_child(  # type: ignore[misc]
            args,
            executable,
            preexec_fn,
            close_fds,
            pass_fds,
            cwd,
            env,
            startupinfo,
            creationflags,
            shell,
            *ends,
            restore_signals,
            gid,
            gids,
            uid,
            umask,
            start_new_session,
            process_group,
        )

    def close_pipes(self) -> None:
        """Close our ends, as the stdlib does when a child could not be started."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def abandon(self) -> None:
        """Kill a child that nobody wants any more; it is left to be reaped."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.close_pipes()

    def fail(self, step: int, number: int) -> OSError:
        """Tidy up after a birth that failed, and return what the stdlib would have raised."""
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            self.returncode = 255
        else:
            self.returncode = os.waitstatus_to_exitcode(status)
        self.close_pipes()
        if self._is_plain and b"/" in os.fsencode(self._program) and _spawns():
            return OSError(number, os.strerror(number), os.fspath(self._program))
        if step == _EXECUTE:
            return OSError(number, os.strerror(number), self._program)
        if step == _CHANGE_DIRECTORY or _BLAMES_THE_DIRECTORY:
            return OSError(number, os.strerror(number), self._directory)
        return OSError(number, os.strerror(number))


# Steps of `src/children/child.rs`.
_CHANGE_DIRECTORY = 2
_EXECUTE = 3

_CAN_SPAWN_AND_CLOSE = vars(subprocess).get("_HAVE_POSIX_SPAWN_CLOSEFROM", False)


def _spawns() -> bool:
    """Tell whether the stdlib calls posix_spawn() where it can, whose errors differ a little."""
    return bool(vars(subprocess).get("_USE_POSIX_SPAWN"))


# Up to 3.12 the stdlib takes every failure before the program is executed for that of changing it.
_BLAMES_THE_DIRECTORY = sys.version_info < (3, 13)


def _command(args: Any, shell: bool, executable: Any) -> list[Any]:
    if isinstance(args, str | bytes):
        command: list[Any] = [args]
    elif isinstance(args, os.PathLike):
        if shell:
            raise TypeError("path-like args is not allowed when shell is true")
        command = [args]
    else:
        command = list(args)
    if shell:
        command = [executable or _SHELL, "-c", *command]
    return command


_SHELL = "/system/bin/sh" if hasattr(sys, "getandroidapilevel") else "/bin/sh"


def _environment(env: Any) -> list[bytes]:
    entries = []
    for key, value in env.items():
        name = os.fsencode(key)
        if b"=" in name:
            raise ValueError("illegal environment variable name")
        entries.append(name + b"=" + os.fsencode(value))
    return entries


def _candidates(program: Any, env: Any) -> list[bytes]:
    """Return the paths to try, as the stdlib would."""
    global _searched
    name = os.fsencode(program)
    if b"/" in name:
        return [name]
    if env is not None:
        return [_folder(each) + name for each in os.get_exec_path(env)]
    path = os.environ.get("PATH")
    if path is None:
        path = os.defpath
    known, folders = _searched
    if path != known:
        folders = [_folder(each) for each in path.split(os.pathsep)]
        _searched = path, folders
    return [each + name for each in folders]


def _folder(path: str) -> bytes:
    folder = os.fsencode(path)
    return folder if not folder or folder.endswith(b"/") else folder + b"/"
