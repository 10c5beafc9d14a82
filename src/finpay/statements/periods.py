"""The period of a statement: days in a time zone, and the moments where it begins and ends."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from finpay.ledger.schedules import timezones

MAX_DAYS: Final = 366

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TICK: Final = timedelta(microseconds=1)  # times of entries have microseconds


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days in a time zone, the last one included."""

    first: date
    last: date
    zone: ZoneInfo

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def opens_after(self) -> datetime:
        """The last moment before the period."""
        return day_start(self.first, self.zone) - _TICK

    @property
    def closes_at(self) -> datetime:
        """The last moment in the period."""
        return day_start(self.last + timedelta(days=1), self.zone) - _TICK


def parse_date(text: str) -> date:
    """`2026-01-31`. ValueError for anything else."""
    try:
        if _DATE.fullmatch(text) is None:
            raise ValueError
        found = date.fromisoformat(text)
    except ValueError:
        raise ValueError("Expected a date such as 2026-01-31.") from None
    # The days around it exist in every time zone.
    if not 1 < found.year < 9999:
        raise ValueError("Expected a date of the years 2 to 9998.")
    return found


def parse_zone(text: str) -> ZoneInfo:
    """A time zone of IANA. ValueError for anything else."""
    if text not in timezones():
        raise ValueError("Expected a time zone of IANA such as Africa/Johannesburg.")
    return ZoneInfo(text)


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of a day, in UTC.

    Where clocks go forward at midnight, 00:00 is missing: read with the offset before the change
    it is the moment of the change. Where midnight occurs twice, it is the first one.
    """
    return datetime.combine(day, time(), zone).astimezone(UTC)
