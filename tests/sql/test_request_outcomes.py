"""What becomes of a payment request or schedule: every outcome, and which of two comes first."""

import json
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Final
from uuid import UUID

import pytest

from finpay import ids
from finpay.ledger import payment_requests, schedules
from finpay.ledger.changes import ChangeOrigin
from finpay.ledger.outcome import Outcome
from finpay.ledger.payment_requests import NewRequest
from finpay.ledger.posting import Operation
from finpay.ledger.schedules import NewSchedule
from tests.sql.ledger_fixtures import LIMIT, Bank, Holder, fresh_key, payment
from tests.sql.schedule_fixtures import ask, change, origin

Wrongs = AbstractSet[Outcome]
Attempt = Callable[[Bank], Awaitable[tuple[str, int | None]]]  # outcome and status
O = Outcome  # noqa: E741  the tables below stay readable

# The outcomes that each can have, in the order of the contract.
OUTCOMES: Final[dict[str, list[Outcome]]] = {
    "pay": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.NOT_FOUND, O.FORBIDDEN, O.ACCOUNT_FROZEN,
        O.EMAIL_NOT_VERIFIED, O.REQUEST_NOT_OPEN, O.RECEIVER_UNAVAILABLE, O.CURRENCY_MISMATCH,
        O.LIMIT_EXCEEDED, O.INSUFFICIENT_FUNDS, O.BALANCE_LIMIT,
    ],
    "ask": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.ACCOUNT_FROZEN, O.CURRENCY_MISMATCH,
    ],
    "decline": [O.NOT_FOUND, O.FORBIDDEN, O.REQUEST_NOT_OPEN],
    "schedule": [
        O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE, O.ACCOUNT_FROZEN, O.SAME_ACCOUNT,
        O.RECEIVER_NOT_FOUND, O.CURRENCY_MISMATCH,
    ],
    "resume": [O.NOT_FOUND, O.ACCOUNT_FROZEN, O.SCHEDULE_NOT_ACTIVE],
}  # fmt: skip
STATUSES: Final = {
    O.NOT_FOUND: 404, O.FORBIDDEN: 403, O.ACCOUNT_FROZEN: 403, O.EMAIL_NOT_VERIFIED: 403,
    O.SAME_ACCOUNT: 422, O.RECEIVER_NOT_FOUND: 404, O.REQUEST_NOT_OPEN: 409,
    O.RECEIVER_UNAVAILABLE: 422, O.CURRENCY_MISMATCH: 422, O.LIMIT_EXCEEDED: 422,
    O.INSUFFICIENT_FUNDS: 402, O.BALANCE_LIMIT: 422, O.COMPLETED: 201,
}  # fmt: skip
KEYED: Final = {"pay", "ask", "schedule"}
IMPOSSIBLE: Final = {
    (O.IDEMPOTENCY_KEY_REUSE, O.DUPLICATE),
    (O.SAME_ACCOUNT, O.RECEIVER_NOT_FOUND),
}
PAIRS: Final = [
    (name, *pair)
    for name, outcomes in OUTCOMES.items()
    for pair in combinations(outcomes, 2)
    if pair not in IMPOSSIBLE
]


async def _pay(bank: Bank, wrongs: Wrongs) -> Attempt:
    requester = await bank.open(LIMIT if O.BALANCE_LIMIT in wrongs else 0)
    payer = await bank.open(100, currency="USD" if O.CURRENCY_MISMATCH in wrongs else "ZAR")
    amount = 101 if O.INSUFFICIENT_FUNDS in wrongs else 100
    await bank.limit(payer, single=amount - (O.LIMIT_EXCEEDED in wrongs))
    named = await bank.open() if O.NOT_FOUND in wrongs else payer
    request = await ask(bank, requester, named, amount)
    if O.REQUEST_NOT_OPEN in wrongs:
        await payment_requests.end(bank.app, origin(requester), request, "canceled", None)
    caller = requester if O.FORBIDDEN in wrongs else payer
    if O.FORBIDDEN in wrongs and O.NOT_FOUND in wrongs:
        request = ids.new_uuid()
    if O.RECEIVER_UNAVAILABLE in wrongs:
        await bank.freeze(requester)
    if O.ACCOUNT_FROZEN in wrongs and caller is not requester:
        await bank.freeze(caller)
    by = await _keyed(bank, caller, wrongs)
    paying = payment(caller, request, key=by.key)

    async def attempt(poster: Bank) -> tuple[str, int | None]:
        (result,) = await poster.post(paying)
        return result.outcome, result.http_status

    return attempt


async def _ask(bank: Bank, wrongs: Wrongs) -> Attempt:
    requester, payer = await bank.open(), await bank.open()
    if O.ACCOUNT_FROZEN in wrongs:
        await bank.freeze(requester)
    by = await _keyed(bank, requester, wrongs)
    currency = "USD" if O.CURRENCY_MISMATCH in wrongs else "ZAR"

    async def attempt(poster: Bank) -> tuple[str, int | None]:
        new = NewRequest([10], [payer.email], currency, None, "{}", 60, is_split=False)
        result = await payment_requests.create(poster.app, by, new, None, ["{}", "{}"])
        return result.outcome, result.http_status

    return attempt


