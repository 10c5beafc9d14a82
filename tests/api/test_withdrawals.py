"""Withdrawals over HTTP, as their owner meets them."""

import json
import re
from typing import Any, Final

import pytest

from finpay.ledger import operator_commands
from tests.api.assertions import ID, invalid, problem, replays, transaction
from tests.api.test_holds import account, post
from tests.api_process import Api

MEMBERS: Final = [
    "id", "object", "status", "amount", "currency", "destination", "description", "reference",
    "reason", "transaction_id", "created_at",
]  # fmt: skip
DESTINATION: Final = {"bank": "Example Bank", "account": "62001234567", "branch": "1234"}
MASKED: Final = {"bank": "Bank", "account": "4567", "branch": ""}


def withdrawal(answer: Any, status: int = 200) -> Any:
    assert answer.status == status, answer.body
    members = answer.json()
    assert list(members) == MEMBERS
    assert re.fullmatch(f"wdr_{ID}", members["id"])
    return members


@pytest.mark.contract("10.1.1", "10.1.2", "10.1.3")
def test_a_withdrawal_holds_its_amount_until_it_is_canceled(api: Api) -> None:
    alice = api.user(1_000)
    first = post(alice, "/withdrawals", "w", amount=300, destination=DESTINATION, description="Pay")
    made = withdrawal(first, 201)
    assert (made["status"], made["destination"]) == ("pending", MASKED)
    replays(first, post(alice, "/withdrawals", "w", amount=300, destination=DESTINATION,
                        description="Pay"))  # fmt: skip
    assert account(alice) == (1_000, 300, 700)
    seen = withdrawal(alice.get(f"/withdrawals/{made['id']}"))
    assert seen == made | {"destination": DESTINATION}
    assert alice.get("/withdrawals").json()["data"] == [seen]
    canceled = withdrawal(post(alice, f"/withdrawals/{made['id']}/cancel"))
    assert canceled == made | {"status": "canceled"}
    assert account(alice) == (1_000, 0, 1_000)
    refused = problem(
        post(alice, f"/withdrawals/{made['id']}/cancel"), 409, "withdrawal_not_pending"
    )
    assert refused["status_now"] == "canceled"
    assert alice.get("/withdrawals", status="pending").json()["data"] == []
    api.verify()


@pytest.mark.contract("10.1.3")
def test_a_destination_is_in_no_event_and_no_audit_row(api: Api) -> None:
    alice = api.user(1_000)
    made = withdrawal(post(alice, "/withdrawals", amount=1, destination=DESTINATION), 201)
    withdrawal(post(alice, f"/withdrawals/{made['id']}/cancel"))
    events = alice.get("/events", type="withdrawal.*").json()["data"]
    assert [event["type"] for event in events] == ["withdrawal.canceled", "withdrawal.created"]
    assert {json.dumps(event["data"]["object"]["destination"]) for event in events} == {"{}"}
    rows = api.sql("SELECT l::text AS row FROM audit.log l WHERE actor_id = $1", alice.uuid)
    stored = api.sql(
        "SELECT answer AS row FROM ledger.idempotency_keys WHERE principal_id = $1", alice.uuid
    )
    assert not [row for row in (*rows, *stored) if DESTINATION["account"] in row["row"]]
    assert DESTINATION["account"] not in api.log.read_text()


@pytest.mark.contract("10.1.2", "1.3.2")
def test_the_list_is_newest_first_and_filtered(api: Api) -> None:
    alice, bob = api.user(1_000), api.user(10)
    made = [
        withdrawal(post(alice, "/withdrawals", amount=n, destination={}), 201)["id"]
        for n in (1, 2, 3)
    ]
    withdrawal(post(bob, "/withdrawals", amount=1, destination={}), 201)
    assert [each.id for each in alice.client.withdrawals(limit=2)] == made[::-1]
    withdrawal(post(alice, f"/withdrawals/{made[1]}/cancel"))
    pending = alice.get("/withdrawals", status="pending").json()["data"]
    assert [each["id"] for each in pending] == [made[2], made[0]]
    invalid(alice.get("/withdrawals", status="open"), "status", kind="parameter")
    assert alice.get("/withdrawals", cursor="x").status == 400


@pytest.mark.contract("10.1.1")
def test_a_withdrawal_is_refused_and_records_nothing(api: Api) -> None:
    alice, bob = api.user(100), api.user(100)
    body = {"amount": 101, "destination": DESTINATION}
    refused = problem(post(alice, "/withdrawals", **body), 402, "insufficient_funds")
    assert refused["transaction_id"] is None
    invalid(post(alice, "/withdrawals", amount=1), "#/destination")
    many = {str(n): "x" for n in range(11)}
    invalid(post(alice, "/withdrawals", amount=1, destination=many), "#/destination")
    for wrong in ({"k" * 41: "x"}, {"k": "x" * 4_096}):
        invalid(post(alice, "/withdrawals", amount=1, destination=wrong), "#/destination")
    made = withdrawal(post(alice, "/withdrawals", amount=1, destination={}), 201)
    problem(bob.get(f"/withdrawals/{made['id']}"), 404, "not_found")
    problem(post(bob, f"/withdrawals/{made['id']}/cancel"), 404, "not_found")
    api.set_status(alice, "frozen")
    problem(post(alice, "/withdrawals", amount=1, destination={}), 403, "account_frozen")
    assert withdrawal(post(alice, f"/withdrawals/{made['id']}/cancel"))["status"] == "canceled"


@pytest.mark.contract("10.1.1", "10.4.3", "10.4.4")
def test_the_owner_reads_what_the_operator_did(api: Api) -> None:
    alice = api.user(1_000)
    first, second = (
        withdrawal(post(alice, "/withdrawals", amount=n, destination=DESTINATION), 201)
        for n in (300, 200)
    )
    reference = f"PAY {alice.account_id}"
    paid = api.owner(
        lambda db: operator_commands.complete_withdrawal(
            db, first["id"], reference, key=f"complete-{alice.account_id}"
        )
    ).members
    api.owner(
        lambda db: operator_commands.reject_withdrawal(
            db, second["id"], "Unknown bank.", key=f"reject-{alice.account_id}"
        )
    )
    assert withdrawal(alice.get(f"/withdrawals/{first['id']}")) == first | {
        "status": "completed", "reference": reference, "transaction_id": paid["id"],
        "destination": DESTINATION,
    }  # fmt: skip
    assert withdrawal(alice.get(f"/withdrawals/{second['id']}")) == second | {
        "status": "rejected", "reason": "Unknown bank.", "destination": DESTINATION,
    }  # fmt: skip
    moved = transaction(alice.get(f"/transactions/{paid['id']}"))
    assert (moved["type"], moved["direction"], moved["origin"]) == (
        "withdrawal", "sent", first["id"],
    )  # fmt: skip
    assert (moved["balance_after"], moved["available_after"]) == (700, 500)
    assert account(alice) == (700, 0, 700)
    for made in (first, second):
        refused = problem(
            post(alice, f"/withdrawals/{made['id']}/cancel"), 409, "withdrawal_not_pending"
        )
        assert refused["status_now"] in {"completed", "rejected"}
    assert alice.get("/accounts").json()["limits"]["sent_today"] == 300
