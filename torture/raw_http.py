"""One keep-alive connection of a client: raw bytes out, raw bytes in.

No library: answers are compared byte for byte, and a connection has to break just where we say.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from torture.tcp_proxy import reset

TIMEOUT_S: Final = 12.0  # above the 10 s within which every request has its answer
MAX_BODY_BYTES: Final = 4 * 1024 * 1024  # a batch of 1 000 items is far below


class NoAnswer(Exception):
    """Nobody answered: refused, reset, cut or silent. What became of the request is open."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `code` is the problem's, empty where it is none."""

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


class Line:
    """A client's connection. A broken one is replaced by one to the next of `ports`."""

    def __init__(self, ports: Sequence[int], first: int) -> None:
        self._ports = itertools.cycle([*ports[first:], *ports[:first]])
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        cut: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """NoAnswer where none came. `cut` is asked when the answer begins, and may end it there."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._exchange(_head(method, path, headers, body) + body, cut)
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
            self.drop()
            raise NoAnswer(type(error).__name__) from error
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Ends the connection with a reset."""
        if self._streams is not None:
            reset(self._streams[1])
            self._streams = None

    async def _exchange(self, request: bytes, cut: Callable[[], bool]) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", next(self._ports))
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if cut():
            raise NoAnswer("cut")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        status = int(first.split(" ", 2)[1])
        parted = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in parted}
        size = int(headers.get("content-length", "0"))
        if size > MAX_BODY_BYTES:
            raise ValueError("an answer without end")
        body = await reader.readexactly(size)
        if headers.get("connection") == "close":
            self.drop()
        return Answer(status, body, headers)


def _head(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
