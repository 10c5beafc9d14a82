"""Owner-requested deliveries: retry one, replay a range of events, ping an endpoint.

They enqueue; a worker delivers. A delivery keeps its id and its attempts, and its retry schedule
starts anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Record, Transaction
from finpay.errors import Code, FinPayError, validation_failed
from finpay.formats import format_timestamp
from finpay.outbox.events import encode_event
from finpay.outbox.resources import Event, EventData, EventRequest
from finpay.webhooks import endpoints

PING: Final = "webhook_endpoint.ping"
CHUNK: Final = 5_000  # rows per statement: well within its time limit
MAX_REPLAY: Final = 50_000  # events per request: 1.5 s in one transaction, whose limit is 4 s

_SQL: Final = queries.load("finpay.webhooks", "redelivery.sql")


@dataclass(frozen=True, slots=True)
class ReplayRange:
    """Events from `since` (inclusive) to `until` (exclusive; None: now).

    `only_failed`: only events whose delivery did not succeed, instead of all that match the
    endpoint.
    """

    since: datetime
    until: datetime | None = None
    only_failed: bool = False


async def retry(database: Database, user_id: UUID, delivery_id: UUID) -> bool:
    """Makes one delivery pending, whatever its status. False if it is not this user's.

    A leased delivery stays with its worker. FinPayError (422) if the endpoint is disabled.
    """
    row = await database.fetch_one(_SQL.get_delivery, delivery_id, user_id)
    if row is None:
        return False
    _check_enabled(row)
    await database.execute(_SQL.retry_delivery, delivery_id)
    return True


async def replay(
    database: Database, user_id: UUID, endpoint_id: UUID, wanted: ReplayRange
) -> int | None:
    """Enqueues the events of the range that match the endpoint. Returns their number; None if the
    endpoint is not this user's.

    Includes events from before the endpoint existed or while it was disabled, unless `only_failed`.
    At most MAX_REPLAY, the oldest first. FinPayError (422) if the endpoint is disabled, (409
    replay_in_progress) while another replay of it runs.
    """
    endpoint = await database.fetch_one(_SQL.get_endpoint, endpoint_id, user_id)
    if endpoint is None:
        return None
    _check_enabled(endpoint)
    async with database.transaction() as transaction:
        lock = await transaction.fetch_one(_SQL.lock_replay, endpoint_id)
        if lock is None or not lock["locked"]:
            raise FinPayError(
                Code.REPLAY_IN_PROGRESS,
                "Another replay of this endpoint is running. Send this one when it has answered.",
            )
        return await _enqueue(transaction, endpoint, wanted)


async def _enqueue(transaction: Transaction, endpoint: Record, wanted: ReplayRange) -> int:
    bounds = await transaction.fetch_one(
        _SQL.get_sequence_range, endpoint["account_id"], wanted.since, wanted.until
    )
    assert bounds is not None  # noqa: S101  a function returns a row
    query = _SQL.replay_failed_events if wanted.only_failed else _SQL.replay_events
    queued, after = 0, bounds["after"]
    for _ in range(MAX_REPLAY // CHUNK):
        row = await transaction.fetch_one(
            query, endpoint["id"], after, bounds["before"], wanted.since, bounds["until"], CHUNK
        )
        assert row is not None  # noqa: S101  an aggregate has one row
        queued += row["queued"]
        if row["seen"] < CHUNK:
            break
        after = row["last"]
    return queued


async def ping(
    database: Database, user_id: UUID, endpoint_id: UUID, request_id: str
) -> UUID | None:
    """The id of a new delivery of a test event. None if the endpoint is not this user's.

    FinPayError (422) if it is disabled. A ping is not in the list of events and has no sequence.
    """
    endpoint = await database.fetch_one(_SQL.get_endpoint, endpoint_id, user_id)
    if endpoint is None:
        return None
    _check_enabled(endpoint)
    event = Event(
        id=ids.encode("evt", ids.new_uuid()),
        object="event",
        type=PING,
        created_at=format_timestamp(endpoint["now"]),
        sequence=0,
        data=EventData(endpoints.event_resource(endpoint), {}),
        request=EventRequest(request_id, None),
        actor=ids.encode("usr", user_id),
    )
    delivery_id = ids.new_uuid()
    await database.execute(
        _SQL.insert_ping,
        delivery_id,
        endpoint_id,
        endpoint["account_id"],
        PING,
        encode_event(event).decode(),
    )
    return delivery_id


def ping_id(payload: str) -> str | None:
    """The event id in a ping's body; None if the body can't be decoded."""
    try:
        return msgspec.json.decode(payload, type=_Ping).id
    except (msgspec.DecodeError, RecursionError):
        return None


class _Ping(msgspec.Struct):
    id: str


def _check_enabled(row: Mapping[str, Any] | Record) -> None:
    if not row["enabled"]:
        raise validation_failed("The endpoint is disabled: enable it first.")
