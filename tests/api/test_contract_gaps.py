"""Rules of docs/contract.md that no other test holds."""

import httpx
import pytest

from finpay.client import FinPay
from tests.api_process import Api

ACCOUNT = {
    "id", "object", "balance", "available", "held", "currency", "status", "version", "created_at",
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
