"""Requests as other clients spell them: each is answered, once, and a transfer is carried out once.

What Java, Go, Node, .NET, curl and proxies send; the clients themselves are in
test_real_clients.py.
"""

from typing import Any, Final

import pytest

from tests.api_process import Api, User
from tests.hostile.exchange import (
    HOST,
    RawConnection,
    chunked,
    connected,
    head,
    statuses,
    transfer,
    transfer_body,
)

UPGRADE: Final = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)
LIVEZ: Final = head("GET /livez HTTP/1.1", HOST)
CHUNKED: Final = "Transfer-Encoding: chunked"
END: Final = b"0\r\n\r\n"


@pytest.mark.fault("H2")
class TestUpgrade:
    def test_h2c_with_a_body_is_answered_in_http_1(
        self, api: Api, alice: User, bob: User, key: str
    ) -> None:
        before = bob.balance
        first = transfer(alice, bob, key, *UPGRADE)
        assert statuses(api.url, first + LIVEZ) == [201, 200]
        assert bob.balance == before + 1

    @pytest.mark.parametrize("size", [1, 7, 1_000])
    def test_h2c_with_a_chunked_body_is_answered_in_http_1(
        self, api: Api, alice: User, bob: User, key: str, size: int
    ) -> None:
        before = bob.balance
        first = transfer(alice, bob, key, *UPGRADE, framing=CHUNKED)
        body = chunked(transfer_body(bob), size) + END
        assert statuses(api.url, first + body + LIVEZ) == [201, 200]
        assert bob.balance == before + 1

    def test_h2c_whose_bytes_arrive_one_by_one_is_answered_in_http_1(
        self, api: Api, alice: User, bob: User, key: str
    ) -> None:
        with connected(api.url) as connection:
            for byte in transfer(alice, bob, key, *UPGRADE) + LIVEZ:
                connection.send(bytes([byte]))
            assert statuses_of(connection, 2) == [201, 200]

    @pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.3, HTTP/1.1", "HTTP/2.0", ""])
    def test_upgrade_of_any_kind_without_a_body_is_ignored(self, api: Api, protocol: str) -> None:
        first = head("GET /livez HTTP/1.1", HOST, "Connection: Upgrade", f"Upgrade: {protocol}")
        assert statuses(api.url, first * 3 + LIVEZ) == [200] * 4


@pytest.mark.fault("H3")
def test_half_closed_client_gets_the_response_of_its_transfer(
    api: Api, alice: User, bob: User, key: str
) -> None:
    before = bob.balance
    with connected(api.url) as connection:
        connection.send(transfer(alice, bob, key))
        connection.half_close()
        responses = connection.responses()
    assert [response.status for response in responses] == [201]
    assert responses[0].headers["connection"] == "close"
    assert bob.balance == before + 1


@pytest.mark.fault("H3")
def test_half_closed_client_gets_every_pipelined_response(
    api: Api, alice: User, bob: User, key: str
) -> None:
    first = transfer(alice, bob, key)
    assert statuses(api.url, first + LIVEZ + first) == [201, 200, 201]


EXPECT: Final = "Expect: 100-continue"


@pytest.mark.fault("H4")
class TestExpect:
    def test_client_that_waits_for_100_gets_it(
        self, api: Api, alice: User, bob: User, key: str
    ) -> None:
        whole = transfer(alice, bob, key, EXPECT)
        before_body, _, body = whole.partition(b"\r\n\r\n")
        with connected(api.url) as connection:
            connection.send(before_body + b"\r\n\r\n")
            assert statuses_of(connection, 1) == [100]
            connection.send(body)
            assert statuses_of(connection, 1) == [201]

    def test_100_never_overtakes_the_response_to_an_earlier_request(
        self, api: Api, alice: User, bob: User, key: str
    ) -> None:
        """A client would take it for the answer to its first request."""
        first = transfer(alice, bob, f"{key}-1")
        second = transfer(alice, bob, f"{key}-2", EXPECT)
        got = statuses(api.url, first + second)
        assert got[0] == 201
        assert [status for status in got if status != 100] == [201, 201]

    def test_refused_request_gets_no_100(self, api: Api) -> None:
        """Its body is not wanted: 401 comes instead."""
        request = head(
            "POST /api/v1/transactions HTTP/1.1",
            HOST,
            "Content-Type: application/json",
            "Content-Length: 60000",
            EXPECT,
        )
        with connected(api.url) as connection:
            connection.send(request)
            assert statuses_of(connection, 1) == [401]