async def _decline(bank: Bank, wrongs: Wrongs) -> Attempt:
    """By the named payer, frozen."""
    requester, payer = await bank.open(), await bank.open(frozen=True)
    request = await ask(bank, requester, payer)
    if O.REQUEST_NOT_OPEN in wrongs:
        await payment_requests.end(bank.app, origin(requester), request, "canceled", None)
    caller = requester if O.FORBIDDEN in wrongs else payer
    target = ids.new_uuid() if O.NOT_FOUND in wrongs else request

    async def attempt(poster: Bank) -> tuple[str, int | None]:
        result = await payment_requests.end(poster.app, origin(caller), target, "declined", None)
        return result.outcome, result.http_status

    return attempt


async def _schedule(bank: Bank, wrongs: Wrongs) -> Attempt:
    sender, receiver = await bank.open(), await bank.open()
    receiver_id = sender.account_id if O.SAME_ACCOUNT in wrongs else receiver.account_id
    if O.RECEIVER_NOT_FOUND in wrongs:
        receiver_id = ids.new_uuid()
    if O.ACCOUNT_FROZEN in wrongs:
        await bank.freeze(sender)
    by = await _keyed(bank, sender, wrongs)
    new = NewSchedule(
        receiver_id, None, 10, "USD" if O.CURRENCY_MISMATCH in wrongs else None, None, "{}",
        datetime.now(UTC) + timedelta(hours=1), None, "UTC", None, None,
    )  # fmt: skip

    async def attempt(poster: Bank) -> tuple[str, int | None]:
        result = await schedules.create(poster.app, by, new, ["{}"] * 4)
        return result.outcome, result.http_status

    return attempt


async def _resume(bank: Bank, wrongs: Wrongs) -> Attempt:
    sender, receiver = await bank.open(), await bank.open()
    new = NewSchedule(
        receiver.account_id, None, 10, None, None, "{}", datetime.now(UTC) + timedelta(hours=1),
        None, "UTC", None, None,
    )  # fmt: skip
    made = await schedules.create(bank.app, origin(sender), new, ["{}"] * 4)
    target = _id_in(made.answer)
    await change(bank, sender, target, "cancel" if O.SCHEDULE_NOT_ACTIVE in wrongs else "pause")
    if O.ACCOUNT_FROZEN in wrongs:
        await bank.freeze(sender)
    named = ids.new_uuid() if O.NOT_FOUND in wrongs else target

    async def attempt(poster: Bank) -> tuple[str, int | None]:
        result = await schedules.change(poster.app, origin(sender), named, "resume")
        return result.outcome, result.http_status

    return attempt


BUILDERS: Final = {
    "pay": _pay, "ask": _ask, "decline": _decline, "schedule": _schedule, "resume": _resume,
}  # fmt: skip


async def _keyed(bank: Bank, caller: Holder, wrongs: Wrongs) -> ChangeOrigin:
    """With a key that another request used where it is to be wrong in that way."""
    key, used = fresh_key(), {O.DUPLICATE: b"fingerprint", O.IDEMPOTENCY_KEY_REUSE: b"another"}
    for outcome in wrongs & used.keys():
        refused = Operation(
            "void", ids.new_uuid(), caller.account_id, key, used[outcome], "req_test", None, "",
            target=ids.new_uuid(),
        )  # fmt: skip
        await bank.post(refused)
    return ChangeOrigin(caller.user_id, "req_test", None, key, b"fingerprint")


def _id_in(answer: str | None) -> UUID:
    assert answer is not None
    return ids.decode("sch", json.loads(answer)["id"])


@pytest.mark.contract("7.1.1", "11.1.4", "11.1.5", "11.2.6")
@pytest.mark.parametrize(("name", "first", "second"), PAIRS)
async def test_a_command_wrong_in_two_ways_gets_the_first(
    bank: Bank, strict: Bank, name: str, first: Outcome, second: Outcome
) -> None:
    attempt = await BUILDERS[name](bank, {first, second})
    outcome, _ = await attempt(strict if O.EMAIL_NOT_VERIFIED in (first, second) else bank)
    assert outcome == first


@pytest.mark.contract("7.1.1")
@pytest.mark.parametrize(
    ("name", "outcome"), [(name, each) for name, every in OUTCOMES.items() for each in every]
)
async def test_every_outcome_alone(bank: Bank, strict: Bank, name: str, outcome: Outcome) -> None:
    attempt = await BUILDERS[name](bank, {outcome})
    found, status = await attempt(strict if outcome is O.EMAIL_NOT_VERIFIED else bank)
    assert found == outcome
    if name in KEYED and outcome in STATUSES:
        assert status == STATUSES[outcome]


@pytest.mark.parametrize("name", BUILDERS)
async def test_a_command_without_a_fault_completes(bank: Bank, name: str) -> None:
    attempt = await BUILDERS[name](bank, set())
    assert await attempt(bank) == (O.COMPLETED, 201 if name in KEYED else 200)
