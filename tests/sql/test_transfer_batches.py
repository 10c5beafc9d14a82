"""Transfer batches: many transfers of one sender under one key, with others in one commit batch."""

import json
import random
from datetime import datetime
from typing import Any, Final

import pytest

from finpay import ids
from finpay.ledger import reads
from finpay.ledger.posting import Mode, TransferBatch
from tests.sql.ledger_fixtures import (
    LIMIT,
    Bank,
    Holder,
    item,
    retry_batch,
    transfer,
    transfer_batch,
)

NOTHING: Final = {"transaction_id": None}


async def test_items_are_done_in_their_order_on_the_same_money(bank: Bank) -> None:
    a, b, c = await bank.open(100), await bank.open(), await bank.open()
    (posted,) = await bank.post(
        transfer_batch(a, item(b, 60), item(c, 60), item(c, 40), item(b, 1))
    )
    assert (posted.outcome, posted.http_status) == ("completed", 200)
    assert posted.items == ["completed", "insufficient_funds", "completed", "insufficient_funds"]
    assert [await bank.balance(holder) for holder in (a, b, c)] == [0, 60, 40]
    assert posted.sender_sequence == 5
    assert posted.receivers == {b.user_id: 1, c.user_id: 1}


async def test_what_one_request_brings_the_next_transfer_batch_may_spend(bank: Bank) -> None:
    a, b, c = await bank.open(100), await bank.open(), await bank.open()
    early, first, second = await bank.post(
        transfer_batch(b, item(c, 50)),
        transfer(a, b, 100),
        transfer_batch(b, item(c, 50), item(a, 50)),
    )
    assert early.items == ["insufficient_funds"]
    assert first.outcome == "completed"
    assert second.items == ["completed", "completed"]
    assert [await bank.balance(holder) for holder in (a, b, c)] == [50, 0, 50]


