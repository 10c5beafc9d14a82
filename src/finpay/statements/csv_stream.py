"""A statement as CSV (RFC 4180), in pieces.

A spreadsheet reads a cell that begins with one of FORMULA_STARTS as a formula, which may send the
sheet's contents away. Names and descriptions are written by other users, so such a cell gets an
apostrophe. Amounts begin with a minus and stay numbers.
"""

import csv
from collections.abc import AsyncGenerator, Iterable, Sequence
from io import StringIO
from typing import Final

from finpay import ids
from finpay.money import major_units
from finpay.statements.periods import Period
from finpay.statements.reads import Bounds, Pages, StatementRow

COLUMNS: Final = (
    "date", "time", "type", "transaction_id", "counterparty", "description", "amount", "currency",
    "balance",
)  # fmt: skip
FORMULA_STARTS: Final = frozenset("=+-@\t\r＝＋－＠")

Cells = Sequence[str]


async def stream(bounds: Bounds, period: Period, pages: Pages) -> AsyncGenerator[bytes, None]:
    """The header, a row with the opening balance, the entries, a row with the closing balance."""
    currency = bounds.currency
    opening = _bound(f"{period.first}", "opening", bounds.opening_balance, currency)
    head = _encode([COLUMNS, opening])
    async for rows in pages:
        yield head + _encode([_cells(row, period, currency) for row in rows])
        head = b""
    closing = _bound(f"{period.last}", "closing", bounds.closing_balance, currency)
    yield head + _encode([closing])


def guarded(text: str) -> str:
    """The text, or with an apostrophe what a spreadsheet would read as a formula."""
    return f"'{text}" if text and text[0] in FORMULA_STARTS else text


def _cells(row: StatementRow, period: Period, currency: str) -> Cells:
    local = row["created_at"].astimezone(period.zone).isoformat()
    return (
        local[:10],
        local[11:19],
        row["type"],
        ids.encode("txn", row["transaction_id"]),
        guarded(row["name"] or ids.encode("acc", row["counterparty_id"])),
        guarded(row["description"] or ""),
        major_units(row["amount"], currency),
        currency,
        major_units(row["balance_after"], currency),
    )


def _bound(day: str, kind: str, balance: int, currency: str) -> Cells:
    return (day, "", kind, "", "", "", "", currency, major_units(balance, currency))


def _encode(rows: Iterable[Cells]) -> bytes:
    text = StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()
