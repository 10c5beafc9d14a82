"""What becomes of a transfer: every outcome, their precedence, and the boundary of each rule."""

from collections.abc import Awaitable, Callable
from itertools import combinations
from typing import Final
from uuid import UUID

import pytest

from finpay import ids
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import Transfer
from tests.sql.ledger_fixtures import LIMIT, Bank, Holder, fresh_key, retry, transfer

# Every outcome once, in order of precedence. A name is an account; its word says what is special.
# The sender has 100, `limited` may pay 10 at once; `full` lacks 5 to the limit.
TABLE: Final = """
    outcome                status  sender  receiver  amount  currency  key
    idempotency_key_reuse     402  alice   bob            1  -         used by another request
    duplicate                 402  alice   bob            1  -         used by this request
    account_frozen            403  frozen  bob            1  -         new
    same_account              422  alice   alice          1  -         new
    receiver_not_found        404  alice   unknown        1  -         new
    receiver_not_found        404  alice   system         1  -         new
    receiver_unavailable      422  alice   frozen         1  -         new
    currency_mismatch         422  alice   dollars        1  -         new
    currency_mismatch         422  alice   dollars        1  USD       new
    currency_mismatch         422  alice   dollars        1  ZAR       new
    currency_mismatch         422  alice   bob            1  USD       new
    limit_exceeded            422  limited bob           11  -         new
    insufficient_funds        402  alice   bob          101  -         new
    insufficient_funds        402  alice   bob          101  ZAR       new
    balance_limit             422  alice   full           6  -         new
    completed                 201  alice   full           5  -         new
    completed                 201  alice   bob          100  -         new
    completed                 201  alice   bob            1  ZAR       new
    completed                 201  limited bob           10  -         new
"""
ROWS: Final = [line.split(maxsplit=6) for line in TABLE.strip().splitlines()[1:]]


@pytest.mark.contract("1.8.8", "2.2.2")
@pytest.mark.parametrize("row", ROWS, ids=" ".join)
async def test_every_outcome(bank: Bank, row: list[str]) -> None:
    outcome, status, sender, receiver, amount, currency, key = row
    people = await _people(bank)
    item = transfer(
        people[sender],
        people[receiver],
        int(amount),
        currency=None if currency == "-" else currency,
        request_id=fresh_key(),
    )
    if key.startswith("used"):
        other = b"fingerprint" if key.endswith("this request") else b"another"
        await bank.post(retry(item, amount=101, fingerprint=other))
    (posted,) = await bank.post(item)
    assert (posted.outcome, posted.http_status) == (outcome, int(status))
    # Whatever was decided is stored with its key and recorded in the audit log, once.
    assert await bank.count("ledger.idempotency_keys", "key = $1", item.key) == 1
    audited = await bank.count("audit.log", "request_id = $1", item.request_id)
    assert audited == (1 if key == "new" else 0)


def test_the_table_has_every_outcome_of_a_transfer_in_order() -> None:
    assert list(dict.fromkeys(row[0] for row in ROWS)) == [*WRONGS, Outcome.COMPLETED]
    assert list(WRONGS) == [outcome for outcome in Outcome if outcome in WRONGS]


# What makes a request wrong in each way. A pair is a request that is wrong in both.
Wrong = Callable[[Bank, Transfer, dict[str, Holder]], Awaitable[Transfer]]


async def _reuse(bank: Bank, item: Transfer, _: dict[str, Holder]) -> Transfer:
    await bank.post(retry(item, amount=1, fingerprint=b"another"))
    return item


async def _duplicate(bank: Bank, item: Transfer, _: dict[str, Holder]) -> Transfer:
    await bank.post(retry(item, amount=1))
    return item


async def _account_frozen(bank: Bank, item: Transfer, people: dict[str, Holder]) -> Transfer:
    await bank.freeze(people["alice"])
    return item


async def _same_account(bank: Bank, item: Transfer, people: dict[str, Holder]) -> Transfer:
    if item.receiver_id == people["full"].account_id:  # balance_limit: its own would be passed
        await bank.fund(people["alice"], LIMIT - 100)
    return retry(item, receiver_id=item.sender_id)


