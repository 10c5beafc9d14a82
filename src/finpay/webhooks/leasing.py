"""Claims: which deliveries a worker leases, in short transactions.

Claims visit the endpoints in rounds. No endpoint has more deliveries leased than its limit, counted
over all workers, and no owner more than a share of each worker. So a receiver that hangs keeps only
its own few leases, and a backlog of a million deliveries is stepped over.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.outbox import events
from finpay.outbox.resources import Event
from finpay.webhooks import redelivery
from finpay.webhooks.messages import CancelReason, Message

ENDPOINTS_PER_CLAIM: Final = 128  # a claim takes a few milliseconds, however many are ready
FAILING_AFTER: Final = 10  # failures in a row: no coincidence
FAILING_LIMIT: Final = 2  # enough to notice a recovery; a hundred failing endpoints fill no worker
CANCELED_PER_CLAIM: Final = 1_000
FIRST: Final = UUID(int=0)

_SQL: Final = queries.load("finpay.webhooks")


@dataclass(frozen=True, slots=True)
class Lease:
    """One delivery that this worker has to attempt, or to cancel if it has no message.

    `retry_index` counts the attempts before this one; `failing`: the endpoint's last one failed.
    """

    id: UUID
    endpoint_id: UUID
    owner_id: UUID
    event_type: str
    retry_index: int
    failing: bool
    message: Message | CancelReason


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many deliveries a claim may lease: the worker's `free` leases, and the limits.

    `max_per_endpoint` counts all workers. `max_per_owner` counts this one, which has `in_flight`.
    """

    free: int
    max_per_endpoint: int
    max_per_owner: int
    in_flight: Mapping[UUID, int]


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """`after` is the endpoint behind which the next claim begins; FIRST: the round is complete.

    `more`: deliveries may be left, for lack of capacity or because another worker had the endpoint
    locked. `canceled`: some were canceled, for disabled endpoints.
    """

    leases: Sequence[Lease]
    after: UUID
    more: bool
    canceled: bool


async def claim(
    database: Database, worker_id: UUID, *, after: UUID, capacity: Capacity
) -> ClaimResult:
    """Leases deliveries of the next ENDPOINTS_PER_CLAIM endpoints with any, within capacity."""
    ready = await _ready(database, after)
    if not ready and after != FIRST:
        ready = await _ready(database, FIRST)
    if not ready:
        return ClaimResult([], FIRST, more=False, canceled=False)
    fair_share = max(1, capacity.free // len(ready))
    async with database.transaction() as transaction:
        locked = await transaction.fetch(_SQL.lock_endpoints, ready)
        enabled = {row["id"]: row for row in locked if row["enabled"]}
        disabled = [row["id"] for row in locked if not row["enabled"]]
        limits = [_limit(row, capacity) for row in enabled.values()]
        quotas = _quotas(list(enabled.values()), capacity, fair_share)
        rows = await transaction.fetch(
            _SQL.lease_deliveries, list(enabled), limits, worker_id, capacity.free, quotas
        )
        if disabled:
            await transaction.execute(_SQL.cancel_deliveries, disabled, CANCELED_PER_CLAIM)
    leases = await _with_messages(database, rows, enabled)
    leased = Counter(row["endpoint_id"] for row in rows)
    # An endpoint that got all that it may have can have more deliveries pending.
    more = len(locked) < len(ready) or any(
        leased[row["id"]] >= min(quota, limit - row["leased"])
        for row, limit, quota in zip(enabled.values(), limits, quotas, strict=True)
    )
    next_after = _next(ready, rows, capacity.free)
    return ClaimResult(leases, next_after, more=more, canceled=bool(disabled))


async def _ready(database: Database, after: UUID) -> list[UUID]:
    rows = await database.fetch(_SQL.list_ready_endpoints, after, ENDPOINTS_PER_CLAIM)
    return [row["id"] for row in rows]


def _next(ready: Sequence[UUID], rows: Sequence[Record], free: int) -> UUID:
    """Behind the last endpoint that was served, so that the next claim begins with the others."""
    if len(rows) >= free:
        served = {row["endpoint_id"] for row in rows}
        return max(key for key in ready if key in served)
    return ready[-1] if len(ready) == ENDPOINTS_PER_CLAIM else FIRST


def _limit(endpoint: Record, capacity: Capacity) -> int:
    failing = endpoint["failures_in_row"] >= FAILING_AFTER
    return min(capacity.max_per_endpoint, FAILING_LIMIT) if failing else capacity.max_per_endpoint


def _quotas(endpoints: Sequence[Record], capacity: Capacity, fair_share: int) -> list[int]:
    """How many deliveries of each endpoint this claim may lease: the owner's share, divided."""
    left = Counter(row["user_id"] for row in endpoints)
    free = {owner: capacity.max_per_owner - capacity.in_flight.get(owner, 0) for owner in left}
    quotas = []
    for row in endpoints:
        owner = row["user_id"]
        quota = min(fair_share, max(0, -(-free[owner] // left[owner])))
        free[owner] -= quota
        left[owner] -= 1
        quotas.append(quota)
    return quotas


async def _with_messages(
    database: Database, rows: Sequence[Record], endpoints: Mapping[UUID, Record]
) -> list[Lease]:
    keys = [(row["account_id"], row["sequence"]) for row in rows if row["sequence"] is not None]
    found = await events.by_keys(database, keys) if keys else {}
    return [
        _lease(row, endpoints[row["endpoint_id"]], found.get((row["account_id"], row["sequence"])))
        for row in rows
    ]


def _lease(row: Record, endpoint: Record, event: Event | None) -> Lease:
    content = _content(row["payload"], event)
    return Lease(
        row["id"],
        endpoint["id"],
        endpoint["user_id"],
        row["event_type"],
        row["retry_index"],
        endpoint["failures_in_row"] > 0,
        content if isinstance(content, str) else _message(endpoint, *content),
    )


def _message(endpoint: Record, event_id: str, body: bytes) -> Message:
    return Message(
        endpoint["id"], endpoint["user_id"], endpoint["url"], event_id, body, endpoint["secrets"]
    )


def _content(payload: str | None, event: Event | None) -> tuple[str, bytes] | CancelReason:
    """The event's id and body. A ping has its body in the delivery."""
    if payload is not None:
        ping_id = redelivery.ping_id(payload)
        return "event_unreadable" if ping_id is None else (ping_id, payload.encode())
    if event is None:
        return "event_missing"
    if not events.is_readable(event):
        return "event_unreadable"
    return event.id, events.encode_event(event)
