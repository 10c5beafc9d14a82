"""HTTP/1.1 over a plain socket: requests and responses byte for byte, on connections that break.

No library: responses are compared byte for byte, requests may be invalid, and a full client costs
more per request than the server that is measured.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec

from tests.support.tcp_proxy import reset

MAX_BODY_BYTES: Final = 4 * 1024 * 1024  # a batch of 1 000 items is far smaller


class NoResponse(Exception):
    """No response: refused, reset, cut or timed out. The request may have been carried out."""


@dataclass(frozen=True, slots=True)
class Response:
    """Header names are lower-case. `code` is the problem's, empty where the body is none."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]

    @property
    def code(self) -> str:
        if self.status < 400 or self.content_type != "application/problem+json":
            return ""
        return str(self.json().get("code", ""))

    def json(self) -> dict[str, Any]:
        """The body's object; empty where it is none."""
        with suppress(msgspec.DecodeError):
            found = msgspec.json.decode(self.body)
            if isinstance(found, dict):
                return found
        return {}


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A whole request, with the headers that a JSON body needs."""
    lines = [f"{method} {path} HTTP/1.1", "Host: finpay.test"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Connection:
    """One keep-alive connection to a server on loopback."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.closed = False

    @classmethod
    async def open(cls, port: int) -> Self:
        """OSError where the server does not accept it."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def exchange(
        self, data: bytes, *, on_head: Callable[[], None] = lambda: None
    ) -> Response:
        """Send `data` and read the response. OSError, EOFError or ValueError where none came.

        `on_head` is called between the head and the body of the response, and may raise.
        """
        self.write(data)
        head = await self._reader.readuntil(b"\r\n\r\n")
        on_head()
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        size = int(headers.get("content-length", "0"))
        if size > MAX_BODY_BYTES:
            raise ValueError(f"a body of {size} bytes")
        body = await self._reader.readexactly(size)
        if headers.get("connection") == "close":
            self.reset()
        return Response(int(first.split(" ", 2)[1]), body, headers)

    def write(self, data: bytes) -> None:
        """Send bytes without reading."""
        self._writer.write(data)

    def close(self) -> None:
        self.closed = True
        self._writer.close()

    def reset(self) -> None:
        """End the connection with a reset, as a crashed client does."""
        self.closed = True
        reset(self._writer)


async def get_status(port: int, path: str, limit_s: float) -> int:
    """The status of a GET on a new connection; 0 where there was no response in time."""
    try:
        async with asyncio.timeout(limit_s):
            connection = await Connection.open(port)
            try:
                return (await connection.exchange(request("GET", path, {}))).status
            finally:
                connection.reset()
    except (OSError, EOFError, ValueError):  # TimeoutError is an OSError
        return 0
