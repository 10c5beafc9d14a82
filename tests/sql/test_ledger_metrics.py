"""The counter of money that moved: each unit once, however often its request is repeated."""

from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import REGISTRY

from finpay.ledger.batcher import Batcher
from finpay.telemetry.metrics import MONEY_MOVED
from tests.sql.ledger_fixtures import (
    REFUSALS,
    REPLY,
    Bank,
    item,
    retry,
    retry_batch,
    transfer,
    transfer_batch,
)

QUOTES = '{"currency":"XXX"}'


@pytest.fixture
async def batcher(bank: Bank) -> AsyncIterator[Batcher]:
    batcher = Batcher(bank.app, REFUSALS)
    yield batcher
    await batcher.drain()


@pytest.fixture(autouse=True)
def _nothing_else(bank: Bank) -> Iterator[None]:
    MONEY_MOVED.clear()  # a float is exact up to 2**53, and other tests move as much
    before = _moved("XXX")
    yield
    assert _moved("XXX") == before, "what a client wrote is no currency"


async def test_completed_transfers_count_and_refused_ones_do_not(
    bank: Bank, batcher: Batcher
) -> None:
    a, b = await bank.open(100), await bank.open()
    before = _moved("ZAR")
    for amount in (30, 70, 1):
        await batcher.post(transfer(a, b, amount, metadata=QUOTES))
    await batcher.post(transfer(a, a, 5))
    assert _moved("ZAR") - before == 100


async def test_a_repeated_request_counts_once(bank: Bank, batcher: Batcher) -> None:
    a, b = await bank.open(100, currency="JPY"), await bank.open(currency="JPY")
    before = _moved("JPY")
    paid = transfer(a, b, 7)
    for _ in range(3):
        await batcher.post(retry(paid))
    await batcher.post(retry(paid, amount=8, fingerprint=b"another"))
    assert _moved("JPY") - before == 7


async def test_of_a_transfer_batch_its_completed_items_count(bank: Bank, batcher: Batcher) -> None:
    a, b = await bank.open(100), await bank.open()
    before = _moved("ZAR")
    many = transfer_batch(a, item(a, 1), item(b, 10), item(b, 10**6), item(b, 5))
    await batcher.post(many)
    await batcher.post(retry_batch(many))
    await batcher.post(transfer_batch(a, item(b, 1), item(b, 10**6), mode="atomic"))
    await batcher.post(transfer_batch(a, item(b, 10**6), item(b, 10**7)))
    assert _moved("ZAR") - before == 15
    await batcher.post(transfer_batch(a, item(b, 2), item(b, 3), mode="atomic"))
    assert _moved("ZAR") - before == 20


async def test_each_currency_counts_for_itself(bank: Bank, batcher: Batcher) -> None:
    rand, dollars = await bank.open(100), await bank.open(100, currency="USD")
    r, d = await bank.open(), await bank.open(currency="USD")
    before = _moved("ZAR"), _moved("USD")
    await batcher.post(transfer(rand, r, 3))
    await batcher.post(transfer(dollars, d, 4, reply=REPLY))
    assert (_moved("ZAR") - before[0], _moved("USD") - before[1]) == (3, 4)


def _moved(currency: str) -> float:
    labels = {"currency": currency}
    return REGISTRY.get_sample_value("finpay_money_moved_minor_units_total", labels) or 0
