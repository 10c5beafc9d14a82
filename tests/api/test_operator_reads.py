"""What operators and auditors read: users, accounts, transactions, the audit log, reports."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import count
from typing import Any, Final

import msgspec
import pytest

from finpay import ids
from finpay.edge.schemas.operators import OperatorAccount
from finpay.operators.overview import Integrity, Overview
from finpay.operators.reconciliation import Reconciliation
from finpay.operators.resources import AuditEntry, OperatorTransaction, OperatorUser
from tests.api.assertions import problem
from tests.api.operators import auditor, deposit, operator, withdrawal
from tests.api_process import Api, User

_NUMBERS: Final = count(1)


def new(text: str) -> str:
    return f"{text}-{next(_NUMBERS)}"


@pytest.fixture(scope="module")
def boss(api: Api) -> User:
    return operator(api)


@pytest.fixture(scope="module")
def reader(api: Api) -> User:
    return auditor(api)


@pytest.fixture(scope="module")
def alice(api: Api) -> User:
    return api.user(1_000, name="Alice")


def typed(answer: Any, shape: type[Any]) -> Any:
    assert answer.status == 200, answer.body
    return msgspec.json.decode(answer.body, type=shape)


def pages(user: User, path: str, most: int = 60, **params: Any) -> list[dict[str, Any]]:
    """Pages of two each, of the newest so many."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = user.get(path, limit=2, **params, **cursor).json()
        found += page["data"]
        if not page["has_more"] or len(found) >= most:
            return found
        cursor = {"cursor": page["next_cursor"]}


@pytest.mark.contract("12.3.1")
def test_users_are_found_by_email(api: Api, reader: User, alice: User) -> None:
    (found,) = reader.get("/operator/users", email=alice.email.upper()).json()["data"]
    assert set(found) == set(OperatorUser.__struct_fields__)
    assert (found["id"], found["account_id"]) == (alice.user_id, alice.account_id)
    assert (found["name"], found["role"], found["status"]) == ("Alice", "user", "active")
    assert reader.get(f"/operator/users/{alice.user_id}").json() == found
    assert reader.get("/operator/users", email="nobody@example.com").json()["data"] == []
    problem(reader.get("/operator/users", email="unknown"), 422, "validation_failed")
    problem(reader.get("/operator/users", status="x"), 422, "validation_failed")


@pytest.mark.contract("12.3.1")
def test_users_are_listed_newest_first_without_gaps(api: Api, reader: User) -> None:
    made = [api.user().user_id for _ in range(5)]
    listed = [user["id"] for user in pages(reader, "/operator/users")]
    assert [each for each in listed if each in made] == made[::-1]
    assert len(listed) == len(set(listed))


@pytest.mark.contract("12.3.2")
def test_an_account_has_the_newest_of_its_entries_holds_and_freezes(
    api: Api, boss: User, reader: User
) -> None:
    owner, bob = api.user(1_000), api.user()
    for number in range(22):
        assert owner.send(bob, number + 1, new("t")).status == 201
    held = [
        owner.post("/holds", new("h"), receiver_id=bob.account_id, amount=1).json()["id"]
        for _ in range(22)
    ]
    for number in range(11):
        boss.post(f"/operator/accounts/{owner.account_id}/freeze", reason=f"f{number}")
        boss.post(f"/operator/accounts/{owner.account_id}/unfreeze", reason=f"u{number}")
    path = f"/operator/accounts/{owner.account_id}"
    body = reader.get(path)
    account = typed(body, OperatorAccount)
    assert set(body.json()) == set(OperatorAccount.__struct_fields__)
    assert (account.id, account.user.id) == (owner.account_id, owner.user_id)
    assert (account.held, account.available) == (22, account.balance - 22)
    assert [entry.amount for entry in account.entries] == [-number for number in range(22, 2, -1)]
    assert [hold.id for hold in account.holds] == held[:1:-1]
    assert [each.reason for each in account.freezes][:2] == ["u10", "f10"]
    assert len(account.freezes) == 20
    assert [each["amount"] for each in pages(reader, f"{path}/entries")][:22] == [
        -number for number in range(22, 0, -1)
    ]
    assert [each["id"] for each in pages(reader, f"{path}/holds")] == held[::-1]
    reasons = [each["reason"] for each in pages(reader, f"{path}/freezes")]
    assert reasons == [f"{kind}{number}" for number in range(10, -1, -1) for kind in "uf"]


