"""What streams do once a connection: opening one, serving one, turning one down.

The functions that programs call are asyncio's `open_connection`, `start_server` and the Unix pair,
making aioxide's readers and writers. (After `install()` asyncio's own functions make them as well,
and stay in their places: so a program that puts its own StreamReader into `asyncio.streams` is
served as it expects.) `serve` and `refuse` are what the native protocol leaves to Python.
"""

import asyncio
import sys
from asyncio import events
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamReaderProtocol, StreamWriter

else:
    from aioxide._core import StreamReader, StreamReaderProtocol, StreamWriter

_ClientConnected: TypeAlias = Callable[
    [asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None
]

_DEFAULT_LIMIT = 2**16  # 64 KiB


async def open_connection(
    host: Any = None,
    port: Any = None,
    *,
    limit: int = _DEFAULT_LIMIT,
    **kwds: Any,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a host and return a reader and a writer.

    The arguments are those of `loop.create_connection()` without the protocol factory; `limit` is
    the reader's.
    """
    loop = events.get_running_loop()
    reader = StreamReader(limit=limit, loop=loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_server(
    client_connected_cb: _ClientConnected,
    host: Any = None,
    port: Any = None,
    *,
    limit: int = _DEFAULT_LIMIT,
    **kwds: Any,
) -> asyncio.Server:
    """Start a server and call `client_connected_cb(reader, writer)` for each connection.

    If that is a coroutine function, each call runs in a task of its own. The other arguments are
    those of `loop.create_server()` without the protocol factory; `limit` is the readers'.
    """
    loop = events.get_running_loop()

    def factory() -> asyncio.StreamReaderProtocol:
        reader = StreamReader(limit=limit, loop=loop)
        return StreamReaderProtocol(reader, client_connected_cb, loop=loop)

    return await loop.create_server(factory, host, port, **kwds)


async def open_unix_connection(
    path: Any = None, *, limit: int = _DEFAULT_LIMIT, **kwds: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a Unix socket and return a reader and a writer."""
    loop = events.get_running_loop()
    reader = StreamReader(limit=limit, loop=loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_unix_connection(lambda: protocol, path, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_unix_server(
    client_connected_cb: _ClientConnected,
    path: Any = None,
    *,
    limit: int = _DEFAULT_LIMIT,
    **kwds: Any,
) -> asyncio.Server:
    """Start a server on a Unix socket; as `start_server()` otherwise."""
    loop = events.get_running_loop()

    def factory() -> asyncio.StreamReaderProtocol:
        reader = StreamReader(limit=limit, loop=loop)
        return StreamReaderProtocol(reader, client_connected_cb, loop=loop)

    return await loop.create_unix_server(factory, path, **kwds)


def serve(protocol: Any, transport: Any, reader: Any) -> None:
    """Call the server's function for a new connection; if that gives a coroutine, run it."""
    loop: asyncio.AbstractEventLoop = protocol._loop  # noqa: SLF001
    writer = StreamWriter(transport, protocol, reader, loop)
    if sys.version_info < (3, 13):
        protocol._stream_writer = writer  # noqa: SLF001
    if sys.version_info >= (3, 14):
        try:
            result = protocol._client_connected_cb(reader, writer)  # noqa: SLF001
        except Exception as error:
            _report(loop, transport, error)
            transport.close()
            protocol._strong_reader = None  # noqa: SLF001
            return
    else:
        result = protocol._client_connected_cb(reader, writer)  # noqa: SLF001
    if asyncio.iscoroutine(result):

        def finished(task: "asyncio.Task[Any]") -> None:
            if task.cancelled():
                transport.close()
                return
            error = task.exception()
            if error is not None:
                _report(loop, transport, error)
                transport.close()

        protocol._task = loop.create_task(result)  # noqa: SLF001
        protocol._task.add_done_callback(finished)  # noqa: SLF001
    protocol._strong_reader = None  # noqa: SLF001


def _report(loop: asyncio.AbstractEventLoop, transport: Any, error: BaseException) -> None:
    loop.call_exception_handler(
        {
            "message": "Unhandled exception in client_connected_cb",
            "exception": error,
            "transport": transport,
        }
    )


def refuse(protocol: Any, transport: Any) -> None:
    """Turn down a connection that nobody will read from."""
    context = {
        "message": "An open stream was garbage collected prior to "
        "establishing network connection; "
        'call "stream.close()" explicitly.'
    }
    if protocol._source_traceback:  # noqa: SLF001
        context["source_traceback"] = protocol._source_traceback  # noqa: SLF001
    protocol._loop.call_exception_handler(context)  # noqa: SLF001
    transport.abort()