async def _receiver_not_found(bank: Bank, item: Transfer, _: dict[str, Holder]) -> Transfer:
    return retry(item, receiver_id=ids.new_uuid())


async def _receiver_unavailable(bank: Bank, item: Transfer, people: dict[str, Holder]) -> Transfer:
    (receiver,) = (p for p in people.values() if p.account_id == item.receiver_id)
    await bank.freeze(receiver)
    return item


async def _currency_mismatch(bank: Bank, item: Transfer, _: dict[str, Holder]) -> Transfer:
    return retry(item, currency="USD")


async def _limit_exceeded(bank: Bank, item: Transfer, people: dict[str, Holder]) -> Transfer:
    await bank.limit(people["alice"], daily=item.amount - 1)
    return item


async def _insufficient_funds(bank: Bank, item: Transfer, _: dict[str, Holder]) -> Transfer:
    return retry(item, amount=101)


async def _balance_limit(bank: Bank, item: Transfer, people: dict[str, Holder]) -> Transfer:
    return retry(item, receiver_id=people["full"].account_id, amount=max(item.amount, 6))


WRONGS: Final[dict[Outcome, Wrong]] = {
    Outcome.IDEMPOTENCY_KEY_REUSE: _reuse,
    Outcome.DUPLICATE: _duplicate,
    Outcome.ACCOUNT_FROZEN: _account_frozen,
    Outcome.SAME_ACCOUNT: _same_account,
    Outcome.RECEIVER_NOT_FOUND: _receiver_not_found,
    Outcome.RECEIVER_UNAVAILABLE: _receiver_unavailable,
    Outcome.CURRENCY_MISMATCH: _currency_mismatch,
    Outcome.LIMIT_EXCEEDED: _limit_exceeded,
    Outcome.INSUFFICIENT_FUNDS: _insufficient_funds,
    Outcome.BALANCE_LIMIT: _balance_limit,
}
# A key belongs to one request, and a receiver that isn't there has no account to be wrong.
IMPOSSIBLE: Final = {
    (Outcome.IDEMPOTENCY_KEY_REUSE, Outcome.DUPLICATE),
    (Outcome.SAME_ACCOUNT, Outcome.RECEIVER_NOT_FOUND),
    (Outcome.SAME_ACCOUNT, Outcome.RECEIVER_UNAVAILABLE),
    (Outcome.RECEIVER_NOT_FOUND, Outcome.RECEIVER_UNAVAILABLE),
    (Outcome.RECEIVER_NOT_FOUND, Outcome.BALANCE_LIMIT),
}
PAIRS: Final = [pair for pair in combinations(WRONGS, 2) if pair not in IMPOSSIBLE]


@pytest.mark.contract("2.2.2")
@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_a_request_wrong_in_two_ways_gets_the_first(
    bank: Bank, first: Outcome, second: Outcome
) -> None:
    # Each alone, so that the pair is known to be one; the later one is made wrong first.
    for wrongs in ([first], [second], [second, first]):
        people = await _people(bank)
        item = transfer(people["alice"], people["bob"], 1)
        for wrong in wrongs:
            item = await WRONGS[wrong](bank, item, people)
        assert await bank.outcome(item) == wrongs[-1], wrongs


async def _people(bank: Bank) -> dict[str, Holder]:
    unknown = ids.new_uuid()
    people = {
        "alice": await bank.open(100),
        "bob": await bank.open(),
        "frozen": await bank.open(100, frozen=True),
        "dollars": await bank.open(100, currency="USD"),
        "full": await bank.open(LIMIT - 5),
        "limited": await bank.open(100),
        "unknown": Holder(unknown, unknown, "unknown@example.com"),
    }
    await bank.limit(people["limited"], single=10)
    return people | {"system": Holder(unknown, await _system_account(bank), "")}


async def _system_account(bank: Bank) -> UUID:
    row = await bank.row(
        "SELECT id FROM ledger.accounts WHERE user_id IS NULL AND currency = 'ZAR'"
    )
    account_id: UUID = row["id"]
    return account_id
