"""What operators do to money over HTTP: deposits, withdrawals, refunds, holds."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Final

import msgspec
import pytest
from redis import Redis

from finpay import ids
from finpay.ledger import operator_commands
from finpay.operators.resources import OperatorHold, OperatorTransaction
from tests.api.assertions import UNKNOWN_ACCOUNT, problem, replays
from tests.api.operators import auditor, deposit, operator, patch, withdrawal
from tests.api_process import Api, User

_NUMBERS: Final = count(1)


def new(text: str) -> str:
    return f"{text}-{next(_NUMBERS)}"


@pytest.fixture(scope="module")
def boss(api: Api) -> User:
    return operator(api)


@pytest.fixture
def alice(api: Api) -> User:
    return api.user(1_000)


def moved(answer: Any) -> dict[str, Any]:
    """A transaction as operators see it: every member, both entries."""
    assert answer.status == 201, answer.body
    body: dict[str, Any] = answer.json()
    msgspec.convert(body, OperatorTransaction)
    assert set(body) == set(OperatorTransaction.__struct_fields__)
    assert sum(leg["amount"] for leg in body["entries"]) == 0
    return body


@pytest.mark.contract("10.2.1")
def test_a_deposit_arrives(api: Api, boss: User, alice: User) -> None:
    key = new("deposit")
    answer = deposit(boss, alice, 500, key, description="Salary")
    made = moved(answer)
    assert (made["type"], made["amount"], made["reference"]) == ("deposit", 500, key)
    assert (made["receiver_id"], made["description"]) == (alice.account_id, "Salary")
    assert alice.balance == 1_500
    replays(answer, deposit(boss, alice, 500, key, description="Salary"))
    assert alice.balance == 1_500
    assert boss.get(f"/operator/transactions/{made['id']}").json() == made
    seen = alice.get(f"/transactions/{made['id']}").json()
    assert (seen["type"], seen["direction"], seen["balance_after"]) == (
        "deposit",
        "received",
        1_500,
    )
    (row,) = audit_of(boss, made["id"])
    assert (row["action"], row["actor_id"]) == ("transaction.completed", boss.user_id)
    api.verify()


@pytest.mark.contract("10.2.1")
def test_a_deposit_names_its_account_by_email(boss: User, alice: User) -> None:
    key = new("mail")
    body = {"email": alice.email.upper(), "amount": 5, "reference": key}
    assert moved(boss.post("/operator/deposits", key, **body))["receiver_id"] == alice.account_id
    both = boss.post("/operator/deposits", new("k"), account_id=alice.account_id, **body)
    problem(both, 422, "validation_failed")
    unknown = body | {"email": "nobody@example.com", "reference": new("r")}
    problem(boss.post("/operator/deposits", new("k"), **unknown), 404, "receiver_not_found")


@pytest.mark.contract("10.2.1")
def test_a_reference_belongs_to_one_deposit_of_its_currency(
    api: Api, boss: User, alice: User
) -> None:
    reference = new("reference")
    first = moved(deposit(boss, alice, 5, new("k"), reference=reference))
    repeated = deposit(boss, alice, 5, new("k"), reference=reference)
    assert problem(repeated, 409, "reference_taken")["transaction_id"] == first["id"]
    american = api.user(currency="USD")
    moved(deposit(boss, american, 5, new("k"), reference=reference))
    pending = withdrawal(alice, 5, new("k"))
    paid = boss.post(
        f"/operator/withdrawals/{pending['id']}/complete", new("k"), reference=reference
    )
    assert moved(paid)["reference"] == reference


@pytest.mark.contract("10.2.1")
def test_of_twenty_deposits_with_one_reference_one_arrives(api: Api, alice: User) -> None:
    reference, operators = new("reference"), [operator(api), operator(api)]
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(
            lambda n: deposit(operators[n % 2], alice, 5, f"{reference}-{n}", reference=reference),
            range(20),
        ))  # fmt: skip
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19
    assert alice.balance == 1_005


@pytest.mark.contract("10.3.1")
def test_the_audit_log_says_that_the_command_line_needs_no_second_operator(
    api: Api, boss: User, alice: User
) -> None:
    made = api.owner(
        lambda database: operator_commands.deposit(
            database, alice.account_id, 10**12, new("r"), key=new("k")
        )
    )
    (row,) = audit_of(boss, made.members["id"])
    assert (row["actor_id"], row["detail"]) == (
        None, {"command_line": True, "second_operator": False},
    )  # fmt: skip


@pytest.mark.contract("10.2.1")
@pytest.mark.parametrize(
    "change",
    [{"reference": ""}, {"reference": "r" * 101}, {"reference": "a\nb"}, {"amount": 0}, {"x": 1},
     {"account_id": "acc_1"}, {"description": "d" * 501}],
)  # fmt: skip
def test_a_malformed_deposit_is_refused(boss: User, alice: User, change: dict[str, Any]) -> None:
    valid = {"account_id": alice.account_id, "amount": 5, "reference": new("r")}
    problem(boss.post("/operator/deposits", new("k"), **valid | change), 422, "validation_failed")


@pytest.mark.contract("10.2.2")
def test_no_operator_serves_himself(api: Api) -> None:
    boss = operator(api, 100)
    problem(deposit(boss, boss, 5, new("own")), 403, "forbidden")
    pending = withdrawal(boss, 5, new("own"))
    for action, body in (("complete", {"reference": new("r")}), ("reject", {"reason": "r"})):
        answer = boss.post(f"/operator/withdrawals/{pending['id']}/{action}", new("own"), **body)
        problem(answer, 403, "forbidden")
    account = f"/operator/accounts/{boss.account_id}"
    problem(boss.post(f"{account}/freeze", reason="r"), 403, "forbidden")
    problem(boss.post(f"{account}/unfreeze", reason="r"), 403, "forbidden")
    problem(patch(boss, f"{account}/limits", single=5), 403, "forbidden")
    problem(boss.post(f"/operator/users/{boss.user_id}/end_sessions", reason="r"), 403, "forbidden")
    other = api.user(100)
    sent = other.send(boss, 10, new("sent")).json()
    problem(boss.post(f"/operator/transactions/{sent['id']}/refunds", new("k")), 403, "forbidden")
    held = other.post("/holds", new("h"), receiver_id=boss.account_id, amount=5).json()
    problem(boss.post(f"/operator/holds/{held['id']}/void", new("k")), 403, "forbidden")
    assert boss.balance == 110


@pytest.mark.contract("10.2.3")
def test_a_withdrawal_is_paid_out(api: Api, boss: User, alice: User) -> None:
    pending = withdrawal(alice, 300, new("w"))
    listed = boss.get("/operator/withdrawals", status="pending").json()["data"]
    (found,) = [each for each in listed if each["id"] == pending["id"]]
    assert found["destination"] == {"iban": "ZA1234567890"}
    assert found["account_id"] == alice.account_id
    path = f"/operator/withdrawals/{pending['id']}"
    assert boss.get(path).json() == found
    masked = {"destination": {"iban": "7890"}}
    assert auditor(api).get(path).json() == found | masked
    key, reference = new("k"), new("paid")
    answer = boss.post(f"{path}/complete", key, reference=reference)
    made = moved(answer)
    assert (made["type"], made["origin"]) == ("withdrawal", pending["id"])
    replays(answer, boss.post(f"{path}/complete", key, reference=reference))
    ended = boss.post(f"{path}/complete", new("k"), reference=new("paid"))
    assert problem(ended, 409, "withdrawal_not_pending")["status_now"] == "completed"
    own = alice.get(f"/withdrawals/{pending['id']}").json()
    assert (own["status"], own["reference"]) == ("completed", reference)
    assert own["transaction_id"] == made["id"]
    assert alice.get("/accounts").json()["held"] == 0
    api.verify()


@pytest.mark.contract("10.2.3")
def test_a_withdrawal_is_rejected(boss: User, alice: User) -> None:
    pending = withdrawal(alice, 300, new("w"))
    path = f"/operator/withdrawals/{pending['id']}/reject"
    answer = boss.post(path, new("k"), reason="Unknown bank")
    assert answer.status == 200
    assert (answer.json()["status"], answer.json()["reason"]) == ("rejected", "Unknown bank")
    assert alice.get("/accounts").json()["available"] == 1_000
    (event,) = alice.get("/events", type="withdrawal.rejected").json()["data"]
    assert (event["actor"], event["request"]) == (None, None)
    repeated = boss.post(path, new("k"), reason="Unknown bank")
    assert problem(repeated, 409, "withdrawal_not_pending")["status_now"] == "rejected"


@pytest.mark.contract("10.2.4")
def test_an_operator_refunds_transfers_deposits_and_withdrawals(
    api: Api, boss: User, alice: User
) -> None:
    bob = api.user(50)
    sent = alice.send(bob, 100, new("t")).json()
    back = moved(boss.post(f"/operator/transactions/{sent['id']}/refunds", new("k"), amount=40))
    assert (back["type"], back["origin"], back["sender_id"]) == (
        "refund", sent["id"], bob.account_id,
    )  # fmt: skip
    left = boss.post(f"/operator/transactions/{sent['id']}/refunds", new("k"), amount=61)
    assert problem(left, 422, "amount_too_large")["left"] == 60
    arrived = moved(deposit(boss, alice, 30, new("d")))
    moved(boss.post(f"/operator/transactions/{arrived['id']}/refunds", new("k")))
    pending = withdrawal(alice, 20, new("w"))
    path = f"/operator/withdrawals/{pending['id']}/complete"
    paid = moved(boss.post(path, new("k"), reference=new("r")))
    moved(boss.post(f"/operator/transactions/{paid['id']}/refunds", new("k")))
    assert (alice.balance, bob.balance) == (940, 110)
    refund = boss.post(f"/operator/transactions/{back['id']}/refunds", new("k"))
    problem(refund, 422, "not_refundable")
    poor = boss.post(
        f"/operator/transactions/{ids.encode('txn', ids.new_uuid())}/refunds", new("k")
    )
    problem(poor, 404, "not_found")
    api.verify()


@pytest.mark.contract("10.2.5")
def test_an_operator_voids_a_hold(api: Api, boss: User, alice: User) -> None:
    bob = api.user()
    held = alice.post("/holds", new("h"), receiver_id=bob.account_id, amount=100).json()
    path = f"/operator/holds/{held['id']}/void"
    answer = boss.post(path, new("k"))
    assert answer.status == 200
    assert set(answer.json()) == set(OperatorHold.__struct_fields__)
    assert (answer.json()["status"], answer.json()["remaining"]) == ("voided", 0)
    repeated = boss.post(path, new("k"))
    assert problem(repeated, 409, "hold_not_open")["status_now"] == "voided"
    assert alice.get("/accounts").json()["available"] == 1_000


@pytest.mark.contract("10.2.6")
@pytest.mark.parametrize("flush", [False, True])
def test_a_refusal_is_stored_with_its_key_byte_for_byte(
    api: Api, redis_url: str, boss: User, alice: User, *, flush: bool
) -> None:
    """Also after Redis has lost it."""
    key, reference = new("k"), new("r")
    moved(deposit(boss, alice, 5, new("k"), reference=reference))
    refused = deposit(boss, alice, 5, key, reference=reference)
    missing = deposit(boss, alice, 5, f"{key}-m", account_id=UNKNOWN_ACCOUNT)
    problem(missing, 404, "receiver_not_found")
    if flush:
        with Redis.from_url(redis_url) as redis:
            redis.flushdb()
    replays(refused, deposit(boss, alice, 5, key, reference=reference))
    replays(missing, deposit(boss, alice, 5, f"{key}-m", account_id=UNKNOWN_ACCOUNT))
    problem(deposit(boss, alice, 6, key, reference=reference), 422, "idempotency_key_reuse")
    stored = boss.get("/idempotency_keys", key=key).json()
    assert stored["body"].encode() == refused.body


@pytest.mark.contract("10.2.6")
def test_a_key_of_an_operator_is_one_of_his_own_transfers_too(api: Api, alice: User) -> None:
    boss = operator(api, 100)
    key = new("shared")
    assert boss.send(alice, 1, key).status == 201
    problem(deposit(boss, alice, 5, key), 422, "idempotency_key_reuse")


@pytest.mark.contract("10.2.6")
def test_a_key_is_needed(boss: User, alice: User) -> None:
    body = {"account_id": alice.account_id, "amount": 1, "reference": new("r")}
    problem(boss.post("/operator/deposits", None, **body), 400, "idempotency_key_missing")


def audit_of(by: User, subject: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = by.get("/operator/audit", subject_id=subject).json()["data"]
    return rows


@pytest.mark.contract("12.1.2")
def test_an_auditor_reads_and_does_nothing(api: Api, alice: User) -> None:
    reader = auditor(api)
    assert reader.get("/operator/users").status == 200
    problem(deposit(reader, alice, 5, new("k")), 403, "forbidden")
