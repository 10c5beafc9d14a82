"""What the contract says of every answer: a test adds only what is its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from finpay.client import HttpResponse as Answer
from tests.api_process import User

TRANSACTIONS: Final = "/api/v1/transactions"
NOBODY: Final = "acc_01h455vb4pex5vsknk084sn02q"  # well-formed, and nobody's
ID: Final = "[0-7][0-9a-hjkmnp-tv-z]{25}"
TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
PROBLEM_MEMBERS: Final = {
    "type", "title", "status", "detail", "code", "request_id", "retryable", "errors",
}  # fmt: skip
TRANSACTION_MEMBERS: Final = [
    "id", "object", "type", "status", "direction", "amount", "currency", "sender_id",
    "receiver_id", "description", "metadata", "balance_after", "failure_code", "created_at",
]  # fmt: skip


def post(user: User, content: bytes, **headers: str) -> Answer:
    """POST /transactions with a body as it is; headers with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer: Answer = user.client.request("POST", TRANSACTIONS, content=content, headers=named)
    return answer


@contextmanager
def sending(text: object) -> Iterator[None]:
    """One row of a table: a failure inside tells which."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"sent: {text!r:.200}")
        raise


def problem(answer: Answer, status: int, code: str, *, replayed: bool = False) -> Any:
    """The members of a problem that has all that DESIGN §3.2 promises."""
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
    for place in members["errors"]:
        assert place.keys() in ({"pointer", "detail"}, {"parameter", "detail"}), place
    # A stored problem keeps the request_id of the first time.
    assert (members["request_id"] == answer.headers["X-Request-Id"]) is not replayed
    assert ("Idempotent-Replayed" in answer.headers) is replayed
    return members


def extensions_of(code: str) -> set[str]:
    extensions = {
        "insufficient_funds": {"transaction_id"},
        "rate_limited": {"policy"},
        "insufficient_scope": {"scope"},
    }
    return extensions.get(code, set())


def invalid(answer: Answer, place: str, *, kind: str = "pointer") -> None:
    """422 validation_failed that names the place."""
    members = problem(answer, 422, "validation_failed")
    assert [fault[kind] for fault in members["errors"]] == [place], members


def transaction(answer: Answer, status: int = 200) -> Any:
    """The members of a transaction, all of them, spelt as DESIGN §3.1 has it."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    members = answer.json()
    assert list(members) == TRANSACTION_MEMBERS
    assert re.fullmatch(f"txn_{ID}", members["id"])
    assert re.fullmatch(f"acc_{ID}", members["sender_id"])
    assert re.fullmatch(f"acc_{ID}", members["receiver_id"])
    assert re.fullmatch(TIME, members["created_at"])
    return members


def replays(first: Answer, again: Answer) -> None:
    """The same bytes under the same status, marked as what they are."""
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
