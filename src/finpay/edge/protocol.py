"""uvicorn's HTTP/1.1, with an answer of ours to what can't be read as HTTP.

Such a request never reaches the pipeline, and uvicorn says one line of plain text to it. A client
that reads problem+json everywhere gets it here too.
"""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from finpay import ids
from finpay.edge import problems
from finpay.errors import Code, FinPayError

# No path or query of ours is nearly as long, so what is cut off changes no answer; the parser
# itself gives up at 64 KiB.
MAX_TARGET_BYTES: Final = 32 * 1024

_UNREADABLE: Final = FinPayError(
    Code.MALFORMED_JSON,
    "This is no HTTP request that can be read. Paths and queries are ASCII with percent-encoding, "
    "and headers have no control characters.",
)


class Protocol(HttpToolsProtocol):
    """One connection."""

    def on_url(self, url: bytes) -> None:
        super().on_url(url[: MAX_TARGET_BYTES - len(self.url)])

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's sentence
        request_id = ids.encode("req", ids.new_uuid())
        body = problems.body(_UNREADABLE, request_id)
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            f"content-type: {problems.CONTENT_TYPE.decode()}\r\n"
            f"content-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\n"
            "cache-control: no-store\r\n"
            "x-content-type-options: nosniff\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
