"""Responses of a FinPay server, for tests of the client without one."""

from typing import Any, Final

import httpx

from finpay.client import HttpResponse
from finpay.client._requests import encode
from finpay.errors import ERROR_SPECS, Code

ROOT: Final = "http://finpay.test"
TXN: Final = "txn_01h455vb4pex5vsknk084sn02q"
USER: Final = {"id": "usr_1", "email": "a@b.c", "name": None, "created_at": "2026-01-02T03:04:05Z"}
ACCOUNT: Final = {
    "id": "acc_1", "balance": 5, "available": 4, "held": 1, "currency": "ZAR",
    "status": "active", "version": 2, "limits": {
        "single": None, "daily": 9, "sent_today": 0, "resets_at": "2026-01-03T00:00:00Z",
        "pending": None,
    }, "created_at": "2026-01-02T03:04:05Z",
}  # fmt: skip
TRANSACTION: Final = {
    "id": TXN, "object": "transaction", "type": "transfer", "status": "completed",
    "direction": "sent", "amount": 5, "currency": "ZAR", "sender_id": "acc_a",
    "receiver_id": "acc_b", "description": None, "metadata": {}, "balance_after": 0,
    "available_after": 0, "failure_code": None, "refunded_amount": 0, "origin": None,
    "scheduled_for": None, "created_at": "2026-01-02T03:04:05.000006Z",
}  # fmt: skip


def tokens(name: str) -> dict[str, object]:
    made = {"access_token": f"access-{name}", "refresh_token": f"refresh-{name}"}
    return made | {"token_type": "Bearer", "expires_in": 900}


def problem(code: Code, **members: object) -> dict[str, object]:
    """The members of a problem; those given replace or extend them."""
    spec = ERROR_SPECS[code]
    standard = {"type": "about:blank", "title": "T", "status": spec.status, "detail": "D"}
    own = {"code": code, "request_id": "req_1", "retryable": spec.retryable, "errors": []}
    return standard | own | members


def response(
    status: int, body: object, media_type: str = "application/json", **headers: str
) -> HttpResponse:
    """As the client's core reads it. `retry_after="1"` is the header Retry-After."""
    made = {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes) else encode(body)
    return HttpResponse(status, httpx.Headers({"content-type": media_type} | made), content)


def refusal(code: Code, **headers: str) -> HttpResponse:
    """A problem as the client's core reads it."""
    status = ERROR_SPECS[code].status
    return response(status, problem(code), "application/problem+json", **headers)


def over_http(given: HttpResponse) -> httpx.Response:
    """As httpx receives it."""
    return httpx.Response(given.status, headers=given.headers, content=given.body)


def page(*ids: str, cursor: str | None = None) -> dict[str, Any]:
    """A page of transactions with these ids."""
    data = [TRANSACTION | {"id": name} for name in ids]
    return {"data": data, "has_more": cursor is not None, "next_cursor": cursor}
