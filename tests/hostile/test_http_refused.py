"""Requests that two servers may read in two ways: refused, and what is behind them is not read."""

from typing import Final

import pytest

from tests.api_process import Api, User
from tests.hostile.exchange import HOST, chunked, connected, head, statuses, transfer

LIVEZ: Final = "GET /livez HTTP/1.1"
POST: Final = "POST /livez HTTP/1.1"
BODY: Final = b"0\r\n\r\n"

REFUSED: Final = {
    # request line and Host
    "no Host": head(LIVEZ),
    "two Hosts": head(LIVEZ, HOST, HOST),
    "two different Hosts": head(LIVEZ, HOST, "Host: other.test"),
    **{
        f"Host {host!r}": head(LIVEZ, f"Host: {host}")
        for host in (
            "a b",
            "a/b",
            "a@b",
            "user@localhost:1",
            "a,b c",
            "a?b",
            "a#b",
            "[::1",
            "::1",
            "\x80",
            "[::1]a",
            "[a]:1",
            "a:1:2",
            "a:b",
            "a:-1",
            "http://a",
            "a\tb",
            "a\\b",
            '"a"',
            "<a>",
        )
    },
    "a fragment": head("GET /livez#a HTTP/1.1", HOST),
    "an empty fragment": head("GET /livez# HTTP/1.1", HOST),
    "a fragment behind a query": head("GET /livez?a=1#&a=2 HTTP/1.1", HOST),
    "a fragment of a whole URL": head("GET http://finpay.test/livez#/metrics HTTP/1.1", HOST),
    "a URL without a path": head("GET http://finpay.test HTTP/1.1", HOST),
    "a host and port": head("GET finpay.test:80 HTTP/1.1", HOST),
    "version 2.0": head("GET /livez HTTP/2.0", HOST),
    "version 0.9": head("GET /livez HTTP/0.9", HOST),
    "version 1.2": head("GET /livez HTTP/1.2", HOST),
    "no version": b"GET /livez\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case version": head("GET /livez http/1.1", HOST),
    "a tab in the request line": head("GET\t/livez\tHTTP/1.1", HOST),
    "an unknown method": head("GETS /livez HTTP/1.1", HOST),
    "a target with a control character": head("GET /liv\x01ez HTTP/1.1", HOST),
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    # framing
    "gzip before chunked": head(POST, HOST, "Transfer-Encoding: gzip, chunked") + BODY,
    "chunked twice": head(POST, HOST, "Transfer-Encoding: chunked, chunked") + BODY,
    "two Transfer-Encodings": head(
        POST, HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: identity"
    )
    + BODY,
    "chunked, then gzip": head(POST, HOST, "Transfer-Encoding: chunked, gzip") + BODY,
    "identity": head(POST, HOST, "Transfer-Encoding: identity") + BODY,
    "an unknown coding": head(POST, HOST, "Transfer-Encoding: xchunked") + BODY,
    "a control character before chunked": head(POST, HOST, "Transfer-Encoding: \x0bchunked") + BODY,
    "a space before the colon": head(POST, HOST, "Transfer-Encoding : chunked") + BODY,
    "chunked in HTTP/1.0": head("POST /livez HTTP/1.0", HOST, "Transfer-Encoding: chunked") + BODY,
    "length, then chunked": head(POST, HOST, "Content-Length: 5", "Transfer-Encoding: chunked")
    + BODY,
    "chunked, then length": head(POST, HOST, "Transfer-Encoding: chunked", "Content-Length: 5")
    + BODY,
    "two lengths": head(POST, HOST, "Content-Length: 5", "Content-Length: 6") + b"12345",
    "one length twice": head(POST, HOST, "Content-Length: 5", "Content-Length: 5") + b"12345",
    "a list of lengths": head(POST, HOST, "Content-Length: 5, 5") + b"12345",
    "a negative length": head(POST, HOST, "Content-Length: -5"),
    "a length with a sign": head(POST, HOST, "Content-Length: +5") + b"12345",
    "a hexadecimal length": head(POST, HOST, "Content-Length: 0x5") + b"12345",
    "a length past 64 bits": head(POST, HOST, "Content-Length: 99999999999999999999"),
    "an empty length": head(POST, HOST, "Content-Length:"),
    # lines and fields
    "a bare LF after a field": f"{LIVEZ}\r\n{HOST}\nX: y\r\n\r\n".encode(),
    "bare LFs": f"{LIVEZ}\n{HOST}\n\n".encode(),
    "a bare CR in a value": head(LIVEZ, HOST, "X: a\rb"),
    "a folded line": head(LIVEZ, HOST, "X: a", " b"),
    "a NUL in a value": head(LIVEZ, HOST, "X: a\x00b"),
    "a NUL in a name": head(LIVEZ, HOST, "X\x00: a"),
    "a space in a name": head(LIVEZ, HOST, "X Y: a"),
    "a line without a colon": head(LIVEZ, HOST, "X"),
    "an empty name": head(LIVEZ, HOST, ": a"),
    # chunks
    "a chunk size that is no number": head(POST, HOST, "Transfer-Encoding: chunked") + b"z\r\n",
    "a chunk size past 64 bits": head(POST, HOST, "Transfer-Encoding: chunked")
    + b"fffffffffffffffff\r\n",
    "a negative chunk size": head(POST, HOST, "Transfer-Encoding: chunked") + b"-1\r\n",
    "a chunk longer than its size": head(POST, HOST, "Transfer-Encoding: chunked")
    + b"2\r\nabc\r\n0\r\n\r\n",
    "a bare LF after a chunk size": head(POST, HOST, "Transfer-Encoding: chunked")
    + b"1\na\r\n0\r\n\r\n",
}