@pytest.mark.contract("12.3.3")
def test_transactions_of_all_users_have_both_entries(api: Api, reader: User, alice: User) -> None:
    bob = api.user()
    sent = alice.send(bob, 7, new("t"), metadata={"a": "b"}).json()
    failed = alice.send(bob, 10**9, new("t")).json()["transaction_id"]
    one = typed(reader.get(f"/operator/transactions/{sent['id']}"), OperatorTransaction)
    assert [(leg.account_id, leg.amount) for leg in one.entries] == [
        (alice.account_id, -7), (bob.account_id, 7),
    ]  # fmt: skip
    assert (one.metadata, one.entries[1].balance_after) == ({"a": "b"}, 7)
    none = typed(reader.get(f"/operator/transactions/{failed}"), OperatorTransaction)
    assert (none.status, none.failure_code, none.entries) == ("failed", "insufficient_funds", [])
    listed = [each["id"] for each in pages(reader, "/operator/transactions")]
    assert listed[:2] == [failed, sent["id"]]
    assert listed == sorted(set(listed), reverse=True)
    sevens = reader.get("/operator/transactions", amount_min=7, amount_max=7, type="transfer")
    assert sent["id"] in {each["id"] for each in sevens.json()["data"]}
    assert failed in {
        each["id"] for each in pages(reader, "/operator/transactions", status="failed")
    }
    moment = sent["created_at"]
    since = pages(reader, "/operator/transactions", created_from=moment)
    assert [each["id"] for each in since][-1] == sent["id"]
    until = pages(reader, "/operator/transactions", created_to=moment)
    assert sent["id"] not in {each["id"] for each in until}
    assert until


@pytest.mark.contract("12.3.4")
def test_the_audit_log_of_a_day(api: Api, reader: User, alice: User) -> None:
    sent = alice.send(api.user(), 1, new("t"))
    found = reader.get("/operator/audit", subject_id=sent.json()["id"]).json()["data"]
    (row,) = [msgspec.convert(each, AuditEntry) for each in found]
    assert (row.action, row.actor_id) == ("transaction.completed", alice.user_id)
    assert row.request_id == sent.headers["X-Request-Id"]
    by_request = reader.get("/operator/audit", request_id=row.request_id).json()["data"]
    assert by_request == found
    mine = pages(reader, "/operator/audit", actor_id=alice.user_id)
    assert [each["id"] for each in mine] == sorted({each["id"] for each in mine}, reverse=True)
    assert {each["action"] for each in mine} >= {"user.registered", "transaction.completed"}
    only = pages(reader, "/operator/audit", action="user.registered")
    assert {each["action"] for each in only} == {"user.registered"}


@pytest.mark.contract("12.3.4")
def test_the_range_of_the_audit_log_is_bounded(reader: User) -> None:
    now = datetime.now(UTC)
    far = (now - timedelta(days=31, minutes=1)).isoformat()
    problem(reader.get("/operator/audit", created_from=far), 422, "validation_failed")
    within = (now - timedelta(days=31) + timedelta(minutes=1)).isoformat()
    assert reader.get("/operator/audit", created_from=within).status == 200
    old = {"created_from": (now - timedelta(days=400)).isoformat(),
           "created_to": (now - timedelta(days=390)).isoformat()}  # fmt: skip
    assert reader.get("/operator/audit", **old).json()["data"] == []
    problem(reader.get("/operator/audit", action="x"), 422, "validation_failed")
    problem(reader.get("/operator/audit", subject_id="x"), 422, "validation_failed")


