"""Operator commands on an account: funding, freezing, and their idempotency keys."""

import asyncio
from collections import Counter
from typing import Final

import pytest

from finpay import ids
from finpay.errors import Code, FinPayError
from finpay.ledger.administration import MAX_REASON_LENGTH, _fingerprint, fund, set_status
from tests.sql.ledger_fixtures import LIMIT, Bank, fresh_key, transfer

FUND: Final = "SELECT * FROM ledger.fund($1, $2, 1, $3, $4)"
FREEZE: Final = "SELECT * FROM ledger.set_status($1, 'frozen', 'x', $2, $3)"


@pytest.mark.contract("2.1.1")
async def test_funding_moves_money_from_the_system_account(bank: Bank) -> None:
    a, key = await bank.open(currency="KWD"), fresh_key()
    system = await _system_balance(bank, "KWD")
    funding = await fund(bank.owner, a.public_id, 1_500, key)
    assert (funding.amount, funding.currency, funding.balance) == (1_500, "KWD", 1_500)
    assert (funding.account_id, funding.repeated) == (a.public_id, False)
    assert await bank.balance(a) == 1_500
    assert await _system_balance(bank, "KWD") == system - 1_500
    transaction_id = ids.decode("txn", funding.transaction_id)
    row = await bank.row("SELECT * FROM ledger.transactions WHERE id = $1", transaction_id)
    assert (row["type"], row["status"], row["amount"]) == ("funding", "completed", 1_500)
    event = await bank.row(
        "SELECT account_id, sequence, type, actor_id FROM outbox.events WHERE transaction_id = $1",
        transaction_id,
    )
    assert tuple(event) == (a.account_id, 1, "transaction.completed", None)
    audit = await bank.row(
        "SELECT action, actor_id, request_id FROM audit.log WHERE subject_id = $1", transaction_id
    )
    assert tuple(audit) == ("transaction.completed", None, f"operator:{key}")


@pytest.mark.contract("4.1.7")
async def test_target_is_an_id_or_an_email(bank: Bank) -> None:
    a = await bank.open()
    assert (await fund(bank.owner, a.public_id, 1, fresh_key())).balance == 1
    assert (await fund(bank.owner, a.email, 1, fresh_key())).balance == 2


@pytest.mark.contract("4.1.7")
async def test_repeated_funding_returns_the_first_result(bank: Bank) -> None:
    a, key = await bank.open(), fresh_key()
    first = await fund(bank.owner, a.public_id, 10, key)
    await bank.fund(a, 5)
    second = await fund(bank.owner, a.email, 10, key)
    assert (first.repeated, second.repeated) == (False, True)
    assert (second.transaction_id, second.balance) == (first.transaction_id, 10)
    assert await bank.balance(a) == 15


async def test_concurrent_fundings_with_one_key_fund_once(bank: Bank) -> None:
    a, key = await bank.open(), fresh_key()
    fundings = await asyncio.gather(*(fund(bank.owner, a.public_id, 1, key) for _ in range(20)))
    assert Counter(funding.repeated for funding in fundings) == {False: 1, True: 19}
    assert await bank.balance(a) == 1


async def test_command_waits_for_another_one_with_its_key(bank: Bank) -> None:
    """It returns the result of the other one, instead of failing or running twice."""
    a, key, other_key = await bank.open(), fresh_key(), fresh_key()
    async with bank.owner.transaction() as first:
        await first.execute(
            FUND, ids.new_uuid(), a.account_id, key, _fingerprint("account fund", a.public_id, 1)
        )
        second = asyncio.create_task(fund(bank.owner, a.public_id, 1, key))
        await bank.until_a_statement_waits()
    assert (await second).repeated
    async with bank.owner.transaction() as first:
        await first.execute(
            FREEZE,
            a.account_id,
            other_key,
            _fingerprint("account status", a.public_id, "frozen", "x"),
        )
        change = asyncio.create_task(set_status(bank.owner, a.public_id, "frozen", "x", other_key))
        await bank.until_a_statement_waits()
    assert (await change).repeated


