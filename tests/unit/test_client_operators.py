"""`client.operator`: each method sends its own request, and reads what the server answers."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest
from msgspec import Struct

from finpay.client import Approval, AsyncFinPay, FinPay, OperatorTransaction, UnexpectedResponse
from finpay.client import _operator_models as models
from finpay.client._sync_operators import OperatorMethods
from finpay.edge.openapi import document
from tests.unit.test_client_methods import HLD, TXN, WDR, Recorder
from tests.unit.test_client_models import assert_same_members, resolved, response_schema

ACC: Final = "acc_01h455vb4pex5vsknk084sn02q"
USR: Final = "usr_01h455vb4pex5vsknk084sn02q"
APR: Final = "apr_01h455vb4pex5vsknk084sn02q"
LISTS: Final = {"approvals", "audit", "users", "withdrawals"}
NOW: Final = "2026-01-02T03:04:05.000006Z"

CALLS: Final[list[tuple[str, dict[str, Any], str, dict[str, object] | None]]] = [
    ("deposit", {"amount": 5, "reference": "r", "email": "a@b.c", "idempotency_key": "k"},
        "POST /operator/deposits", {"amount": 5, "reference": "r", "email": "a@b.c"}),
    ("complete_withdrawal", {"withdrawal_id": WDR, "reference": "r"},
        f"POST /operator/withdrawals/{WDR}/complete", {"reference": "r"}),
    ("reject_withdrawal", {"withdrawal_id": WDR, "reason": "r", "idempotency_key": "k"},
        f"POST /operator/withdrawals/{WDR}/reject", {"reason": "r"}),
    ("refund", {"transaction_id": TXN}, f"POST /operator/transactions/{TXN}/refunds", {}),
    ("refund", {"transaction_id": TXN, "amount": 1, "description": "D"},
        f"POST /operator/transactions/{TXN}/refunds", {"amount": 1, "description": "D"}),
    ("void_hold", {"hold_id": HLD}, f"POST /operator/holds/{HLD}/void", {}),
    ("approvals", {"status": "pending"}, "GET /operator/approvals", None),
    ("approval", {"approval_id": APR}, f"GET /operator/approvals/{APR}", None),
    ("approve", {"approval_id": APR}, f"POST /operator/approvals/{APR}/approve", {}),
    ("reject_approval", {"approval_id": APR}, f"POST /operator/approvals/{APR}/reject", {}),
    ("freeze", {"account_id": ACC, "reason": "r"}, f"POST /operator/accounts/{ACC}/freeze",
        {"reason": "r"}),
    ("unfreeze", {"account_id": ACC, "reason": "r"}, f"POST /operator/accounts/{ACC}/unfreeze",
        {"reason": "r"}),
    ("set_limits", {"account_id": ACC, "daily": None}, f"PATCH /operator/accounts/{ACC}/limits",
        {"daily": None}),
    ("end_sessions", {"user_id": USR, "reason": "r"}, f"POST /operator/users/{USR}/end_sessions",
        {"reason": "r"}),
    ("reset_second_factor", {"user_id": USR, "reason": "r"},
        f"POST /operator/users/{USR}/reset_second_factor",
        {"reason": "r"}),
    ("user", {"user_id": USR}, f"GET /operator/users/{USR}", None),
    ("users", {"email": "a@b.c"}, "GET /operator/users", None),
    ("account", {"account_id": ACC}, f"GET /operator/accounts/{ACC}", None),
    ("transaction", {"transaction_id": TXN}, f"GET /operator/transactions/{TXN}", None),
    ("withdrawals", {"status": "pending"}, "GET /operator/withdrawals", None),
    ("audit", {"created_from": datetime(2026, 1, 2, tzinfo=UTC)}, "GET /operator/audit", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "target", "body"), CALLS)
def test_method_sends_its_request(
    name: str, arguments: dict[str, Any], target: str, body: dict[str, object] | None
) -> None:
    recorder = Recorder()
    http = httpx.Client(transport=httpx.MockTransport(recorder))
    operator = FinPay(http=http, access_token="access", max_retries=0).operator
    with pytest.raises(UnexpectedResponse):
        list(getattr(operator, name)(**arguments))
    assert recorder.only() == (target, body)


@pytest.mark.parametrize(("name", "arguments", "target", "body"), CALLS)
def test_method_of_the_async_client_sends_its_request(
    name: str, arguments: dict[str, Any], target: str, body: dict[str, object] | None
) -> None:
    recorder = Recorder()

    async def scenario() -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(recorder))
        operator = AsyncFinPay(http=http, access_token="access", max_retries=0).operator
        result = getattr(operator, name)(**arguments)
        await (result.page() if name in LISTS else result)

    with pytest.raises(UnexpectedResponse):
        asyncio.run(scenario())
    assert recorder.only() == (target, body)


def test_calls_cover_every_method() -> None:
    methods = {name for name in dir(OperatorMethods) if not name.startswith("_")}
    assert {name for name, *_ in CALLS} == methods


MOVED: Final = {
    "id": TXN, "object": "transaction", "type": "deposit", "status": "completed", "amount": 5,
    "currency": "ZAR", "sender_id": ACC, "receiver_id": ACC, "description": None, "metadata": {},
    "reference": "r", "failure_code": None, "refunded_amount": 0, "origin": None,
    "scheduled_for": None, "created_at": NOW,
    "entries": [{"account_id": ACC, "amount": 5, "balance_after": 5, "version": 1}],
}  # fmt: skip
WAITING: Final = {
    "id": APR, "object": "approval", "status": "pending", "action": "deposit", "parameters": {
        "account_id": ACC, "target": None, "amount": 5, "currency": "ZAR", "reference": "r",
        "description": None,
    }, "requested_by": USR, "decided_by": None, "transaction_id": None, "expires_at": NOW,
    "created_at": NOW,
}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "result"), [(201, MOVED, OperatorTransaction), (202, WAITING, Approval)]
)
def test_a_deposit_is_a_transaction_or_waits(
    status: int, body: dict[str, Any], result: type[Any]
) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        assert request.headers["X-Idempotency-Key"] == "k"
        return httpx.Response(status, json=body)

    http = httpx.Client(transport=httpx.MockTransport(serve))
    operator = FinPay(http=http, access_token="access").operator
    made = operator.deposit(amount=5, reference="r", account_id=ACC, idempotency_key="k")
    assert isinstance(made, result)
    assert made.id == body["id"]


@pytest.mark.parametrize(
    ("method", "path", "model"),
    [
        ("get", "/operator/users/{id}", models.OperatorUser),
        ("get", "/operator/accounts/{id}", models.OperatorAccount),
        ("get", "/operator/transactions/{id}", models.OperatorTransaction),
        ("get", "/operator/withdrawals/{id}", models.OperatorWithdrawal),
        ("get", "/operator/approvals/{id}", models.Approval),
        ("post", "/operator/holds/{id}/void", models.OperatorHold),
    ],
)
def test_model_has_the_members_of_the_response(method: str, path: str, model: type[Struct]) -> None:
    assert_same_members(response_schema(method, path), model)


@pytest.mark.parametrize(
    ("path", "steps", "model"),
    [
        ("/operator/audit", ("data",), models.AuditEntry),
        ("/operator/transactions/{id}", ("entries",), models.Leg),
        ("/operator/approvals/{id}", ("parameters",), models.ApprovalParameters),
        ("/operator/accounts/{id}", ("freezes",), models.StatusChange),
    ],
)
def test_model_has_the_members_inside_the_response(
    path: str, steps: tuple[str, ...], model: type[Struct]
) -> None:
    schema = response_schema("get", path)
    for step in steps:
        schema = resolved(schema["properties"][step])
    assert_same_members(schema, model)


def test_the_document_has_the_routes() -> None:
    assert "/api/v1/operator/deposits" in document()["paths"]
