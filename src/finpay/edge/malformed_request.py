"""The answer to bytes that are no HTTP request, for a connection that ends with it."""

from typing import Final

from finpay import ids
from finpay.edge.schemas import problems
from finpay.errors import Code, FinPayError

MAX_HEADERS_BYTES: Final = 64 * 1024  # all of a request together; the parser has no limit

_UNREADABLE: Final = FinPayError(
    Code.MALFORMED_JSON,
    "This is no HTTP request that can be read. Paths and queries are ASCII with percent-encoding, "
    f"headers have no control characters and at most {MAX_HEADERS_BYTES} bytes, and all of them "
    "arrive within seconds.",
)


def answer() -> bytes:
    """Head and body. It never came near the pipeline, and is problem+json all the same."""
    request_id = ids.new_request_id()
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
    return head.encode() + body
