"""Schedules: transfers that repeat. Made and changed by SQL functions, which also compute when each
occurrence is due; a worker runs them."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Final, Literal, get_args
from uuid import UUID
from zoneinfo import available_timezones

import msgspec
from msgspec import Meta, Struct

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Executor
from finpay.formats import MinorUnits, Timestamp
from finpay.ledger.changes import ChangeOrigin, ChangeResult, change_result

Unit = Literal["day", "week", "month"]
Status = Literal["active", "paused", "ended"]
Command = Literal["pause", "resume", "cancel"]
MAX_ACTIVE: Final = 100  # of one user
LEASE_S: Final = 15  # after a worker was killed another one runs what it had leased

_NO_NAMES: Final = frozenset({"localtime", "posixrules", "Factory"})  # files of some systems
_SQL: Final = queries.load("finpay.ledger", "schedules.sql")
_LAST_ID: Final = UUID(int=2**128 - 1)


class Interval(Struct, frozen=True, forbid_unknown_fields=True):
    """`count` days, weeks or months between two occurrences."""

    unit: Unit
    count: Annotated[int, Meta(ge=1, le=365)]


class Schedule(Struct, frozen=True):
    """A transfer that repeats. `runs` counts the occurrences that were tried.

    `next_at` is null unless the schedule is active. `last_failure_code` is that of the last run,
    null if it succeeded.
    """

    id: str
    object: Literal["schedule"]
    status: Annotated[str, Meta(examples=list(get_args(Status)))]
    receiver_id: str
    amount: MinorUnits
    currency: str
    description: str | None
    metadata: dict[str, str]
    start_at: Timestamp
    every: Interval | None
    timezone: str
    until: Timestamp | None
    occurrences: int | None
    next_at: Timestamp | None
    runs: int
    failures_in_a_row: int
    last_transaction_id: str | None
    last_failure_code: str | None
    created_at: Timestamp


class NewSchedule(Struct, frozen=True):
    """A checked schedule: one of `receiver_id` and `receiver_email` is set."""

    receiver_id: UUID | None
    receiver_email: str | None
    amount: int
    currency: str | None
    description: str | None
    metadata: str
    start_at: datetime
    every: Interval | None
    timezone: str
    until: datetime | None
    occurrences: int | None


class DueRun(Struct, frozen=True):
    """An occurrence that is due, and the id of its transaction."""

    account_id: UUID
    id: UUID
    occurrence: int
    transaction_id: UUID


@cache
def timezones() -> frozenset[str]:
    """The names of the IANA database. Reading them takes a tenth of a second."""
    return frozenset(available_timezones() - _NO_NAMES)


async def create(
    database: Database, origin: ChangeOrigin, new: NewSchedule, refusals: Sequence[str]
) -> ChangeResult:
    """`refusals`: the bodies of account_frozen, same_account, receiver_not_found and
    currency_mismatch."""
    every = new.every
    return change_result(
        await database.fetch_one(
            _SQL.create_schedule,
            *origin.arguments(),
            new.receiver_id,
            new.receiver_email,
            new.amount,
            new.currency,
            new.description,
            new.metadata,
            new.start_at,
            every and every.count,
            every and every.unit,
            new.timezone,
            new.until,
            new.occurrences,
            refusals,
        )
    )


async def change(
    database: Database, origin: ChangeOrigin, schedule_id: UUID, command: Command
) -> ChangeResult:
    """Pauses, resumes or cancels."""
    row = await database.fetch_one(
        _SQL.set_schedule_status, *origin.arguments(), schedule_id, command
    )
    return change_result(row)


async def cancel_all(transaction: Executor, origin: ChangeOrigin) -> None:
    """Those of the origin's user that have not ended, in the caller's transaction."""
    user_id, request_id, address, *_ = origin.arguments()
    await transaction.fetch(_SQL.cancel_schedules, user_id, request_id, address)


async def lease(database: Database, most: int) -> list[DueRun]:
    """Due occurrences that no other worker is about to run, the longest due first."""
    rows = await database.fetch(_SQL.lease_schedules, most, LEASE_S)
    return [DueRun(row["account_id"], row["id"], row["occurrence"], ids.new_uuid()) for row in rows]


async def run(database: Database, runs: Sequence[DueRun], refusals: Sequence[str]) -> int:
    """Runs occurrences in one commit; those that were run already are left out. Returns their
    number. `refusals`: see ledger.posting."""
    row = await database.fetch_one(
        _SQL.post_schedule_runs,
        [run.account_id for run in runs],
        [run.id for run in runs],
        [run.occurrence for run in runs],
        [run.transaction_id for run in runs],
        refusals,
    )
    assert row is not None, "a function returns one row"  # noqa: S101
    done: int = row["runs"]
    return done


async def get(database: Database, account_id: UUID, schedule_id: UUID) -> str | None:
    """The schedule as JSON; None for other accounts' schedules."""
    row = await database.fetch_one(_SQL.get_schedule, account_id, schedule_id)
    return None if row is None else row["object"]


async def list_(
    database: Database, account_id: UUID, *, before: UUID | None, limit: int
) -> list[tuple[UUID, msgspec.Raw]]:
    """The account's schedules as ids and JSON, newest first, all before an id."""
    rows = await database.fetch(_SQL.list_schedules, account_id, before or _LAST_ID, limit)
    return [(row["id"], msgspec.Raw(row["object"].encode())) for row in rows]
