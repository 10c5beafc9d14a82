"""What became of deliveries, as the endpoint's owner may see it. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

import msgspec

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.outbox import event_ids

# A delivery that its owner asked for again and again has no end of attempts. A page shows as many
# as one run of the schedule makes, a single delivery as many as anybody reads: with answers of 2 kB
# neither grows beyond a few megabytes.
ATTEMPTS_IN_PAGE: Final = 10
ATTEMPTS_OF_ONE: Final = 200

_SQL: Final = queries.load("finpay.webhooks", "deliveries.sql")
# A state of the queue → its public name: who holds a delivery is nobody's business, and when it is
# tried next stands beside it.
Status = Literal["pending", "delivered", "failed", "canceled"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
_PUBLIC: Final[Mapping[str, Status]] = {
    "pending": "pending",
    "leased": "pending",
    "waiting": "pending",
    "delivered": "delivered",
    "failed": "failed",
    "canceled": "canceled",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of an endpoint: an answer, or an error by name."""

    number: int
    started_at: datetime
    duration_ms: int
    http_status: int | None
    error: str | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint. `next_attempt_at` is None once it has ended."""

    id: UUID
    endpoint_id: UUID
    event_id: str
    event_type: str
    status: Status
    attempt_count: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    attempts: Sequence[Attempt] = ()


async def page(
    database: Database, endpoint_id: UUID, *, status: Status | None, before: UUID | None, limit: int
) -> list[Delivery]:
    """Newest first, at most `limit`, all before an id. Each with its last attempts."""
    if status == "pending":
        rows = await database.fetch(_SQL.list_pending_deliveries, endpoint_id, before, limit)
    else:
        rows = await database.fetch(_SQL.list_deliveries, endpoint_id, before, status, limit)
    return await _with_attempts(database, rows, ATTEMPTS_IN_PAGE)


async def one(database: Database, user_id: UUID, delivery_id: UUID) -> Delivery | None:
    """One delivery to an endpoint of this user; None for everybody else's."""
    row = await database.fetch_one(_SQL.get_delivery, delivery_id, user_id)
    if row is None:
        return None
    (delivery,) = await _with_attempts(database, [row], ATTEMPTS_OF_ONE)
    return delivery


async def _with_attempts(database: Database, rows: Sequence[Record], limit: int) -> list[Delivery]:
    made: dict[UUID, list[Attempt]] = {row["id"]: [] for row in rows}
    if made:
        for delivery_id, *columns in await database.fetch(_SQL.list_attempts, list(made), limit):
            made[delivery_id].append(Attempt(*columns))
    return [replace(_delivery(row), attempts=made[row["id"]]) for row in rows]


def _delivery(row: Record) -> Delivery:
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
    )


class _Named(msgspec.Struct):
    """As much of a payload as names its event."""

    id: str


def _event_id(row: Record) -> str:
    if row["sequence"] is None:
        return msgspec.json.decode(row["payload"], type=_Named).id
    return ids.encode("evt", event_ids.derive(row["account_id"], row["sequence"]))
