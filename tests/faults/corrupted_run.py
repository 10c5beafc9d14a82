"""A little run in which everything is right, and ways to spoil one thing of it at a time."""

import json
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from finpay import ids
from finpay.errors import Code
from torture import workload
from torture.checker import Evidence, due
from torture.history import Intent, Item, Told
from torture.ledger_snapshot import Account, Step, Transaction, Truth
from torture.raw_http import Answer

TOTAL: Final = 200
WORLD, ALICE, BOB = (UUID(int=number) for number in (1, 2, 3))
FUND_A, FUND_B, PAID, POOR = (UUID(int=number) for number in (11, 12, 13, 14))
NAMES: Final = {account: ids.encode("acc", account) for account in (WORLD, ALICE, BOB)}
PROBLEM: Final = {"content-type": "application/problem+json"}
JSON: Final = {"content-type": "application/json"}


def answer(http_status: int, **members: Any) -> Answer:
    headers = PROBLEM if http_status >= 400 else JSON
    return Answer(http_status, json.dumps(members).encode(), headers)


def told(*answers: Answer) -> list[Told]:
    return [Told(0.0, 0.01, one) for one in answers]


def paid() -> Intent:
    """Alice sends 30 to Bob, answered 201 and replayed."""
    intent = workload.single("k1", 0, Item("k1.0", NAMES[BOB], 30))
    body = answer(201, id=ids.encode("txn", PAID), status="completed")
    intent.told = told(body, body)
    return intent


def poor() -> Intent:
    """Alice tries to send 1 000, answered 402."""
    item = Item("k2.0", NAMES[BOB], 1_000)
    intent = workload.single("k2", 0, item, refused=Code.INSUFFICIENT_FUNDS)
    transaction_id = ids.encode("txn", POOR)
    intent.told = told(answer(402, code="insufficient_funds", transaction_id=transaction_id))
    return intent


def honest() -> Evidence:
    """Both were funded with 100, and then came `paid` and `poor`."""
    truth = Truth(
        accounts=[
            Account(WORLD, NAMES[WORLD], is_system=True, balance=-TOTAL),
            Account(ALICE, NAMES[ALICE], is_system=False, balance=70),
            Account(BOB, NAMES[BOB], is_system=False, balance=130),
        ],
        transactions=[
            Transaction(FUND_A, "completed", WORLD, ALICE, 100, None),
            Transaction(FUND_B, "completed", WORLD, BOB, 100, None),
            Transaction(PAID, "completed", ALICE, BOB, 30, "k1.0"),
            Transaction(POOR, "failed", ALICE, BOB, 1_000, "k2.0"),
        ],
        steps=[
            Step(WORLD, 1, FUND_A, -100, -100),
            Step(WORLD, 2, FUND_B, -100, -200),
            Step(ALICE, 2, FUND_A, 100, 100),
            Step(ALICE, 3, PAID, -30, 70),
            Step(ALICE, 4, POOR, 0, 70),
            Step(BOB, 2, FUND_B, 100, 100),
            Step(BOB, 3, PAID, 30, 130),
        ],
        audit=[
            (FUND_A, "transaction.completed"),
            (FUND_B, "transaction.completed"),
            (PAID, "transaction.completed"),
            (POOR, "transaction.failed"),
        ],
        events=[
            (ALICE, 2, FUND_A, "transaction.completed"),
            (ALICE, 3, PAID, "transaction.completed"),
            (ALICE, 4, POOR, "transaction.failed"),
            (BOB, 2, FUND_B, "transaction.completed"),
            (BOB, 3, PAID, "transaction.completed"),
        ],
    )
    wallets = [NAMES[ALICE], NAMES[BOB]]
    return Evidence(
        intents=[paid(), poor()],
        truth=truth,
        wallets=wallets,
        total=TOTAL,
        told_balances={NAMES[ALICE]: 70, NAMES[BOB]: 130},
        delivered=frozenset(due(truth, wallets)),
    )


def without(evidence: Evidence, transaction: UUID) -> Evidence:
    """As if the transaction had never been, and all else were consistent with that."""
    truth = evidence.truth
    return with_truth(
        evidence,
        transactions=[one for one in truth.transactions if one.id != transaction],
        steps=[one for one in truth.steps if one.transaction != transaction],
        audit=[one for one in truth.audit if one[0] != transaction],
        events=[one for one in truth.events if one[2] != transaction],
    )


def with_truth(evidence: Evidence, **parts: Any) -> Evidence:
    return replace(evidence, truth=replace(evidence.truth, **parts))


def with_more(evidence: Evidence, part: str, *rows: Any) -> Evidence:
    """More rows in one of the ledger's tables."""
    return with_truth(evidence, **{part: [*getattr(evidence.truth, part), *rows]})


def with_answers(evidence: Evidence, *answers: Answer) -> Evidence:
    """Other answers to `paid`."""
    intent = paid()
    intent.told = told(*answers)
    return replace(evidence, intents=[intent, poor()])
