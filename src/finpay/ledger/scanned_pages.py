"""Pages of a list whose filters have no index: no more than 10 000 rows are read for one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar
from uuid import UUID

from finpay.db.pool import Database

LAST_ID: Final = UUID(int=2**128 - 1)  # above every id: the first page


class WithId(Protocol):
    """A row of a list that is ordered by id."""

    @property
    def id(self) -> UUID: ...


Row = TypeVar("Row", bound=WithId)


@dataclass(frozen=True, slots=True)
class ScannedPage(Generic[Row]):
    """`scanned_to`: the page may be short because no more rows were read than up to this id."""

    rows: Sequence[Row]
    scanned_to: UUID | None = None


async def scanned_page(
    database: Database,
    query: str,
    account_id: UUID,
    before: UUID | None,
    rows: Sequence[Row],
    *,
    limit: int,
) -> ScannedPage[Row]:
    """The page of these rows. `query` says how far they were looked for."""
    if len(rows) == limit:
        return ScannedPage(rows)
    row = await database.fetch_one(query, account_id, before or LAST_ID)
    if row is None:
        return ScannedPage(rows)
    # Another row may have come meanwhile: what lies before the position is of the next page.
    return ScannedPage([each for each in rows if each.id >= row["id"]], row["id"])
