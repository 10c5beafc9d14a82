"""Each method of both shells goes to its own endpoint, with its own body."""

import asyncio
from json import loads
from typing import Any

import httpx
import pytest

from finpay.client import AsyncFinPay, FinPay, UnexpectedAnswer

TXN = "txn_01h455vb4pex5vsknk084sn02q"

# method, what it is given → what is sent
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
    ("me", {}, "GET /auth/me", None),
    ("account", {}, "GET /accounts", None),
    ("entries", {}, "GET /accounts/entries", None),
    ("send", {"amount": 1, "receiver_id": "acc_b", "currency": "ZAR", "description": "D",
        "metadata": {"k": "v"}, "idempotency_key": "key"}, "POST /transactions",
        {"amount": 1, "receiver_id": "acc_b", "currency": "ZAR", "description": "D",
        "metadata": {"k": "v"}}),
    ("transaction", {"transaction_id": TXN}, f"GET /transactions/{TXN}", None),
    ("transactions", {}, "GET /transactions", None),
    ("health", {}, "GET /health", None),
]  # fmt: skip


class Recorder:
    """Keeps each request, and answers nothing that FinPay would."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(418)

    def only(self) -> tuple[str, dict[str, object] | None]:
        (asked,) = self.asked
        assert asked.url.path.startswith("/api/v1/")
        body = loads(asked.content) if asked.content else None
        return f"{asked.method} {asked.url.path.removeprefix('/api/v1')}", body


@pytest.mark.parametrize(("name", "given", "line", "body"), CALLS)
def test_finpay(
    name: str, given: dict[str, Any], line: str, body: dict[str, object] | None
) -> None:
    recorder = Recorder()
    http = httpx.Client(transport=httpx.MockTransport(recorder))
    finpay = FinPay(http=http, access_token="access", refresh_token="refresh")
    with pytest.raises(UnexpectedAnswer):
        list(getattr(finpay, name)(**given))
    assert recorder.only() == (line, body)


@pytest.mark.parametrize(("name", "given", "line", "body"), CALLS)
def test_async_finpay(
    name: str, given: dict[str, Any], line: str, body: dict[str, object] | None
) -> None:
    recorder = Recorder()

    async def scenario() -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(recorder))
        finpay = AsyncFinPay(http=http, access_token="access", refresh_token="refresh")
        result = getattr(finpay, name)(**given)
        await (result.page() if name in {"entries", "transactions"} else result)

    with pytest.raises(UnexpectedAnswer):
        asyncio.run(scenario())
    assert recorder.only() == (line, body)
