"""TLS: an encrypted echo server, and clients that check who they talk to.

A certificate says whose key it is. Here it is made for the occasion, by the `openssl` command (the
standard library cannot make one), and whoever is to trust it is given it. A server on the internet
has one from an authority, and `ssl.create_default_context()` knows the authorities already.

Output:

    TLSv1.3: hello
    a client that trusts nobody yet: CERTIFICATE_VERIFY_FAILED
    upgraded later: TLSv1.3: hello
"""

import asyncio
import ssl
import tempfile
from pathlib import Path

import aioxide

CERTIFICATE = (
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
    "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
)


async def make_certificate(folder: Path) -> None:
    making = await asyncio.create_subprocess_exec(
        "openssl", *CERTIFICATE.split(), cwd=folder, stderr=asyncio.subprocess.DEVNULL
    )
    if await making.wait():
        raise RuntimeError("openssl could not make a certificate")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async for line in reader:
            writer.write(line)
            await writer.drain()
    except ssl.SSLError:
        pass  # the client did not like our certificate
    finally:
        writer.close()


def version(writer: asyncio.StreamWriter) -> str:
    tls = writer.get_extra_info("ssl_object")  # None on a connection without TLS
    return str(tls.version())


async def ask(port: int, trust: ssl.SSLContext) -> str:
    # The name is what the certificate has to be for; the address only says where to go.
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=trust, server_hostname="localhost"
    )
    writer.write(b"hello\n")
    answer = await reader.readline()
    answered = f"{version(writer)}: {answer.decode().strip()}"
    writer.close()
    await writer.wait_closed()
    return answered


async def serve_upgrading(own: ssl.SSLContext) -> asyncio.Server:
    """Serve as mail servers do: plainly at first, in TLS from STARTTLS on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline() == b"STARTTLS\n":
            writer.write(b"go ahead\n")
            await writer.start_tls(own)
            await echo(reader, writer)

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def ask_upgrading(port: int, trust: ssl.SSLContext) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"STARTTLS\n")
    await reader.readline()
    await writer.start_tls(trust, server_hostname="localhost")
    writer.write(b"hello\n")
    answer = await reader.readline()
    answered = f"{version(writer)}: {answer.decode().strip()}"
    writer.close()
    await writer.wait_closed()
    return answered


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            await make_certificate(folder)
        except FileNotFoundError:
            print("This example makes a certificate with the openssl command; please install it.")
            return
        own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        trust = ssl.create_default_context(cafile=folder / "cert.pem")

    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=own) as server:
        port = server.sockets[0].getsockname()[1]
        print(await ask(port, trust))
        try:
            await ask(port, ssl.create_default_context())
        except ssl.SSLCertVerificationError as error:
            print("a client that trusts nobody yet:", error.reason)

    async with await serve_upgrading(own) as server:
        port = server.sockets[0].getsockname()[1]
        print("upgraded later:", await ask_upgrading(port, trust))


if __name__ == "__main__":
    aioxide.run(main())
