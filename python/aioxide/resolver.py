"""`getaddrinfo()` and `getnameinfo()`: what is asked natively, and what `socket` is asked instead.

asyncio calls `socket.getaddrinfo()` in a thread of its executor. Here an address that is already a
number is answered on the spot, and everything else is asked by threads that never need the GIL
(`_core.Lookups`). Both ask the C library the same as `socket` does, after the same preparation, and
turn its answers and errors into the same objects.

All the rest goes asyncio's way, so that nothing has to be written twice that is rare or that a
program could have an eye on: arguments that `socket` refuses or reads in ways of its own, debug
mode with its log, a `socket.getaddrinfo()` that somebody replaced, an executor of the program's.
"""

import socket
import sys
from asyncio import base_events
from asyncio.log import logger
from collections.abc import Callable
from socket import AddressFamily, SocketKind, _intenum_converter  # type: ignore[attr-defined]
from types import FunctionType
from typing import Any, TypeAlias

from aioxide import _core
from aioxide.executor import Executors
from aioxide.workers import Workers

_Host: TypeAlias = bytes | str | None
_Port: TypeAlias = bytes | str | int | None
_SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int] | tuple[str, int, int, int]

# With these, what a numeric host means is in its text alone. AI_ADDRCONFIG is not among them: it
# makes the C library ask the kernel for all interfaces.
_FLAGS_OF_LITERALS = (
    socket.AI_PASSIVE
    | socket.AI_CANONNAME
    | socket.AI_NUMERICHOST
    | socket.AI_NUMERICSERV
    | socket.AI_V4MAPPED
    | socket.AI_ALL
)
_NUMBERS_ONLY = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
_MOST_FLOW = 0xFFFFF
_MOST_DIGITS_OF_A_PORT = 9  # what is longer may overflow, and be taken for a service's name


