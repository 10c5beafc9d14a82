"""TLS in front of servers that have none, as hosting platforms provide it.

The wheels' servers are built without TLS, so a small proxy ends it, as a platform's would. In front
of PostgreSQL it answers the request for TLS that comes before the handshake.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme

_SSL_REQUEST: Final = bytes.fromhex("0000000804d2162f")  # PostgreSQL's protocol, § SSLRequest
_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for localhost. `authority` is a file with the certificate that signed it."""

    leaf: trustme.LeafCert
    authority: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.leaf.configure_cert(context)
        return context


def make_certificate(folder: Path) -> Certificate:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    return Certificate(authority.issue_cert("localhost"), folder / "authority.pem")


@contextmanager
def ended_tls(port: int, certificate: Certificate, *, postgres: bool = False) -> Iterator[int]:
    """A port of localhost that speaks TLS and forwards the plain bytes to `port`."""
    context = certificate.server_context()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if postgres:
            assert await reader.readexactly(len(_SSL_REQUEST)) == _SSL_REQUEST, "it wants no TLS"
            writer.write(b"S")
            await writer.start_tls(context)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, AssertionError):
            await serve(reader, writer)
        writer.close()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opening = asyncio.start_server(guarded, "127.0.0.1", 0, ssl=None if postgres else context)
    server = asyncio.run_coroutine_threadsafe(opening, loop).result()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    ours = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not ours]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
