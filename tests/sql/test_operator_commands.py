"""Deposits, withdrawals, refunds and voids by operators, as the command line runs them."""

import json
from typing import Any

import pytest

from finpay import ids
from finpay.errors import Code
from finpay.ledger import operator_commands as commands
from finpay.outbox import events
from tests.sql.hold_fixtures import end_holds
from tests.sql.ledger_fixtures import Bank, Holder, capture, fresh_key, transfer, void
from tests.sql.operator_fixtures import refusal, withdrawal


@pytest.mark.contract("10.4.1", "10.4.2")
async def test_a_deposit_has_a_reference_of_its_own_for_ever(bank: Bank) -> None:
    a, b = await bank.open(), await bank.open(100)
    dollars = await bank.open(currency="USD")
    reference = fresh_key()
    made = await commands.deposit(
        bank.owner, a.email, 30, reference, description="EFT", key=fresh_key()
    )
    assert (made.members["type"], made.members["reference"]) == ("deposit", reference)
    assert (await bank.balance(a), made.members["receiver_id"]) == (30, a.public_id)
    refused = await refusal(
        lambda key: commands.deposit(bank.owner, b.public_id, 5, reference, key=key)
    )
    assert refused.extensions == {"transaction_id": made.members["id"]}
    # Another currency and the completions of withdrawals have references of their own.
    await commands.deposit(bank.owner, dollars.public_id, 5, reference, key=fresh_key())
    pending = ids.encode("wdr", await withdrawal(bank, b, 10))
    await commands.complete_withdrawal(bank.owner, pending, reference, key=fresh_key())
    assert await bank.balance(b) == 90
    (event,) = (await _events(bank, a))[-1:]
    assert (event["type"], event["request"], event["actor"]) == (
        "transaction.completed", None, None,
    )  # fmt: skip
    assert event["data"]["object"]["type"] == "deposit"


@pytest.mark.contract("10.4.3")
async def test_a_completed_withdrawal_is_a_transaction_of_its_owner(bank: Bank) -> None:
    a = await bank.open(100)
    target, reference = await withdrawal(bank, a, 30), fresh_key()
    made = await commands.complete_withdrawal(
        bank.owner, ids.encode("wdr", target), reference, key=fresh_key()
    )
    assert (await bank.balance(a), await bank.held(a)) == (70, 0)
    assert made.members["origin"] == ids.encode("wdr", target)
    row = await bank.row("SELECT * FROM ledger.withdrawals WHERE id = $1", target)
    assert (row["status"], row["reference"]) == ("completed", reference)
    assert ids.encode("txn", row["transaction_id"]) == made.members["id"]
    moved, completed = (await _events(bank, a))[-2:]
    assert [moved["type"], completed["type"]] == ["transaction.completed", "withdrawal.completed"]
    assert moved["data"]["object"]["available_after"] == 70
    assert completed["data"]["object"]["transaction_id"] == made.members["id"]
    assert completed["data"]["previous"] == {
        "status": "pending", "reference": None, "transaction_id": None,
    }  # fmt: skip
    assert (await bank.account(a))["sent_today"] == 30, "a completion does not count refused"


@pytest.mark.contract("10.4.4")
async def test_a_rejected_withdrawal_is_released_with_its_reason(bank: Bank) -> None:
    a = await bank.open(100)
    target = await withdrawal(bank, a, 30)
    await bank.freeze(a)
    made = await commands.reject_withdrawal(
        bank.owner, ids.encode("wdr", target), "unknown bank", key=fresh_key()
    )
    assert (made.members["status"], made.members["reason"]) == ("rejected", "unknown bank")
    account = await bank.account(a)
    assert (account["balance"], account["held"], account["sent_today"]) == (100, 0, 0)
    (event,) = (await _events(bank, a))[-1:]
    assert event["type"] == "withdrawal.rejected"
    assert event["data"]["previous"] == {"status": "pending", "reason": None}
    assert event["data"]["object"]["destination"] == {}


