"""What was held of an account at a moment, whatever changed it and whatever came of it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest

from finpay import ids
from finpay.ledger import holds, verify
from finpay.ledger import operator_commands as commands
from finpay.statements.reads import StatementReads
from tests.sql.hold_fixtures import end_holds
from tests.sql.ledger_fixtures import (
    Bank,
    Holder,
    capture,
    fresh_key,
    hold,
    operation,
    transfer,
    void,
)


@pytest.mark.contract("11.3.1", "11.3.4")
async def test_past_has_what_was_held_then_whatever_became_of_it(bank: Bank) -> None:
    """Holds, captures, voids and withdrawals change it with and without entries."""
    alice, bob = await bank.open(1_000), await bank.open()
    first, second = hold(alice, bob, 100), hold(alice, bob, 50)
    paid_out = operation("withdrawal", alice, amount=30)
    steps: list[tuple[Any, ...]] = [
        (first,),
        (transfer(alice, bob, 10),),
        (second, transfer(alice, bob, 1)),
        (capture(bob, first.id, 40, final=False),),
        (paid_out,),
        (capture(bob, first.id, 20, final=True),),
        (operation("cancel", alice, target=paid_out.id), hold(alice, bob, 7)),
        (void(bob, second.id),),
    ]

    async def post(step: tuple[Any, ...]) -> None:
        assert set(await bank.outcomes(*step)) == {"completed"}

    helds = await _past(bank, alice, [partial(post, step) for step in steps])
    assert helds == [100, 100, 150, 110, 140, 80, 57, 7]
    row = await bank.row(
        "SELECT ledger.held_at(h.account_id, h.created_at, "
        "ledger.version_at(h.account_id, h.created_at)) AS held "
        "FROM ledger.holds h WHERE h.id = $1 AND h.account_id = $2",
        first.id,
        alice.account_id,
    )
    assert row["held"] == 100, "a hold is held from its own moment on"
    assert await bank.count("ledger.held_changes", "account_id = $1", bob.account_id) == 0


@pytest.mark.contract("11.3.1")
async def test_past_has_what_a_commit_batch_led_to_whatever_its_entries_say(bank: Bank) -> None:
    """An entry has what was held after it, and something else of the same commit may follow it."""
    alice, bob = await bank.open(1_000), await bank.open()
    first, second, due = hold(alice, bob, 100), hold(alice, bob, 60), hold(alice, bob, 5)
    poor = await bank.open(50)
    expiring = hold(poor, bob, 50)
    steps: list[tuple[Any, ...]] = [
        (first, transfer(alice, bob, 1)),
        (capture(bob, first.id, 40, final=False), hold(alice, bob, 40)),
        (hold(alice, bob, 7), transfer(alice, bob, 1), capture(bob, first.id, 60, final=True)),
        (void(bob, second.id), transfer(alice, bob, 1), hold(alice, bob, 60)),
        (capture(bob, due.id, 5, final=True), transfer(bob, alice, 2)),
    ]

    async def post(step: tuple[Any, ...]) -> None:
        assert set(await bank.outcomes(*step)) == {"completed"}

    await post((second, due))
    assert await _past(bank, alice, [partial(post, step) for step in steps]) == [
        165, 165, 112, 112, 107,
    ]  # fmt: skip

    async def spend_and_hold() -> None:
        await end_holds(bank, expiring.id)
        await post((transfer(poor, bob, 10), hold(poor, bob, 40)))

    assert await _past(bank, poor, [partial(post, (expiring,)), spend_and_hold]) == [50, 40]
    assert (await verify.verify(bank.owner)).ok


@pytest.mark.contract("11.3.1")
async def test_past_has_what_workers_and_operators_released(bank: Bank) -> None:
    alice, bob = await bank.open(1_000), await bank.open()
    due, voided = await bank.hold(alice, bob, 100), await bank.hold(alice, bob, 50)
    short = await bank.hold(alice, bob, 7)
    completed, rejected = (operation("withdrawal", alice, amount=n) for n in (30, 20))
    await bank.post(completed, rejected)
    await end_holds(bank, due.id)

    async def spend_what_expired() -> None:
        await end_holds(bank, short.id)
        available = await bank.balance(alice)
        assert await bank.outcome(transfer(alice, bob, available)) == "completed"

    owner = bank.owner
    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: holds.expire(bank.app, lambda: None),
        lambda: commands.void_hold(owner, ids.encode("hld", voided.id), key=fresh_key()),
        lambda: commands.complete_withdrawal(
            owner, ids.encode("wdr", completed.id), "REF", key=fresh_key()
        ),
        lambda: commands.reject_withdrawal(
            owner, ids.encode("wdr", rejected.id), "unknown bank", key=fresh_key()
        ),
        spend_what_expired,
    ]
    assert await _past(bank, alice, steps) == [107, 57, 27, 7, 0]
    report = await verify.verify(owner)
    assert "holds" not in {check.name for check in report.checks if not check.ok}


async def _past(
    bank: Bank, holder: Holder, steps: Sequence[Callable[[], Awaitable[object]]]
) -> list[int]:
    """What is held after each step; the balance of each moment between them is as it was then."""
    reads = StatementReads(bank.app)
    moments = [(await reads.now(), await bank.account(holder))]
    for step in steps:
        await step()
        moments.append((await reads.now(), await bank.account(holder)))
    for moment, account in moments:
        found = await reads.balance_at(holder.account_id, moment)
        assert found is not None
        assert (found.balance, found.held) == (account["balance"], account["held"])
    return [account["held"] for _, account in moments[1:]]
