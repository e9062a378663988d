"""Child processes: asyncio's own functions, borrowed as `aioxide.network` says, on a pidfd."""

# ruff: noqa: SLF001  # what is borrowed is private

import asyncio
import os
from asyncio.unix_events import _UnixSubprocessTransport  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

from aioxide.stock import Declared, StockLoop


class Children(Declared):
    """The part of the event loop that starts child processes and hears of their end."""

    if not TYPE_CHECKING:
        subprocess_exec = StockLoop.subprocess_exec
        subprocess_shell = StockLoop.subprocess_shell
        _log_subprocess = StockLoop._log_subprocess

    async def _make_subprocess_transport(  # noqa: PLR0917  # asyncio's signature
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> asyncio.SubprocessTransport:
        waiter = self.create_future()
        transport: Any = _UnixSubprocessTransport(
            self,
            protocol,
            args,
            shell,
            stdin,
            stdout,
            stderr,
            bufsize,
            waiter=waiter,
            extra=extra,
            **kwargs,
        )
        pidfd = os.pidfd_open(transport.get_pid())
        self.add_reader(pidfd, self._child_ended, pidfd, transport)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        made: asyncio.SubprocessTransport = transport
        return made

    def _child_ended(self, pidfd: int, transport: Any) -> None:
        self.remove_reader(pidfd)
        os.close(pidfd)
        try:
            _, status = os.waitpid(transport.get_pid(), 0)
        except ChildProcessError:
            returncode = 255
        else:
            returncode = os.waitstatus_to_exitcode(status)
        transport._process_exited(returncode)
