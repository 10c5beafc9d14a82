"""What the owner of an endpoint may ask for: one delivery once more, a range of events, a ping.

All of them only queue; a worker delivers. A delivery keeps its id and its attempts, its schedule
begins anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.errors import validation_failed
from finpay.formats import format_timestamp
from finpay.outbox.events import encode_event
from finpay.outbox.resources import Event, EventData, EventRequest
from finpay.webhooks import endpoints

PING: Final = "webhook_endpoint.ping"
CHUNK: Final = 5_000  # rows per statement: well within its time limit
MAX_REPLAY: Final = 100_000  # events per request; more of them are a range of their own

_SQL: Final = queries.load("finpay.webhooks", "redelivery.sql")


@dataclass(frozen=True, slots=True)
class ReplayRange:
    """Events that happened from `since` (inclusive) to `until` (exclusive; None: now).

    `only_failed`: those whose delivery did not succeed, instead of all that match the endpoint.
    """

    since: datetime
    until: datetime | None = None
    only_failed: bool = False


async def retry(database: Database, user_id: UUID, delivery_id: UUID) -> bool:
    """One delivery now, whatever became of it. False if it is not this user's.

    One that a worker holds at this moment is left to it. FinPayError (422) if the endpoint is
    disabled, as nothing would be sent.
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
    """Queues every event of the range that matches the endpoint; how many. None: not this user's.

    Also those that happened before the endpoint was there, or while it was disabled, unless
    `only_failed`. At most MAX_REPLAY, the oldest first. FinPayError (422) if it is disabled.
    """
    endpoint = await database.fetch_one(_SQL.get_endpoint, endpoint_id, user_id)
    if endpoint is None:
        return None
    _check_enabled(endpoint)
    edges = await database.fetch_one(
        _SQL.get_sequence_range, endpoint["account_id"], wanted.since, wanted.until
    )
    assert edges is not None  # noqa: S101  a function answers a row
    query = _SQL.replay_failed_events if wanted.only_failed else _SQL.replay_events
    queued, after = 0, edges["after"]
    for _ in range(MAX_REPLAY // CHUNK):
        row = await database.fetch_one(
            query, endpoint_id, after, edges["before"], wanted.since, edges["until"], CHUNK
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
    """The id of a delivery that only says hello. None if the endpoint is not this user's.

    FinPayError (422) if it is disabled. The ping is no event: it is in no list and has no number.
    """
    endpoint = await database.fetch_one(_SQL.get_endpoint, endpoint_id, user_id)
    if endpoint is None:
        return None
    _check_enabled(endpoint)
    row = await database.fetch_one(_SQL.get_now)
    assert row is not None  # noqa: S101
    event = Event(
        id=ids.encode("evt", ids.new_uuid()),
        object="event",
        type=PING,
        created_at=format_timestamp(row["now"]),
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


def _check_enabled(row: Mapping[str, Any] | Record) -> None:
    if not row["enabled"]:
        raise validation_failed("The endpoint is disabled: enable it first.")
