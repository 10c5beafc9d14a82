"""Days of statements in time zones: where each begins, whatever its clocks do."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from finpay.statements.periods import Period, day_start, parse_date, parse_zone

DAYS = [
    ("UTC", "2026-01-01", "2026-01-01T00:00Z", 24),
    ("Africa/Johannesburg", "2026-03-29", "2026-03-28T22:00Z", 24),
    ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00Z", 23),
    ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00Z", 25),
    ("America/New_York", "2026-03-08", "2026-03-08T05:00Z", 23),
    ("America/New_York", "2026-11-01", "2026-11-01T04:00Z", 25),
    ("Asia/Kathmandu", "2026-06-01", "2026-05-31T18:15Z", 24),
    ("Asia/Kolkata", "2026-06-01", "2026-05-31T18:30Z", 24),
    ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00Z", 24.5),
    ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30Z", 23.5),
    ("Pacific/Kiritimati", "2026-01-01", "2025-12-31T10:00Z", 24),
    ("Pacific/Pago_Pago", "2026-01-01", "2026-01-01T11:00Z", 24),
    ("Pacific/Chatham", "2026-09-27", "2026-09-26T11:15Z", 23),
    # Midnight is missing: the day begins at 01:00.
    ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00Z", 23),
    ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00Z", 23),
    ("America/Santiago", "2026-09-06", "2026-09-06T04:00Z", 23),
    # Midnight occurs twice: the day begins with the first.
    ("America/Havana", "2026-11-01", "2026-11-01T04:00Z", 25),
    # The last hour of the day before occurs twice.
    ("America/Santiago", "2026-04-05", "2026-04-05T04:00Z", 24),
    ("America/Santiago", "2026-04-04", "2026-04-04T03:00Z", 25),
    # The day was left out.
    ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00Z", 0),
]


@pytest.mark.contract("11.4.1")
@pytest.mark.parametrize(("name", "day", "start", "hours"), DAYS)
def test_day_begins_at_its_first_moment_and_ends_before_the_next(
    name: str, day: str, start: str, hours: float
) -> None:
    one = date.fromisoformat(day)
    period = Period(one, one, ZoneInfo(name))
    tick = timedelta(microseconds=1)
    assert day_start(one, period.zone) == datetime.fromisoformat(start)
    assert period.opens_after + tick == datetime.fromisoformat(start)
    assert period.closes_at - period.opens_after == timedelta(hours=hours)


@pytest.mark.parametrize("name", sorted({row[0] for row in DAYS}))
def test_no_moment_is_in_two_days_or_in_none(name: str) -> None:
    zone = ZoneInfo(name)
    for number in range(5 * 366):
        day = date(2026, 1, 1) + timedelta(days=number)
        start = day_start(day, zone)
        assert start.astimezone(zone).date() == day
        assert (start - timedelta(microseconds=1)).astimezone(zone).date() < day
        assert start.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["", "2026-1-1", "2026-02-29", "20260101", "2026-01-01T00:00:00Z", "2026-W01-1", "0001-01-01",
     "9999-12-31", "２０２６-01-01", "2026-01-01 "],
)  # fmt: skip
def test_what_is_not_a_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="date"):
        parse_date(text)


@pytest.mark.parametrize(
    "text",
    ["", "Mars/Base", "../../etc/passwd", "/etc/localtime", "localtime", "posixrules", "utc ",
     "Europe", "africa/johannesburg", "+02:00", "Europe/Berlin\x00"],
)  # fmt: skip
def test_what_is_not_a_time_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        parse_zone(text)
