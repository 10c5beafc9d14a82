"""A statement as CSV (RFC 4180), in pieces."""

from collections.abc import AsyncGenerator
from datetime import date
from functools import lru_cache
from typing import Final

from finpay import ids
from finpay.money import major_units
from finpay.statements.csv_rows import Cells, encode, text_cell
from finpay.statements.periods import MAX_DAYS, Period
from finpay.statements.reads import Bounds, Pages, StatementRow

COLUMNS: Final = (
    "date", "time", "type", "transaction_id", "counterparty", "description", "amount", "currency",
    "balance",
)  # fmt: skip
# A day and a time by look-up: datetime.isoformat takes more than twice as long.
_TWO_DIGITS: Final = tuple(f"{number:02d}" for number in range(60))
_day: Final = lru_cache(MAX_DAYS)(date.isoformat)


async def stream(bounds: Bounds, period: Period, pages: Pages) -> AsyncGenerator[bytes, None]:
    """The header, a row with the opening balance, the entries, a row with the closing balance."""
    currency = bounds.currency
    opening = _bound(f"{period.first}", "opening", bounds.opening_balance, currency)
    head = encode([COLUMNS, opening])
    async for rows in pages:
        yield head + encode([_cells(row, period, currency) for row in rows])
        head = b""
    closing = _bound(f"{period.last}", "closing", bounds.closing_balance, currency)
    yield head + encode([closing])


def _cells(row: StatementRow, period: Period, currency: str) -> Cells:
    local = row["created_at"].astimezone(period.zone)
    return (
        _day(local.date()),
        f"{_TWO_DIGITS[local.hour]}:{_TWO_DIGITS[local.minute]}:{_TWO_DIGITS[local.second]}",
        row["type"],
        ids.encode("txn", row["transaction_id"]),
        text_cell(row["name"] or ids.encode("acc", row["counterparty_id"])),
        text_cell(row["description"] or ""),
        major_units(row["amount"], currency),
        currency,
        major_units(row["balance_after"], currency),
    )


def _bound(day: str, kind: str, balance: int, currency: str) -> Cells:
    return (day, "", kind, "", "", "", "", currency, major_units(balance, currency))
