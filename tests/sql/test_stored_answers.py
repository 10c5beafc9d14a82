"""An answer given is an answer kept: byte for byte, for its own request, for ever."""

import json
from datetime import datetime

import pytest

from finpay import ids
from finpay.ledger.outcome import Outcome
from tests.sql.ledger_fixtures import Bank, Holder, retry, transfer


async def test_the_answer_of_a_completed_transfer_is_filled_in(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    item = transfer(a, b, 60)
    (posted,) = await bank.post(item)
    created_at = (await bank.transaction(item))["created_at"]
    answer = json.loads(posted.answer)
    assert datetime.fromisoformat(answer.pop("created_at")) == created_at
    assert f'"created_at":"{created_at:%Y-%m-%dT%H:%M:%S.%f}Z"'.encode() in posted.answer
    assert answer == {
        "currency": "ZAR", "receiver": b.public_id, "balance_after": 40, "available_after": 40,
    }  # fmt: skip


async def test_the_balance_of_each_answer_is_that_of_its_own_moment(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    posted = await bank.post(*(transfer(a, b, 10) for _ in range(3)))
    assert [json.loads(p.answer)["balance_after"] for p in posted] == [90, 80, 70]


async def test_the_answer_of_a_refusal_names_its_request(bank: Bank) -> None:
    a, b = await bank.open(), await bank.open()
    failed = transfer(a, b, 1)
    posted = await bank.post(failed, transfer(a, a, 1, request_id="other"))
    assert [json.loads(p.answer) for p in posted] == [
        {
            "code": "insufficient_funds",
            "request_id": "req_test",
            "transaction_id": ids.encode("txn", failed.id),
        },
        {"code": "same_account", "request_id": "other"},
    ]


@pytest.mark.parametrize(
    ("outcome", "status", "amount"),
    [("completed", 201, 100), ("insufficient_funds", 402, 101), ("same_account", 422, 1)],
)
async def test_a_duplicate_gets_the_stored_answer(
    bank: Bank, outcome: str, status: int, amount: int
) -> None:
    a, b = await bank.open(100), await bank.open(1_000)
    item = transfer(a, a if outcome == "same_account" else b, amount)
    (first,) = await bank.post(item)
    assert first.outcome == outcome
    # What would be answered now is another thing: more money, another template.
    await bank.outcome(transfer(b, a, 500))
    before = await _written(bank, a)
    (second,) = await bank.post(retry(item, reply="%s%s%s%s never answered"))
    assert second.outcome is Outcome.DUPLICATE
    assert (second.http_status, second.answer) == (status, first.answer)
    assert second.transaction_id == first.transaction_id
    # Where the sender's account is now: what is cached of it below that is old.
    sequence = (await bank.account(a))["sequence"]
    assert (second.sender_sequence, second.receivers) == (sequence, {})
    assert await _written(bank, a) == before


async def test_reuse_gets_the_stored_fingerprint_and_changes_nothing(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    item = transfer(a, b, 1, fingerprint=b"the first")
    (first,) = await bank.post(item)
    before = await _written(bank, a)
    (second,) = await bank.post(retry(item, amount=2, fingerprint=b"the second"))
    assert second.outcome is Outcome.IDEMPOTENCY_KEY_REUSE
    assert (first.fingerprint, second.fingerprint) == (b"the first", b"the first")
    assert (second.http_status, second.answer) == (201, first.answer)
    assert await _written(bank, a) == before


async def test_a_refusal_is_final_for_its_key(bank: Bank) -> None:
    a, b = await bank.open(), await bank.open()
    item = transfer(a, b, 1)
    assert await bank.outcome(item) == "insufficient_funds"
    await bank.fund(a, 100)
    (second,) = await bank.post(retry(item))
    assert (second.outcome, second.http_status) == ("duplicate", 402)
    assert await bank.balance(b) == 0


async def test_a_key_belongs_to_one_user(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open(100)
    item = transfer(a, b, 1)
    assert await bank.outcomes(item) == ["completed"]
    assert await bank.outcomes(transfer(b, a, 1, key=item.key)) == ["completed"]


@pytest.mark.parametrize("key", ["!", "~" * 255, "%s %n$".replace(" ", "_"), "';DROP--"])
async def test_every_key_of_the_contract_is_kept_as_it_was_sent(bank: Bank, key: str) -> None:
    a, b = await bank.open(100), await bank.open()
    item = transfer(a, b, 1, key=key)
    assert await bank.outcomes(item) == ["completed"]
    assert await bank.outcomes(retry(item)) == ["duplicate"]
    stored = await bank.row(
        "SELECT key, fingerprint, http_status, transaction_id FROM ledger.idempotency_keys "
        "WHERE principal_id = $1",
        a.user_id,
    )
    assert tuple(stored) == (key, b"fingerprint", 201, item.id)


async def test_a_batch_may_mix_new_and_known_keys(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    known = transfer(a, b, 1)
    (first,) = await bank.post(known)
    posted = await bank.post(transfer(a, b, 2), retry(known), transfer(a, b, 4))
    assert [p.outcome for p in posted] == ["completed", "duplicate", "completed"]
    assert posted[1].answer == first.answer
    assert await bank.balance(b) == 7


async def _written(bank: Bank, holder: Holder) -> list[int]:
    """The number of records of this account's requests."""
    return [
        await bank.count("ledger.idempotency_keys", "principal_id = $1", holder.user_id),
        await bank.count("ledger.transactions", "sender_id = $1", holder.account_id),
        await bank.count("ledger.entries", "account_id = $1", holder.account_id),
        await bank.count("ledger.failed_transactions", "account_id = $1", holder.account_id),
        await bank.count("outbox.events", "account_id = $1", holder.account_id),
        await bank.count("audit.log", "actor_id = $1", holder.user_id),
    ]
