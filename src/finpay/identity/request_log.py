"""The requests of each user of the last seven days. No bodies, no addresses.

A request only appends to a list. Once a second the list is written in one statement, without
waiting for the disk. A process keeps at most MAX_KEPT successes and as many failures a second: a
busier one logs a sample, so that the log never takes more than a fixed share of its time. Measured:
3 µs for a request that is kept, 0.5 µs for one that is not, 0.3 ms to prepare the statement of a
second.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Unavailable
from finpay.identity.access_tokens import Principal
from finpay.telemetry import logs

MAX_KEPT: Final = 50  # a second and process, of successes and of failures: 1 ms to write
FLUSH_PAUSE_S: Final = 1.0
PRUNED_AT_ONCE: Final = 5_000

_LOG: Final = logs.get()
_SQL: Final = queries.load("finpay.identity", "request_log.sql")
_LAST: Final = UUID(int=2**128 - 1)  # above every id: the first page


class _Kept(NamedTuple):
    principal: Principal
    request_id: str
    method: str
    route: str
    status: int
    code: str | None
    duration_s: float
    at_s: float


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request. `credential_id` is the session or, with `is_api_key`, the key."""

    id: UUID
    credential_id: UUID
    created_at: datetime
    duration_ms: int
    status: int
    is_api_key: bool
    method: str
    route: str
    code: str | None
    request_id: str


class RequestLog:
    """One per process. Requests that can't be written are dropped."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._successes: list[_Kept] = []
        self._failures: list[_Kept] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Writes what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._flush_safely()

    def add(
        self,
        principal: Principal,
        *,
        request_id: str,
        method: str,
        route: str,
        status: int,
        code: str | None,
        duration_s: float,
    ) -> None:
        """On the path of every request: it keeps what it is given, or nothing."""
        kept = self._failures if status >= 400 else self._successes
        if len(kept) < MAX_KEPT:
            kept.append(
                _Kept(principal, request_id, method, route, status, code, duration_s, time.time())
            )

    async def flush(self) -> None:
        kept = self._successes + self._failures
        self._successes, self._failures = [], []
        if kept:
            await self._database.execute(_SQL.insert_requests, *_columns(kept))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_PAUSE_S)
            await self._flush_safely()

    async def _flush_safely(self) -> None:
        try:
            await self.flush()
        except Unavailable:
            return  # the health monitor tells of it
        except Exception:  # noqa: BLE001  the next second is logged again
            _LOG.exception("unhandled_exception")


async def page(
    database: Database, user_id: UUID, *, before: UUID | None, limit: int
) -> Sequence[LoggedRequest]:
    """Newest first, at most `limit`, all before an id."""
    rows = await database.fetch(_SQL.list_requests, user_id, before or _LAST, limit)
    return [LoggedRequest(*row) for row in rows]


async def get(database: Database, user_id: UUID, request_id: UUID) -> LoggedRequest | None:
    """One request of the user."""
    row = await database.fetch_one(_SQL.get_request, user_id, request_id)
    return None if row is None else LoggedRequest(*row)


async def prune(database: Database) -> int:
    """Deletes requests older than seven days, in commits of their own."""
    deleted = 0
    while True:
        rows = await database.fetch(_SQL.delete_old_requests, PRUNED_AT_ONCE)
        deleted += len(rows)
        if len(rows) < PRUNED_AT_ONCE:
            return deleted


def _columns(kept: Sequence[_Kept]) -> tuple[list[object], ...]:
    """The arrays of insert_requests."""
    rows: list[tuple[object, ...]] = [
        (
            each.principal.user_id,
            _id(each.request_id),
            each.principal.session_id,
            datetime.fromtimestamp(each.at_s, UTC),
            round(each.duration_s * 1000),
            each.status,
            each.principal.scopes is not None,
            each.method,
            each.route,
            each.code,
            each.request_id,
        )
        for each in kept
    ]
    return tuple(list(column) for column in zip(*rows, strict=True))


def _id(request_id: str) -> UUID:
    try:
        return ids.decode("req", request_id)
    except ids.MalformedId:
        return ids.new_uuid()
