"""Behind Caddy, HAProxy and nginx: addresses, trailers, limits, metrics, smuggled requests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

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
from tests.hostile.reverse_proxies import PROXIES, running_proxy
from tests.servers import OwnValkey
from tests.support.raw_http import Response

LIMIT_S: Final = 25.0
CHUNKED: Final = "Transfer-Encoding: chunked"
END: Final = b"0\r\n\r\n"


@pytest.fixture(scope="module", params=PROXIES)
def proxied(
    request: pytest.FixtureRequest, api: Api, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a proxy in front of the API without limits."""
    with running_proxy(request.param, api.url, tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture(params=PROXIES)
def limited(
    request: pytest.FixtureRequest,
    serve: Callable[..., Api],
    own_valkey: Callable[..., OwnValkey],
    tmp_path: Path,
) -> Iterator[str]:
    """In front of an API that allows three logins of an address, and trusts one proxy."""
    limit = {"FINPAY_TRUSTED_PROXIES": "1", "FINPAY_RATE_LIMIT_AUTH": "3/900"}
    api = serve(REDIS_URL=own_valkey().url, **limit)
    with running_proxy(request.param, api.url, tmp_path) as url:
        yield url


def login(number: int, *, trailer: bool) -> bytes:
    """A failing login that claims an address of its own."""
    body = b'{"email":"nobody@example.com","password":"not the password"}'
    claim = f"X-Forwarded-For: 198.51.100.{number}"
    framing = CHUNKED if trailer else f"Content-Length: {len(body)}"
    request = head(
        "POST /api/v1/auth/login HTTP/1.1",
        HOST,
        "Content-Type: application/json",
        *(["Trailer: X-Forwarded-For"] if trailer else [claim]),
        framing,
    )
    return request + (chunked(body, 9) + f"0\r\n{claim}\r\n\r\n".encode() if trailer else body)


@pytest.mark.fault("H1")
def test_client_does_not_choose_its_address(limited: str) -> None:
    """Neither in a header nor in a trailer: each has its own connection and address."""
    found = []
    for number in range(6):
        with connected(limited) as connection:
            connection.send(login(number, trailer=number % 2 == 0))
            found.append(required(connection).status)
    assert found == [401, 401, 401, 429, 429, 429]


METRICS: Final = [
    "/metrics", "/metrics/", "/metrics%2f", "/metrics%2F", "/%6detrics", "/metric%73/", "//metrics",
    "/./metrics", "/x/../metrics", "/docs/../metrics", "/metrics?a", "/metrics/?a", "/metrics;a",
    "/metrics#a", "/METRICS", "/metrics%00", "/metrics%20", "/metrics/%2e", "/docs/%2e%2e/metrics",
    "/metrics//", "/metrics%3f", "http://finpay.test/metrics", "http://finpay.test/metrics/",
    "/metrics%252f", "/metrics/.", "\\metrics", "/%2fmetrics", "/docs%2f..%2fmetrics",
]  # fmt: skip


@pytest.mark.fault("H6")
def test_metrics_are_not_reachable_under_any_spelling(proxied: str, api: Api) -> None:
    assert b"finpay_" in answer(api.url, head("GET /metrics HTTP/1.1", HOST)).body
    for target in METRICS:
        for method in ("GET", "HEAD", "POST"):
            with connected(proxied) as connection:
                connection.send(head(f"{method} {target} HTTP/1.1", HOST, "Connection: close"))
                found = connection.responses() if method != "HEAD" else [required_head(connection)]
            for response in found:
                assert b"finpay_" not in response.body, target
                assert response.status >= 300, target


# Fields of a body whose end two servers may see in different places.
SMUGGLING: Final[dict[str, tuple[str, ...]]] = {
    "length and chunked": ("Content-Length: {length}", CHUNKED),
    "chunked and length": (CHUNKED, "Content-Length: {length}"),
    "two lengths": ("Content-Length: 0", "Content-Length: {length}"),
    "two lengths, the other first": ("Content-Length: {length}", "Content-Length: 0"),
    "a list of lengths": ("Content-Length: 0, {length}",),
    "an unknown coding": ("Content-Length: {length}", "Transfer-Encoding: xchunked"),
    "a space before the colon": ("Content-Length: {length}", "Transfer-Encoding : chunked"),
    "a tab before chunked": ("Content-Length: {length}", "Transfer-Encoding:\tchunked"),
    "a control character": ("Content-Length: {length}", "Transfer-Encoding: \x0bchunked"),
    "a folded line": ("Content-Length: {length}", "Transfer-Encoding:", " chunked"),
    "a quoted coding": ("Content-Length: {length}", 'Transfer-Encoding: "chunked"'),
    "two codings": ("Content-Length: {length}", "Transfer-Encoding: identity, chunked"),
    "two fields": ("Content-Length: {length}", CHUNKED, "Transfer-Encoding: identity"),
    "a name behind a bare CR": ("Content-Length: {length}", "X: a\rTransfer-Encoding: chunked"),
    "a name behind a bare LF": ("Content-Length: {length}", "X: a\nTransfer-Encoding: chunked"),
    "an underscore": ("Content-Length: {length}", "Transfer_Encoding: chunked"),
    "a sign": ("Content-Length: +{length}",),
    "upgrade": ("Connection: Upgrade", "Upgrade: h2c", "Content-Length: {length}", CHUNKED),
    "HTTP/1.0 and chunked": (CHUNKED, "Content-Length: {length}"),
    "a length that is a header of the connection": (
        "Connection: Content-Length", "Content-Length: {length}"),
    "a coding that is a header of the connection": (
        "Connection: Transfer-Encoding", CHUNKED, "Content-Length: {length}"),
}  # fmt: skip


@pytest.mark.fault("H4")
@pytest.mark.usefixtures("nothing_moves")
@pytest.mark.parametrize("case", SMUGGLING)
def test_request_hidden_in_a_body_is_never_carried_out(
    proxied: str, alice: User, bob: User, case: str
) -> None:
    """The request asks to close, so nothing behind it is a request of its own.

    Where the API reads one that the proxy did not, the next client gets its response.
    """
    key = f"hidden-{case}-{proxied.rpartition(':')[2]}".replace(" ", "-")
    for number, body in enumerate(hiding(transfer(alice, bob, key))):
        length = len(body) if number == 0 else body.index(b"\n") + 1
        version = "1.0" if case.startswith("HTTP/1.0") else "1.1"
        fields = [field.format(length=length) for field in SMUGGLING[case]]
        start = head(f"POST /livez HTTP/{version}", HOST, *fields, "Connection: close")
        assert 201 not in statuses(proxied, start + body, half_close=False)
        for _ in range(4):
            me = head("GET /api/v1/auth/me HTTP/1.1", HOST, f"Authorization: Bearer {bob.token}")
            assert answer(proxied, me).json().get("id") == bob.user_id


def hiding(request: bytes) -> tuple[bytes, bytes]:
    """Behind the last chunk, and in a chunk."""
    return b"0\r\n\r\n" + request, b"%x\r\n%b\r\n0\r\n\r\n" % (len(request), request)


def test_body_over_the_limit_is_413(proxied: str, alice: User) -> None:
    start = transfer(alice, alice, "large", framing="Content-Length: 65537")
    assert answer(proxied, start + b" " * 65_537).status == 413


def test_head_over_the_limit_is_refused(proxied: str) -> None:
    request = head("GET /livez HTTP/1.1", HOST, f"X: {'a' * 70_000}")
    assert answer(proxied, request).status in {400, 414, 431}


@pytest.mark.fault("H1", "H2")
def test_transfer_passes_in_every_framing(proxied: str, alice: User, bob: User) -> None:
    name = f"passes-{proxied.rpartition(':')[2]}"
    before = bob.balance
    body = transfer_body(bob)
    requests = [
        transfer(alice, bob, f"{name}-1"),
        transfer(alice, bob, f"{name}-2", framing=CHUNKED) + chunked(body, 7) + END,
        transfer(alice, bob, f"{name}-3", "Connection: Upgrade", "Upgrade: h2c"),
        transfer(alice, bob, f"{name}-3"),
    ]
    assert [answer(proxied, request).status for request in requests] == [201] * 4
    assert bob.balance == before + 3


def test_kept_connection_serves_many_users(proxied: str, alice: User, bob: User) -> None:
    """The proxy sends requests of different clients on one connection to the API."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(proxied)) for _ in range(4)]
        for _ in range(5):
            for number, client in enumerate(clients):
                user = (alice, bob)[number % 2]
                field = f"Authorization: Bearer {user.token}"
                client.send(head("GET /api/v1/auth/me HTTP/1.1", HOST, field))
            users = [required(client).json()["id"] for client in clients]
            assert users == [alice.user_id, bob.user_id] * 2


def test_half_closed_client_is_answered_or_cut_without_a_second_effect(
    proxied: str, alice: User, bob: User
) -> None:
    request = transfer(alice, bob, f"half-{proxied.rpartition(':')[2]}")
    before = bob.balance
    assert statuses(proxied, request) in ([201], [], [499])  # 499: of Caddy, never sent
    assert answer(proxied, request).status == 201
    assert bob.balance == before + 1


def answer(url: str, request: bytes) -> Response:
    with connected(url, LIMIT_S) as connection:
        connection.send(request)
        return required(connection)


def required(connection: RawConnection) -> Response:
    response = connection.response()
    assert response is not None, "the connection was closed"
    return response


def required_head(connection: RawConnection) -> Response:
    response = connection.response(to_head=True)
    assert response is not None, "the connection was closed"
    return response
