"""What becomes of an operation: every outcome, and which of two comes first."""

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from itertools import combinations
from typing import Final

import pytest
from msgspec import structs

from finpay import ids
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import Mode, Operation
from tests.sql.ledger_fixtures import (
    LIMIT,
    REPLY,
    Bank,
    capture,
    fresh_key,
    hold,
    operation,
    refund,
    transfer,
    void,
)

Wrongs = AbstractSet[Outcome]
Builder = Callable[[Bank, Wrongs], Awaitable[Operation]]
O = Outcome  # noqa: E741  the tables below stay readable

# The outcomes that each operation can have, in the order of the contract.
OUTCOMES: Final[dict[Mode, list[Outcome]]] = {
    # A transfer with a precondition is an operation; without one see test_post_transfers.py.
    "transfer": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.ACCOUNT_FROZEN, O.EMAIL_NOT_VERIFIED,
        O.SAME_ACCOUNT, O.RECEIVER_NOT_FOUND, O.RECEIVER_UNAVAILABLE, O.CURRENCY_MISMATCH,
        O.PRECONDITION_FAILED,
        O.LIMIT_EXCEEDED, O.INSUFFICIENT_FUNDS, O.BALANCE_LIMIT,
    ],
    "hold": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.ACCOUNT_FROZEN, O.EMAIL_NOT_VERIFIED,
        O.SAME_ACCOUNT, O.RECEIVER_NOT_FOUND, O.RECEIVER_UNAVAILABLE, O.CURRENCY_MISMATCH,
        O.PRECONDITION_FAILED,
        O.LIMIT_EXCEEDED, O.INSUFFICIENT_FUNDS,
    ],
    "capture": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN, O.ACCOUNT_FROZEN,
        O.EMAIL_NOT_VERIFIED, O.HOLD_NOT_OPEN, O.SENDER_UNAVAILABLE, O.AMOUNT_TOO_LARGE,
        O.BALANCE_LIMIT,
    ],
    "void": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN, O.HOLD_NOT_OPEN,
    ],
    "refund": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN, O.ACCOUNT_FROZEN,
        O.EMAIL_NOT_VERIFIED, O.NOT_REFUNDABLE, O.RECEIVER_UNAVAILABLE, O.AMOUNT_TOO_LARGE,
        O.INSUFFICIENT_FUNDS,
        O.BALANCE_LIMIT,
    ],
    "withdrawal": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.ACCOUNT_FROZEN, O.EMAIL_NOT_VERIFIED,
        O.LIMIT_EXCEEDED, O.INSUFFICIENT_FUNDS,
    ],
    "cancel": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.WITHDRAWAL_NOT_PENDING,
    ],
}  # fmt: skip
STATUSES: Final = {
    O.NOT_FOUND: 404, O.FORBIDDEN: 403, O.ACCOUNT_FROZEN: 403, O.EMAIL_NOT_VERIFIED: 403,
    O.SAME_ACCOUNT: 422,
    O.RECEIVER_NOT_FOUND: 404, O.HOLD_NOT_OPEN: 409, O.WITHDRAWAL_NOT_PENDING: 409,
    O.NOT_REFUNDABLE: 422, O.SENDER_UNAVAILABLE: 422, O.RECEIVER_UNAVAILABLE: 422,
    O.CURRENCY_MISMATCH: 422, O.PRECONDITION_FAILED: 412, O.AMOUNT_TOO_LARGE: 422,
    O.LIMIT_EXCEEDED: 422, O.INSUFFICIENT_FUNDS: 402, O.BALANCE_LIMIT: 422,
}  # fmt: skip
# A key belongs to one request; what is not there has no state, and who is not there no account.
IMPOSSIBLE: Final = {
    (O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE),
    (O.SAME_ACCOUNT, O.RECEIVER_NOT_FOUND),
    (O.SAME_ACCOUNT, O.RECEIVER_UNAVAILABLE),
    (O.RECEIVER_NOT_FOUND, O.RECEIVER_UNAVAILABLE),
    (O.RECEIVER_NOT_FOUND, O.BALANCE_LIMIT),
}
PAIRS: Final = [
    (mode, *pair)
    for mode, outcomes in OUTCOMES.items()
    for pair in combinations(outcomes, 2)
    if pair not in IMPOSSIBLE
]


async def _hold(bank: Bank, wrongs: Wrongs, received: int = 0) -> Operation:
    a, b = await bank.open(100), await bank.open(received)
    amount = 101 if O.INSUFFICIENT_FUNDS in wrongs else 100
    await bank.limit(a, single=amount - (O.LIMIT_EXCEEDED in wrongs))
    request = hold(a, b, amount, if_version=2 if O.PRECONDITION_FAILED in wrongs else 1)
    if O.CURRENCY_MISMATCH in wrongs:
        request = structs.replace(request, currency="USD")
    if O.SAME_ACCOUNT in wrongs:
        request = structs.replace(request, receiver_id=a.account_id)
    if O.RECEIVER_NOT_FOUND in wrongs:
        request = structs.replace(request, receiver_id=ids.new_uuid())
    if O.ACCOUNT_FROZEN in wrongs:
        await bank.freeze(a)
    if O.RECEIVER_UNAVAILABLE in wrongs:
        await bank.freeze(b)
    return request


async def _transfer(bank: Bank, wrongs: Wrongs) -> Operation:
    request = await _hold(bank, wrongs, LIMIT if O.BALANCE_LIMIT in wrongs else 0)
    return structs.replace(request, mode="transfer", expires_in_s=None, reply=REPLY)


