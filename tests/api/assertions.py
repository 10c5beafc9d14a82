"""Checks of what the contract says of every answer, so that a test checks only its own rule."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from finpay.client import HttpResponse
from tests.api_process import User

TRANSACTIONS: Final = "/api/v1/transactions"
UNKNOWN_ACCOUNT: Final = "acc_01h455vb4pex5vsknk084sn02q"  # a well-formed id without an account
ID: Final = "[0-7][0-9a-hjkmnp-tv-z]{25}"
TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
PROBLEM_MEMBERS: Final = {
    "type", "title", "status", "detail", "code", "request_id", "retryable", "errors",
}  # fmt: skip
TRANSACTION_MEMBERS: Final = [
    "id", "object", "type", "status", "direction", "amount", "currency", "sender_id",
    "receiver_id", "description", "metadata", "balance_after", "available_after", "failure_code",
    "refunded_amount", "origin", "scheduled_for", "created_at",
]  # fmt: skip


def post(user: User, content: bytes, **headers: str) -> HttpResponse:
    """POST /transactions with the bytes of a body; header names with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer: HttpResponse = user.client.request("POST", TRANSACTIONS, content=content, headers=named)
    return answer


@contextmanager
def sending(text: object) -> Iterator[None]:
    """Adds the row of a table to the error of an assertion in the block."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"sent: {text!r:.200}")
        raise


def problem(answer: HttpResponse, status: int, code: str, *, replayed: bool = False) -> Any:
    """The members of a problem, after checks of all that the contract says of problems."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    members = answer.json()
    assert members["code"] == code, members
    assert members.keys() >= PROBLEM_MEMBERS
    assert members.keys() - PROBLEM_MEMBERS == extensions_of(code)
    assert members["status"] == status
    assert members["type"].endswith(f"/{code}")
    assert members["title"]
    assert members["detail"]
    assert members["retryable"] is (code == "request_in_progress" or status in {429, 500, 503})
    for error in members["errors"]:
        assert error.keys() in ({"pointer", "detail"}, {"parameter", "detail"}), error
    # A stored problem keeps the request_id of the first request.
    assert (members["request_id"] == answer.headers["X-Request-Id"]) is not replayed
    assert ("Idempotent-Replayed" in answer.headers) is replayed
    return members


def extensions_of(code: str) -> set[str]:
    extensions = {
        "insufficient_funds": {"transaction_id"},
        "rate_limited": {"policy"},
        "insufficient_scope": {"scope"},
        "hold_not_open": {"status_now"},
        "withdrawal_not_pending": {"status_now"},
        "approval_not_pending": {"status_now"},
        "reference_taken": {"transaction_id"},
        "amount_too_large": {"left"},
        "limit_exceeded": {"limits"},
        "account_not_closable": {"open"},
    }
    return extensions.get(code, set())


def invalid(answer: HttpResponse, invalid_part: str, *, kind: str = "pointer") -> None:
    """422 validation_failed that names the invalid member or query parameter."""
    members = problem(answer, 422, "validation_failed")
    assert [error[kind] for error in members["errors"]] == [invalid_part], members


def transaction(answer: HttpResponse, status: int = 200) -> Any:
    """The members of a transaction, after checks of their names and formats."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    members = answer.json()
    assert list(members) == TRANSACTION_MEMBERS
    assert re.fullmatch(f"txn_{ID}", members["id"])
    assert re.fullmatch(f"acc_{ID}", members["sender_id"])
    assert re.fullmatch(f"acc_{ID}", members["receiver_id"])
    assert re.fullmatch(TIME, members["created_at"])
    return members


def replays(first: HttpResponse, retry: HttpResponse) -> None:
    """Checks that `retry` is the replay of `first`: same status and bytes, marked as a replay."""
    assert (retry.status, retry.body) == (first.status, first.body)
    assert retry.headers["Content-Type"] == first.headers["Content-Type"]
    assert retry.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert retry.headers["X-Request-Id"] != first.headers["X-Request-Id"]
