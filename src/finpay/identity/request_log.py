"""The log of requests that their users read: GET /requests.

Each process keeps requests for FLUSH_S and writes them with one statement: at most MAX_ROWS, of one
user at most MAX_ROWS_PER_USER. What arrives beyond that is not logged, so the log costs transfers
nothing that grows with their number. Rows that are not written yet are lost with their process.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct

from finpay.db import queries
from finpay.db.pool import Database, Record, Unavailable
from finpay.identity.access_tokens import Principal
from finpay.telemetry import logs

FLUSH_S: Final = 1.0
MAX_ROWS: Final = 100
MAX_ROWS_PER_USER: Final = 20
KEPT_DAYS: Final = 7
MAX_DURATION_US: Final = 2**31 - 1  # half an hour, which a slow reader of a statement can exceed

_SQL: Final = queries.load("finpay.identity", "request_log.sql")
_LOG: Final = logs.get()


class LoggedRequest(Struct, frozen=True):
    """A request of a user. `number` orders those of one moment; one of the two ids is None."""

    number: int
    session_id: UUID | None
    api_key_id: UUID | None
    created_at: datetime
    duration_us: int
    status: int
    request_id: str
    method: str
    route: str
    code: str | None


class RequestLog:
    """Of one process: an async context manager, whose end writes what is left."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: list[tuple[object, ...]] = []
        self._per_user: Counter[UUID] = Counter()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep_flushing())

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self.flush()

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
        """Keeps a request that was just answered, unless the bounds are reached."""
        if len(self._rows) >= MAX_ROWS or self._per_user[principal.user_id] >= MAX_ROWS_PER_USER:
            return
        self._per_user[principal.user_id] += 1
        is_key = principal.scopes is not None
        self._rows.append(
            (
                principal.user_id,
                None if is_key else principal.session_id,
                principal.session_id if is_key else None,
                datetime.now(UTC) - timedelta(seconds=duration_s),
                min(int(duration_s * 1_000_000), MAX_DURATION_US),
                status,
                request_id,
                method,
                route,
                code,
            )
        )

    async def flush(self) -> None:
        """Writes what was kept. Nothing is kept for a database that is away."""
        rows, self._rows = self._rows, []
        self._per_user.clear()
        if not rows:
            return
        try:
            await self._database.execute(_SQL.insert_requests, *map(list, zip(*rows, strict=True)))
        except Unavailable:
            _LOG.debug("requests_not_logged", number=len(rows))

    async def list_(
        self, user_id: UUID, before: tuple[datetime, int] | None, limit: int
    ) -> Sequence[LoggedRequest]:
        """Newest first, all before a position: a moment and a number."""
        moment, number = before or (None, None)
        rows = await self._database.fetch(
            _SQL.list_requests, user_id, moment, number, KEPT_DAYS, limit
        )
        return [_logged(row) for row in rows]

    async def get(self, user_id: UUID, request_id: str) -> LoggedRequest | None:
        """One request of the user; None for others', and once it is older than KEPT_DAYS."""
        row = await self._database.fetch_one(_SQL.get_request, user_id, request_id, KEPT_DAYS)
        return None if row is None else _logged(row)

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except Exception:  # noqa: BLE001  the next flush may succeed
                _LOG.exception("requests_not_logged")


def _logged(row: Record) -> LoggedRequest:
    return LoggedRequest(*row)
