"""The filters of GET /transactions that came with holds and refunds: type, origin, metadata."""

from typing import Any, Final
from urllib.parse import quote

import pytest

from finpay.ledger import operator_commands
from tests.api.assertions import invalid, transaction
from tests.api.test_holds import make_hold, post
from tests.api_process import Api, User

ABSENT: Final = "hld_01h455vb4pex5vsknk084sn02q"


def found(user: User, **filters: object) -> list[str]:
    answer = user.get("/transactions", **filters)
    assert answer.status == 200, answer.body
    return [each["id"] for each in answer.json()["data"]]


def by_query(user: User, query: str) -> Any:
    return user.client.request("GET", f"/api/v1/transactions?{query}")


@pytest.mark.contract("7.6.1")
def test_by_type(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    (funding,) = found(alice)
    paid = transaction(alice.send(bob, 10, "pay"), 201)["id"]
    refund = transaction(post(bob, f"/transactions/{paid}/refunds", amount=1), 201)["id"]
    deposit = api.owner(
        lambda db: operator_commands.deposit(
            db, alice.account_id, 5, f"R-{alice.account_id}", key=f"d-{alice.account_id}"
        )
    ).members["id"]
    made = post(alice, "/withdrawals", amount=3, destination={}).json()["id"]
    paid_out = api.owner(
        lambda db: operator_commands.complete_withdrawal(
            db, made, f"R-{alice.account_id}", key=f"w-{alice.account_id}"
        )
    ).members["id"]
    for kind, expected in {
        "funding": funding, "transfer": paid, "refund": refund, "deposit": deposit,
        "withdrawal": paid_out,
    }.items():  # fmt: skip
        assert found(alice, type=kind) == [expected]
        assert alice.get(f"/transactions/{expected}").json()["type"] == kind
    assert found(alice, type="transfer", status="failed") == []
    assert found(alice, origin=made) == [paid_out]
    invalid(alice.get("/transactions", type="payment"), "type", kind="parameter")


@pytest.mark.contract("7.6.1", "7.2.1")
def test_by_origin(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    hold, other = make_hold(alice, bob, 100)["id"], make_hold(alice, bob, 100)["id"]
    parts = [
        transaction(post(bob, f"/holds/{hold}/capture", amount=n, final=False), 201)["id"]
        for n in (1, 2)
    ]
    transaction(post(bob, f"/holds/{other}/capture"), 201)
    paid = transaction(alice.send(bob, 10, "pay"), 201)["id"]
    refund = transaction(post(bob, f"/transactions/{paid}/refunds"), 201)["id"]
    asked = bob.post("/payment_requests", amount=6, payer_email=alice.email).json()["id"]
    paid_request = transaction(post(alice, f"/payment_requests/{asked}/pay"), 201)["id"]
    for user in (alice, bob):
        assert found(user, origin=hold) == parts[::-1]
        assert found(user, origin=paid) == [refund]
        assert found(user, origin=asked) == [paid_request]
        assert found(user, origin=ABSENT) == []
    assert found(alice, origin=hold, amount_max=1) == [parts[0]]
    for text in ("acc_01h455vb4pex5vsknk084sn02q", "hld_x", "x", ""):
        invalid(alice.get("/transactions", origin=text), "origin", kind="parameter")


@pytest.mark.contract("7.6.1")
def test_by_one_pair_of_metadata_exactly(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    key = 'a "key" [\u00e9]'
    made = [
        transaction(alice.send(bob, 1, f"meta-{n}", metadata=metadata), 201)["id"]
        for n, metadata in enumerate(
            ({"order": "7", key: "\u00e9"}, {"order": "77"}, {"Order": "7"}, {"order": "7"}, {})
        )
    ]
    failed = alice.send(bob, 10_000, "failed", metadata={"order": "7"}).json()["transaction_id"]
    assert found(bob, **{"metadata[order]": "7"}) == [made[3], made[0]]
    assert found(alice, **{"metadata[order]": "7"}) == [failed, made[3], made[0]]
    assert found(alice, **{f"metadata[{key}]": "\u00e9"}) == [made[0]]
    assert found(alice, **{"metadata[order]": ""}) == []
    first = alice.get("/transactions", **{"metadata[order]": "7", "limit": 2}).json()
    rest = {"metadata[order]": "7", "cursor": first["next_cursor"]}
    assert found(alice, **rest) == [made[0]]
    rows = {
        "metadata[a]=1&metadata[b]=2": "metadata",
        "metadata[a]=1&metadata[a]=1": "metadata",
        "metadata=1": "metadata",
        "metadata[]=1": "metadata[]",
        f"metadata[{'k' * 41}]=1": f"metadata[{'k' * 41}]",
        "status[a]=failed": "status[a]",
    }
    for query, name in rows.items():
        invalid(by_query(alice, query), name, kind="parameter")
    assert by_query(alice, f"metadata[a]={quote(chr(0))}").status == 422