# What a body may look like on the wire: chunk size, extension, framing field, trailers.
CHUNKS: Final[dict[str, tuple[int, str, str, bytes]]] = {
    "one chunk": (1_000, "", CHUNKED, END),
    "a byte a chunk": (1, "", CHUNKED, END),
    "extensions": (9, ";a=b;c", CHUNKED, END),
    "an extension with quotes": (9, ';a="b;c"', CHUNKED, END),
    "lower case": (9, "", "transfer-encoding: chunked", END),
    "upper case": (9, "", "TRANSFER-ENCODING: CHUNKED", END),
    "leading zeros": (9, "", CHUNKED, b"000000\r\n\r\n"),
    "trailers": (9, "", CHUNKED, b"0\r\nX-Checksum: 1\r\nServer-Timing: a;dur=1\r\n\r\n"),
    "no space after the colon": (9, "", "Transfer-Encoding:chunked", END),
}


@pytest.mark.fault("H1")
@pytest.mark.parametrize("case", CHUNKS)
def test_chunked_body_is_read(api: Api, alice: User, bob: User, key: str, case: str) -> None:
    size, extension, framing, end = CHUNKS[case]
    before = bob.balance
    first = transfer(alice, bob, key, framing=framing)
    body = chunked(transfer_body(bob), size, extension) + end
    assert statuses(api.url, first + body + LIVEZ) == [201, 200]
    assert bob.balance == before + 1


# One connection each: request line, fields, whether it stays open after the response.
KEEP_ALIVE: Final = [
    ("GET /livez HTTP/1.1", (HOST,), True),
    ("GET /livez HTTP/1.1", (HOST, "Connection: keep-alive"), True),
    ("GET /livez HTTP/1.1", (HOST, "Connection: close"), False),
    ("GET /livez HTTP/1.1", (HOST, "connection: CLOSE"), False),
    ("GET /livez HTTP/1.1", (HOST, "Connection: TE, close"), False),
    ("GET /livez HTTP/1.1", ("host: finpay.test",), True),
    ("GET /livez HTTP/1.1", ("HOST:finpay.test",), True),
    ("GET /livez HTTP/1.1", ("Host:",), True),
    ("GET /livez HTTP/1.1", ("Host: [::1]:3000",), True),
    ("GET http://finpay.test/livez HTTP/1.1", (HOST,), True),
    ("GET /livez HTTP/1.0", (), False),
    ("GET /livez HTTP/1.0", ("Connection: keep-alive",), False),
    ("GET /livez HTTP/1.0", (HOST,), False),
    ("\r\nGET /livez HTTP/1.1", (HOST,), True),
]


@pytest.mark.fault("H4")
@pytest.mark.parametrize(("line", "fields", "stays"), KEEP_ALIVE)
def test_connection_is_kept_as_http_says(
    api: Api, line: str, fields: tuple[str, ...], *, stays: bool
) -> None:
    with connected(api.url) as connection:
        connection.send(head(line, *fields))
        assert statuses_of(connection, 1) == [200]
        if stays:
            connection.send(LIVEZ)
            assert statuses_of(connection, 1) == [200]
        else:
            assert connection.response() is None


def test_a_hundred_pipelined_requests_are_answered_in_order(api: Api, alice: User) -> None:
    requests = [
        head("GET /api/v1/auth/me HTTP/1.1", HOST, f"X-Request-Id: n-{number}",
             f"Authorization: Bearer {alice.token}")
        for number in range(50)
    ]  # fmt: skip
    with connected(api.url) as connection:
        for _ in range(2):
            connection.send(b"".join(requests))
            ids = [required(connection).headers["x-request-id"] for _ in requests]
            assert ids == [f"n-{number}" for number in range(50)]


