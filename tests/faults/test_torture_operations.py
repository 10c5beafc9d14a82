"""The checks of operations can fail: each finds its violation in a run that has only that one."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import pytest

from finpay import ids
from finpay.errors import Code
from tests.faults import corrupted_run, operations_run
from tests.faults.corrupted_run import ALICE, BOB, NAMES, PAID, answer, attempts
from tests.faults.operations_run import (
    ANSWERED,
    CAPTURED,
    HOLD,
    PLANNED,
    REFUNDED,
    RUN,
    honest,
    request,
)
from torture import allowed_answers
from torture.checker import RunData, run_checks
from torture.ledger_snapshot import Transaction
from torture.operation_workload import OperationWorkload, request_of
from torture.operations import REFUSALS, Kind, Operation, Targets

_OTHER = UUID(int=99)


def broken(run: RunData) -> set[str]:
    return {name for name, found in run_checks(run).items() if found}


def test_run_without_faults_has_twelve_zeros() -> None:
    assert {name: found for name, found in run_checks(honest()).items() if found} == {}


def changed(run: RunData, part: str, of_id: object, **members: Any) -> RunData:
    """One row of the ledger with other members."""
    rows = [replace(one, **members) if one.id == of_id else one for one in _rows(run, part)]
    return corrupted_run.with_ledger(run, **{part: rows})


def without(run: RunData, part: str, of_id: object) -> RunData:
    rows = [one for one in _rows(run, part) if one.id != of_id]
    return corrupted_run.with_ledger(run, **{part: rows})


def _rows(run: RunData, part: str) -> list[Any]:
    return list(getattr(run.ledger, part))


def copied(run: RunData, transaction: UUID) -> RunData:
    """The same transaction once more, under another id."""
    (one,) = [one for one in run.ledger.transactions if one.id == transaction]
    return corrupted_run.with_more(run, "transactions", replace(one, id=_OTHER))


def with_requests(run: RunData, *more: Any) -> RunData:
    return replace(run, requests=[*run.requests, *more])


def refused_hold(run: RunData) -> RunData:
    """The hold was refused, and is there."""
    refused = request_of(Operation("hold", "h1", 20, 1), 0, "h1", {})
    refused.attempts = attempts(answer(402, code="insufficient_funds"))
    others = [one for one in run.requests if one.key != "h1"]
    return replace(run, requests=[*others, refused])


def with_steps(run: RunData, change: Callable[[Any], Any]) -> RunData:
    return corrupted_run.with_ledger(run, held_steps=[change(s) for s in run.ledger.held_steps])


@pytest.mark.parametrize(
    ("name", "corrupt"),
    [
        ("lost", lambda run: without(run, "objects", HOLD)),
        ("lost", lambda run: without(run, "transactions", CAPTURED)),
        ("lost", lambda run: changed(run, "transactions", REFUNDED, origin_id=_OTHER)),
        ("lost", lambda run: changed(run, "transactions", ANSWERED, status="failed")),
        ("lost", lambda run: changed(run, "objects", HOLD, status="captured")),
        ("lost", lambda run: changed(run, "objects", PLANNED, taken=0)),
        ("lost", lambda run: without(run, "transactions", RUN)),
        ("duplicated", lambda run: copied(run, CAPTURED)),
        ("duplicated", lambda run: copied(run, REFUNDED)),
        ("duplicated", lambda run: copied(run, ANSWERED)),
        ("duplicated", lambda run: copied(run, RUN)),
        ("duplicated", lambda run: changed(run, "objects", HOLD, taken=6)),
        ("duplicated", lambda run: changed(run, "transactions", PAID, refunded=11)),
        (
            "duplicated",
            lambda run: corrupted_run.with_more(run, "objects", run.ledger.objects[0]),
        ),
        (
            "duplicated",
            lambda run: with_requests(
                run, request("capture", "c9", 1, ids.encode("txn", CAPTURED), 5, target=HOLD)
            ),
        ),
        ("phantom", lambda run: copied(run, CAPTURED)),
        ("phantom", lambda run: changed(run, "transactions", RUN, amount=4)),
        ("phantom", lambda run: changed(run, "objects", PLANNED, amount=4)),
        (
            "phantom",
            lambda run: replace(run, requests=[r for r in run.requests if r.key != "w1"]),
        ),
        ("refused_but_applied", refused_hold),
        (
            "drifted",
            lambda run: changed(run, "accounts", ALICE, held=1),
        ),
        (
            "drifted",
            lambda run: with_steps(
                run, lambda s: replace(s, amount=90) if s.type == "hold.created" else s
            ),
        ),
        (
            "drifted",
            lambda run: with_steps(
                run, lambda s: replace(s, status="captured") if s.sequence == 12 else s
            ),
        ),
        ("drifted", lambda run: changed(run, "transactions", CAPTURED, amount=21)),
        ("drifted", lambda run: changed(run, "transactions", REFUNDED, amount=31)),
        ("orphans", lambda run: replace(run, delivered=frozenset(list(run.delivered)[1:]))),
        (
            "orphans",
            lambda run: corrupted_run.with_more(run, "other_events", (BOB, 30, "hold.expired")),
        ),
    ],
)
def test_count_finds_its_violation(name: str, corrupt: Callable[[RunData], RunData]) -> None:
    assert name in broken(corrupt(honest()))


@pytest.mark.parametrize("kind", list(REFUSALS))
def test_each_operation_allows_its_documented_refusals_alone(kind: Kind) -> None:
    asked = request_of(Operation(kind, "k", 5, 1, HOLD), 0, "k", {})
    for code in (
        Code.HOLD_NOT_OPEN, Code.AMOUNT_TOO_LARGE, Code.INSUFFICIENT_FUNDS, Code.REQUEST_NOT_OPEN,
        Code.WITHDRAWAL_NOT_PENDING, Code.NOT_FOUND, Code.FORBIDDEN, Code.INTERNAL_ERROR,
    ):  # fmt: skip
        status = {"hold_not_open": 409, "amount_too_large": 422, "insufficient_funds": 402,
                  "request_not_open": 409, "withdrawal_not_pending": 409, "not_found": 404,
                  "forbidden": 403, "internal_error": 500}[code]  # fmt: skip
        found = allowed_answers.violation(asked, answer(status, code=code))
        assert bool(found) is (code not in REFUSALS[kind]), code


def test_an_operation_without_a_key_may_be_refused_after_its_success() -> None:
    asked = request("decline", "d1", 1, operations_run.ASKED, target=operations_run.ASKED)
    asked.attempts = attempts(answer(200, id="prq_1"), answer(409, code="request_not_open"))
    run = with_requests(honest(), asked)
    assert "divergent_replays" not in broken(run)
    asked.has_key = True
    assert "divergent_replays" in broken(run)


def test_clients_act_on_what_was_acknowledged() -> None:
    accounts = (NAMES[ALICE], NAMES[BOB])
    targets = Targets({NAMES[ALICE]: 0, NAMES[BOB]: 1})
    hold = Operation("hold", "h", 20, 1)
    targets.learn(hold, 0, answer(402, code="insufficient_funds", id=HOLD))
    targets.learn(hold, 0, answer(201, object="hold", id=HOLD, amount=20))
    paid = {"object": "transaction", "type": "transfer", "status": "completed"}
    targets.learn(None, 0, answer(201, id="txn_1", amount=7, receiver_id=NAMES[BOB], **paid))
    assert {actor: [one.amount for one in known] for actor, known in targets.of.items()} == {
        ("capture", 1): [20], ("void", 1): [20], ("refund", 1): [7],
    }  # fmt: skip
    workload = OperationWorkload(1, accounts, ("a@example.com", "b@example.com"),
                                 Random(1), targets)  # fmt: skip
    asked = [workload.next_request(f"k{n}") for n in range(300)]
    kinds = {one.operation.kind for one in asked if one.operation is not None}
    assert kinds >= {"hold", "capture", "void", "refund", "withdrawal", "schedule"}
    assert {one.path for one in asked if "capture" in one.path} == {f"/api/v1/holds/{HOLD}/capture"}


def test_a_refund_of_a_failed_payment_is_not_moved() -> None:
    assert not Transaction(_OTHER, "failed", ALICE, BOB, 5, None).moved
    assert Transaction(_OTHER, "reversed", ALICE, BOB, 5, None).moved