async def test_funding_sees_the_freeze_that_it_waited_for(bank: Bank) -> None:
    a = await bank.open(1)
    async with bank.owner.transaction() as first:
        await first.execute(FREEZE, a.account_id, fresh_key(), b"")
        funding = asyncio.create_task(bank.fund(a, 1))
        await bank.until_a_statement_waits()
    with pytest.raises(FinPayError) as refused:
        await funding
    assert refused.value.code is Code.RECEIVER_UNAVAILABLE
    assert await bank.balance(a) == 1


async def test_key_with_another_command_is_refused(bank: Bank) -> None:
    a, b, key = await bank.open(), await bank.open(), fresh_key()
    await fund(bank.owner, a.public_id, 10, key)
    for other in (
        fund(bank.owner, a.public_id, 11, key),
        fund(bank.owner, b.public_id, 10, key),
        set_status(bank.owner, a.public_id, "frozen", "x", key),
    ):
        with pytest.raises(FinPayError) as refused:
            await other
        assert refused.value.code is Code.IDEMPOTENCY_KEY_REUSE
    assert (await bank.balance(a), await bank.balance(b)) == (10, 0)


async def test_key_of_a_user_is_not_one_of_the_operator(bank: Bank) -> None:
    a, b = await bank.open(10), await bank.open()
    item = transfer(a, b, 1)
    await bank.post(item)
    assert not (await fund(bank.owner, a.public_id, 1, item.key)).repeated


async def test_funding_of_a_frozen_account_is_refused(bank: Bank) -> None:
    a, key = await bank.open(10, frozen=True), fresh_key()
    with pytest.raises(FinPayError, match="unfreeze it first") as refused:
        await fund(bank.owner, a.public_id, 1, key)
    assert refused.value.code is Code.RECEIVER_UNAVAILABLE
    assert await bank.balance(a) == 10
    await set_status(bank.owner, a.public_id, "active", "a test", fresh_key())
    assert (await fund(bank.owner, a.public_id, 1, key)).balance == 11


@pytest.mark.parametrize("amount", [0, -1, LIMIT + 1])
async def test_amount_out_of_range_is_refused(bank: Bank, amount: int) -> None:
    a = await bank.open()
    with pytest.raises(FinPayError, match=str(amount)) as refused:
        await fund(bank.owner, a.public_id, amount, fresh_key())
    assert refused.value.code is Code.VALIDATION_FAILED


@pytest.mark.parametrize("amount", [1, LIMIT])
async def test_smallest_and_largest_amounts_are_accepted(bank: Bank, amount: int) -> None:
    a = await bank.open()
    assert (await fund(bank.owner, a.public_id, amount, fresh_key())).balance == amount


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256, "a\n", "\x7f"])
async def test_malformed_key_is_refused(bank: Bank, key: str) -> None:
    a = await bank.open()
    with pytest.raises(FinPayError, match="key") as refused:
        await fund(bank.owner, a.public_id, 1, key)
    assert refused.value.code is Code.VALIDATION_FAILED
    with pytest.raises(FinPayError, match="key"):
        await set_status(bank.owner, a.public_id, "frozen", "x", key)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("nobody@example.com", Code.NOT_FOUND),
        ("acc_01hw000000e008000000000000", Code.NOT_FOUND),
        ("usr_01hw000000e008000000000000", Code.VALIDATION_FAILED),
        ("acc_", Code.VALIDATION_FAILED),
        ("", Code.VALIDATION_FAILED),
    ],
)
async def test_unknown_target_is_refused(bank: Bank, target: str, code: Code) -> None:
    for command in (
        fund(bank.owner, target, 1, fresh_key()),
        set_status(bank.owner, target, "frozen", "x", fresh_key()),
    ):
        with pytest.raises(FinPayError) as refused:
            await command
        assert refused.value.code is code


