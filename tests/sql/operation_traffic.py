"""Holds, refunds, withdrawals and operators among the traffic that the proof is tried on."""

from uuid import UUID

from finpay import ids
from finpay.ledger import operator_commands as commands
from finpay.ledger.posting import Operation
from tests.sql.ledger_fixtures import (
    Bank,
    Holder,
    capture,
    fresh_key,
    hold,
    operation,
    refund,
    transfer,
    void,
)


async def operation_traffic(
    bank: Bank, alice: Holder, bob: Holder, third: Holder
) -> dict[str, UUID]:
    """Holds in every state, refunds in part and in full, withdrawals, and refusals of each."""
    holds = await _holds(bank, alice, bob)
    paid, back = transfer(alice, bob, 6), transfer(bob, alice, 7)
    refunded = refund(bob, paid.id, 2)
    await bank.post(paid, back)
    await bank.post(refunded, refund(alice, back.id))
    await bank.post(refund(bob, paid.id, 5), refund(third, paid.id))
    pending, canceled = _withdrawal(bob, 11), _withdrawal(bob, 2)
    await bank.post(pending, canceled)
    await bank.post(operation("cancel", bob, target=canceled.id))
    named = {"purchase": paid.id, "back": back.id, "refund": refunded.id}
    named |= {"withdrawal": pending.id, "canceled": canceled.id}
    return holds | named | await _operators(bank, alice, bob)


async def _holds(bank: Bank, alice: Holder, bob: Holder) -> dict[str, UUID]:
    opened, part = await bank.hold(alice, bob, 20), await bank.hold(alice, bob, 9)
    voided, captured = await bank.hold(bob, alice, 4), await bank.hold(bob, alice, 8)
    await bank.post(
        capture(bob, part.id, 3, final=False),
        capture(alice, captured.id, 5),
        void(alice, voided.id),
        capture(bob, part.id, 100),
        void(alice, opened.id),
        hold(alice, bob, 10**9),
    )
    return {"opened": opened.id, "part": part.id, "voided": voided.id, "captured": captured.id}


def _withdrawal(owner: Holder, amount: int) -> Operation:
    return operation("withdrawal", owner, amount=amount, metadata='{"iban":"ZA1"}')


async def _operators(bank: Bank, alice: Holder, bob: Holder) -> dict[str, UUID]:
    """What is done on the command line, which has no user: each command is repeated once."""
    completed, rejected = _withdrawal(bob, 3), _withdrawal(bob, 4)
    voided = await bank.hold(alice, bob, 5)
    await bank.post(completed, rejected)
    owner, key = bank.owner, fresh_key()
    for _ in range(2):
        deposited = await commands.deposit(owner, alice.public_id, 30, "REF-1", key=f"{key}1")
        paid_out = await commands.complete_withdrawal(
            owner, ids.encode("wdr", completed.id), "REF-1", key=f"{key}2"
        )
        await commands.reject_withdrawal(
            owner, ids.encode("wdr", rejected.id), "unknown bank", key=f"{key}3"
        )
        deposit_id, payment_id = deposited.members["id"], paid_out.members["id"]
        await commands.refund(owner, deposit_id, 10, key=f"{key}4")
        await commands.refund(owner, payment_id, None, key=f"{key}5")
        await commands.void_hold(owner, ids.encode("hld", voided.id), key=f"{key}6")
        await commands.set_limits(owner, bob.public_id, 10**6, 10**8, key=f"{key}7")
    return {"deposit": ids.decode("txn", deposit_id), "payout": ids.decode("txn", payment_id)}
