"""The audit log within a range of time. Its rows are found by id: the time has no index."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database

DEFAULT_RANGE: Final = timedelta(hours=24)
MAX_RANGE: Final = timedelta(days=31)

_SQL: Final = queries.load("finpay.operators")
_END: Final = 2**63 - 1  # beyond every id: the first page


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of audit.log. `subject` is the kind of what `subject_id` names, `detail` is JSON."""

    id: int
    created_at: datetime
    actor_id: UUID | None
    subject_id: UUID | None
    subject: str
    action: str
    request_id: str | None
    address: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Filters:
    """The range, its end excluded, and what it may be narrowed to; None means everything."""

    created_from: datetime
    created_to: datetime
    action: str | None = None
    actor_id: UUID | None = None
    subject_id: UUID | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """`scanned_to`: the page may be short because no more rows were read than up to here."""

    rows: Sequence[AuditRow]
    scanned_to: int | None = None


async def page(database: Database, *, before: int | None, filters: Filters, limit: int) -> Page:
    """Newest first, at most `limit`, all before an id."""
    bounds = await database.fetch_one(
        _SQL.get_audit_bounds, filters.created_from, filters.created_to
    )
    assert bounds is not None, "a query without FROM returns one row"  # noqa: S101
    ids = _END if before is None else before, bounds["low"], bounds["high"]
    rows = await database.fetch(
        _SQL.list_audit_rows,
        *ids,
        filters.created_from,
        filters.created_to,
        filters.action,
        filters.actor_id,
        filters.subject_id,
        filters.request_id,
        limit,
    )
    found = [AuditRow(*row) for row in rows]
    if len(found) == limit:
        return Page(found)
    scanned = await database.fetch_one(_SQL.get_scanned_audit_row, *ids)
    if scanned is None:
        return Page(found)
    return Page([row for row in found if row.id >= scanned["id"]], scanned["id"])
