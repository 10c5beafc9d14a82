"""What moved between users and the outside world on one day (UTC), to compare with the bank.

These are the entries of the system accounts: a range of versions that is found without an index on
the time, and read in pages of bounded size, however many payments a day has.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal

import msgspec
from msgspec import Struct

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.formats import MinorUnits, Timestamp, format_timestamp
from finpay.money import major_units
from finpay.statements.csv_rows import Cells, encode, text_cell

PAGE: Final = 1_000  # rows in memory
COLUMNS: Final = (
    "time", "type", "reference", "transaction_id", "account_id", "amount", "currency",
)  # fmt: skip

_SQL: Final = queries.load("finpay.operators")

Moved = Literal["deposit", "recalled_deposit", "withdrawal", "returned_withdrawal", "funding"]


class OutsidePayment(Struct, frozen=True):
    """Money that came in (positive) or went out. `reference` is that of the payment outside; a
    funding, by the command line, has none."""

    type: Moved
    reference: str | None
    transaction_id: str
    account_id: str
    amount: MinorUnits
    currency: str
    created_at: Timestamp


class Total(Struct, frozen=True):
    """All payments of one type in one currency."""

    currency: str
    type: Moved
    count: int
    amount: MinorUnits


class Reconciliation(Struct, frozen=True):
    """The payments of a day (UTC) by currency, oldest first, and their totals."""

    object: Literal["reconciliation"]
    date: str
    data: list[OutsidePayment]
    totals: list[Total]


@dataclass(frozen=True, slots=True)
class _Range:
    account_id: object
    currency: str
    version_from: int
    version_to: int


async def today(database: Database) -> date:
    """By the database's clock."""
    row = await database.fetch_one("SELECT clock_timestamp() AS now")
    assert row is not None, "a query without FROM returns one row"  # noqa: S101
    now: datetime = row["now"]
    return now.astimezone(UTC).date()


async def json_stream(database: Database, day: date) -> AsyncGenerator[bytes, None]:
    """A Reconciliation, in pieces."""
    totals: dict[tuple[str, Moved], Total] = {}
    separator = b""
    head = f'{{"object":"reconciliation","date":"{day}","data":['.encode()
    async for payments in _pages(database, day):
        _count(totals, payments)
        yield head + separator + b",".join(map(msgspec.json.encode, payments))
        head, separator = b"", b","
    tail = b'],"totals":' + msgspec.json.encode(list(totals.values())) + b"}"
    yield head + tail


async def csv_stream(database: Database, day: date) -> AsyncGenerator[bytes, None]:
    """RFC 4180: a header and the payments, amounts in major units."""
    head = encode([COLUMNS])
    async for payments in _pages(database, day):
        yield head + encode(map(_cells, payments))
        head = b""
    yield head


async def _pages(database: Database, day: date) -> AsyncIterator[Sequence[OutsidePayment]]:
    begin = datetime.combine(day, time(), UTC)
    last = begin + timedelta(days=1) - timedelta(microseconds=1)
    before = begin - timedelta(microseconds=1)
    for row in await database.fetch(_SQL.list_system_ranges, before, last):
        of = _Range(*row)
        version = of.version_from
        while version < of.version_to:
            rows = await database.fetch(
                _SQL.list_outside_payments, of.account_id, version, of.version_to, PAGE
            )
            yield [_payment(each, of.currency) for each in rows]
            version = rows[-1]["version"]


def _payment(row: Record, currency: str) -> OutsidePayment:
    return OutsidePayment(
        type=_moved(row["type"], row["origin_type"]),
        reference=row["reference"],
        transaction_id=ids.encode("txn", row["id"]),
        account_id=ids.encode("acc", row["account_id"]),
        amount=-row["amount"],
        currency=currency,
        created_at=format_timestamp(row["created_at"]),
    )


def _moved(kind: str, origin: str | None) -> Moved:
    if kind == "refund":
        return "recalled_deposit" if origin == "deposit" else "returned_withdrawal"
    moved: Moved = msgspec.convert(kind, Moved)
    return moved


def _count(totals: dict[tuple[str, Moved], Total], payments: Iterable[OutsidePayment]) -> None:
    for each in payments:
        key = each.currency, each.type
        so_far = totals.get(key, Total(each.currency, each.type, 0, 0))
        totals[key] = Total(each.currency, each.type, so_far.count + 1, so_far.amount + each.amount)


def _cells(payment: OutsidePayment) -> Cells:
    return (
        payment.created_at,
        payment.type,
        text_cell(payment.reference or ""),
        payment.transaction_id,
        payment.account_id,
        major_units(payment.amount, payment.currency),
        payment.currency,
    )
