"""Each method of both clients sends its own request."""

import asyncio
import re
from datetime import UTC, date, datetime
from json import loads
from typing import Any

import httpx
import pytest

from finpay.client import AsyncFinPay, FinPay, UnexpectedResponse
from finpay.edge.router import API
from finpay.edge.routes import ROUTES

TXN = "txn_01h455vb4pex5vsknk084sn02q"
EVT = "evt_01h455vb4pex5vsknk084sn02q"
WHE = "whe_01h455vb4pex5vsknk084sn02q"
WHD = "whd_01h455vb4pex5vsknk084sn02q"
HLD = "hld_01h455vb4pex5vsknk084sn02q"
WDR = "wdr_01h455vb4pex5vsknk084sn02q"
JANUARY = (date(2026, 1, 1), date(2026, 1, 31))
KEY = "key_01h455vb4pex5vsknk084sn02q"
SES = "ses_01h455vb4pex5vsknk084sn02q"
PRQ = "prq_01h455vb4pex5vsknk084sn02q"
SCH = "sch_01h455vb4pex5vsknk084sn02q"
LISTS = {
    "holds", "withdrawals", "entries", "sessions", "api_keys", "events", "transactions",
    "logged_requests", "payment_requests", "schedules", "webhook_endpoints", "deliveries",
}  # fmt: skip

