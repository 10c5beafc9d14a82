"""Deliveries and their attempts, as the endpoint's owner may see them. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.outbox import event_ids
from finpay.webhooks import redelivery

# A delivery can be retried without end, and an attempt has up to 2 kB of the receiver's answer.
ATTEMPTS_IN_PAGE: Final = 10  # as many as one run of the schedule makes
ATTEMPTS_OF_ONE: Final = 200

_SQL: Final = queries.load("finpay.webhooks", "deliveries.sql")
# The queue's status → the public one, which hides leases; next_attempt_at is that of the retry.
Status = Literal["pending", "delivered", "failed", "canceled"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
_PUBLIC: Final[Mapping[str, Status]] = {
    "pending": "pending",
    "leased": "pending",
    "scheduled": "pending",
    "delivered": "delivered",
    "failed": "failed",
    "canceled": "canceled",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of an endpoint: its answer, or the name of an error."""

    number: int
    started_at: datetime
    duration_ms: int
    http_status: int | None
    error: str | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint. `next_attempt_at` is None once it is finished."""

    id: UUID
    endpoint_id: UUID
    event_id: str
    event_type: str
    status: Status
    attempt_count: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    attempts: Sequence[Attempt]


async def list_(
    database: Database, endpoint_id: UUID, *, status: Status | None, before: UUID | None, limit: int
) -> list[Delivery]:
    """Newest first, before an id, at most `limit`; with their last ATTEMPTS_IN_PAGE attempts."""
    if status == "pending":
        rows = await database.fetch(_SQL.list_pending_deliveries, endpoint_id, before, limit)
    else:
        rows = await database.fetch(_SQL.list_deliveries, endpoint_id, before, status, limit)
    return await _with_attempts(database, rows, ATTEMPTS_IN_PAGE)


async def get(database: Database, user_id: UUID, delivery_id: UUID) -> Delivery | None:
    """One delivery to an endpoint of this user; None for other users' deliveries."""
    row = await database.fetch_one(_SQL.get_delivery, delivery_id, user_id)
    if row is None:
        return None
    (delivery,) = await _with_attempts(database, [row], ATTEMPTS_OF_ONE)
    return delivery


async def _with_attempts(database: Database, rows: Sequence[Record], limit: int) -> list[Delivery]:
    attempts: dict[UUID, list[Attempt]] = {row["id"]: [] for row in rows}
    if rows:
        for delivery_id, *columns in await database.fetch(
            _SQL.list_attempts, list(attempts), limit
        ):
            attempts[delivery_id].append(Attempt(*columns))
    return [_delivery(row, attempts[row["id"]]) for row in rows]


def _delivery(row: Record, attempts: Sequence[Attempt]) -> Delivery:
    status = _PUBLIC[row["status"]]
    return Delivery(
        id=row["id"],
        endpoint_id=row["endpoint_id"],
        event_id=_event_id(row),
        event_type=row["event_type"],
        status=status,
        attempt_count=row["attempts"],
        next_attempt_at=row["due_at"] if status == "pending" else None,
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        attempts=attempts,
    )


def _event_id(row: Record) -> str:
    if row["sequence"] is None:
        return redelivery.ping_id(row["payload"]) or ids.encode("evt", row["id"])
    return ids.encode("evt", event_ids.derive(row["account_id"], row["sequence"]))
