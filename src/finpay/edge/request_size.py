"""Bounds on the bytes of a request: the parser keeps fields and trailers however long they are."""

from typing import Final

from finpay.edge.http_parser import MAX_HEAD_BYTES

# Sizes and extensions of chunks, and trailers, beyond those of a body in chunks of one byte.
MAX_FRAMING_BYTES: Final = 512 * 1024
FRAMING_PER_BODY_BYTE: Final = 8


class RequestSize:
    """Of the request that a connection reads: its head, and what frames its body."""

    __slots__ = ("_body_bytes", "_head_bytes", "_received_bytes", "in_body", "in_head")

    def __init__(self) -> None:
        self.in_head = self.in_body = False
        self._head_bytes = self._body_bytes = 0
        self._received_bytes = 0  # behind the head

    def begin(self) -> None:
        self.in_head = True
        self._head_bytes = 0

    def begin_body(self) -> None:
        self.in_head, self.in_body = False, True
        self._body_bytes = self._received_bytes = 0

    def add_body(self, body_bytes: int) -> None:
        self._body_bytes += body_bytes

    def fault(self, read_bytes: int, *, was_in_body: bool) -> str | None:
        """What is too long, after a read that began in a body or not."""
        if was_in_body and self.in_body:
            self._received_bytes += read_bytes
            framing = self._received_bytes - FRAMING_PER_BODY_BYTE * self._body_bytes
            if framing > MAX_FRAMING_BYTES:
                return "the chunks or trailers of the body are too long"
        if self.in_head:
            self._head_bytes += read_bytes
            if self._head_bytes > MAX_HEAD_BYTES:
                return "the head is too long"
        return None
