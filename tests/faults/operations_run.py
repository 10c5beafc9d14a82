"""A small run of operations without faults: a hold, refunds, a withdrawal, a request, a schedule.

Alice begins with 70 and Bob with 130, as `corrupted_run` leaves them.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from finpay import ids
from tests.faults import corrupted_run
from tests.faults.corrupted_run import ALICE, BOB, NAMES, PAID, answer, attempts
from torture.checker import RunData, due_deliveries
from torture.history import MoneyRequest
from torture.ledger_snapshot import Account, Entry, HeldStep, LedgerObject, Transaction
from torture.operation_workload import request_of
from torture.operations import Kind, Operation

HOLD, WITHDRAWAL, ASKED, PLANNED = (
    ids.encode("hld", UUID(int=21)),
    ids.encode("wdr", UUID(int=22)),
    ids.encode("prq", UUID(int=23)),
    ids.encode("sch", UUID(int=24)),
)
CAPTURED, REFUNDED, ANSWERED, RUN = (UUID(int=number) for number in (31, 32, 33, 34))
PAID_ID: Final = ids.encode("txn", PAID)
NOON: Final = datetime(2030, 1, 1, 12, tzinfo=UTC)
_ALICE, _BOB = 0, 1


def request(
    kind: Kind, key: str, wallet: int, made: str, amount: int | None = None, **more: Any
) -> MoneyRequest:
    """An operation answered with what it made, as documented."""
    operation = Operation(kind, key, amount, **more)
    built = request_of(operation, wallet, key, {})
    built.attempts = attempts(answer(operation.success, id=made))
    return built


def requests() -> list[MoneyRequest]:
    """Alice holds 20 for Bob, who captures 5 and voids the rest and refunds 10; and so on."""
    made = [
        request("hold", "h1", _ALICE, HOLD, 20, other=_BOB),
        request("capture", "c1", _BOB, ids.encode("txn", CAPTURED), 5, target=HOLD),
        request("void", "v1", _BOB, HOLD, target=HOLD),
        request("refund", "r1", _BOB, ids.encode("txn", REFUNDED), 10, target=PAID_ID),
        request("withdrawal", "w1", _ALICE, WITHDRAWAL, 7),
        request("cancel_withdrawal", "x1", _ALICE, WITHDRAWAL, target=WITHDRAWAL),
        request("payment_request", "q1", _ALICE, ASKED, 4, other=_BOB),
        request("pay", "p1", _BOB, ids.encode("txn", ANSWERED), target=ASKED),
        request("schedule", "s1", _ALICE, PLANNED, 3, other=_BOB),
    ]
    refused = request("capture", "c2", _BOB, "", 5, target=HOLD)
    refused.attempts = attempts(answer(409, code="hold_not_open", status_now="voided"))
    return [*made, refused]


_TRANSACTIONS: Final = [
    Transaction(CAPTURED, "completed", ALICE, BOB, 5, "h1", "hold", UUID(int=21)),
    Transaction(REFUNDED, "completed", BOB, ALICE, 10, "r1", "transaction", PAID),
    Transaction(ANSWERED, "completed", BOB, ALICE, 4, "q1", "payment_request", UUID(int=23)),
    Transaction(RUN, "completed", ALICE, BOB, 3, "s1", "schedule", UUID(int=24), NOON),
]
_ENTRIES: Final = [
    Entry(ALICE, 11, CAPTURED, -5, 65, 15),
    Entry(BOB, 11, CAPTURED, 5, 135),
    Entry(ALICE, 14, REFUNDED, 10, 75),
    Entry(BOB, 14, REFUNDED, -10, 125),
    Entry(ALICE, 18, ANSWERED, 4, 79),
    Entry(BOB, 18, ANSWERED, -4, 121),
    Entry(ALICE, 20, RUN, -3, 76),
    Entry(BOB, 20, RUN, 3, 124),
]
_STEPS: Final = [
    HeldStep(ALICE, 10, HOLD, "hold.created", 20, "open"),
    HeldStep(ALICE, 12, HOLD, "hold.captured", 5, "open"),
    HeldStep(ALICE, 13, HOLD, "hold.voided", 5, "voided"),
    HeldStep(ALICE, 15, WITHDRAWAL, "withdrawal.created", 7, "pending"),
    HeldStep(ALICE, 16, WITHDRAWAL, "withdrawal.canceled", 7, "canceled"),
]
_OBJECTS: Final = [
    LedgerObject("hold", HOLD, ALICE, BOB, 20, 5, "voided", "h1"),
    LedgerObject("withdrawal", WITHDRAWAL, ALICE, None, 7, 0, "canceled", "w1"),
    LedgerObject("payment_request", ASKED, ALICE, BOB, 4, 0, "paid", "q1"),
    LedgerObject("schedule", PLANNED, ALICE, BOB, 3, 1, "ended", "s1"),
]
_BALANCES: Final = {ALICE: 76, BOB: 124}


def honest() -> RunData:
    """`corrupted_run.honest` with the operations after it."""
    run = corrupted_run.honest()
    before = [
        replace(one, refunded=10) if one.id == PAID else one for one in run.ledger.transactions
    ]
    ledger = replace(
        run.ledger,
        accounts=[
            Account(one.id, one.public_id, one.is_system, _BALANCES.get(one.id, one.balance))
            for one in run.ledger.accounts
        ],
        transactions=[*before, *_TRANSACTIONS],
        entries=[*run.ledger.entries, *_ENTRIES],
        audit=[*run.ledger.audit, *((one.id, "transaction.completed") for one in _TRANSACTIONS)],
        events=[
            *run.ledger.events,
            *((e.account, e.sequence, e.transaction, "transaction.completed") for e in _ENTRIES),
        ],
        other_events=[(step.account, step.sequence, step.type) for step in _STEPS],
        held_steps=_STEPS,
        objects=_OBJECTS,
        audit_of_objects=[(HOLD, "hold.voided"), (WITHDRAWAL, "withdrawal.canceled")],
    )
    return replace(
        run,
        requests=[*run.requests, *requests()],
        ledger=ledger,
        api_balances={NAMES[account]: balance for account, balance in _BALANCES.items()},
        delivered=frozenset(due_deliveries(ledger, run.wallets)),
    )