@pytest.mark.contract("10.4.5")
async def test_deposits_are_recalled_withdrawals_returned_transfers_refunded(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    deposit = await commands.deposit(bank.owner, a.public_id, 50, fresh_key(), key=fresh_key())
    pending = ids.encode("wdr", await withdrawal(bank, a, 40))
    paid_out = await commands.complete_withdrawal(bank.owner, pending, fresh_key(), key=fresh_key())
    paid = transfer(a, b, 10)
    await bank.post(paid)
    assert await bank.balance(a) == 100
    for transaction_id, part, balances in (
        (deposit.members["id"], 20, (80, 10)),
        (paid_out.members["id"], 15, (95, 10)),
        (ids.encode("txn", paid.id), 4, (99, 6)),
        (ids.encode("txn", paid.id), None, (105, 0)),
    ):
        made = await commands.refund(bank.owner, transaction_id, part, key=fresh_key())
        assert (made.members["type"], made.members["origin"]) == ("refund", transaction_id)
        assert (await bank.balance(a), await bank.balance(b)) == balances
    row = await bank.transaction(paid)
    assert (row["status"], row["refunded_amount"]) == ("reversed", 10)
    refused = await refusal(
        lambda key: commands.refund(bank.owner, deposit.members["id"], 31, key=key)
    )
    assert (refused.code, refused.extensions) == (Code.AMOUNT_TOO_LARGE, {"left": 30})
    events = (await _events(bank, b))[-4:]
    types = [event["type"] for event in events]
    assert types == ["transaction.completed", "transaction.refunded"] * 2
    assert [event["data"]["previous"] for event in events[1::2]] == [
        {"status": "completed", "refunded_amount": 0},
        {"status": "completed", "refunded_amount": 4},
    ]


@pytest.mark.contract("10.4.5")
async def test_a_frozen_account_is_recalled_from(bank: Bank) -> None:
    """An operator gets back what should not have been deposited; the owner can't stop it."""
    a = await bank.open()
    deposit = await commands.deposit(bank.owner, a.public_id, 50, fresh_key(), key=fresh_key())
    await bank.freeze(a)
    await commands.refund(bank.owner, deposit.members["id"], None, key=fresh_key())
    assert await bank.balance(a) == 0


@pytest.mark.contract("10.4.5")
async def test_a_recall_takes_money_of_expired_holds(bank: Bank) -> None:
    a, b = await bank.open(), await bank.open()
    deposit = await commands.deposit(bank.owner, a.public_id, 50, fresh_key(), key=fresh_key())
    await end_holds(bank, (await bank.hold(a, b, 40)).id)
    await commands.refund(bank.owner, deposit.members["id"], None, key=fresh_key())
    assert (await bank.balance(a), await bank.held(a)) == (0, 0)
    assert [event["type"] for event in await _events(bank, a)][-3:] == [
        "hold.expired", "transaction.completed", "transaction.refunded",
    ]  # fmt: skip


@pytest.mark.contract("10.4.7")
async def test_an_operator_voids_a_hold(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    target = (await bank.hold(a, b, 60)).id
    await bank.post(capture(b, target, 20, final=False))
    made = await commands.void_hold(bank.owner, ids.encode("hld", target), key=fresh_key())
    assert (made.members["status"], made.members["captured_amount"]) == ("voided", 20)
    assert (await bank.balance(a), await bank.held(a)) == (80, 0)
    assert await bank.outcome(void(b, target)) == "hold_not_open"
    for holder in (a, b):
        (event,) = (await _events(bank, holder))[-1:]
        assert (event["type"], event["actor"]) == ("hold.voided", None)
        assert event["data"]["previous"] == {"status": "open", "remaining": 40}
    assert (await bank.account(a))["sent_today"] == 20


async def _events(bank: Bank, holder: Holder) -> list[Any]:
    """The account's events as their owner reads them, oldest first."""
    found = await events.list_after(
        bank.app, holder.account_id, events.Filters(), after=0, limit=100
    )
    return [json.loads(events.encode_event(event)) for event in found.events]
