"""A TCP proxy that counts round trips: what a client says until the server answers is one.

It understands no protocol, so it can't be wrong about what a driver thinks it does.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES: Final = 1024 * 1024  # a whole pipeline comes as one chunk, so it counts as one


@dataclass(slots=True)
class Line:
    """One connection: what was said on it, a text for each round trip."""

    trips: list[bytes] = field(default_factory=list)
    answered: bool = True

    def say(self, chunk: bytes) -> None:
        if self.answered:
            self.trips.append(chunk)
            self.answered = False
        else:
            self.trips[-1] += chunk


class Recorder:
    """In front of one server."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lines: list[Line] = []
        self._sockets: list[socket.socket] = [self._listening]
        self._since: dict[int, int] = {}
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._welcome, daemon=True).start()

    def start_counting(self) -> None:
        """Forgets what was said so far."""
        self._since = {id(line): len(line.trips) for line in self._lines}

    def trips(self, *, but_on_lines_with: bytes = b"\0no such text\0") -> list[bytes]:
        """What was said since `start_counting`; whole connections with that text are left out."""
        return [
            trip
            for line in self._lines
            if not any(but_on_lines_with in trip for trip in line.trips)
            for trip in line.trips[self._since.get(id(line), 0) :]
        ]

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _welcome(self) -> None:
        with suppress(OSError):
            while True:  # until the listening socket is closed
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                line = Line()
                self._lines.append(line)
                for work in (self._ask, self._answer):
                    threading.Thread(target=work, args=(line, client, server), daemon=True).start()

    def _ask(self, line: Line, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while chunk := client.recv(CHUNK_BYTES):
                line.say(chunk)
                server.sendall(chunk)
            server.shutdown(socket.SHUT_WR)

    def _answer(self, line: Line, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while chunk := server.recv(CHUNK_BYTES):
                line.answered = True
                client.sendall(chunk)
            client.shutdown(socket.SHUT_WR)


@contextmanager
def recorder_before(url: str) -> Iterator[tuple[Recorder, str]]:
    """A recorder before the server of `url`, and the URL that leads through it."""
    parts = urlsplit(url)
    assert parts.port is not None
    recorder = Recorder(parts.port)
    login = f"{parts.username}@" if parts.username else ""
    try:
        yield recorder, urlunsplit(parts._replace(netloc=f"{login}127.0.0.1:{recorder.port}"))
    finally:
        recorder.close()