# method, arguments → method and path of the request, body
CALLS: list[tuple[str, dict[str, Any], str, dict[str, object] | None]] = [
    ("register", {"email": "a@b.c", "password": "p"}, "POST /auth/register",
        {"email": "a@b.c", "password": "p"}),
    ("register", {"email": "a@b.c", "password": "p", "name": "A", "currency": "EUR"},
        "POST /auth/register",
        {"email": "a@b.c", "password": "p", "name": "A", "currency": "EUR"}),
    ("login", {"email": "a@b.c", "password": "p"}, "POST /auth/login",
        {"email": "a@b.c", "password": "p"}),
    ("refresh", {}, "POST /auth/refresh", {"refresh_token": "refresh"}),
    ("logout", {}, "POST /auth/logout", None),
    ("change_password", {"current_password": "p", "new_password": "q"}, "POST /auth/password",
        {"current_password": "p", "new_password": "q"}),
    ("sessions", {"limit": 5}, "GET /auth/sessions", None),
    ("end_session", {"session_id": SES}, f"DELETE /auth/sessions/{SES}", None),
    ("end_other_sessions", {}, "DELETE /auth/sessions", None),
    ("create_api_key", {"name": "N", "scopes": ["account:read"], "password": "p",
        "expires_at": datetime(2027, 1, 1, tzinfo=UTC)}, "POST /api_keys",
        {"name": "N", "scopes": ["account:read"], "password": "p",
        "expires_at": "2027-01-01T00:00:00.000000Z"}),
    ("api_keys", {"limit": 5}, "GET /api_keys", None),
    ("delete_api_key", {"key_id": KEY}, f"DELETE /api_keys/{KEY}", None),
    ("logged_requests", {"limit": 5}, "GET /requests", None),
    ("logged_request", {"request_id": "order-17"}, "GET /requests/order-17", None),
    ("update_me", {"name": None}, "PATCH /auth/me", {"name": None}),
    ("complete_login", {"challenge": "c", "code": "1"}, "POST /auth/login/second_factor",
        {"challenge": "c", "code": "1"}),
    ("request_password_reset", {"email": "a@b.c"}, "POST /auth/password/forgot",
        {"email": "a@b.c"}),
    ("reset_password", {"token": "t", "new_password": "q"}, "POST /auth/password/reset",
        {"token": "t", "new_password": "q"}),
    ("request_email_verification", {}, "POST /auth/email/verification", None),
    ("verify_email", {"token": "t"}, "POST /auth/email/verify", {"token": "t"}),
    ("create_second_factor", {"password": "p"}, "POST /auth/second_factor", {"password": "p"}),
    ("confirm_second_factor", {"code": "1"}, "POST /auth/second_factor/confirm", {"code": "1"}),
    ("disable_second_factor", {"password": "p", "code": "1"},
        "POST /auth/second_factor/disable", {"password": "p", "code": "1"}),
    ("close_account", {"password": "p"}, "POST /accounts/close", {"password": "p"}),
    ("export", {}, "GET /auth/export", None),
    ("me", {}, "GET /auth/me", None),
    ("account", {}, "GET /accounts", None),
    ("entries", {}, "GET /accounts/entries", None),
    ("balance", {"at": datetime(2026, 1, 2, tzinfo=UTC)}, "GET /accounts/balance", None),
    ("balance", {"version": 3}, "GET /accounts/balance", None),
    ("statement", {"start": JANUARY[0], "end": JANUARY[1]}, "GET /accounts/statement", None),
    ("statement_file", {"start": JANUARY[0], "end": JANUARY[1], "file_format": "csv",
        "timezone": "Asia/Kathmandu"}, "GET /accounts/statement", None),
    ("send", {"amount": 1, "receiver_id": "acc_b", "currency": "ZAR", "description": "D",
        "metadata": {"k": "v"}, "idempotency_key": "key"}, "POST /transactions",
        {"amount": 1, "receiver_id": "acc_b", "currency": "ZAR", "description": "D",
        "metadata": {"k": "v"}}),
    ("send_batch", {"transfers": [{"amount": 1, "receiver_id": "acc_b", "currency": None}],
        "idempotency_key": "key"}, "POST /transactions/batch",
        {"mode": "independent", "transactions": [{"amount": 1, "receiver_id": "acc_b"}]}),
    ("send_batch", {"transfers": [{"amount": 1}, {"amount": 2}], "mode": "atomic"},
        "POST /transactions/batch",
        {"mode": "atomic", "transactions": [{"amount": 1}, {"amount": 2}]}),
    ("transaction", {"transaction_id": TXN}, f"GET /transactions/{TXN}", None),
    ("transactions", {}, "GET /transactions", None),
    ("request_payment", {"amount": 5, "payer_email": "a@b.c", "expires_in": 60},
        "POST /payment_requests", {"amount": 5, "payer_email": "a@b.c", "expires_in": 60}),
    ("split_payment", {"amount": 5, "payer_emails": ("a@b.c", "d@e.f"), "include_me": True,
        "idempotency_key": "key"}, "POST /payment_requests/split",
        {"amount": 5, "payer_emails": ["a@b.c", "d@e.f"], "include_me": True}),
    ("payment_request", {"request_id": PRQ}, f"GET /payment_requests/{PRQ}", None),
    ("payment_request_qr", {"request_id": PRQ}, f"GET /payment_requests/{PRQ}/qr", None),
    ("payment_requests", {"status": "open"}, "GET /payment_requests", None),
    ("pay_request", {"request_id": PRQ}, f"POST /payment_requests/{PRQ}/pay", None),
    ("cancel_request", {"request_id": PRQ}, f"POST /payment_requests/{PRQ}/cancel", None),
    ("decline_request", {"request_id": PRQ}, f"POST /payment_requests/{PRQ}/decline", None),
    ("create_schedule", {"amount": 5, "receiver_id": "acc_b",
        "start_at": datetime(2026, 1, 2, tzinfo=UTC), "every": {"unit": "month", "count": 1}},
        "POST /schedules", {"amount": 5, "receiver_id": "acc_b",
        "start_at": "2026-01-02T00:00:00.000000Z", "every": {"unit": "month", "count": 1}}),
    ("schedule", {"schedule_id": SCH}, f"GET /schedules/{SCH}", None),
    ("schedules", {"limit": 5}, "GET /schedules", None),
    ("pause_schedule", {"schedule_id": SCH}, f"POST /schedules/{SCH}/pause", None),
    ("resume_schedule", {"schedule_id": SCH}, f"POST /schedules/{SCH}/resume", None),
    ("cancel_schedule", {"schedule_id": SCH}, f"POST /schedules/{SCH}/cancel", None),
    ("refund", {"transaction_id": TXN}, f"POST /transactions/{TXN}/refunds", {}),
    ("refund", {"transaction_id": TXN, "amount": 1, "metadata": {"k": "v"}},
        f"POST /transactions/{TXN}/refunds", {"amount": 1, "metadata": {"k": "v"}}),
    ("create_hold", {"amount": 1, "receiver_id": "acc_b", "expires_in": 60, "if_version": 0},
        "POST /holds",
        {"amount": 1, "receiver_id": "acc_b", "expires_in": 60, "if_version": 0}),
    ("capture_hold", {"hold_id": HLD}, f"POST /holds/{HLD}/capture", {}),
    ("capture_hold", {"hold_id": HLD, "amount": 1, "final": False},
        f"POST /holds/{HLD}/capture", {"amount": 1, "final": False}),
    ("void_hold", {"hold_id": HLD}, f"POST /holds/{HLD}/void", {}),
    ("hold", {"hold_id": HLD}, f"GET /holds/{HLD}", None),
    ("holds", {"status": "open"}, "GET /holds", None),
    ("withdraw", {"amount": 1, "destination": {"iban": "ZA1"}}, "POST /withdrawals",
        {"amount": 1, "destination": {"iban": "ZA1"}}),
    ("withdrawal", {"withdrawal_id": WDR}, f"GET /withdrawals/{WDR}", None),
    ("withdrawals", {}, "GET /withdrawals", None),
    ("cancel_withdrawal", {"withdrawal_id": WDR}, f"POST /withdrawals/{WDR}/cancel", {}),
    ("dry_run_send", {"amount": 1, "receiver_id": "acc_b", "idempotency_key": "key"},
        "POST /transactions", {"amount": 1, "receiver_id": "acc_b"}),
    ("dry_run_hold", {"amount": 1, "receiver_id": "acc_b", "expires_in": 60}, "POST /holds",
        {"amount": 1, "receiver_id": "acc_b", "expires_in": 60}),
    ("dry_run_refund", {"transaction_id": TXN}, f"POST /transactions/{TXN}/refunds", {}),
    ("idempotency_key", {"key": "key"}, "GET /idempotency_keys", None),
    ("update_limits", {"daily": None}, "PATCH /accounts", {"limits": {"daily": None}}),
    ("event", {"event_id": EVT}, f"GET /events/{EVT}", None),
    ("events", {}, "GET /events", None),
    ("health", {}, "GET /health", None),
    ("create_webhook_endpoint", {"url": "https://x.test", "event_types": ("*",)},
        "POST /webhook_endpoints",
        {"url": "https://x.test", "event_types": ["*"], "enabled": True}),
    ("create_webhook_endpoint", {"url": "https://x.test", "event_types": ["*"],
        "description": "D", "enabled": False}, "POST /webhook_endpoints",
        {"url": "https://x.test", "event_types": ["*"], "description": "D", "enabled": False}),
    ("webhook_endpoints", {"limit": 5}, "GET /webhook_endpoints", None),
    ("webhook_endpoint", {"endpoint_id": WHE}, f"GET /webhook_endpoints/{WHE}", None),
    ("update_webhook_endpoint", {"endpoint_id": WHE, "description": None, "event_types": ("*",)},
        f"PATCH /webhook_endpoints/{WHE}", {"description": None, "event_types": ["*"]}),
    ("delete_webhook_endpoint", {"endpoint_id": WHE}, f"DELETE /webhook_endpoints/{WHE}", None),
    ("rotate_webhook_secret", {"endpoint_id": WHE},
        f"POST /webhook_endpoints/{WHE}/rotate_secret", {}),
    ("rotate_webhook_secret", {"endpoint_id": WHE, "overlap_s": 0},
        f"POST /webhook_endpoints/{WHE}/rotate_secret", {"overlap_s": 0}),
    ("ping_webhook_endpoint", {"endpoint_id": WHE}, f"POST /webhook_endpoints/{WHE}/test", None),
    ("replay_events", {"endpoint_id": WHE, "since": datetime(2026, 1, 2, tzinfo=UTC)},
        f"POST /webhook_endpoints/{WHE}/replay",
        {"since": "2026-01-02T00:00:00.000000Z", "only_failed": False}),
    ("deliveries", {"endpoint_id": WHE, "status": "failed"},
        f"GET /webhook_endpoints/{WHE}/deliveries", None),
    ("delivery", {"delivery_id": WHD}, f"GET /deliveries/{WHD}", None),
    ("retry_delivery", {"delivery_id": WHD}, f"POST /deliveries/{WHD}/retry", None),
]  # fmt: skip