async def test_every_refusal_of_an_item_is_its_own(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    frozen, full = await bank.open(frozen=True), await bank.open(LIMIT)
    dollars, unknown = await bank.open(currency="USD"), ids.new_uuid()
    request = transfer_batch(
        a, item(a, 1), item(b, 1, receiver_id=unknown), item(frozen, 1), item(dollars, 1),
        item(b, 1, currency="USD"), item(b, 101), item(full, 1), item(b, 100),
    )  # fmt: skip
    (posted,) = await bank.post(request)
    assert posted.items == [
        "same_account", "receiver_not_found", "receiver_unavailable", "currency_mismatch",
        "currency_mismatch", "insufficient_funds", "balance_limit", "completed",
    ]  # fmt: skip
    assert (await bank.balance(a), await bank.balance(b)) == (0, 100)
    failed = ids.encode("txn", request.items[5].id)
    data = json.loads(posted.answer)["data"]
    assert [one["error"].get("transaction_id") for one in data[:7]] == [None] * 5 + [failed, None]
    rows = await bank.app.fetch(
        "SELECT action, subject_id, request_id, detail::text FROM audit.log "
        "WHERE actor_id = $1 ORDER BY id",
        a.user_id,
    )
    assert [row["action"].partition(".")[2] for row in rows] == [
        *["refused"] * 5, "failed", "refused", "completed"
    ]  # fmt: skip
    assert json.loads(rows[1]["detail"]) == {"code": "receiver_not_found", "index": 1}
    assert {row["request_id"] for row in rows} == {"req_test"}


async def test_a_frozen_sender_is_refused_item_by_item(bank: Bank) -> None:
    a, b = await bank.open(100, frozen=True), await bank.open()
    (posted,) = await bank.post(transfer_batch(a, item(b, 1), item(a, 1)))
    assert (posted.http_status, posted.items) == (200, ["account_frozen", "account_frozen"])
    assert (posted.sender_sequence, posted.receivers) == (None, {})


async def test_the_answer_is_one_document_in_the_items_order(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    request = transfer_batch(a, item(b, 60), item(b, 60), item(b, 10))
    (posted,) = await bank.post(request)
    answer = json.loads(posted.answer)
    assert answer["object"] == "batch"
    done, failed, last = answer["data"]
    assert (done["balance_after"], last["balance_after"]) == (40, 30)
    assert done["receiver"] == b.public_id
    created_at = await bank.row(
        "SELECT created_at FROM ledger.transfer_batches WHERE key = $1", request.key
    )
    assert datetime.fromisoformat(done["created_at"]) == created_at["created_at"]
    assert failed == {
        "index": 1, "status": "failed", "transaction": None,
        "error": {
            "code": "insufficient_funds", "request_id": "req_test", "index": 1,
            "transaction_id": ids.encode("txn", request.items[1].id),
        },
    }  # fmt: skip


@pytest.mark.parametrize("bad", [0, 1, 3])
async def test_an_atomic_transfer_batch_leaves_nothing_where_one_item_is_refused(
    bank: Bank, bad: int
) -> None:
    """Transfers before it in the batch keep their outcome; those after it find the money."""
    a, b, c = await bank.open(100), await bank.open(), await bank.open()
    items = [item(holder, 10) for holder in (b, c, b, c)]
    items[bad] = item(b, 1_000)
    request = transfer_batch(a, *items, mode="atomic")
    before, refused, after = await bank.post(transfer(a, b, 5), request, transfer(a, c, 95))
    assert (before.outcome, after.outcome) == ("completed", "completed")
    assert (refused.outcome, refused.http_status) == ("insufficient_funds", 402)
    assert json.loads(refused.answer) == {
        "code": "insufficient_funds", "request_id": "req_test", "index": bad, **NOTHING
    }  # fmt: skip
    assert (refused.sender_sequence, refused.receivers) == (None, {})
    assert refused.items == [None] * bad + ["insufficient_funds"] + [None] * (3 - bad)
    assert [await bank.balance(holder) for holder in (a, b, c)] == [0, 5, 95]
    sender = await bank.account(a)
    assert (sender["version"], sender["sequence"]) == (3, 3)
    assert await bank.count("ledger.transactions", "id = ANY ($1)", [i.id for i in items]) == 0
    assert await bank.count("outbox.events", "idempotency_key = $1", request.key) == 0
    assert await _audited(bank, a, "transaction.refused") == 1
    # The refusal is final: money that comes later changes nothing.
    await bank.fund(a, 10_000)
    (replayed,) = await bank.post(retry_batch(request))
    assert (replayed.outcome, replayed.http_status) == ("duplicate", 402)
    assert replayed.answer == refused.answer


async def test_an_atomic_transfer_batch_is_done_whole(bank: Bank) -> None:
    a, b, c = await bank.open(100), await bank.open(), await bank.open()
    (posted,) = await bank.post(transfer_batch(a, item(b, 60), item(c, 40), mode="atomic"))
    assert (posted.outcome, posted.http_status) == ("completed", 201)
    assert [await bank.balance(holder) for holder in (a, b, c)] == [0, 60, 40]


@pytest.mark.parametrize("mode", ["independent", "atomic"])
async def test_a_transfer_batch_is_done_once(bank: Bank, mode: Mode) -> None:
    a, b = await bank.open(100), await bank.open()
    request = transfer_batch(a, item(b, 10), item(b, 20), mode=mode)
    (first,) = await bank.post(request)
    replayed, reuse = await bank.post(retry_batch(request)), None
    assert replayed[0].outcome == "duplicate"
    assert (replayed[0].http_status, replayed[0].answer) == (first.http_status, first.answer)
    assert (replayed[0].sender_sequence, replayed[0].receivers) == (3, {})
    (reuse,) = await bank.post(retry_batch(request, fingerprint=b"another"))
    assert (reuse.outcome, reuse.fingerprint) == ("idempotency_key_reuse", b"fingerprint")
    assert await bank.outcome(transfer(a, b, 1, key=request.key)) == "duplicate"
    assert await bank.balance(b) == 30


async def test_a_key_of_a_transfer_batch_finds_its_transactions_in_their_order(bank: Bank) -> None:
    a, b = await bank.open(1_000), await bank.open(1_000)
    request = transfer_batch(a, item(b, 1), item(b, 5_000), item(a, 3), item(b, 4), item(b, 6_000))
    await bank.post(transfer(a, b, 10), transfer(b, a, 1), request, transfer(b, a, 2))
    await bank.post(transfer(a, b, 5_000), transfer(a, b, 20))
    assert await _amounts(bank, a, request) == [6_000, 4, 5_000, 1]
    assert await _amounts(bank, a, request, limit=2) == [6_000, 4]
    assert await _amounts(bank, a, request, before=reads.HistoryPosition(5, 6)) == [5_000, 1]
    assert await _amounts(bank, a, request, status="failed") == [6_000, 5_000]
    assert await _amounts(bank, b, request) == []
    refused = transfer_batch(a, item(a, 1))
    await bank.post(refused)
    assert await _amounts(bank, a, refused) == []
    events = await bank.app.fetch(
        "SELECT sequence FROM outbox.events WHERE account_id = $1 AND idempotency_key = $2 "
        "AND request_id = 'req_test' ORDER BY sequence",
        a.account_id,
        request.key,
    )
    assert [event["sequence"] for event in events] == [4, 5, 6, 7]


async def test_a_receiver_may_be_named_by_e_mail_in_any_of_them(bank: Bank) -> None:
    a, b, c = await bank.open(100), await bank.open(), await bank.open()
    mailed = item(b, 2, receiver_id=None, receiver_email=b.email)
    unaddressed = item(b, 4, receiver_id=None, receiver_email="unknown@example.com")
    first, second = await bank.post(
        transfer_batch(a, item(b, 1), mailed, unaddressed), transfer(a, c, 8)
    )
    assert first.items == ["completed", "completed", "receiver_not_found"]
    assert second.outcome == "completed"
    assert [await bank.balance(holder) for holder in (a, b, c)] == [89, 3, 8]


async def test_chance_never_makes_or_loses_money(bank: Bank) -> None:
    """Transfers and transfer batches among five accounts, compared with the simplest ledger."""
    dice = random.Random(3)
    holders = [await bank.open(200) for _ in range(5)]
    balances = dict.fromkeys((holder.account_id for holder in holders), 200)
    for _ in range(15):
        requests = [_random_batch(dice, holders) for _ in range(6)]
        results = await bank.post(*requests)
        for request, posted in zip(requests, results, strict=True):
            assert posted.items == _plainly(request, balances), request
    assert balances == {one.account_id: await bank.balance(one) for one in holders}
    assert sum(balances.values()) == 1_000


def _random_batch(dice: random.Random, holders: list[Holder]) -> TransferBatch:
    sender = dice.choice(holders)
    items = [item(dice.choice(holders), dice.randint(1, 90)) for _ in range(dice.randint(1, 6))]
    mode: Mode = dice.choice(["independent", "atomic"])
    return transfer_batch(sender, *items, mode=mode)


def _plainly(request: TransferBatch, balances: dict[Any, int]) -> list[str | None]:
    """What becomes of the items; `balances` move."""
    trial = dict(balances)
    outcomes: list[str | None] = []
    for one in request.items:
        if one.receiver_id == request.sender_id:
            outcomes.append("same_account")
        elif trial[request.sender_id] < one.amount:
            outcomes.append("insufficient_funds")
        else:
            outcomes.append("completed")
            trial[request.sender_id] -= one.amount
            trial[one.receiver_id] += one.amount
        if request.mode == "atomic" and outcomes[-1] != "completed":
            return (
                [None] * (len(outcomes) - 1)
                + outcomes[-1:]
                + [None] * (len(request.items) - len(outcomes))
            )
    balances.update(trial)
    return outcomes


async def _amounts(bank: Bank, holder: Holder, request: TransferBatch, **changes: Any) -> list[int]:
    found = await reads.history(
        bank.app,
        holder.user_id,
        holder.account_id,
        before=changes.pop("before", reads.HistoryPosition()),
        limit=changes.pop("limit", 100),
        filters=reads.Filters(idempotency_key=request.key, **changes),
    )
    return [step.amount for step in found.steps]


async def _audited(bank: Bank, holder: Holder, action: str) -> int:
    return await bank.count("audit.log", "actor_id = $1 AND action = $2", holder.user_id, action)
