"""HTTPS as people deploy it: the same answer from uvicorn and from aiohttp, each on a given loop.

Both are configured as for production in one process, uvicorn with its C parser, and neither writes
a line for each request. They bind by themselves: a listener that was made for them, without a
protocol's number, would have asyncio's transports leave Nagle's algorithm on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from benchmarks.net.cells import BODY
from benchmarks.net.services import address_of, identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
HEADERS = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", str(len(BODY)).encode()),
]


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """The answer in ASGI."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY.encode()})


async def start(server: str, pem: str) -> tuple[object, str]:
    """Start a web server in the running loop: something to keep, and its address."""
    kept, name = await {"uvicorn": start_uvicorn, "aiohttp": start_aiohttp}[server](pem)
    return kept, address_of(name)


async def start_uvicorn(pem: str) -> tuple[object, Any]:
    """uvicorn in the running loop, which is what `--loop` would have made."""
    import uvicorn

    config = uvicorn.Config(
        application,
        host=HOST,
        port=0,
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        ssl_certfile=pem,
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        if serving.done():
            serving.result()
            raise RuntimeError("uvicorn did not start")
        await asyncio.sleep(0.01)
    return serving, server.servers[0].sockets[0].getsockname()


async def start_aiohttp(pem: str) -> tuple[object, Any]:
    """aiohttp in the running loop."""
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=BODY)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=identity(pem)).start()
    return runner, runner.addresses[0]
