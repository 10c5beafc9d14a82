"""Bodies that don't arrive: they hold up no request of others, and little memory."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from finpay.edge.load_limits import MAX_IN_FLIGHT, MAX_LARGE_BODIES_PER_USER
from tests.api_process import Api, User
from tests.hostile.exchange import HOST, RawConnection, connected, head, transfer, transfer_body
from tests.support.raw_http import Response

HELD: Final = MAX_IN_FLIGHT + 80
LOGIN: Final = head(
    "POST /api/v1/auth/login HTTP/1.1",
    HOST,
    "Content-Type: application/json",
    "Content-Length: 50",
)


@pytest.fixture
def single(serve: Callable[..., Api]) -> Api:
    return serve(FINPAY_WORKERS="1")


@pytest.fixture
def opened(single: Api) -> Iterator[Callable[[], RawConnection]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(connected(single.url))


def begun(kind: str, user: User, number: int) -> bytes:
    if kind == "a login":
        return LOGIN + b"{"
    if kind == "a transfer in chunks":
        return transfer(user, user, f"held-{number}", framing="Transfer-Encoding: chunked")
    return transfer(user, user, f"held-{number}")[:-1]


@pytest.mark.fault("D11")
@pytest.mark.parametrize("kind", ["a login", "a transfer in chunks", "a transfer"])
def test_begun_requests_keep_no_other_from_its_answer(
    single: Api, opened: Callable[[], RawConnection], kind: str
) -> None:
    alice, bob, attacker = single.user(1_000), single.user(), single.user()
    for number in range(HELD):
        opened().send(begun(kind, attacker, number))
    client = opened()
    for number in range(30):
        client.send(transfer(alice, bob, f"not-held-{number}"))
        assert answer(client).status == 201
    assert alice.get("/transactions").status == 200
    assert bob.balance == 30


@pytest.mark.fault("D11")
def test_bodies_that_end_together_are_all_answered(
    single: Api, opened: Callable[[], RawConnection]
) -> None:
    """Those that are too many then are refused, without effect, and may be retried."""
    alice, bob = single.user(HELD), single.user()
    requests = [transfer(alice, bob, f"together-{number}") for number in range(HELD)]
    clients = [opened() for _ in requests]
    for client, request in zip(clients, requests, strict=True):
        client.send(request[:-1])
    for client in clients:
        client.send(transfer_body(bob)[-1:])
    found = Counter(answer(client).status for client in clients)
    assert found.total() == HELD
    assert found.keys() <= {201, 503}
    assert bob.balance == found[201] >= MAX_IN_FLIGHT / 2
    for client, request in zip(clients, requests, strict=True):
        client.send(request)
        assert answer(client).status == 201
    assert bob.balance == HELD


@pytest.mark.fault("D11", "D2")
def test_large_bodies_of_one_user_are_limited(
    single: Api, opened: Callable[[], RawConnection]
) -> None:
    attacker, other = single.user(), single.user()
    for number in range(MAX_LARGE_BODIES_PER_USER):
        opened().send(batch(attacker, number))
    for framing in (None, "Transfer-Encoding: chunked"):
        refused = opened()
        refused.send(batch(attacker, 99, framing))
        response = answer(refused)
        assert (response.status, response.code) == (503, "overloaded")
    allowed = opened()
    allowed.send(batch(other, 1) + b" " * 70_000)
    assert answer(allowed).status == 400
    assert attacker.get("/accounts").status == 200


def batch(user: User, number: int, framing: str | None = None) -> bytes:
    """The head of a large body."""
    length = framing or "Content-Length: 70000"
    return transfer(user, user, f"large-{number}", framing=length).replace(
        b"/api/v1/transactions ", b"/api/v1/transactions/batch "
    )


def answer(client: RawConnection) -> Response:
    response = client.response()
    assert response is not None, "the connection was closed"
    return response
