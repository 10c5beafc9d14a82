"""Past what one process can do in time, requests are refused before any work, and those who were
let in are served."""

import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPResponse
from typing import Final

from finpay.edge.application import MAX_IN_FLIGHT
from tests.api_process import Api, User
from tests.faults.api_probes import ask, await_that, connected, locked, status_of, stored_balance

EXTRA: Final = 40
LIMIT_S: Final = 10.0


def test_one_too_many_is_refused_at_once(serve: Callable[..., Api], api: Api) -> None:
    served = serve(FINPAY_WORKERS="1")
    alice, bob = api.user(MAX_IN_FLIGHT + EXTRA), api.user()
    with ExitStack() as stack:
        with locked(api, alice) as lock:
            lines = [stack.enter_context(connected(served)) for _ in range(MAX_IN_FLIGHT + EXTRA)]
            (worker,) = served.workers()
            worker.suspend()  # so that all of them come in one turn of its loop
            for number, each in enumerate(lines):
                each.sendall(transfer(alice, bob, f"crowd-{number}"))
            worker.resume()
            lock.await_waiter()
            late = stack.enter_context(connected(served))
            await_that("it is full", lambda: refused(late, alice), LIMIT_S)
            last = stack.enter_context(connected(served))
            assert refused(last, alice, "Connection: close\r\n")
            assert last.recv(1) == b"", "who asks to close is closed"
            assert ask(served, "/readyz").status_code == 200
            assert ask(served, "/api/v1/health").status_code == 200
        answers = Counter(status_of(each) for each in lines)
    assert answers[201] == MAX_IN_FLIGHT, "whoever was let in is served"
    assert answers[201] + answers[503] == len(lines)
    assert stored_balance(api, bob) == answers[201]
    api.verify()


def refused(late: socket.socket, user: User, more: str = "") -> bool:
    """Asked again and again on one line: a refusal does not end it."""
    late.sendall(head(user, "GET /api/v1/accounts/entries", more))
    answer = HTTPResponse(late)
    answer.begin()
    body = answer.read()
    if answer.status == 503:
        assert b'"code":"overloaded"' in body
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status == 503


def transfer(sender: User, receiver: User, key: str) -> bytes:
    body = f'{{"receiver_id":"{receiver.account_id}","amount":1}}'
    more = (
        f"Content-Type: application/json\r\nX-Idempotency-Key: {key}\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    return head(sender, "POST /api/v1/transactions", more) + body.encode()


def head(user: User, line: str, more: str = "") -> bytes:
    return (
        f"{line} HTTP/1.1\r\nHost: finpay\r\nAuthorization: Bearer {user.token}\r\n{more}\r\n"
    ).encode()
