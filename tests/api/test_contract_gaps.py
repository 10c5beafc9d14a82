"""Rules of docs/contract.md that no other test checks."""

import socket

import httpx
import pytest

from finpay.client import FinPay
from tests.api_process import Api

ACCOUNT = {
    "id", "object", "balance", "available", "held", "currency", "status", "version", "limits",
    "created_at",
}  # fmt: skip
COLUMNS = {
    "accounts": "id user_id currency balance held version sequence status created_at",
    "transactions": "id type status sender_id receiver_id amount currency description metadata "
    "failure_code created_at",
    "entries": "account_id version transaction_id amount balance_after created_at",
    "idempotency_keys": "principal_id key",
}


@pytest.mark.contract("1.2.7")
def test_account_has_exactly_the_members_of_the_contract(api: Api) -> None:
    account = api.user(100).get("/accounts").json()
    assert set(account) == ACCOUNT
    assert account["available"] == account["balance"] - account["held"]


@pytest.mark.contract("1.1.8")
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/transactions", '{"a":' + "[" * 31 + "]" * 31 + "}", 422),
        ("/transactions", '{"a":' + "[" * 32 + "]" * 32 + "}", 400),
        ("/transactions", "[" + "1," * 25_000 + "1]", 400),
        ("/transactions", "[" + "1," * 20_000 + "1]", 422),
        ("/transactions/batch", "[" + "1," * 30_000 + "1]", 422),
        ("/transactions/batch", "[" + "1," * 40_000 + "1]", 400),
    ],
    ids=["32-deep", "33-deep", "25001", "20001", "batch-30001", "batch-40001"],
)
def test_json_deeper_or_larger_than_the_bounds_is_malformed(
    api: Api, path: str, body: str, status: int
) -> None:
    answer = httpx.post(
        f"{api.url}/api/v1{path}",
        content=body,
        headers={
            "Authorization": f"Bearer {api.user().client.access_token}",
            "Content-Type": "application/json",
            "X-Idempotency-Key": "bounds",
        },
        trust_env=False,
    )
    assert answer.status_code == status
    assert answer.json()["code"] == ("malformed_json" if status == 400 else "validation_failed")


@pytest.mark.contract("1.6.5")
def test_bad_token_is_refused_before_the_body_arrives(api: Api) -> None:
    address = httpx.URL(api.url)
    with socket.create_connection((address.host, address.port), timeout=5) as connection:
        connection.sendall(
            b"POST /api/v1/transactions HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
        )
        assert connection.recv(1024).startswith(b"HTTP/1.1 401 ")


@pytest.mark.contract("1.4.4")
def test_unknown_members_are_ignored_by_the_client() -> None:
    user = {"id": "usr_1", "object": "user", "email": "a@b.example", "name": None}
    newer = user | {"created_at": "2026-01-31T12:00:00.000000Z", "verified": True}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=newer))
    with FinPay("http://api.test", http=httpx.Client(transport=transport), access_token="t") as api:
        assert api.me().email == "a@b.example"


@pytest.mark.contract("2.1.2", "2.1.4", "2.1.5")
@pytest.mark.parametrize("table", COLUMNS)
def test_public_tables_have_the_columns_of_the_contract(api: Api, table: str) -> None:
    rows = api.sql(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema = 'ledger' AND table_name = $1",
        table,
    )
    assert set(COLUMNS[table].split()) <= {row["column_name"] for row in rows}
