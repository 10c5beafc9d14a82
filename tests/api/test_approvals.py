"""Four eyes: above an amount a second operator has to approve."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from finpay.identity.roles import set_role
from finpay.operators.resources import Approval
from tests.api.assertions import UNKNOWN_ACCOUNT, problem, replays
from tests.api.operators import deposit, operator, withdrawal
from tests.api_process import Api, User, running_api

_NUMBERS: Final = count(1)
ABOVE: Final = 100


def new(text: str) -> str:
    return f"{text}-{next(_NUMBERS)}"


class Office(NamedTuple):
    """An API with four eyes, and two operators."""

    api: Api
    first: User
    second: User


@pytest.fixture(scope="module")
def office(api: Api, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("approvals")
    limit = {"FINPAY_APPROVAL_ABOVE": f"ZAR:{ABOVE}"}
    with running_api(folder, api.database_url, redis_url, **limit) as own:
        yield Office(own, operator(own), operator(own))


@pytest.fixture
def alice(office: Office) -> User:
    return office.api.user(1_000)


def asked(answer: Any) -> dict[str, Any]:
    """A pending approval: every member."""
    assert answer.status == 202, answer.body
    body: dict[str, Any] = answer.json()
    msgspec.convert(body, Approval)
    assert set(body) == set(Approval.__struct_fields__)
    assert body["status"] == "pending"
    return body


def approve(by: User, approval: dict[str, Any], key: str | None = None) -> Any:
    return by.post(f"/operator/approvals/{approval['id']}/approve", key or new("approve"))


def reject(by: User, approval: dict[str, Any]) -> Any:
    return by.post(f"/operator/approvals/{approval['id']}/reject", new("reject"))


def age(api: Api, approval: dict[str, Any]) -> None:
    """Lets seven days pass."""
    statement = (
        "UPDATE ledger.approvals SET expires_at = clock_timestamp()"
        " WHERE ledger.type_id('apr', id) = $1"
    )
    api.owner(lambda database: database.execute(statement, approval["id"]))


@pytest.mark.contract("10.3.1")
def test_up_to_the_amount_one_operator_is_enough(office: Office, alice: User) -> None:
    assert deposit(office.first, alice, ABOVE, new("d")).status == 201
    american = office.api.user(currency="USD")
    assert deposit(office.first, american, 10**6, new("d")).status == 201


@pytest.mark.contract("10.3.1", "10.3.3")
def test_a_second_operator_approves(office: Office, alice: User) -> None:
    key = new("d")
    answer = deposit(office.first, alice, 101, key, description="Large")
    waiting = asked(answer)
    assert waiting["parameters"] == {
        "account_id": alice.account_id, "target": None, "amount": 101, "currency": "ZAR",
        "reference": key, "description": "Large",
    }  # fmt: skip
    assert (waiting["action"], waiting["requested_by"]) == ("deposit", office.first.user_id)
    assert (waiting["decided_by"], waiting["transaction_id"]) == (None, None)
    assert alice.balance == 1_000
    replays(answer, deposit(office.first, alice, 101, key, description="Large"))
    listed = office.second.get("/operator/approvals", status="pending").json()["data"]
    assert waiting in listed
    decided = new("approve")
    done = approve(office.second, waiting, decided)
    assert (done.status, done.json()["reference"]) == (201, key)
    replays(done, approve(office.second, waiting, decided))
    assert alice.balance == 1_101
    found = office.first.get(f"/operator/approvals/{waiting['id']}").json()
    assert (found["status"], found["decided_by"]) == ("approved", office.second.user_id)
    assert found["transaction_id"] == done.json()["id"]
    replays(answer, deposit(office.first, alice, 101, key, description="Large"))
    (row,) = office.first.get("/operator/audit", subject_id=done.json()["id"]).json()["data"]
    assert (row["actor_id"], row["detail"]) == (
        office.second.user_id,
        {"approval": waiting["id"], "requested_by": office.first.user_id},
    )
    repeated = approve(office.second, waiting)
    assert problem(repeated, 409, "approval_not_pending")["status_now"] == "approved"
    office.api.verify()


@pytest.mark.contract("10.3.3")
def test_who_asked_does_not_approve_and_no_operator_approves_his_own_money(
    office: Office, alice: User
) -> None:
    waiting = asked(deposit(office.first, alice, 101, new("d")))
    problem(approve(office.first, waiting), 403, "forbidden")
    own = asked(deposit(office.first, office.second, 101, new("d")))
    problem(approve(office.second, own), 403, "forbidden")
    problem(reject(office.second, own), 403, "forbidden")
    assert alice.balance == 1_000
    assert reject(office.first, waiting).json()["status"] == "rejected"


@pytest.mark.contract("10.3.3")
def test_both_are_operators_when_it_is_done(office: Office, alice: User) -> None:
    leaver = operator(office.api)
    waiting = asked(deposit(leaver, alice, 101, new("d")))
    office.api.owner(lambda database: set_role(database, leaver.email, "user"))
    problem(approve(office.second, waiting), 403, "forbidden")
    assert alice.balance == 1_000
    office.api.owner(lambda database: set_role(database, leaver.email, "operator"))
    assert approve(office.second, waiting).status == 201


@pytest.mark.contract("10.3.2")
def test_a_pending_deposit_reserves_its_reference(office: Office, alice: User) -> None:
    reference = new("r")
    waiting = asked(deposit(office.first, alice, 101, new("d"), reference=reference))
    taken = deposit(office.second, alice, 5, new("d"), reference=reference)
    assert problem(taken, 409, "reference_taken")["transaction_id"] is None
    assert reject(office.second, waiting).json()["status"] == "rejected"
    next_one = asked(deposit(office.first, alice, 102, new("d"), reference=reference))
    age(office.api, next_one)
    assert deposit(office.second, alice, 5, new("d"), reference=reference).status == 201


@pytest.mark.contract("10.3.2")
def test_an_approval_expires(office: Office, alice: User) -> None:
    waiting = asked(deposit(office.first, alice, 101, new("d")))
    age(office.api, waiting)
    path = f"/operator/approvals/{waiting['id']}"
    assert office.second.get(path).json()["status"] == "expired"
    for answer in (approve(office.second, waiting), reject(office.second, waiting)):
        assert problem(answer, 409, "approval_not_pending")["status_now"] == "expired"
    expired = office.first.get("/operator/approvals", status="expired").json()["data"]
    assert waiting["id"] in {each["id"] for each in expired}
    pending = office.first.get("/operator/approvals", status="pending").json()["data"]
    assert waiting["id"] not in {each["id"] for each in pending}


@pytest.mark.contract("10.3.4")
def test_canceling_a_withdrawal_wins_over_its_pending_completion(
    office: Office, alice: User
) -> None:
    pending = withdrawal(alice, 500, new("w"))
    path = f"/operator/withdrawals/{pending['id']}/complete"
    waiting = asked(office.first.post(path, new("k"), reference=new("r")))
    assert waiting["parameters"]["target"] == pending["id"]
    assert alice.post(f"/withdrawals/{pending['id']}/cancel", new("c")).status == 200
    key = new("approve")
    refused = approve(office.second, waiting, key)
    assert problem(refused, 409, "withdrawal_not_pending")["status_now"] == "canceled"
    replays(refused, approve(office.second, waiting, key))
    assert alice.get("/accounts").json()["available"] == 1_000
    office.api.verify()


@pytest.mark.contract("10.3.3")
def test_a_refused_action_leaves_the_approval_pending(office: Office, alice: User) -> None:
    waiting = asked(deposit(office.first, alice, 101, new("d")))
    office.api.set_status(alice, "frozen")
    problem(approve(office.second, waiting), 422, "receiver_unavailable")
    found = office.first.get(f"/operator/approvals/{waiting['id']}").json()
    assert found["status"] == "pending"
    office.api.set_status(alice, "active")
    assert approve(office.second, waiting).status == 201


@pytest.mark.contract("10.3.1")
def test_what_something_else_refuses_needs_no_approval(office: Office, alice: User) -> None:
    unknown = deposit(office.first, alice, 101, new("d"), account_id=UNKNOWN_ACCOUNT)
    problem(unknown, 404, "receiver_not_found")
    sent = alice.send(office.api.user(), 200, new("t")).json()
    path = f"/operator/transactions/{sent['id']}/refunds"
    problem(office.first.post(path, new("k"), amount=201), 422, "amount_too_large")
    waiting = asked(office.first.post(path, new("k"), amount=150))
    assert approve(office.second, waiting).json()["type"] == "refund"


@pytest.mark.contract("10.3.3")
def test_fifty_approvals_at_once_make_one_deposit(office: Office, alice: User) -> None:
    waiting = asked(deposit(office.first, alice, 101, new("d")))
    others = [office.second, operator(office.api)]
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda number: approve(others[number % 2], waiting), range(50)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 49
    assert alice.balance == 1_101
    office.api.verify()