class Recorder:
    """Records each request; its responses are not FinPay's, so every call fails."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(418)

    def only(self) -> tuple[str, dict[str, object] | None]:
        (request,) = self.requests
        assert request.url.path.startswith("/api/v1/")
        body = loads(request.content) if request.content else None
        return f"{request.method} {request.url.path.removeprefix('/api/v1')}", body


@pytest.mark.parametrize(("name", "arguments", "target", "body"), CALLS)
def test_method_of_finpay_sends_its_request(
    name: str, arguments: dict[str, Any], target: str, body: dict[str, object] | None
) -> None:
    recorder = Recorder()
    http = httpx.Client(transport=httpx.MockTransport(recorder))
    finpay = FinPay(http=http, access_token="access", refresh_token="refresh", max_retries=0)
    with pytest.raises(UnexpectedResponse):
        list(getattr(finpay, name)(**arguments))
    assert recorder.only() == (target, body)


@pytest.mark.parametrize(("name", "arguments", "target", "body"), CALLS)
def test_method_of_async_finpay_sends_its_request(
    name: str, arguments: dict[str, Any], target: str, body: dict[str, object] | None
) -> None:
    recorder = Recorder()

    async def scenario() -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(recorder))
        finpay = AsyncFinPay(
            http=http, access_token="access", refresh_token="refresh", max_retries=0
        )
        result = getattr(finpay, name)(**arguments)
        await (result.page() if name in LISTS else result)

    with pytest.raises(UnexpectedResponse):
        asyncio.run(scenario())
    assert recorder.only() == (target, body)


def test_calls_cover_every_method() -> None:
    methods = {name for name in dir(FinPay) if not name.startswith("_")}
    other = {"close", "request", "base_url", "access_token", "refresh_token", "last_response",
             "operator"}  # fmt: skip
    assert {name for name, *_ in CALLS} == methods - other


def test_the_client_has_every_operation_of_the_api() -> None:
    """Those of operators are in `operator`; pages and probes have no method."""
    sent = {
        re.sub(r"/[a-z]{3}_[0-9a-z]{26}|/order-17", "/{id}", target) for _, _, target, _ in CALLS
    }
    served = {
        f"{route.method} {route.path.removeprefix(API)}"
        for route in ROUTES
        if route.path.startswith(API) and not route.path.startswith(f"{API}/operator/")
    }
    assert served - sent == set()
