"""Events read back: pages for their owner, single ones, and many at once for the deliveries.

A transaction's event is made when it is read, from rows that never change: the transaction, and the
account's own entry or failure at that number. Other events carry what they tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Executor, Record
from finpay.formats import format_timestamp
from finpay.identity import models
from finpay.identity.resources import user
from finpay.ledger.reads import AccountTransaction
from finpay.ledger.resources import transaction
from finpay.outbox import event_ids
from finpay.outbox.event_types import COMMON_TYPE
from finpay.outbox.resources import Event, EventData, EventRequest

EventKey = tuple[UUID, int]
"""An account and a number of its sequence."""

_SQL: Final = queries.load("finpay.outbox")
_encode: Final = msgspec.json.Encoder().encode
_END: Final = 2**63 - 1  # beyond every number
_OWN_COLUMNS: Final = 9  # of the event itself; those of its transaction and of its user follow
_STEP_COLUMNS: Final = len(AccountTransaction.__slots__)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of events may be narrowed to; None means everything."""

    types: Sequence[str] | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


async def newest(
    database: Executor, account_id: UUID, filters: Filters, *, before: int | None, limit: int
) -> list[Event]:
    """Newest first, at most `limit`, all before a number."""
    bounds = 0, _END if before is None else before
    return await _page(database, _SQL.list_events_before, account_id, bounds, filters, limit=limit)


async def following(
    database: Executor, account_id: UUID, filters: Filters, *, after: int, limit: int
) -> list[Event]:
    """Oldest first, at most `limit`, all after a number.

    Nothing appears later behind a number that was read: an account's numbers are taken under its
    lock, which is held until their commit.
    """
    bounds = after, _END
    return await _page(database, _SQL.list_events_after, account_id, bounds, filters, limit=limit)


async def one(database: Executor, account_id: UUID, event_id: UUID) -> Event | None:
    """One event of this account; None for everybody else's."""
    sequence = event_ids.sequence_of(account_id, event_id)
    if sequence is None:
        return None
    row = await database.fetch_one(_SQL.get_event, account_id, sequence)
    return None if row is None else _event(row)


async def by_places(database: Executor, places: Sequence[EventKey]) -> Mapping[EventKey, Event]:
    """The events that are at these places, in one statement. Those pruned meanwhile are missing."""
    accounts = [account_id for account_id, _ in places]
    sequences = [sequence for _, sequence in places]
    rows = await database.fetch(_SQL.get_events, accounts, sequences)
    return {(row["account_id"], row["sequence"]): _event(row) for row in rows}


def encode_event(event: Event) -> bytes:
    """The event as JSON: the body of GET /events/{id} and of every delivery."""
    return _encode(event)


async def _page(
    database: Executor,
    query: str,
    account_id: UUID,
    bounds: tuple[int, int],
    filters: Filters,
    *,
    limit: int,
) -> list[Event]:
    after, before = bounds
    times = filters.created_from, filters.created_to
    if times != (None, None):
        within = await database.fetch_one(_SQL.get_sequence_range, account_id, *times)
        assert within is not None, "a function with OUT parameters answers one row"  # noqa: S101
        after, before = max(after, within["after"]), min(before, within["before"])
    types = filters.types
    every = types is None or COMMON_TYPE in types
    rows = await database.fetch(query, account_id, after, before, types, every, *times, limit)
    return [_event(row) for row in rows]


def _event(row: Record) -> Event:
    account_id, sequence, kind, created_at, actor_id, request_id, key, _, previous = row[
        :_OWN_COLUMNS
    ]
    return Event(
        id=ids.encode("evt", event_ids.derive(account_id, sequence)),
        object="event",
        type=kind,
        created_at=format_timestamp(created_at),
        sequence=sequence,
        data=EventData(_subject(row), {} if previous is None else msgspec.json.decode(previous)),
        request=None if request_id is None else EventRequest(request_id, key),
        actor=None if actor_id is None else ids.encode("usr", actor_id),
    )


def _subject(row: Record) -> Any:
    """The object that the event is about."""
    if row["transaction_id"] is not None:
        step = AccountTransaction(*row[_OWN_COLUMNS : _OWN_COLUMNS + _STEP_COLUMNS])
        return transaction(step, row["account_id"])
    if row["user_id"] is not None:
        return user(models.User(*row[_OWN_COLUMNS + _STEP_COLUMNS :]))
    return msgspec.json.decode(row["data"])
