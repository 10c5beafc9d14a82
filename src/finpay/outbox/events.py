"""Events read back: pages for their owner, single ones, and many at once for deliveries.

An event of a transaction is built from rows that never change: the transaction, and the account's
own entry or failed transaction with that sequence. Other events have their object in the row.
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
from finpay.ledger.holds import Hold
from finpay.ledger.reads import AccountTransaction
from finpay.ledger.resources import hold, transaction
from finpay.outbox import event_ids
from finpay.outbox.event_types import FREQUENT_TYPES
from finpay.outbox.resources import Event, EventData, EventRequest
from finpay.telemetry import logs

EventKey = tuple[UUID, int]
"""An account and a sequence of its events."""

MAX_DEPTH: Final = 16  # of an event's data; today's types nest three levels

_LOG: Final = logs.get()
_SQL: Final = queries.load("finpay.outbox")
_encode: Final = msgspec.json.Encoder().encode
_END: Final = 2**63 - 1  # above every sequence
_OWN_COLUMNS: Final = 9  # of the event itself; the transaction's and the user's follow
_STEP_COLUMNS: Final = len(AccountTransaction.__slots__)
_USER_COLUMNS: Final = len(models.User.__slots__)
_UNREADABLE: Final = EventData({}, {})


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list; None: all events."""

    types: Sequence[str] | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """`scanned_to`: the page may be short because no more events were read than up to this one."""

    events: Sequence[Event]
    scanned_to: int | None = None


async def list_before(
    database: Executor, account_id: UUID, filters: Filters, *, before: int | None, limit: int
) -> EventPage:
    """Newest first, at most `limit`, all before a sequence."""
    bounds = await _bounds(database, account_id, filters, 0, _END if before is None else before)
    scanned = await _scanned(database, _SQL.get_scanned_before, account_id, bounds, filters)
    after = bounds[0] if scanned is None else scanned - 1
    events = await _list(
        database, _SQL.list_events_before, account_id, (after, bounds[1]), filters, limit=limit
    )
    return EventPage(events, scanned if len(events) < limit else None)


async def list_after(
    database: Executor, account_id: UUID, filters: Filters, *, after: int, limit: int
) -> EventPage:
    """Oldest first, at most `limit`, all after a sequence.

    No event appears later with a lower sequence than one that was read: sequences are assigned
    under the account's lock, which is held until the commit.
    """
    bounds = await _bounds(database, account_id, filters, after, _END)
    scanned = await _scanned(database, _SQL.get_scanned_after, account_id, bounds, filters)
    before = bounds[1] if scanned is None else scanned + 1
    events = await _list(
        database, _SQL.list_events_after, account_id, (bounds[0], before), filters, limit=limit
    )
    return EventPage(events, scanned if len(events) < limit else None)


async def get(database: Executor, account_id: UUID, event_id: UUID) -> Event | None:
    """One event of this account; None for other accounts' events."""
    sequence = event_ids.sequence_of(account_id, event_id)
    if sequence is None:
        return None
    row = await database.fetch_one(_SQL.get_event, account_id, sequence)
    return None if row is None else _event(row)


async def by_keys(database: Executor, keys: Sequence[EventKey]) -> Mapping[EventKey, Event]:
    """The events with these keys, in one statement, without those that retention removed."""
    accounts = [account_id for account_id, _ in keys]
    sequences = [sequence for _, sequence in keys]
    rows = await database.fetch(_SQL.get_events, accounts, sequences)
    return {(row["account_id"], row["sequence"]): _event(row) for row in rows}


def encode_event(event: Event) -> bytes:
    """The event as JSON: the body of GET /events/{id} and of every delivery."""
    return _encode(event)


def is_readable(event: Event) -> bool:
    """False if the event's data could not be decoded, so that its `data.object` is empty."""
    return event.data is not _UNREADABLE


async def _bounds(
    database: Executor, account_id: UUID, filters: Filters, after: int, before: int
) -> tuple[int, int]:
    """The sequences that the page is between, those of the filters' times among them."""
    times = filters.created_from, filters.created_to
    if times == (None, None):
        return after, before
    within = await database.fetch_one(_SQL.get_sequence_range, account_id, *times)
    assert within is not None, "a function with OUT parameters returns one row"  # noqa: S101
    return max(after, within["after"]), min(before, within["before"])


async def _scanned(
    database: Executor, query: str, account_id: UUID, bounds: tuple[int, int], filters: Filters
) -> int | None:
    """How far the page reads; None: to its end. Without types it reads what it shows."""
    if filters.types is None:
        return None
    row = await database.fetch_one(query, account_id, *bounds, _is_frequent(filters))
    return None if row is None else int(row["sequence"])


async def _list(
    database: Executor,
    query: str,
    account_id: UUID,
    bounds: tuple[int, int],
    filters: Filters,
    *,
    limit: int,
) -> list[Event]:
    times = filters.created_from, filters.created_to
    rows = await database.fetch(
        query, account_id, *bounds, filters.types, _is_frequent(filters), *times, limit
    )
    return [_event(row) for row in rows]


def _is_frequent(filters: Filters) -> bool:
    return filters.types is None or not FREQUENT_TYPES.isdisjoint(filters.types)


def _event(row: Record) -> Event:
    account_id, sequence, event_type, created_at, actor_id, request_id, key = row[:7]
    event_id = ids.encode("evt", event_ids.derive(account_id, sequence))
    return Event(
        id=event_id,
        object="event",
        type=event_type,
        created_at=format_timestamp(created_at),
        sequence=sequence,
        data=_data(row, event_id),
        request=None if request_id is None else EventRequest(request_id, key),
        actor=None if actor_id is None else ids.encode("usr", actor_id),
    )


def _data(row: Record, event_id: str) -> EventData:
    """The event's data. One row that can't be decoded must not fail the whole page or claim."""
    try:
        return EventData(_object(row), {} if row["previous"] is None else _decode(row["previous"]))
    except (msgspec.DecodeError, RecursionError) as error:
        _LOG.error("event_unreadable", event_id=event_id, type=row["type"], reason=str(error))
        return _UNREADABLE


def _object(row: Record) -> Any:
    if row["transaction_id"] is not None:
        step = AccountTransaction(*row[_OWN_COLUMNS : _OWN_COLUMNS + _STEP_COLUMNS])
        return transaction(step, row["account_id"])
    user_from = _OWN_COLUMNS + _STEP_COLUMNS
    hold_from = user_from + _USER_COLUMNS
    if row["hold_id"] is not None:
        return hold(Hold(*row[hold_from:]), row["account_id"])
    if row["user_id"] is not None:
        return user(models.User(*row[user_from:hold_from]))
    return _decode(row["data"])


def _decode(text: str) -> Any:
    """DecodeError if the JSON is malformed or nests so deep that readers of events may fail."""
    value = msgspec.json.decode(text, type=dict[str, Any])
    if not _nests_within(value, MAX_DEPTH):
        raise msgspec.DecodeError(f"nested deeper than {MAX_DEPTH}")
    return value


def _nests_within(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    children = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_nests_within(child, depth - 1) for child in children)
