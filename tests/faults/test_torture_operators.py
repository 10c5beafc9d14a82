"""The checks of operators' work can fail: each finds its violation in a run with only that one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from finpay.errors import Code
from tests.faults import corrupted_run, operations_run
from tests.faults.corrupted_run import ALICE, BOB, NAMES, answer, attempts
from tests.faults.operations_run import request
from tests.faults.operators_run import (
    APPROVED,
    DENIED,
    DEPOSITED,
    HOLD,
    LARGE,
    PAID,
    PAID_OUT,
    RECALLED,
    REJECTED,
    honest,
)
from tests.faults.test_torture_operations import (
    broken,
    changed,
    copied,
    with_requests,
    with_steps,
    without,
)
from tests.support.raw_http import Response
from torture import allowed_answers
from torture.checker import RunData, run_checks
from torture.history import History, MoneyRequest, Read
from torture.operation_workload import request_of
from torture.operations import MAY_NEED_APPROVAL, Operation, Targets
from torture.operator_workload import OperatorWorkload

_OTHER = UUID(int=99)


def test_run_of_operators_without_faults_has_twelve_zeros() -> None:
    assert {name: found for name, found in run_checks(honest()).items() if found} == {}


def without_request(run: RunData, key: str) -> RunData:
    return replace(run, requests=[one for one in run.requests if one.key != key])


def refused_deposit(run: RunData) -> RunData:
    """The deposit was refused, and is there."""
    refused = request_of(Operation("deposit", "o1", 10, 0), 2, "o1", {})
    refused.attempts = attempts(answer(422, code="idempotency_key_reuse"))
    return with_requests(without_request(run, "o1"), refused)


def changed_deposit(run: RunData) -> RunData:
    """The key did a second request as well."""
    other = request_of(Operation("deposit", "o1.changed", 9, 0), 2, "o1", {"amount": 9})
    other.attempts = attempts(answer(201, id="txn_1"))
    return with_requests(run, other)


def held_after_completion(run: RunData) -> RunData:
    """The completion of the withdrawal moved its money, and left it on hold."""
    entries = [
        replace(one, held_after=20) if (one.account, one.transaction) == (BOB, PAID_OUT) else one
        for one in run.ledger.entries
    ]
    run = corrupted_run.with_ledger(run, entries=entries)
    return changed(run, "accounts", BOB, held=20)


def audited(run: RunData, times: int) -> RunData:
    rows = [(REJECTED, "withdrawal.rejected")] * times + [(HOLD, "hold.voided")]
    kept = operations_run.honest().ledger.audit_of_objects
    return corrupted_run.with_ledger(run, audit_of_objects=[*kept, *rows])


@pytest.mark.parametrize(
    ("name", "corrupt"),
    [
        ("lost", lambda run: without(run, "transactions", DEPOSITED)),
        ("lost", lambda run: without(run, "transactions", PAID_OUT)),
        ("lost", lambda run: without(run, "approvals", LARGE)),
        ("lost", lambda run: changed(run, "approvals", LARGE, status="pending")),
        ("lost", lambda run: changed(run, "approvals", LARGE, transaction=None)),
        ("lost", lambda run: changed(run, "approvals", LARGE, target=PAID)),
        ("lost", lambda run: changed(run, "approvals", DENIED, status="pending")),
        ("lost", lambda run: changed(run, "objects", REJECTED, status="pending")),
        ("lost", lambda run: changed(run, "objects", HOLD, status="open")),
        ("lost", lambda run: changed(run, "transactions", RECALLED, origin_id=_OTHER)),
        ("duplicated", lambda run: copied(run, DEPOSITED)),
        ("duplicated", lambda run: copied(run, APPROVED)),
        ("duplicated", lambda run: copied(run, PAID_OUT)),
        ("duplicated", lambda run: copied(run, RECALLED)),
        ("duplicated", lambda run: changed(run, "objects", PAID, status="pending")),
        (
            "duplicated",
            lambda run: corrupted_run.with_more(run, "approvals", run.ledger.approvals[1]),
        ),
        (
            "duplicated",
            lambda run: with_requests(run, request("reject", "ox", 2, REJECTED, target=REJECTED)),
        ),
        (
            "duplicated",
            lambda run: with_requests(
                run, request("cancel_withdrawal", "wx", 1, REJECTED, target=REJECTED)
            ),
        ),
        ("duplicated", changed_deposit),
        ("phantom", lambda run: changed(run, "transactions", DEPOSITED, amount=11)),
        ("phantom", lambda run: changed(run, "transactions", DEPOSITED, receiver=BOB)),
        ("phantom", lambda run: copied(run, PAID_OUT)),
        ("phantom", lambda run: without_request(run, "o1")),
        ("phantom", lambda run: without_request(run, "o2")),
        ("phantom", lambda run: without_request(run, "o3")),
        ("phantom", lambda run: without_request(run, "o5")),
        ("phantom", lambda run: without_request(run, "o6")),
        ("phantom", lambda run: without_request(run, "o8")),
        ("phantom", lambda run: changed(run, "approvals", DENIED, amount=1_701)),
        ("phantom", lambda run: changed(run, "approvals", DENIED, mark="o1", amount=10)),
        ("refused_but_applied", refused_deposit),
        ("unbalanced", lambda run: changed(run, "transactions", DEPOSITED, type="funding")),
        ("unbalanced", lambda run: without(run, "objects", PAID)),
        ("unbalanced", lambda run: changed(run, "objects", REJECTED, status="completed")),
        ("drifted", held_after_completion),
        ("drifted", lambda run: changed(run, "transactions", PAID_OUT, amount=21)),
        (
            "drifted",
            lambda run: with_steps(
                run, lambda s: replace(s, type="hold.captured") if s.sequence == 25 else s
            ),
        ),
        ("orphans", lambda run: audited(run, 0)),
        ("orphans", lambda run: audited(run, 2)),
    ],
)
def test_count_finds_its_violation(name: str, corrupt: Callable[[RunData], RunData]) -> None:
    assert name in broken(corrupt(honest()))


def deposit(amount: int) -> MoneyRequest:
    return request_of(Operation("deposit", "k", amount, 0), 2, "k", {})


@pytest.mark.parametrize(
    ("asked", "response", "allowed"),
    [
        (deposit(1_500), answer(201, id="txn_1"), True),
        (deposit(1_500), answer(202, id="apr_1"), False),
        (deposit(1_501), answer(202, id="apr_1"), True),
        (deposit(1_501), answer(201, id="txn_1"), False),
        (deposit(5), answer(409, code="reference_taken"), False),
        (request("deposit_taken", "k", 2, "", 5), answer(409, code="reference_taken"), True),
        (request("deposit_taken", "k", 2, "", 5), answer(201, id="txn_1"), False),
        (request("approve_own", "k", 2, ""), answer(403, code="forbidden"), True),
        (request("approve_own", "k", 2, ""), answer(201, id="txn_1"), False),
        (request("approve", "k", 2, ""), answer(403, code="forbidden"), False),
        (request("complete", "k", 2, "", 5), answer(403, code="forbidden"), False),
    ],
)
def test_answers_to_operators_are_read_strictly(
    asked: MoneyRequest, response: Response, *, allowed: bool
) -> None:
    assert allowed is not bool(allowed_answers.violation(asked, response))


def learned() -> Targets:
    """What two operators know after a withdrawal, a hold, a deposit and an approval."""
    targets = Targets({NAMES[ALICE]: 0, NAMES[BOB]: 1}, (2, 3))
    made: list[tuple[Operation, int, dict[str, Any]]] = [
        (Operation("withdrawal", "w", 20), 1, {"object": "withdrawal", "id": PAID, "amount": 20}),
        (Operation("hold", "h", 6, 1), 0, {"object": "hold", "id": HOLD, "amount": 6}),
        (
            Operation("deposit", "o", 10, 0), 2,
            {"object": "transaction", "id": "txn_1", "type": "deposit", "status": "completed",
             "amount": 10, "receiver_id": NAMES[ALICE], "reference": "o"},
        ),
        (
            Operation("deposit", "p", 1_600, 0), 2,
            {"object": "approval", "id": LARGE, "parameters": {"amount": 1_600}},
        ),
    ]  # fmt: skip
    for operation, caller, members in made:
        targets.learn(operation, caller, answer(operation.success, **members))
    return targets


def test_an_operator_approves_what_the_other_one_asked_for() -> None:
    by_operators = {
        (kind, actor): [one.amount for one in known]
        for (kind, actor), known in learned().of.items()
        if actor >= 2
    }
    assert by_operators == {
        ("complete", 2): [20], ("complete", 3): [20], ("reject", 2): [20], ("reject", 3): [20],
        ("operator_void", 2): [6], ("operator_void", 3): [6],
        ("operator_refund", 2): [10], ("operator_refund", 3): [10],
        ("deposit_taken", 2): [10], ("deposit_taken", 3): [10],
        ("approve", 3): [1_600], ("approve_own", 2): [1_600],
        ("reject_approval", 2): [1_600], ("reject_approval", 3): [1_600],
    }  # fmt: skip


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    recorded = History(tmp_path / "history.jsonl")
    yield recorded
    recorded.close()


def test_operators_do_all_their_actions(history: History) -> None:
    accounts = (NAMES[ALICE], NAMES[BOB])
    workload = OperatorWorkload(1, 32, 2, accounts, history, learned())
    resent = 0
    for asked in (workload.next_request() for _ in range(1_000)):
        if isinstance(asked, Read):
            assert asked.path.startswith("/api/v1/operator/")
        elif asked.recorded:
            resent += 1
        else:
            history.add_request(asked)
    operations = [one.operation for one in history.requests if one.operation is not None]
    assert {one.kind for one in operations} == {
        "deposit", "deposit_taken", "complete", "reject", "operator_refund", "operator_void",
        "approve_own", "reject_approval",
    }  # fmt: skip
    assert all(one.amount for one in operations if one.kind in MAY_NEED_APPROVAL)
    assert any(one.needs_approval for one in operations)
    taken = [one.body for one in history.requests if "deposits" in one.path]
    assert any(b'"reference": "o"' in body for body in taken)
    assert resent > 50
    changed_bodies = [known for known in history.by_key.values() if len(known) > 1]
    assert changed_bodies
    assert all(Code.IDEMPOTENCY_KEY_REUSE in one.refusals for one in changed_bodies[0])
    assert history.deposits == sum(one.amount or 0 for one in operations if one.kind == "deposit")