ME: Final = "GET /api/v1/auth/me HTTP/1.1"

# What follows whole requests on a connection, and is refused: each before it is answered, and the
# refusal ends the connection.
BEHIND: Final = {
    "more than are read": LIVEZ,
    "far more than are read": LIVEZ * 2_000,
    "no HTTP": b"\x00\x01\r\n\r\n",
    "no Host": head("GET /livez HTTP/1.1"),
    "a head that is too long": head("GET /livez HTTP/1.1", HOST, f"X: {'a' * 70_000}"),
    "a body that is no chunk": head("POST /livez HTTP/1.1", HOST, CHUNKED) + b"z\r\n",
}


@pytest.mark.fault("H14")
@pytest.mark.parametrize("number", [1, 2, 63, 64])
@pytest.mark.parametrize("case", BEHIND)
def test_every_request_before_a_refused_one_is_answered(
    api: Api, alice: User, number: int, case: str
) -> None:
    token = f"Authorization: Bearer {alice.token}"
    requests = [head(ME, HOST, token, f"X-Request-Id: n-{n}") for n in range(number)]
    missing = 64 - number if "than are read" in case else 0
    with connected(api.url) as connection:
        connection.send(b"".join(requests) + LIVEZ * missing + BEHIND[case])
        *answered, refusal = connection.responses()
    assert [response.status for response in answered] == [200] * (number + missing)
    assert [response.headers["x-request-id"] for response in answered[:number]] == [
        f"n-{n}" for n in range(number)
    ]
    assert (refusal.status, refusal.headers["connection"]) == (400, "close")


@pytest.mark.fault("H14")
def test_requests_that_arrive_while_others_wait_are_counted_together(
    api: Api, alice: User, bob: User, key: str
) -> None:
    """Transfers are answered later than they are read, in the order of the connection."""
    before = bob.balance
    requests = [transfer(alice, bob, f"{key[-100:]}-{n}") for n in range(70)]
    with connected(api.url) as connection:
        for request in requests:
            connection.send(request)
        connection.half_close()
        got = connection.responses()
    paid = [response for response in got if response.status == 201]
    assert [response.status for response in got] in ([201] * 70, [201] * len(paid) + [400])
    assert len(paid) >= 64
    assert got[-1].headers.get("connection") == "close"
    assert bob.balance == before + len(paid)


# Header names as HTTP libraries spell them.
SPELLINGS: Final = {
    "as documented": ("Authorization", "X-Idempotency-Key", "Content-Type", "Content-Length"),
    "lower (Node, Rust, HTTP/2 proxies)": (
        "authorization", "x-idempotency-key", "content-type", "content-length"),
    "upper": ("AUTHORIZATION", "X-IDEMPOTENCY-KEY", "CONTENT-TYPE", "CONTENT-LENGTH"),
    "mixed": ("aUTHORIZATION", "x-Idempotency-key", "content-Type", "CONTENT-length"),
    "the standard's key": ("Authorization", "Idempotency-Key", "Content-Type", "Content-Length"),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_header_names_are_read_in_any_case(
    api: Api, alice: User, bob: User, key: str, spelling: str
) -> None:
    token, name, media_type, length = SPELLINGS[spelling]
    body = transfer_body(bob)
    # .NET's HttpClient sends the charset and a request id of its own.
    fields = [
        f"{token}: Bearer {alice.token}",
        f"{name}: {key}",
        f"{media_type}: application/json; charset=utf-8",
        f"{length}: {len(body)}",
        "Request-Id: |7f1a.1.",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
    ]
    whole = head("POST /api/v1/transactions HTTP/1.1", HOST, *fields) + body
    assert statuses(api.url, whole) == [201]


def required(connection: RawConnection) -> Any:
    response = connection.response()
    assert response is not None, "the server closed the connection"
    return response


def statuses_of(connection: RawConnection, number: int) -> list[int]:
    return [required(connection).status for _ in range(number)]
