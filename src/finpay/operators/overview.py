"""The overview of operators: how much there is, what waits for them, the last verification."""

import asyncio
import time
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from finpay.db import queries
from finpay.db.pool import Database
from finpay.formats import MinorUnits, Timestamp, format_timestamp, optional_timestamp

MAX_AGE_S: Final = 60.0  # counting all users takes a tenth of a second per million

_SQL: Final = queries.load("finpay.operators")


class CurrencyOverview(Struct, frozen=True):
    """All money of users in one currency, and what of it waits to be paid out."""

    currency: str
    users_balance: MinorUnits
    pending_withdrawals: int
    pending_withdrawals_amount: MinorUnits


class Overview(Struct, frozen=True):
    """Numbers of users and balances, and what waits for an operator. As of up to a minute ago."""

    object: Literal["overview"]
    as_of: Timestamp
    users: int
    accounts_not_active: int
    pending_approvals: int
    currencies: list[CurrencyOverview]


class Integrity(Struct, frozen=True):
    """The result of the continuous verification of the ledger. unknown: no worker verifies."""

    object: Literal["integrity"]
    status: Literal["ok", "failed", "unknown"]
    violations: int
    messages: Annotated[list[str], Meta(description="What the first violations are.")]
    checked_through: Timestamp | None
    checked_at: Timestamp | None
    succeeded_at: Timestamp | None


class CachedOverview:
    """One per process; it reads again after MAX_AGE_S."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._overview: Overview | None = None
        self._read_at_s = 0.0

    async def get(self) -> Overview:
        async with self._lock:
            if self._overview is None or time.monotonic() >= self._read_at_s + MAX_AGE_S:
                began_s = time.monotonic()
                self._overview = await _read(self._database)
                self._read_at_s = began_s
            return self._overview


async def integrity(database: Database) -> Integrity:
    row = await database.fetch_one(_SQL.get_integrity)
    assert row is not None, "the state has one row"  # noqa: S101
    state: Literal["ok", "unknown"] = "ok" if row["checked_recently"] else "unknown"
    return Integrity(
        object="integrity",
        status="failed" if row["violations"] else state,
        violations=row["violations"],
        messages=row["messages"],
        checked_through=optional_timestamp(row["checked_through"]),
        checked_at=optional_timestamp(row["checked_at"]),
        succeeded_at=optional_timestamp(row["succeeded_at"]),
    )


async def _read(database: Database) -> Overview:
    row = await database.fetch_one(_SQL.get_overview)
    assert row is not None, "a query without FROM returns one row"  # noqa: S101
    currencies = await database.fetch(_SQL.list_currencies)
    return Overview(
        object="overview",
        as_of=format_timestamp(row["as_of"]),
        users=row["users"],
        accounts_not_active=row["accounts_not_active"],
        pending_approvals=row["pending_approvals"],
        currencies=[CurrencyOverview(*each) for each in currencies],
    )
