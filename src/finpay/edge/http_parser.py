"""httptools' parser, which goes on after `Upgrade: h2c`, as RFC 9110 §7.8 allows.

Java's HttpClient and `curl --http2` send it with their first request. httptools ends a message at
the head of a request with Upgrade and drops its body.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import httptools

from finpay import ids
from finpay.edge.response import constant_headers
from finpay.edge.schemas import problems
from finpay.errors import Code, FinPayError

MAX_HEAD_BYTES: Final = 64 * 1024  # request line and header fields

_MALFORMED: Final = FinPayError(
    Code.MALFORMED_JSON,
    "The request is not valid HTTP/1.1. It needs one Host and ASCII in path and query. It may have "
    "no # in the path, no control characters in headers, no transfer coding but chunked, a head of "
    "at most 64 KiB, and 15 s to arrive. At most 64 requests may wait on one connection.",
)
_HOST: Final = re.compile(
    rb"([A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\])(:[0-9]*)?"  # RFC 9110 §7.2
)
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class RequestParser:
    """The part of httptools.HttpRequestParser that uvicorn uses; an upgrade is never reported.

    At an upgrade a fresh parser is fed with the framing fields of the head, then with the bytes
    behind it; the protocol gets nothing of the repeated head.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._use(protocol)

    def feed_data(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_behind_upgrade(memoryview(data)[upgrade.args[0] :])

    def _feed_behind_upgrade(self, rest: memoryview) -> None:
        """A view, which is not copied at each of many upgrades in one read."""
        while True:
            self._renew()
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            else:
                return

    def _renew(self) -> None:
        """A fresh parser behind the head of the message that is read."""
        fields = [
            b"%b: %b\r\n" % field
            for field in self._protocol.scope["headers"]
            if field[0] in _FRAMING
        ]
        self._use(_AfterHead(self._protocol))
        self._parser.feed_data(b"POST / HTTP/1.1\r\nHost: -\r\n%b\r\n" % b"".join(fields))

    def should_upgrade(self) -> bool:
        return False

    @property
    def is_upgrade(self) -> bool:
        """Whether the message that ends now is a head whose body is still to be read."""
        return bool(self._parser.should_upgrade())

    def _use(self, callbacks: Any) -> None:
        self._parser = parser = httptools.HttpRequestParser(callbacks)
        # Bytes behind the last request of a connection are ignored.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.get_http_version = parser.get_http_version
        self.get_method = parser.get_method
        self.should_keep_alive = parser.should_keep_alive


class _AfterHead:
    """Drops the callbacks of the repeated head and passes on all that follow."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._in_repeated_head = True
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if not self._in_repeated_head:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._in_repeated_head:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_repeated_head:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._in_repeated_head:
            self._in_repeated_head = False
        else:
            self._protocol.on_headers_complete()


def check_head(version: str, url: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """ValueError unless: one valid Host, HTTP/1.0 or 1.1, no coding but chunked, no fragment, at
    most MAX_HEAD_BYTES.

    llhttp checks none of these; an error raised in a callback ends the parse as malformed.
    """
    size, hosts, chunked = len(url), 0, False
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
            if _HOST.fullmatch(value) is None:
                raise ValueError("Host is not valid")
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise ValueError("the only transfer coding is chunked")
            chunked = True
    if version != "1.1" and (version != "1.0" or chunked):
        raise ValueError("the version is not HTTP/1.1")
    if hosts > 1 or (version == "1.1" and not hosts):
        raise ValueError("Host is missing or repeated")
    if b"#" in url:
        raise ValueError("the target has a fragment")
    if size > MAX_HEAD_BYTES:
        raise ValueError("the head is too long")


def malformed_request() -> bytes:
    """A whole response, after which the connection is closed."""
    request_id = ids.new_request_id()
    body = problems.body(_MALFORMED, request_id)
    headers = [
        *constant_headers(problems.CONTENT_TYPE, page=False),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    fields = b"".join(b"%b: %b\r\n" % field for field in headers)
    return b"HTTP/1.1 400 Bad Request\r\n%b\r\n%b" % (fields, body)
