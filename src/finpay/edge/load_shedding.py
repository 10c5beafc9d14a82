"""Saying no to a request too many, for less than it costs to read it.

When twice as much comes as can be done, every second request is refused, and what a refusal costs
is taken from those that could be done.
"""

import time
from typing import Final

import httptools

from finpay import ids
from finpay.edge import routes
from finpay.edge.access_log import AccessLog, RequestRecord
from finpay.edge.request.model import Request
from finpay.edge.response_encoder import ResponseEncoder
from finpay.edge.schemas import problems
from finpay.errors import overloaded

MAX_BYTES: Final = 4_096  # of a request that is refused unread; bigger ones are few

# Where the load is. Other paths, and whatever is spelt in another way, are refused when read.
_BUSY: Final = tuple(
    f"{request} {routes.API}/{path}".encode()
    for request, path in (("POST", "transactions"), ("GET", "transactions"), ("GET", "accounts"))
)
_SOMEBODY: Final = "req_00000000000000000000000000"  # as long as any id that we give
_TOO_MUCH: Final = overloaded("Too much is under way. Try again.")


class LoadShedder:
    """The 503s of one process."""

    def __init__(self, answering: ResponseEncoder, notes: AccessLog) -> None:
        self._answering = answering
        self._notes = notes
        self._glance = _Glance()
        self._made = (0, b"")  # in which second; the answer to somebody

    def of(self, request: Request) -> bytes:
        """The answer to a request that was read."""
        reply = problems.reply(_TOO_MUCH, request.id)
        self._notes.take(RequestRecord(), request, reply, 0.0)
        return self._answering.encode(reply, request)

    def unread(self, data: bytes) -> bytes | None:
        """The answer to one whole request of the busy paths that asks for nothing special.

        None for everything else, which has to be read.
        """
        if len(data) > MAX_BYTES or self._answering.parting or not data.startswith(_BUSY):
            return None
        lower = data.lower()
        if b"\r\nx-request-id" in lower or b"\r\norigin" in lower:  # the answer depends on it
            return None
        if not self._glance.is_one_request(data):
            return None
        return self._to(data.split(b" ", 1)[0].decode())

    def _to(self, method: str) -> bytes:
        second = int(time.time())
        if second != self._made[0]:
            somebody = Request("GET", routes.API, b"", {}, "unknown")
            somebody.id = _SOMEBODY
            made = self._answering.encode(problems.reply(_TOO_MUCH, _SOMEBODY), somebody)
            self._made = (second, made)
        request_id = ids.new_request_id()
        self._notes.refused(method, request_id)
        return self._made[1].replace(_SOMEBODY.encode(), request_id.encode())


class _Glance:
    """Whether bytes are one whole request, on a connection that lives on: no field is looked at."""

    def __init__(self) -> None:
        self._renew()

    def is_one_request(self, data: bytes) -> bool:
        self._begun = 0
        self._stays = False  # and is whole
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._stays = False
        if self._begun == 1 and self._stays:
            return True
        self._renew()
        return False

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_message_complete(self) -> None:
        parser = self._parser
        self._stays = parser.should_keep_alive() and parser.get_http_version() != "1.0"

    def _renew(self) -> None:
        """It is in the middle of something that its own connection's parser has to read."""
        self._parser = httptools.HttpRequestParser(self)
