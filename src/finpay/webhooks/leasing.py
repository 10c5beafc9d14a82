"""What a worker takes upon itself: a share of every endpoint's queue, leased in short transactions.

Endpoints are visited in turns, and none gets more than its bound, counted over all workers. So a
receiver that hangs holds its own few places, and its million rows that wait are stepped over.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from finpay.db import queries
from finpay.db.pool import Database, Record
from finpay.outbox import events
from finpay.webhooks.sender import Message

ENDPOINTS_PER_TURN: Final = 128  # keeps a claim at a few milliseconds, however many are ready
FAILING_AFTER: Final = 10  # failures in a row; chance does that to nobody whose receiver works
FAILING_PLACES: Final = 2  # enough to see that it came back; a hundred such fill no worker
CANCELED_PER_TURN: Final = 1_000
FIRST: Final = UUID(int=0)

_SQL: Final = queries.load("finpay.webhooks")


@dataclass(frozen=True, slots=True)
class Lease:
    """One delivery that is ours to make. `message` None: its event is no longer there.

    `step` counts the attempts before this one, `failing` whether the endpoint's last one failed.
    """

    id: UUID
    endpoint_id: UUID
    step: int
    failing: bool
    message: Message | None


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """What one claim brought.

    `after` is where the next goes on; FIRST: all were visited. `more`: there may be deliveries that
    we did not take, for want of places or because another worker was there. `canceled`: some were
    for disabled endpoints.
    """

    leases: Sequence[Lease]
    after: UUID
    more: bool
    canceled: bool


async def claim(
    database: Database, worker_id: UUID, *, after: UUID, places: int, bound: int
) -> ClaimResult:
    """Leases at most `places` deliveries, at most `bound` of each endpoint over all workers."""
    ready = await _ready(database, after)
    if not ready and after != FIRST:
        ready = await _ready(database, FIRST)
    if not ready:
        return ClaimResult([], FIRST, more=False, canceled=False)
    share = max(1, places // len(ready))
    async with database.transaction() as transaction:
        locked = await transaction.fetch(_SQL.lock_endpoints, ready)
        enabled = {row["id"]: row for row in locked if row["enabled"]}
        gone = [row["id"] for row in locked if not row["enabled"]]
        rooms = [_room(row, bound) for row in enabled.values()]
        taken = await transaction.fetch(
            _SQL.lease_deliveries, list(enabled), rooms, worker_id, places, share
        )
        if gone:
            await transaction.execute(_SQL.cancel_deliveries, gone, CANCELED_PER_TURN)
    leases = await _with_messages(database, taken, enabled)
    got = Counter(row["endpoint_id"] for row in taken)
    # Who has as many as it may have may have more behind them.
    more = len(locked) < len(ready) or any(
        got[key] >= min(share, room - row["leased"])
        for (key, row), room in zip(enabled.items(), rooms, strict=True)
    )
    return ClaimResult(leases, _next(ready, taken, places), more=more, canceled=bool(gone))


async def _ready(database: Database, after: UUID) -> list[UUID]:
    rows = await database.fetch(_SQL.list_ready_endpoints, after, ENDPOINTS_PER_TURN)
    return [row["id"] for row in rows]


def _next(ready: Sequence[UUID], taken: Sequence[Record], places: int) -> UUID:
    """Behind the last endpoint that had its turn, so that the next claim begins with the others."""
    if len(taken) >= places:
        served = {row["endpoint_id"] for row in taken}
        return max(key for key in ready if key in served)
    return ready[-1] if len(ready) == ENDPOINTS_PER_TURN else FIRST


def _room(endpoint: Record, bound: int) -> int:
    return min(bound, FAILING_PLACES) if endpoint["failures_in_row"] >= FAILING_AFTER else bound


async def _with_messages(
    database: Database, rows: Sequence[Record], endpoints: dict[UUID, Record]
) -> list[Lease]:
    places = [(row["account_id"], row["sequence"]) for row in rows if row["sequence"] is not None]
    told = await events.by_places(database, places) if places else {}
    leases = []
    for row in rows:
        endpoint = endpoints[row["endpoint_id"]]
        event = told.get((row["account_id"], row["sequence"]))
        message: Message | None = None
        if row["payload"] is not None:
            message = _message(endpoint, _name(row["payload"]), row["payload"].encode())
        elif event is not None:
            message = _message(endpoint, event.id, events.encode_event(event))
        leases.append(
            Lease(row["id"], endpoint["id"], row["step"], endpoint["failures_in_row"] > 0, message)
        )
    return leases


def _message(endpoint: Record, name: str, body: bytes) -> Message:
    return Message(endpoint["id"], endpoint["url"], name, body, endpoint["secrets"])


class _Named(msgspec.Struct):
    """As much of a ping as names it."""

    id: str


def _name(payload: str) -> str:
    return msgspec.json.decode(payload, type=_Named).id
