"""What may answer where Redis is expected: programs that say one thing and no more."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

CERTIFICATE = Path(__file__).parent / "tls" / "localhost.pem"
"""A certificate, with its key, for the name localhost, until 2126. To make another:

    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 36500 -subj /CN=localhost \\
        -addext subjectAltName=DNS:localhost -keyout key.pem -out certificate.pem
    cat key.pem certificate.pem > localhost.pem
"""


@asynccontextmanager
async def saying(*answers: bytes) -> AsyncIterator[int]:
    """Answer whatever comes by these, one for each read, and end the connection then; gives the port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            for answer in answers:
                await reader.read(1_000)
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def behind_tls(port: int) -> AsyncIterator[int]:
    """Take TLS under the name localhost, and hand on what it holds to the server at the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    carriers = set[asyncio.Task[None] | None]()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carriers.add(asyncio.current_task())
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            with suppress(OSError):
                await asyncio.gather(carry(reader, back), carry(there, writer))
        finally:
            for end in (back, writer):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for carrier in carriers:
            if carrier is not None:
                carrier.cancel()
        await asyncio.gather(*(carrier for carrier in carriers if carrier is not None), return_exceptions=True)