@pytest.mark.fault("H4")
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.usefixtures("nothing_moves")
def test_ambiguous_request_is_refused_and_nothing_behind_it_is_read(
    api: Api, alice: User, bob: User, case: str
) -> None:
    """A transfer behind it would be a request that a proxy in front never saw."""
    with connected(api.url) as connection:
        connection.send(REFUSED[case] + transfer(alice, bob, f"smuggled-{case}".replace(" ", "-")))
        connection.half_close()
        responses = connection.responses()
    last = responses[-1]
    assert (last.status, last.code, last.headers["connection"]) == (400, "malformed_json", "close")


@pytest.mark.fault("H1")
@pytest.mark.usefixtures("nothing_moves")
@pytest.mark.parametrize(
    ("given", "trailer", "status"),
    [
        ((), "Authorization: Bearer {token}", 401),
        (("Authorization: Bearer {token}",), "X-Idempotency-Key: trailer", 400),
        (("Authorization: Bearer {token}",), "Idempotency-Key: trailer", 400),
        (("X-Idempotency-Key: a-key",), "Authorization: Bearer {token}", 401),
    ],
)
def test_trailer_is_no_header(
    api: Api, alice: User, bob: User, *, given: tuple[str, ...], trailer: str, status: int
) -> None:
    request = head(
        "POST /api/v1/transactions HTTP/1.1",
        HOST,
        "Content-Type: application/json",
        *(line.format(token=alice.token) for line in given),
        "Transfer-Encoding: chunked",
        f"Trailer: {trailer.partition(':')[0]}",
    )
    body = f'{{"receiver_id":"{bob.account_id}","amount":1}}'.encode()
    end = f"0\r\n{trailer.format(token=alice.token)}\r\n\r\n".encode()
    assert statuses(api.url, request + chunked(body, 10) + end) == [status]


@pytest.mark.fault("H1")
def test_trailer_is_no_header_of_the_next_request(api: Api, alice: User) -> None:
    first = transfer(alice, alice, "trailers", framing="Transfer-Encoding: chunked")
    trailer = f"0\r\nAuthorization: Bearer {alice.token}\r\n\r\n".encode()
    second = head("GET /api/v1/accounts HTTP/1.1", HOST)
    assert statuses(api.url, first + chunked(b"{}", 2) + trailer + second) == [422, 401]


@pytest.mark.fault("H3")
@pytest.mark.usefixtures("nothing_moves")
def test_half_closed_in_its_body_has_no_effect(api: Api, alice: User, bob: User) -> None:
    whole = transfer(alice, bob, "half-a-body")
    for size in (10, len(whole) // 2, len(whole) - 1):
        assert statuses(api.url, whole[:size]) in ([], [400])