@pytest.mark.contract("12.3.5")
def test_reconciliation_has_what_came_in_and_went_out(api: Api, boss: User, reader: User) -> None:
    owner = api.user(currency="NAD")
    reference = f"=R-{owner.user_id}"
    arrived = deposit(boss, owner, 500, new("d"), reference=reference).json()
    pending = withdrawal(owner, 100, new("w"))
    paid = boss.post(
        f"/operator/withdrawals/{pending['id']}/complete", new("k"), reference=reference
    ).json()
    for target in (arrived, paid):
        path = f"/operator/transactions/{target['id']}/refunds"
        assert boss.post(path, new("k"), amount=50).status == 201
    owner.send(api.user(currency="NAD"), 1, new("t"))
    day = arrived["created_at"][:10]
    report = typed(reader.get("/operator/reconciliation", date=day), Reconciliation)
    own = [each for each in report.data if each.account_id == owner.account_id]
    assert [(each.type, each.amount) for each in own] == [
        ("deposit", 500), ("withdrawal", -100), ("recalled_deposit", -50),
        ("returned_withdrawal", 50),
    ]  # fmt: skip
    assert {each.reference for each in own} == {reference}
    totals = {each.type: each.amount for each in report.totals if each.currency == "NAD"}
    assert totals == {
        "deposit": 500, "withdrawal": -100, "recalled_deposit": -50, "returned_withdrawal": 50,
    }  # fmt: skip
    text = reader.get("/operator/reconciliation", date=day, format="csv")
    assert text.headers["Content-Type"].startswith("text/csv")
    rows = [
        row
        for row in csv.DictReader(StringIO(text.body.decode(), newline=""))
        if row["account_id"] == owner.account_id
    ]
    assert [row["amount"] for row in rows] == ["5.00", "-1.00", "-0.50", "0.50"]
    assert {row["reference"] for row in rows} == {f"'{reference}"}


@pytest.mark.contract("12.3.5")
def test_reconciliation_of_other_days(reader: User) -> None:
    empty = typed(reader.get("/operator/reconciliation", date="2020-02-29"), Reconciliation)
    assert (empty.data, empty.totals) == ([], [])
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date()
    problem(reader.get("/operator/reconciliation", date=f"{tomorrow}"), 422, "validation_failed")
    problem(reader.get("/operator/reconciliation"), 422, "validation_failed")
    problem(reader.get("/operator/reconciliation", date="2020-02-30"), 422, "validation_failed")


@pytest.mark.contract("12.3.6")
def test_overview_and_integrity(api: Api, reader: User, serve: Callable[..., Api]) -> None:
    own = serve()  # with an overview of its own, not an older one
    seen = own.client(access_token=reader.token).request("GET", "/api/v1/operator/overview")
    overview = typed(seen, Overview)
    (counted,) = api.sql("SELECT count(*) AS users FROM identity.users")
    assert overview.users == counted["users"]
    (total,) = api.sql(
        "SELECT sum(balance) AS balance FROM ledger.accounts"
        " WHERE currency = 'ZAR' AND user_id IS NOT NULL"
    )
    (rand,) = [each for each in overview.currencies if each.currency == "ZAR"]
    assert rand.users_balance == total["balance"]
    api.user()
    repeated = own.client(access_token=reader.token).request("GET", "/api/v1/operator/overview")
    assert repeated.body == seen.body
    assert typed(reader.get("/operator/integrity"), Integrity).violations == 0


@pytest.mark.contract("12.3.7")
@pytest.mark.parametrize(
    ("path", "prefix"),
    [("/users/{}", "usr"), ("/accounts/{}", "acc"), ("/accounts/{}/entries", "acc"),
     ("/accounts/{}/holds", "acc"), ("/accounts/{}/freezes", "acc"), ("/transactions/{}", "txn"),
     ("/withdrawals/{}", "wdr"), ("/approvals/{}", "apr")],
)  # fmt: skip
def test_what_is_not_there_is_404(reader: User, path: str, prefix: Any) -> None:
    for target in (ids.encode(prefix, ids.new_uuid()), "x", ids.encode("ses", ids.new_uuid())):
        problem(reader.get(f"/operator{path.format(target)}"), 404, "not_found")


@pytest.mark.contract("12.3.4")
def test_the_audit_log_of_a_time_before_all_rows_is_empty(boss: User) -> None:
    page = boss.get("/operator/audit", created_to="0001-01-01T00:00:00Z").json()
    assert (page["data"], page["has_more"]) == ([], False)
