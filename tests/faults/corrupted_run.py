"""The data of a small run without faults, and ways to corrupt one part of it."""

import json
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from finpay import ids
from finpay.errors import Code
from tests.support.raw_http import Response
from torture import workload
from torture.checker import RunData, due_deliveries
from torture.history import Attempt, Item, MoneyRequest
from torture.ledger_snapshot import Account, Entry, LedgerSnapshot, Transaction

TOTAL: Final = 200
WORLD, ALICE, BOB = (UUID(int=number) for number in (1, 2, 3))
FUND_A, FUND_B, PAID, POOR = (UUID(int=number) for number in (11, 12, 13, 14))
NAMES: Final = {account: ids.encode("acc", account) for account in (WORLD, ALICE, BOB)}
PROBLEM: Final = {"content-type": "application/problem+json"}
JSON: Final = {"content-type": "application/json"}


def answer(http_status: int, **members: Any) -> Response:
    headers = PROBLEM if http_status >= 400 else JSON
    return Response(http_status, json.dumps(members).encode(), headers)


def attempts(*answers: Response) -> list[Attempt]:
    return [Attempt(0.0, 0.01, one) for one in answers]


def paid() -> MoneyRequest:
    """Alice sends 30 to Bob, answered 201 and replayed."""
    request = workload.single("k1", 0, Item("k1.0", NAMES[BOB], 30))
    body = answer(201, id=ids.encode("txn", PAID), status="completed")
    request.attempts = attempts(body, body)
    return request


def poor() -> MoneyRequest:
    """Alice tries to send 1 000, answered 402."""
    item = Item("k2.0", NAMES[BOB], 1_000)
    request = workload.single("k2", 0, item, refused=Code.INSUFFICIENT_FUNDS)
    transaction_id = ids.encode("txn", POOR)
    request.attempts = attempts(
        answer(402, code="insufficient_funds", transaction_id=transaction_id)
    )
    return request


def honest() -> RunData:
    """Both were funded with 100, and then came `paid` and `poor`."""
    ledger = LedgerSnapshot(
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
        entries=[
            Entry(WORLD, 1, FUND_A, -100, -100),
            Entry(WORLD, 2, FUND_B, -100, -200),
            Entry(ALICE, 2, FUND_A, 100, 100),
            Entry(ALICE, 3, PAID, -30, 70),
            Entry(ALICE, 4, POOR, 0, 70),
            Entry(BOB, 2, FUND_B, 100, 100),
            Entry(BOB, 3, PAID, 30, 130),
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
    return RunData(
        requests=[paid(), poor()],
        ledger=ledger,
        wallets=wallets,
        total=TOTAL,
        api_balances={NAMES[ALICE]: 70, NAMES[BOB]: 130},
        delivered=frozenset(due_deliveries(ledger, wallets)),
    )


def without(run: RunData, transaction: UUID) -> RunData:
    """Without the transaction, and otherwise consistent."""
    ledger = run.ledger
    return with_ledger(
        run,
        transactions=[one for one in ledger.transactions if one.id != transaction],
        entries=[one for one in ledger.entries if one.transaction != transaction],
        audit=[one for one in ledger.audit if one[0] != transaction],
        events=[one for one in ledger.events if one[2] != transaction],
    )


def with_ledger(run: RunData, **parts: Any) -> RunData:
    return replace(run, ledger=replace(run.ledger, **parts))


def with_more(run: RunData, part: str, *rows: Any) -> RunData:
    """More rows in one of the ledger's tables."""
    return with_ledger(run, **{part: [*getattr(run.ledger, part), *rows]})


def with_answers(run: RunData, *answers: Response) -> RunData:
    """Other answers to `paid`."""
    request = paid()
    request.attempts = attempts(*answers)
    return replace(run, requests=[request, poor()])
