"""Raw bytes to a server, and the responses that it sends back: for requests no library sends."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.api_process import User
from tests.support.raw_http import Response
from tests.support.tcp_proxy import port_of

LIMIT_S: Final = 20.0  # longer than the 15 s after which the server gives up on a request
HOST: Final = "Host: finpay.test"
CHUNK_BYTES: Final = 65_536


class RawConnection:
    """One connection. `response` returns None once the server has closed it."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._received = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def half_close(self) -> None:
        """The end of what the client sends; it goes on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def response(self, *, to_head: bool = False) -> Response | None:
        """The next response, or interim response, whole. `to_head`: of a HEAD request."""
        while b"\r\n\r\n" not in self._received:
            if not self._receive():
                return None
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        size = 0 if to_head else int(headers.get("content-length", "0"))
        while len(self._received) < size:
            assert self._receive(), "the response ended early"
        body, self._received = self._received[:size], self._received[size:]
        return Response(int(first.split(" ")[1]), body, headers)

    def responses(self) -> list[Response]:
        """All that are still to come, until the server closes."""
        return list(iter(self.response, None))

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(CHUNK_BYTES)
        except ConnectionResetError:
            return False
        self._received += data
        return bool(data)


@contextmanager
def connected(url: str, limit_s: float = LIMIT_S) -> Iterator[RawConnection]:
    with socket.create_connection(("127.0.0.1", port_of(url)), timeout=limit_s) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield RawConnection(connection)


def statuses(url: str, data: bytes, *, half_close: bool = True) -> list[int]:
    """The statuses of all responses to `data`, after which the client sends nothing more."""
    with connected(url) as connection:
        connection.send(data)
        if half_close:
            connection.half_close()
        return [response.status for response in connection.responses()]


def head(*lines: str) -> bytes:
    """Request line and fields, with the empty line that ends them."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def transfer_body(receiver: User, amount: int = 1) -> bytes:
    return f'{{"receiver_id":"{receiver.account_id}","amount":{amount}}}'.encode()


def transfer(
    sender: User, receiver: User, key: str, *fields: str, framing: str | None = None
) -> bytes:
    """A whole request that sends 1. `framing` replaces Content-Length; then the head is all."""
    body = transfer_body(receiver)
    return head(
        "POST /api/v1/transactions HTTP/1.1",
        HOST,
        f"Authorization: Bearer {sender.token}",
        f"X-Idempotency-Key: {key}",
        "Content-Type: application/json",
        *fields,
        framing or f"Content-Length: {len(body)}",
    ) + (b"" if framing else body)


def chunked(data: bytes, size: int, extension: str = "") -> bytes:
    """`data` in chunks of `size` bytes, without the last chunk and the trailers."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension.encode(), p) for p in pieces)
