"""A small run of operators without faults: deposits, withdrawals, a refund, a void, approvals.

Alice begins with 76 and Bob with 124, as `operations_run` leaves them.
"""

from dataclasses import replace
from typing import Final
from uuid import UUID

from finpay import ids
from tests.faults import operations_run
from tests.faults.corrupted_run import ALICE, BOB, NAMES, WORLD, answer, attempts
from tests.faults.operations_run import request
from torture.checker import RunData, due_deliveries
from torture.history import MoneyRequest
from torture.ledger_snapshot import Account, Approval, Entry, HeldStep, LedgerObject, Transaction

DEPOSITED, PAID_OUT, APPROVED, RECALLED = (UUID(int=number) for number in (41, 42, 43, 44))
PAID, REJECTED = ids.encode("wdr", UUID(int=51)), ids.encode("wdr", UUID(int=52))
HOLD: Final = ids.encode("hld", UUID(int=53))
LARGE, DENIED = ids.encode("apr", UUID(int=54)), ids.encode("apr", UUID(int=55))
_ALICE, _BOB, _FIRST, _SECOND = range(4)


def _id(transaction: UUID) -> str:
    return ids.encode("txn", transaction)


def requests() -> list[MoneyRequest]:
    """The first operator asks for two large deposits; the second approves one, rejects one."""
    own = request("approve_own", "o9", _FIRST, "", target=LARGE)
    own.attempts = attempts(answer(403, code="forbidden"))
    return [
        request("deposit", "o1", _FIRST, _id(DEPOSITED), 10, other=_ALICE),
        request("withdrawal", "w2", _BOB, PAID, 20),
        request("complete", "o2", _FIRST, _id(PAID_OUT), 20, target=PAID),
        request("withdrawal", "w3", _BOB, REJECTED, 5),
        request("reject", "o3", _SECOND, REJECTED, target=REJECTED),
        request("deposit", "o4", _FIRST, LARGE, 1_600, other=_ALICE),
        request("approve", "o5", _SECOND, _id(APPROVED), target=LARGE),
        request("deposit", "o6", _FIRST, DENIED, 1_700, other=_BOB),
        request("reject_approval", "o7", _SECOND, DENIED, target=DENIED),
        request("hold", "h2", _ALICE, HOLD, 6, other=_BOB),
        request("operator_void", "o8", _FIRST, HOLD, target=HOLD),
        request("operator_refund", "oa", _SECOND, _id(RECALLED), 4, target=_id(DEPOSITED)),
        own,
    ]


_TRANSACTIONS: Final = [
    Transaction(DEPOSITED, "completed", WORLD, ALICE, 10, "o1", refunded=4, type="deposit"),
    Transaction(
        PAID_OUT, "completed", BOB, WORLD, 20, "w2", "withdrawal", UUID(int=51), type="withdrawal"
    ),
    Transaction(APPROVED, "completed", WORLD, ALICE, 1_600, "o4", type="deposit"),
    Transaction(
        RECALLED, "completed", ALICE, WORLD, 4, "oa", "transaction", DEPOSITED, type="refund"
    ),
]
_ENTRIES: Final = [
    Entry(WORLD, 3, DEPOSITED, -10, -210),
    Entry(ALICE, 21, DEPOSITED, 10, 86),
    Entry(WORLD, 4, PAID_OUT, 20, -190),
    Entry(BOB, 22, PAID_OUT, -20, 104),
    Entry(WORLD, 5, APPROVED, -1_600, -1_790),
    Entry(ALICE, 22, APPROVED, 1_600, 1_686),
    Entry(WORLD, 6, RECALLED, 4, -1_786),
    Entry(ALICE, 25, RECALLED, -4, 1_682),
]
_STEPS: Final = [
    HeldStep(BOB, 21, PAID, "withdrawal.created", 20, "pending"),
    HeldStep(BOB, 23, PAID, "withdrawal.completed", 20, "completed"),
    HeldStep(BOB, 24, REJECTED, "withdrawal.created", 5, "pending"),
    HeldStep(BOB, 25, REJECTED, "withdrawal.rejected", 5, "rejected"),
    HeldStep(ALICE, 23, HOLD, "hold.created", 6, "open"),
    HeldStep(ALICE, 24, HOLD, "hold.voided", 0, "voided"),
]
_OBJECTS: Final = [
    LedgerObject("withdrawal", PAID, BOB, None, 20, 0, "completed", "w2"),
    LedgerObject("withdrawal", REJECTED, BOB, None, 5, 0, "rejected", "w3"),
    LedgerObject("hold", HOLD, ALICE, BOB, 6, 0, "voided", "h2"),
]
_APPROVALS: Final = [
    Approval(LARGE, "o4", 1_600, "approved", transaction=_id(APPROVED)),
    Approval(DENIED, "o6", 1_700, "rejected"),
]
_BALANCES: Final = {WORLD: -1_786, ALICE: 1_682, BOB: 104}


def honest() -> RunData:
    """`operations_run.honest` with the work of operators after it."""
    run = operations_run.honest()
    users = [entry for entry in _ENTRIES if entry.account != WORLD]
    ledger = replace(
        run.ledger,
        accounts=[
            Account(one.id, one.public_id, one.is_system, _BALANCES[one.id])
            for one in run.ledger.accounts
        ],
        transactions=[*run.ledger.transactions, *_TRANSACTIONS],
        entries=[*run.ledger.entries, *_ENTRIES],
        audit=[*run.ledger.audit, *((one.id, "transaction.completed") for one in _TRANSACTIONS)],
        events=[
            *run.ledger.events,
            *((e.account, e.sequence, e.transaction, "transaction.completed") for e in users),
        ],
        other_events=[
            *run.ledger.other_events,
            *((step.account, step.sequence, step.type) for step in _STEPS),
        ],
        held_steps=[*run.ledger.held_steps, *_STEPS],
        objects=[*run.ledger.objects, *_OBJECTS],
        approvals=_APPROVALS,
        audit_of_objects=[
            *run.ledger.audit_of_objects,
            (REJECTED, "withdrawal.rejected"),
            (HOLD, "hold.voided"),
        ],
    )
    return replace(
        run,
        requests=[*run.requests, *requests()],
        ledger=ledger,
        api_balances={NAMES[account]: _BALANCES[account] for account in (ALICE, BOB)},
        delivered=frozenset(due_deliveries(ledger, run.wallets)),
    )