async def test_system_account_is_refused_as_target(bank: Bank) -> None:
    await bank.open(1)
    row = await bank.row(
        "SELECT public_id FROM ledger.accounts WHERE user_id IS NULL AND currency = 'ZAR'"
    )
    system = row["public_id"]
    with pytest.raises(FinPayError, match="no user account"):
        await fund(bank.owner, system, 1, fresh_key())
    with pytest.raises(FinPayError, match="no user account"):
        await set_status(bank.owner, system, "frozen", "x", fresh_key())
    # The SQL functions refuse it too.
    system_id = ids.decode("acc", system)
    refused = await bank.owner.fetch_one(FUND, ids.new_uuid(), system_id, fresh_key(), b"")
    assert refused is not None
    assert refused["outcome"] == "not_found"
    refused = await bank.owner.fetch_one(FREEZE, system_id, fresh_key(), b"")
    assert refused is not None
    assert refused["outcome"] == "not_found"


@pytest.mark.contract("2.1.3")
async def test_freezing_and_unfreezing_take_sequence_numbers_of_the_account(bank: Bank) -> None:
    a, b, key = await bank.open(10), await bank.open(10), fresh_key()
    frozen = await set_status(bank.owner, a.email, "frozen", " stolen card ", key)
    assert (frozen.account_id, frozen.status, frozen.previous) == (a.public_id, "frozen", "active")
    assert await bank.outcomes(transfer(a, b, 1), transfer(b, a, 1)) == [
        "account_frozen",
        "receiver_unavailable",
    ]
    active = await set_status(bank.owner, a.email, "active", "found", fresh_key())
    assert (active.status, active.previous) == ("active", "frozen")
    assert await bank.outcomes(transfer(a, b, 1), transfer(b, a, 1)) == ["completed", "completed"]
    events = await bank.app.fetch(
        "SELECT sequence, type, data FROM outbox.events "
        "WHERE account_id = $1 AND transaction_id IS NULL ORDER BY sequence",
        a.account_id,
    )
    assert [(event["sequence"], event["type"]) for event in events] == [
        (2, "account.updated"),
        (3, "account.updated"),
    ]
    assert '"status" : "frozen"' in events[0]["data"]
    audit = await bank.row(
        "SELECT request_id, detail::jsonb ->> 'reason' AS reason FROM audit.log "
        "WHERE subject_id = $1 AND detail::jsonb ->> 'status' = 'frozen'",
        a.account_id,
    )
    assert tuple(audit) == (f"operator:{key}", "stolen card")


async def test_setting_the_current_status_changes_nothing(bank: Bank) -> None:
    a = await bank.open(10, frozen=True)
    before = await bank.account(a)
    change = await set_status(bank.owner, a.public_id, "frozen", "again", fresh_key())
    assert (change.status, change.previous, change.repeated) == ("frozen", "frozen", False)
    assert await bank.account(a) == before


async def test_repeated_freeze_returns_the_first_result_and_freezes_nothing(bank: Bank) -> None:
    a, key = await bank.open(), fresh_key()
    first = await set_status(bank.owner, a.public_id, "frozen", "x", key)
    await set_status(bank.owner, a.public_id, "active", "y", fresh_key())
    second = await set_status(bank.owner, a.public_id, "frozen", "x", key)
    assert (first.repeated, second.repeated) == (False, True)
    assert (second.status, second.previous) == ("frozen", "active")
    assert (await bank.account(a))["status"] == "active"


@pytest.mark.parametrize("reason", ["", "  ", "x" * (MAX_REASON_LENGTH + 1), "a\nb", "a\x00b"])
async def test_reason_that_is_empty_long_or_of_several_lines_is_refused(
    bank: Bank, reason: str
) -> None:
    a = await bank.open()
    with pytest.raises(FinPayError, match="reason") as refused:
        await set_status(bank.owner, a.public_id, "frozen", reason, fresh_key())
    assert refused.value.code is Code.VALIDATION_FAILED
    assert (await bank.account(a))["status"] == "active"


async def _system_balance(bank: Bank, currency: str) -> int:
    rows = await bank.app.fetch(
        "SELECT balance FROM ledger.accounts WHERE user_id IS NULL AND currency = $1", currency
    )
    return rows[0]["balance"] if rows else 0
