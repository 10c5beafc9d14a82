"""A statement as JSON, in pieces: the head, the entries of each page, the totals."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import msgspec

from finpay.statements import resources
from finpay.statements.periods import Period
from finpay.statements.reads import Bounds, Pages, StatementRow
from finpay.statements.resources import Totals

_encode: Final = msgspec.json.Encoder().encode


async def stream(bounds: Bounds, period: Period, pages: Pages) -> AsyncGenerator[bytes, None]:
    """The encoding of resources.Statement."""
    totals: dict[str, Totals] = {}
    separator = _encode(_head(bounds, period))[:-1] + b',"entries":['
    async for rows in pages:
        add(totals, rows)
        entries = _encode([resources.entry(row, bounds.currency) for row in rows])
        yield separator + entries[1:-1]
        separator = b","
    head = b"" if totals else separator
    yield head + b"]," + _encode(_tail(totals))[1:]


def add(totals: dict[str, Totals], rows: Sequence[StatementRow]) -> None:
    """Adds the rows to the totals of their types."""
    for row in rows:
        kind = totals.get(row["type"])
        if kind is None:
            kind = totals[row["type"]] = Totals()
        kind.count += 1
        amount = row["amount"]
        if amount > 0:
            kind.total_in += amount
        else:
            kind.total_out -= amount


def _head(bounds: Bounds, period: Period) -> dict[str, Any]:
    return {
        "object": "statement",
        "from": period.first,
        "to": period.last,
        "timezone": period.zone.key,
        "currency": bounds.currency,
        "opening_balance": bounds.opening_balance,
        "closing_balance": bounds.closing_balance,
    }


def _tail(totals: dict[str, Totals]) -> dict[str, Any]:
    return {
        "total_in": sum(kind.total_in for kind in totals.values()),
        "total_out": sum(kind.total_out for kind in totals.values()),
        "totals_by_type": totals,
    }
