"""The refusals of operators' commands: each alone, which of two comes first, once for each key."""

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from itertools import combinations
from typing import Final
from uuid import UUID

import pytest

from finpay import ids
from finpay.errors import Code
from finpay.ledger import operator_commands as commands
from tests.sql.ledger_fixtures import LIMIT, Bank, capture, fresh_key, operation, transfer
from tests.sql.operator_fixtures import Command, refusal, withdrawal

Builder = Callable[[Bank, AbstractSet[Code]], Awaitable[Command]]
C = Code

# The refusals of each command in the order of the contract.
REFUSALS: Final[dict[str, list[Code]]] = {
    "deposit": [C.RECEIVER_NOT_FOUND, C.REFERENCE_TAKEN, C.RECEIVER_UNAVAILABLE, C.BALANCE_LIMIT],
    "complete": [
        C.NOT_FOUND, C.WITHDRAWAL_NOT_PENDING, C.REFERENCE_TAKEN, C.SENDER_UNAVAILABLE,
    ],
    "reject": [C.NOT_FOUND, C.WITHDRAWAL_NOT_PENDING],
    "refund": [
        C.NOT_FOUND, C.NOT_REFUNDABLE, C.RECEIVER_UNAVAILABLE, C.AMOUNT_TOO_LARGE,
        C.INSUFFICIENT_FUNDS, C.BALANCE_LIMIT,
    ],
    "void": [C.NOT_FOUND, C.HOLD_NOT_OPEN],
}  # fmt: skip
PAIRS: Final = [
    (name, *pair) for name, refusals in REFUSALS.items() for pair in combinations(refusals, 2)
]


async def _deposit(bank: Bank, wrongs: AbstractSet[Code]) -> Command:
    a = await bank.open(LIMIT if C.BALANCE_LIMIT in wrongs else 0)
    reference = fresh_key()
    if C.REFERENCE_TAKEN in wrongs:
        other = await bank.open()
        await commands.deposit(bank.owner, other.public_id, 1, reference, key=fresh_key())
    if C.RECEIVER_UNAVAILABLE in wrongs:
        await bank.freeze(a)
    unknown = ids.encode("acc", ids.new_uuid())
    target = unknown if C.RECEIVER_NOT_FOUND in wrongs else a.public_id
    return lambda key: commands.deposit(bank.owner, target, 10, reference, key=key)


async def _complete(bank: Bank, wrongs: AbstractSet[Code]) -> Command:
    a = await bank.open(100)
    target = await withdrawal(bank, a)
    reference = fresh_key()
    if C.REFERENCE_TAKEN in wrongs:
        b = await bank.open(10)
        other = ids.encode("wdr", await withdrawal(bank, b, 10))
        await commands.complete_withdrawal(bank.owner, other, reference, key=fresh_key())
    if C.WITHDRAWAL_NOT_PENDING in wrongs:
        await bank.post(operation("cancel", a, target=target))
    if C.SENDER_UNAVAILABLE in wrongs:
        await bank.freeze(a)
    named = _named("wdr", target, wrongs)
    return lambda key: commands.complete_withdrawal(bank.owner, named, reference, key=key)


async def _reject(bank: Bank, wrongs: AbstractSet[Code]) -> Command:
    a = await bank.open(100)
    target = await withdrawal(bank, a)
    if C.WITHDRAWAL_NOT_PENDING in wrongs:
        await bank.post(operation("cancel", a, target=target))
    named = _named("wdr", target, wrongs)
    return lambda key: commands.reject_withdrawal(bank.owner, named, "no such bank", key=key)


async def _refund(bank: Bank, wrongs: AbstractSet[Code]) -> Command:
    a, b = await bank.open(LIMIT), await bank.open(100)
    paid = transfer(a, b, 100)
    await bank.post(paid)
    target = paid.id
    if C.NOT_REFUNDABLE in wrongs:
        back = await commands.refund(bank.owner, ids.encode("txn", target), None, key=fresh_key())
        target = ids.decode("txn", back.members["id"])
        a, b = b, a  # a refund of the refund would go the other way
        if C.BALANCE_LIMIT not in wrongs:
            await bank.post(transfer(b, await bank.open(), LIMIT - 100))
    if C.INSUFFICIENT_FUNDS in wrongs:
        await bank.post(transfer(b, await bank.open(), await bank.balance(b) - 50))
    if C.BALANCE_LIMIT in wrongs:
        await bank.fund(a, LIMIT - await bank.balance(a))
    if C.RECEIVER_UNAVAILABLE in wrongs:
        await bank.freeze(a)
    amount = 101 if C.AMOUNT_TOO_LARGE in wrongs else 100
    named = _named("txn", target, wrongs)
    return lambda key: commands.refund(bank.owner, named, amount, key=key)


async def _void(bank: Bank, wrongs: AbstractSet[Code]) -> Command:
    a, b = await bank.open(100), await bank.open()
    target = (await bank.hold(a, b, 100)).id
    if C.HOLD_NOT_OPEN in wrongs:
        await bank.post(capture(b, target))
    named = _named("hld", target, wrongs)
    return lambda key: commands.void_hold(bank.owner, named, key=key)


BUILDERS: Final[dict[str, Builder]] = {
    "deposit": _deposit, "complete": _complete, "reject": _reject, "refund": _refund,
    "void": _void,
}  # fmt: skip


@pytest.mark.contract("10.4.6")
@pytest.mark.parametrize(("name", "first", "second"), PAIRS)
async def test_a_command_wrong_in_two_ways_gets_the_first(
    bank: Bank, name: str, first: Code, second: Code
) -> None:
    assert (await refusal(await BUILDERS[name](bank, {first, second}))).code is first


@pytest.mark.contract("10.4.6")
@pytest.mark.parametrize(
    ("name", "code"), [(name, code) for name, codes in REFUSALS.items() for code in codes]
)
async def test_every_refusal_is_final_for_its_key(bank: Bank, name: str, code: Code) -> None:
    command, key = await BUILDERS[name](bank, {code}), fresh_key()
    first = await refusal(command, key)
    assert first.code is code
    assert (await refusal(command, key)).code is code
    if code not in {C.NOT_FOUND, C.RECEIVER_NOT_FOUND}:  # without a currency there is no account
        assert await bank.count("ledger.idempotency_keys", "key = $1", key) == 1
        assert await bank.count("audit.log", "request_id = $1", f"operator:{key}") == 1


@pytest.mark.contract("10.4.6")
@pytest.mark.parametrize("name", BUILDERS)
async def test_a_command_is_done_once_for_its_key(bank: Bank, name: str) -> None:
    command, key = await BUILDERS[name](bank, set()), fresh_key()
    first, repeated = await command(key), await command(key)
    assert (first.repeated, repeated.repeated) == (False, True)
    assert first.members == repeated.members
    assert await bank.count("audit.log", "request_id = $1", f"operator:{key}") == 1
    other = await BUILDERS[name](bank, set())
    assert (await refusal(other, key)).code is C.IDEMPOTENCY_KEY_REUSE


def _named(prefix: ids.Prefix, target: UUID, wrongs: AbstractSet[Code]) -> str:
    return ids.encode(prefix, ids.new_uuid() if C.NOT_FOUND in wrongs else target)