class Resolver(Executors):
    """The part of the event loop that resolves names."""

    def __init__(self) -> None:
        Executors.__init__(self)
        self._lookups: _core.Lookups | None = None

    async def getaddrinfo(
        self,
        host: _Host,
        port: _Port,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """Resolve a name as `socket.getaddrinfo()` does, without blocking the loop."""
        resolve = _socket().getaddrinfo
        asked = None
        if resolve is _STOCK_GETADDRINFO and self._asks_natively():
            asked = _prepare(host, port, family, type, proto, flags)
        if asked is not None:
            sys.audit("socket.getaddrinfo", host, port, family, type, proto)
            found = _core.literal_addresses(*asked) if _is_literal(*asked) else None
            if found is None:
                found = await self._ask(self._begun_lookups().ask_addresses, *asked)
            if found is not None:
                return [_with_names(*entry) for entry in found]
        if self.get_debug():
            resolve = self._getaddrinfo_debug
        return await self.run_in_executor(None, resolve, host, port, family, type, proto, flags)

    async def getnameinfo(self, sockaddr: _SocketAddress, flags: int = 0) -> tuple[str, str]:
        """Resolve an address as `socket.getnameinfo()` does, without blocking the loop."""
        resolve = _socket().getnameinfo
        asked = None
        if resolve is _STOCK_GETNAMEINFO and self._asks_natively():
            asked = _prepare_address(sockaddr, flags)
        if asked is not None:
            sys.audit("socket.getnameinfo", sockaddr)
            found = None
            if flags & _NUMBERS_ONLY == _NUMBERS_ONLY:
                found = _core.literal_name(*asked)
            if found is None:
                found = await self._ask(self._begun_lookups().ask_name, *asked)
            if found is not None:
                return found
        return await self.run_in_executor(None, resolve, sockaddr, flags)

    def _asks_natively(self) -> bool:
        # What a program put in the executor's place is meant to have the names as well; and after
        # the executor's shutdown, and on a closed loop, run_in_executor() has to refuse.
        executor = self._default_executor
        return (
            (executor is None or executor.__class__ is Workers)
            and getattr(self.run_in_executor, "__func__", None) is Executors.run_in_executor
            and not self._executor_shutdown_called
            and not self.get_debug()
            and not self.is_closed()
            and _core.takes_jobs(self)
        )

    async def _ask(self, begin: Callable[..., int], *asked: object) -> Any:
        future = self.create_future()
        ticket = begin(self, future, *asked)
        try:
            return await future
        except BaseException:
            if self._lookups is not None:
                self._lookups.abandon(ticket)
            raise
        finally:
            del future  # else an exception in it would hold this frame, which holds it

    def _begun_lookups(self) -> _core.Lookups:
        if self._lookups is None:
            self._lookups = _core.Lookups()
        return self._lookups

    def _abandon_lookups(self) -> None:
        if self._lookups is not None:
            self._lookups.close()
            self._lookups = None

    def _getaddrinfo_debug(  # noqa: PLR0917
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int,
        type_: int,
        proto: int,
        flags: int,
    ) -> list[tuple[Any, ...]]:
        asked = [f"{host!s}:{port!r}"]
        for name, value in (("family", family), ("type", type_), ("proto", proto)):
            if value:
                asked.append(f"{name}={value!r}")
        if flags:
            asked.append(f"flags={flags!r}")
        question = ", ".join(asked)
        logger.debug("Get address info %s", question)
        began = self.time()
        answer: list[tuple[Any, ...]] = _socket().getaddrinfo(
            host, port, family, type_, proto, flags
        )
        took = self.time() - began
        report = f"Getting address info {question} took {took * 1e3:.3f}ms: {answer!r}"
        if took >= self.slow_callback_duration:
            logger.info(report)
        else:
            logger.debug(report)
        return answer


def _prepare(
    host: object, port: object, *numbers: object
) -> tuple[bytes | None, bytes | None, int, int, int, int] | None:
    """Return the arguments as the C library gets them; None if only `socket` can say how."""
    try:
        family, kind, proto, flags = map(_c_int, numbers)
        return _host_text(host), _port_text(port), family, kind, proto, flags
    except ValueError:
        return None


def _prepare_address(
    sockaddr: object, flags: object
) -> tuple[bytes, bytes, int, int, int, int] | None:
    try:
        if sockaddr.__class__ is not tuple or not 2 <= len(items := tuple(sockaddr)) <= 4:
            return None
        flow, scope = (*items[2:], 0, 0)[:2]
        host, port = items[:2]
        if host.__class__ is not str or not (0 <= _c_int(flow) <= _MOST_FLOW):
            return None
        if not isinstance(scope, int) or not 0 <= scope < 2**32:
            return None
        text = _without_nul(host.encode("ascii"))
        return text, b"%d" % _c_int(port), flow, scope, len(items), _c_int(flags)
    except ValueError:
        return None


def _host_text(host: object) -> bytes | None:
    if host is None:
        return None
    return _without_nul(host.encode("idna") if type(host) is str else host)


def _port_text(port: object) -> bytes | None:
    if port is None:
        return None
    if type(port) is int:
        return b"%d" % _c_int(port)
    return _without_nul(port.encode("ascii") if type(port) is str else port)


def _without_nul(text: object) -> bytes:
    if type(text) is not bytes or b"\0" in text:
        raise ValueError
    return text


def _c_int(number: object) -> int:
    if not isinstance(number, int) or not -(2**31) <= number < 2**31:
        raise ValueError
    return number


def _is_literal(
    host: bytes | None, port: bytes | None, _family: int, _type: int, _proto: int, flags: int
) -> bool:
    """Return whether the host can be asked for in place: if it is no number, nothing is found."""
    return (
        host not in {None, b"*"}
        and (port is None or (port.isdigit() and len(port) <= _MOST_DIGITS_OF_A_PORT))
        and not flags & ~_FLAGS_OF_LITERALS
    )


def _with_names(
    family: int, kind: int, proto: int, canonical: str, address: tuple[Any, ...]
) -> tuple[Any, ...]:
    # As socket.getaddrinfo() does with what the C library says.
    return (
        _intenum_converter(family, AddressFamily),
        _intenum_converter(kind, SocketKind),
        proto,
        canonical,
        address,
    )


def _socket() -> Any:
    """Return what `asyncio.base_events.socket` is now: programs and tests replace it there."""
    return base_events.socket  # type: ignore[attr-defined]


def _stock(name: str) -> object:
    """Return that function of `socket`, or what nothing is equal to if it was replaced already."""
    function = getattr(socket, name)
    if isinstance(function, FunctionType):
        return function if function.__globals__ is vars(socket) else object()
    return function if getattr(function, "__module__", None) == "_socket" else object()


_STOCK_GETADDRINFO = _stock("getaddrinfo")
_STOCK_GETNAMEINFO = _stock("getnameinfo")