async def _capture(bank: Bank, wrongs: Wrongs) -> Operation:
    a, b = await bank.open(100), await bank.open()
    target = (await bank.hold(a, b, 100)).id
    caller = a if O.FORBIDDEN in wrongs else b
    if O.BALANCE_LIMIT in wrongs:
        await bank.fund(b, LIMIT - 99)
    if O.HOLD_NOT_OPEN in wrongs:
        await bank.post(void(b, target))
    if O.SENDER_UNAVAILABLE in wrongs:
        await bank.freeze(a)
    if O.ACCOUNT_FROZEN in wrongs:
        await bank.freeze(caller)
    amount = 101 if O.AMOUNT_TOO_LARGE in wrongs else 100
    return capture(caller, ids.new_uuid() if O.NOT_FOUND in wrongs else target, amount)


async def _void(bank: Bank, wrongs: Wrongs) -> Operation:
    a, b = await bank.open(100), await bank.open()
    target = (await bank.hold(a, b, 100)).id
    if O.HOLD_NOT_OPEN in wrongs:
        await bank.post(capture(b, target, 1))
    caller = a if O.FORBIDDEN in wrongs else b
    return void(caller, ids.new_uuid() if O.NOT_FOUND in wrongs else target)


async def _refund(bank: Bank, wrongs: Wrongs) -> Operation:
    a, b = await bank.open(LIMIT), await bank.open(100)
    paid = transfer(a, b, 100)
    await bank.post(paid)
    target, payer = paid.id, a
    if O.NOT_REFUNDABLE in wrongs:  # a refund: b pays a, who gives it back
        given = transfer(b, a, 100)
        await bank.post(given)
        back = refund(a, given.id)
        await bank.post(back)
        target = back.id
    if O.INSUFFICIENT_FUNDS in wrongs:
        await bank.post(transfer(b, await bank.open(), 150))
    if O.BALANCE_LIMIT in wrongs:
        await bank.fund(a, LIMIT - await bank.balance(a))
    caller = payer if O.FORBIDDEN in wrongs else b
    if O.RECEIVER_UNAVAILABLE in wrongs:
        await bank.freeze(payer)
    if O.ACCOUNT_FROZEN in wrongs:
        await bank.freeze(caller)
    amount = 101 if O.AMOUNT_TOO_LARGE in wrongs else 100
    return refund(caller, ids.new_uuid() if O.NOT_FOUND in wrongs else target, amount)


async def _withdrawal(bank: Bank, wrongs: Wrongs) -> Operation:
    a = await bank.open(100)
    amount = 101 if O.INSUFFICIENT_FUNDS in wrongs else 100
    await bank.limit(a, single=amount - (O.LIMIT_EXCEEDED in wrongs))
    if O.ACCOUNT_FROZEN in wrongs:
        await bank.freeze(a)
    return operation("withdrawal", a, amount=amount, metadata='{"iban":"ZA1"}')


async def _cancel(bank: Bank, wrongs: Wrongs) -> Operation:
    a = await bank.open(100)
    withdrawal = operation("withdrawal", a, amount=100)
    await bank.post(withdrawal)
    if O.WITHDRAWAL_NOT_PENDING in wrongs:
        await bank.post(operation("cancel", a, target=withdrawal.id))
    target = ids.new_uuid() if O.NOT_FOUND in wrongs else withdrawal.id
    return operation("cancel", a, target=target)


BUILDERS: Final[dict[Mode, Builder]] = {
    "transfer": _transfer,
    "hold": _hold,
    "capture": _capture,
    "void": _void,
    "refund": _refund,
    "withdrawal": _withdrawal,
    "cancel": _cancel,
}


async def _build(bank: Bank, mode: Mode, wrongs: Wrongs) -> Operation:
    request = await BUILDERS[mode](bank, wrongs)
    used = {O.DUPLICATE: request.fingerprint, O.IDEMPOTENCY_KEY_REUSE: b"another"}
    for outcome in wrongs & used.keys():
        refused = Operation(
            "void", ids.new_uuid(), request.sender_id, request.key, used[outcome],
            "req_test", None, "", target=ids.new_uuid(),
        )  # fmt: skip
        await bank.post(refused)
    return request


@pytest.mark.contract("2.2.2", "7.1.1")
@pytest.mark.parametrize(("mode", "first", "second"), PAIRS)
async def test_an_operation_wrong_in_two_ways_gets_the_first(
    bank: Bank, strict: Bank, mode: Mode, first: Outcome, second: Outcome
) -> None:
    request = await _build(bank, mode, {first, second})
    poster = strict if second is O.EMAIL_NOT_VERIFIED or first is O.EMAIL_NOT_VERIFIED else bank
    assert await poster.outcome(request) == first


@pytest.mark.contract("2.2.2", "7.1.1")
@pytest.mark.parametrize(
    ("mode", "outcome"), [(mode, each) for mode, every in OUTCOMES.items() for each in every]
)
async def test_every_outcome_alone(bank: Bank, strict: Bank, mode: Mode, outcome: Outcome) -> None:
    request = structs.replace(await _build(bank, mode, {outcome}), request_id=fresh_key())
    (posted,) = await (strict if outcome is O.EMAIL_NOT_VERIFIED else bank).post(request)
    assert posted.outcome == outcome
    if outcome in STATUSES:
        assert posted.http_status == STATUSES[outcome]
        assert await bank.count("ledger.idempotency_keys", "key = $1", request.key) == 1
        assert await bank.count("audit.log", "request_id = $1", request.request_id) == 1


@pytest.mark.parametrize("mode", BUILDERS)
async def test_an_operation_without_a_fault_completes(bank: Bank, mode: Mode) -> None:
    (posted,) = await bank.post(await BUILDERS[mode](bank, set()))
    assert posted.outcome is Outcome.COMPLETED
    assert posted.http_status == (200 if mode in ("void", "cancel") else 201)
