"""A batch is posted in the order of its items, and no item spoils its neighbours."""

from uuid import UUID

import asyncpg
import pytest

from finpay import ids
from tests.sql.ledger_fixtures import LIMIT, Bank, Holder, retry, transfer


@pytest.mark.contract("2.2.1")
async def test_money_just_received_can_be_sent_on(bank: Bank) -> None:
    a, b, c = await bank.open(100), await bank.open(), await bank.open()
    outcomes = await bank.outcomes(transfer(a, b, 100), transfer(b, c, 100))
    assert outcomes == ["completed", "completed"]
    assert [await bank.balance(holder) for holder in (a, b, c)] == [0, 0, 100]


async def test_money_not_yet_received_can_not(bank: Bank) -> None:
    a, b, c = await bank.open(100), await bank.open(), await bank.open()
    outcomes = await bank.outcomes(transfer(b, c, 100), transfer(a, b, 100))
    assert outcomes == ["insufficient_funds", "completed"]
    assert [await bank.balance(holder) for holder in (a, b, c)] == [0, 100, 0]


async def test_items_of_one_sender_spend_the_same_money_once(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    outcomes = await bank.outcomes(*(transfer(a, b, 40) for _ in range(4)))
    assert outcomes == ["completed", "completed", "insufficient_funds", "insufficient_funds"]
    assert (await bank.balance(a), await bank.balance(b)) == (20, 80)


async def test_items_of_one_receiver_fill_it_to_the_limit_once(bank: Bank) -> None:
    a, full = await bank.open(100), await bank.open(LIMIT - 5)
    outcomes = await bank.outcomes(*(transfer(a, full, 2) for _ in range(4)))
    assert outcomes == ["completed", "completed", "balance_limit", "balance_limit"]
    assert await bank.balance(full) == LIMIT - 1


@pytest.mark.contract("2.2.1")
async def test_refused_neighbours_change_nothing(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    frozen = await bank.open(100, frozen=True)
    dollars = await bank.open(100, currency="USD")
    full = await bank.open(LIMIT)
    unknown = ids.new_uuid()
    used = transfer(a, b, 10)
    await bank.post(used)
    items = {
        retry(used): "duplicate",
        retry(used, fingerprint=b"another"): "idempotency_key_reuse",
        transfer(a, b, 1): "completed",
        transfer(frozen, b, 1): "account_frozen",
        transfer(a, a, 1): "same_account",
        transfer(a, b, 2): "completed",
        transfer(a, Holder(unknown, unknown, ""), 1): "receiver_not_found",
        transfer(a, frozen, 1): "receiver_unavailable",
        transfer(a, dollars, 1): "currency_mismatch",
        transfer(b, a, 1_000): "insufficient_funds",
        transfer(a, full, 1): "balance_limit",
        transfer(b, a, 13): "completed",
    }
    # The two that share a key go into batches of their own: the batcher sees to that.
    outcomes = await bank.outcomes(*list(items)[1:])
    assert outcomes == list(items.values())[1:]
    assert len({*outcomes, "duplicate"}) == len(items) - 2
    balances = [await bank.balance(h) for h in (a, b, frozen, dollars, full)]
    assert balances == [100, 0, 100, 100, LIMIT]
    assert (await bank.account(a))["version"] == 5  # funded, 10, 1, 2 sent, 13 received


async def test_an_empty_account_list_is_a_bug_and_says_so(bank: Bank) -> None:
    unknown = Holder(ids.new_uuid(), ids.new_uuid(), "")
    with pytest.raises(asyncpg.InvalidParameterValueError, match="is not a user account"):
        await bank.post(transfer(unknown, unknown, 1))


async def test_two_items_with_one_key_are_refused_as_a_whole(bank: Bank) -> None:
    """The batcher keeps them apart; if it failed to, nothing would be done twice."""
    a, b = await bank.open(100), await bank.open()
    item = transfer(a, b, 1)
    with pytest.raises(Exception, match="idempotency_keys_pkey"):
        await bank.post(item, retry(item))
    assert await bank.balance(a) == 100


@pytest.mark.parametrize("amount", [0, -1, -100, LIMIT + 1])
async def test_an_impossible_amount_never_moves_money(bank: Bank, amount: int) -> None:
    """The edge refuses it; if it failed to, the ledger would."""
    a, b = await bank.open(100), await bank.open(100)
    with pytest.raises(asyncpg.InvalidParameterValueError, match="an amount is not"):
        await bank.post(transfer(a, b, amount))
    assert (await bank.balance(a), await bank.balance(b)) == (100, 100)


async def test_a_receiver_may_be_named_by_e_mail(bank: Bank) -> None:
    a, b, c = await bank.open(100), await bank.open(), await bank.open()
    outcomes = await bank.outcomes(
        transfer(a, b, 1, receiver_id=None, receiver_email=b.email),
        transfer(a, c, 2),
        transfer(a, b, 4, receiver_id=None, receiver_email="nobody@example.com"),
        transfer(a, b, 8, receiver_id=None, receiver_email=a.email),
        transfer(a, b, 16, receiver_id=None, receiver_email=b.email.upper()),
    )
    assert outcomes == [
        "completed",
        "completed",
        "receiver_not_found",
        "same_account",
        "receiver_not_found",  # the edge spells e-mails as they are stored
    ]
    assert [await bank.balance(holder) for holder in (a, b, c)] == [97, 1, 2]


async def test_a_batch_reports_what_the_caches_need(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    completed, failed, refused = await bank.post(
        transfer(a, b, 60), transfer(a, b, 60), transfer(a, a, 1)
    )
    assert (completed.sender_sequence, completed.receivers) == (2, {b.user_id: 1})
    assert (failed.sender_sequence, failed.receivers) == (3, {})
    assert (refused.sender_sequence, refused.receivers) == (None, {})


@pytest.mark.contract("2.1.1", "2.1.5")
async def test_a_completed_transaction_is_written_once_everywhere(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    item = transfer(a, b, 60, description="rent", metadata='{"k": "v"}', currency="ZAR")
    await bank.post(item, transfer(a, b, 1_000))  # in a batch with one that fails
    row = await bank.transaction(item)
    assert (row["type"], row["status"], row["failure_code"]) == ("transfer", "completed", None)
    assert await bank.count("ledger.failed_transactions", "transaction_id = $1", item.id) == 0
    assert (row["amount"], row["currency"], row["description"]) == (60, "ZAR", "rent")
    assert row["metadata"] == '{"k": "v"}'
    assert (row["sender_id"], row["receiver_id"]) == (a.account_id, b.account_id)
    entries = await bank.app.fetch(
        "SELECT account_id, version, sequence, amount, balance_after FROM ledger.entries "
        "WHERE transaction_id = $1 ORDER BY amount",
        item.id,
    )
    assert [tuple(entry) for entry in entries] == [
        (a.account_id, 2, 2, -60, 40),
        (b.account_id, 1, 1, 60, 60),
    ]
    assert await _events(bank, item.id) == [
        (a.account_id, 2, "transaction.completed", a.user_id, "req_test", item.key),
        (b.account_id, 1, "transaction.completed", None, None, None),
    ]
    assert await _audit(bank, item.id) == [
        ("transaction.completed", a.user_id, "req_test", "192.0.2.1", None)
    ]


async def test_a_failed_transaction_is_its_sender_s_alone(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    item = transfer(a, b, 101)
    await bank.post(item)
    row = await bank.transaction(item)
    assert (row["status"], row["failure_code"]) == ("failed", "insufficient_funds")
    assert (row["failure_sequence"], row["sender_version"], row["receiver_version"]) == (
        2,
        None,
        None,
    )
    failure = await bank.row(
        "SELECT * FROM ledger.failed_transactions WHERE transaction_id = $1", item.id
    )
    assert failure["account_id"] == a.account_id
    assert (failure["sequence"], failure["version"], failure["balance_after"]) == (2, 1, 100)
    assert await bank.count("ledger.entries", "transaction_id = $1", item.id) == 0
    sender, receiver = await bank.account(a), await bank.account(b)
    assert (sender["balance"], sender["version"], sender["sequence"]) == (100, 1, 2)
    assert (receiver["balance"], receiver["version"], receiver["sequence"]) == (0, 0, 0)
    assert await _events(bank, item.id) == [
        (a.account_id, 2, "transaction.failed", a.user_id, "req_test", item.key)
    ]
    assert await _audit(bank, item.id) == [
        ("transaction.failed", a.user_id, "req_test", "192.0.2.1", None)
    ]


async def test_a_refusal_leaves_its_account_untouched(bank: Bank) -> None:
    a = await bank.open(100)
    before = await bank.row("SELECT xmin, ctid FROM ledger.accounts WHERE id = $1", a.account_id)
    item = transfer(a, a, 1)
    await bank.post(item)
    after = await bank.row("SELECT xmin, ctid FROM ledger.accounts WHERE id = $1", a.account_id)
    assert after["ctid"] == before["ctid"], "the row was written again"
    assert await bank.count("ledger.transactions", "id = $1", item.id) == 0
    assert await bank.count("outbox.events", "account_id = $1", a.account_id) == 1  # the funding
    audit = await bank.row(
        "SELECT subject_id, request_id, detail FROM audit.log "
        "WHERE actor_id = $1 AND action = 'transaction.refused'",
        a.user_id,
    )
    assert tuple(audit) == (None, "req_test", '{"code" : "same_account"}')


async def _events(bank: Bank, transaction_id: UUID) -> list[tuple[object, ...]]:
    rows = await bank.app.fetch(
        "SELECT account_id, sequence, type, actor_id, request_id, idempotency_key "
        "FROM outbox.events WHERE transaction_id = $1 ORDER BY actor_id",
        transaction_id,
    )
    return [tuple(row) for row in rows]


async def _audit(bank: Bank, transaction_id: UUID) -> list[tuple[object, ...]]:
    rows = await bank.app.fetch(
        "SELECT action, actor_id, request_id, address, detail FROM audit.log WHERE subject_id = $1",
        transaction_id,
    )
    return [tuple(row) for row in rows]
