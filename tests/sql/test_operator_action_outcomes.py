"""What becomes of an operator's action: every outcome, which of two comes first, once for a key."""

from collections.abc import AsyncIterator, Callable
from itertools import combinations
from typing import Final

import pytest

from finpay import ids
from finpay.db.pool import Database
from finpay.errors import ERROR_SPECS
from finpay.ledger import operator_actions as actions
from finpay.ledger.operator_actions import CommandResult
from finpay.ledger.outcome import OPERATOR_REFUSALS, Outcome
from tests.sql.ledger_fixtures import Bank
from tests.sql.operator_approvals import APPROVAL_ABOVE, Decision, Operator
from tests.sql.operator_cases import (
    OUTCOMES,
    Action,
    Complete,
    Deposit,
    Freeze,
    Limits,
    Refund,
    Reject,
    Void,
)

Builder = Callable[[Bank, Database], Action]
O = Outcome  # noqa: E741  the tables below stay readable

BUILDERS: Final[dict[str, Builder]] = {
    "deposit": lambda bank, _: Deposit(bank),
    "complete": lambda bank, _: Complete(bank),
    "reject": lambda bank, _: Reject(bank),
    "refund": lambda bank, _: Refund(bank),
    "void": lambda bank, _: Void(bank),
    "approval": lambda bank, operators: Decision(Deposit(bank), operators, approve=False),
    "freeze": lambda bank, _: Freeze(bank),
    "limits": lambda bank, _: Limits(bank),
    "approved deposit": lambda bank, operators: Decision(Deposit(bank), operators, approve=True),
    "approved complete": lambda bank, operators: Decision(Complete(bank), operators, approve=True),
    "approved refund": lambda bank, operators: Decision(Refund(bank), operators, approve=True),
}
# An approved action ends as it does at that moment, after the outcomes of the approval. Its account
# can't be closed meanwhile, a deposit has reserved its reference, and a transfer stays refundable.
_APPROVED: Final[dict[str, list[Outcome]]] = {
    "approved deposit": [*OUTCOMES["approval"], O.RECEIVER_UNAVAILABLE, O.BALANCE_LIMIT],
    "approved complete": [
        *OUTCOMES["approval"], O.WITHDRAWAL_NOT_PENDING, O.REFERENCE_TAKEN, O.SENDER_UNAVAILABLE,
    ],
    "approved refund": [
        *OUTCOMES["approval"], O.RECEIVER_UNAVAILABLE, O.AMOUNT_TOO_LARGE, O.INSUFFICIENT_FUNDS,
        O.BALANCE_LIMIT,
    ],
}  # fmt: skip
_TESTED: Final = OUTCOMES | _APPROVED
_IMPOSSIBLE: Final = {(O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE)}
PAIRS: Final = [
    (name, *pair)
    for name, outcomes in _TESTED.items()
    for pair in combinations(outcomes, 2)
    if pair not in _IMPOSSIBLE
]
REFUSED: Final = [
    (name, outcome)
    for name, outcomes in _TESTED.items()
    for outcome in outcomes
    if outcome in OPERATOR_REFUSALS
]


@pytest.fixture
async def operators(database_url: str) -> AsyncIterator[Database]:
    """The database with the rights of finpay_operator."""
    database = Database(database_url, size=1, role="finpay_operator")
    yield database
    await database.close()


class Attempt:
    """An action that is wrong in chosen ways, tried by an operator under one key."""

    def __init__(self, bank: Bank, operators: Database, name: str, *wrongs: Outcome) -> None:
        self.bank, self.operators = bank, operators
        self.action = BUILDERS[name](bank, operators)
        self.wrongs = frozenset(wrongs)

    async def result(self) -> CommandResult:
        await self.action.prepare()
        self.operator = await Operator.new(self.bank)
        if self.wrongs & {O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE}:
            await self._use_key()
        await self.action.spoil(self.wrongs)
        if O.FORBIDDEN in self.wrongs:
            await self.operator.leave()
        return await self.retry()

    async def retry(self) -> CommandResult:
        above = APPROVAL_ABOVE if O.APPROVAL_REQUIRED in self.wrongs else None
        return await self.action.act(self.operators, self.operator.origin(above))

    async def _use_key(self) -> None:
        """A refusal is stored under the key; of another action where the key is reused."""
        fingerprint = b"action" if O.DUPLICATE in self.wrongs else b"other"
        origin = self.operator.origin(fingerprint=fingerprint)
        await actions.void_hold(self.operators, origin, ids.new_uuid())


@pytest.mark.contract("2.2.2", "7.1.1")
@pytest.mark.parametrize(("name", "first", "second"), PAIRS)
async def test_an_action_wrong_in_two_ways_gets_the_first(
    bank: Bank, operators: Database, name: str, first: Outcome, second: Outcome
) -> None:
    assert (await Attempt(bank, operators, name, first, second).result()).outcome is first


@pytest.mark.contract("10.2.6")
@pytest.mark.parametrize(("name", "outcome"), REFUSED)
async def test_every_refusal_is_final_for_its_key(
    bank: Bank, operators: Database, name: str, outcome: Outcome
) -> None:
    attempt = Attempt(bank, operators, name, outcome)
    first = await attempt.result()
    assert (first.outcome, first.http_status) == (
        outcome,
        ERROR_SPECS[OPERATOR_REFUSALS[outcome][0]].status,
    )
    retried = await attempt.retry()
    assert retried.outcome is O.DUPLICATE
    assert (retried.http_status, retried.answer) == (first.http_status, first.answer)


@pytest.mark.contract("10.2.6")
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("deposit", 201), ("complete", 201), ("reject", 200), ("refund", 201), ("void", 200),
        ("approval", 200), ("freeze", 200), ("limits", 200), ("approved deposit", 201),
        ("approved complete", 201), ("approved refund", 201),
    ],
)  # fmt: skip
async def test_every_action_is_done_once_for_its_key(
    bank: Bank, operators: Database, name: str, status: int
) -> None:
    attempt = Attempt(bank, operators, name)
    first, retried = await attempt.result(), await attempt.retry()
    assert (first.outcome, first.http_status) == (O.COMPLETED, status)
    assert (retried.outcome, retried.http_status) == (O.DUPLICATE, status)
    assert retried.answer == first.answer


@pytest.mark.contract("10.3.1")
@pytest.mark.parametrize("name", ["deposit", "complete", "refund"])
async def test_an_approval_is_asked_for_once_for_its_key(
    bank: Bank, operators: Database, name: str
) -> None:
    attempt = Attempt(bank, operators, name, O.APPROVAL_REQUIRED)
    first, retried = await attempt.result(), await attempt.retry()
    assert (first.outcome, first.http_status) == (O.APPROVAL_REQUIRED, 202)
    assert (retried.outcome, retried.http_status) == (O.DUPLICATE, 202)
    assert retried.answer == first.answer
