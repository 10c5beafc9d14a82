"""Occurrences of schedules as Python computes them: ledger.occurrence is compared with it."""

from calendar import monthrange
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

Unit = Literal["day", "week", "month"]
_DAYS: Final = {"day": 1, "week": 7}


class Interval(Struct, frozen=True):
    """`count` days, weeks or months between two occurrences."""

    unit: Unit
    count: int


class Recurrence(Struct, frozen=True):
    """The start, and what follows it. Without an interval the start is the only occurrence."""

    start_at: datetime
    every: Interval | None
    timezone: str

    def occurrence(self, n: int) -> datetime | None:
        """When occurrence n (from 0) is due, in UTC; None after the last one."""
        if n == 0:
            return self.start_at
        if self.every is None:
            return None
        zone = ZoneInfo(self.timezone)
        local = _add(self.start_at.astimezone(zone).replace(tzinfo=None, fold=0), self.every, n)
        return None if local is None else _to_utc(local, zone)


def _add(local: datetime, every: Interval, n: int) -> datetime | None:
    """A local time n intervals later; None beyond the calendar."""
    if every.unit != "month":
        try:
            return local + timedelta(days=n * every.count * _DAYS[every.unit])
        except OverflowError:
            return None
    years, month = divmod(local.month - 1 + n * every.count, 12)
    year = local.year + years
    if year > MAXYEAR:
        return None
    day = min(local.day, monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day)


def _to_utc(local: datetime, zone: ZoneInfo) -> datetime | None:
    """In UTC: the first of two moments; in a gap, with the offset before it, that after it."""
    try:
        return local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    except OverflowError:
        return None
