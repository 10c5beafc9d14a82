"""Above MAX_IN_FLIGHT a process refuses requests before any work, and answers the admitted ones."""

import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPResponse
from typing import Final

from finpay.edge.load_limits import MAX_IN_FLIGHT
from tests.api_process import Api, User
from tests.faults.api_probes import ask, await_that, connected, locked, status_of, stored_balance

EXTRA: Final = 40
LIMIT_S: Final = 10.0


def test_request_above_the_limit_is_refused_at_once(serve: Callable[..., Api], api: Api) -> None:
    served = serve(FINPAY_WORKERS="1")
    alice, bob = api.user(MAX_IN_FLIGHT + EXTRA), api.user()
    with ExitStack() as stack:
        with locked(api, alice) as lock:
            connections = [
                stack.enter_context(connected(served)) for _ in range(MAX_IN_FLIGHT + EXTRA)
            ]
            (worker,) = served.workers()
            worker.suspend()  # so that it reads all of them in one tick
            for number, each in enumerate(connections):
                each.sendall(transfer(alice, bob, f"full-{number}"))
            worker.resume()
            lock.await_waiter()
            late = stack.enter_context(connected(served))
            await_that("it is full", lambda: refused(late, alice), LIMIT_S)
            last = stack.enter_context(connected(served))
            assert refused(last, alice, "Connection: close\r\n")
            assert last.recv(1) == b"", "Connection: close is honoured"
            check_other_requests_of_a_refused_connection(late, alice, bob)
            assert ask(served, "/readyz").status_code == 200
            assert ask(served, "/api/v1/health").status_code == 200
        answers = Counter(status_of(each) for each in connections)
    assert answers[201] == MAX_IN_FLIGHT, "admitted requests are answered"
    assert answers[201] + answers[503] == len(connections)
    assert stored_balance(api, bob) == answers[201]
    api.verify()


def refused(late: socket.socket, user: User, more: str = "", request_id: str = "req_") -> bool:
    """Repeated on one connection: a refusal does not close it."""
    late.sendall(head(user, "GET /api/v1/accounts/entries", more))
    answer = HTTPResponse(late)
    answer.begin()
    body = answer.read()
    if answer.status == 503:
        assert b'"code":"overloaded"' in body
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["X-Request-Id"].startswith(request_id)
        assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status == 503


def check_other_requests_of_a_refused_connection(
    late: socket.socket, alice: User, bob: User
) -> None:
    """Named by the client, in parts, two at once, to be answered all the same, malformed."""
    assert refused(late, alice, "X-Request-Id: shop-7\r\n", request_id="shop-7")
    first, second = head(alice, "GET /api/v1/accounts"), transfer(alice, bob, "late")
    for part in (second[:40], second[40:-2], second[-2:]):
        late.sendall(part)
    assert status_of(late) == 503
    late.sendall(first + second)
    received = b""
    while received.count(b"HTTP/1.1 503 ") < 2 or not received.endswith(b"}"):
        received += late.recv(64 * 1024)
    late.sendall(head(alice, "GET /api/v1/health"))
    assert status_of(late) == 200
    late.sendall(head(alice, "GET /api/v1/accounts", "Host: finpay\r\n"))
    assert status_of(late) == 400


def transfer(sender: User, receiver: User, key: str) -> bytes:
    body = f'{{"receiver_id":"{receiver.account_id}","amount":1}}'
    more = (
        f"Content-Type: application/json\r\nX-Idempotency-Key: {key}\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    return head(sender, "POST /api/v1/transactions", more) + body.encode()


def head(user: User, start: str, more: str = "") -> bytes:
    return (
        f"{start} HTTP/1.1\r\nHost: finpay\r\nAuthorization: Bearer {user.token}\r\n{more}\r\n"
    ).encode()
