"""Occurrences of schedules, in the civil time of many zones and years."""

import random
from datetime import UTC, datetime, timedelta
from typing import Final, get_args
from zoneinfo import ZoneInfo, available_timezones

import pytest

from tests.sql.ledger_fixtures import Bank
from tests.sql.recurrence import Interval, Recurrence, Unit

# zone, start (local), unit, count, n, the occurrence in local time with its offset
CIVIL_TIMES: Final = """
Africa/Johannesburg  2026-01-31T08:00  month 1   1  2026-02-28T08:00+02:00
Africa/Johannesburg  2026-01-31T08:00  month 1   2  2026-03-31T08:00+02:00
Africa/Johannesburg  2026-01-31T08:00  month 1   3  2026-04-30T08:00+02:00
Africa/Johannesburg  2026-01-31T08:00  month 1  12  2027-01-31T08:00+02:00
UTC                  2024-01-30T00:00  month 1   1  2024-02-29T00:00+00:00
UTC                  2024-02-29T12:00  month 12  1  2025-02-28T12:00+00:00
UTC                  2024-02-29T12:00  month 12  4  2028-02-29T12:00+00:00
UTC                  2096-02-29T12:00  month 12  4  2100-02-28T12:00+00:00
Europe/Berlin        2026-03-28T02:30  day   1   1  2026-03-29T03:30+02:00
Europe/Berlin        2026-03-28T02:30  day   1   2  2026-03-30T02:30+02:00
Europe/Berlin        2026-10-24T02:30  day   1   1  2026-10-25T02:30+02:00
Europe/Berlin        2026-10-24T02:30  day   1   2  2026-10-26T02:30+01:00
Europe/Berlin        2026-03-28T09:00  day   1   1  2026-03-29T09:00+02:00
Europe/London        2025-03-23T01:15  week  1   1  2025-03-30T02:15+01:00
Europe/London        2025-10-19T01:15  week  1   1  2025-10-26T01:15+01:00
Europe/London        2025-10-19T01:15  week  1   2  2025-11-02T01:15+00:00
Europe/Dublin        2027-03-27T01:30  day   1   1  2027-03-28T02:30+01:00
Europe/Dublin        2027-10-30T01:30  day   1   1  2027-10-31T01:30+01:00
America/New_York     2026-03-07T02:30  day   1   1  2026-03-08T03:30-04:00
America/New_York     2026-10-31T01:30  day   1   1  2026-11-01T01:30-04:00
America/New_York     2026-10-31T01:30  day   1   2  2026-11-02T01:30-05:00
America/Santiago     2026-09-05T00:30  day   1   1  2026-09-06T01:30-03:00
America/Havana       2026-03-07T00:30  day   1   1  2026-03-08T01:30-04:00
America/Phoenix      2026-03-07T02:30  day   1   1  2026-03-08T02:30-07:00
Asia/Tehran          2021-03-21T00:30  day   1   1  2021-03-22T01:30+04:30
Asia/Tehran          2023-03-21T00:30  day   1   1  2023-03-22T00:30+03:30
Asia/Kathmandu       2026-01-31T18:45  month 1   1  2026-02-28T18:45+05:45
Asia/Kolkata         2026-05-31T05:30  month 1   1  2026-06-30T05:30+05:30
Australia/Sydney     2026-10-03T02:30  day   1   1  2026-10-04T03:30+11:00
Australia/Sydney     2026-04-04T02:30  day   1   1  2026-04-05T02:30+11:00
Australia/Lord_Howe  2026-10-03T02:15  day   1   1  2026-10-04T02:45+11:00
Australia/Lord_Howe  2026-04-04T01:45  day   1   1  2026-04-05T01:45+11:00
Pacific/Apia         2011-12-29T10:00  day   1   1  2011-12-31T10:00+14:00
Pacific/Apia         2011-12-29T10:00  day   1   2  2011-12-31T10:00+14:00
Pacific/Chatham      2026-09-26T02:50  day   1   1  2026-09-27T03:50+13:45
Africa/Casablanca    2025-02-22T02:30  day   1   1  2025-02-23T02:30+01:00
Europe/Lisbon        2030-03-30T01:30  day   1   1  2030-03-31T02:30+01:00
Africa/Cairo         2026-04-23T00:30  day   1   1  2026-04-24T01:30+03:00
"""
ROWS: Final = [line.split() for line in CIVIL_TIMES.strip().splitlines()]


@pytest.mark.contract("11.2.2")
@pytest.mark.parametrize(
    ("zone", "start", "unit", "count", "n", "expected"), ROWS, ids=lambda text: text
)
async def test_an_occurrence_keeps_the_civil_time(
    bank: Bank, *, zone: str, start: str, unit: str, count: str, n: str, expected: str
) -> None:
    start_at = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    found = await _occurrence(bank, start_at, int(count), unit, zone, int(n))
    assert found is not None
    assert found.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") == expected


def test_the_table_has_at_least_ten_zones_and_years() -> None:
    assert len({row[0] for row in ROWS}) >= 10
    assert len({row[5][:4] for row in ROWS}) >= 10


@pytest.mark.contract("11.2.2")
async def test_a_start_in_the_second_of_two_hours_stays_there(bank: Bank) -> None:
    """Only the first occurrence: it is the moment that was asked for."""
    start_at = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)  # 02:30+01:00, the second one
    assert await _occurrence(bank, start_at, 1, "day", "Europe/Berlin", 0) == start_at
    next_day = datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    assert await _occurrence(bank, start_at, 1, "day", "Europe/Berlin", 1) == next_day


async def test_without_an_interval_there_is_one_occurrence(bank: Bank) -> None:
    start_at = datetime(2026, 1, 1, tzinfo=UTC)
    found = [await _occurrence(bank, start_at, None, None, "UTC", n) for n in (0, 1)]
    assert found == [start_at, None]


@pytest.mark.parametrize("unit", get_args(Unit))
async def test_the_calendar_ends_with_the_year_9999(bank: Bank, unit: Unit) -> None:
    start_at = datetime(9998, 12, 31, tzinfo=UTC)
    assert await _occurrence(bank, start_at, 365, unit, "UTC", 100) is None
    assert await _occurrence(bank, start_at, 365, unit, "UTC", 2**31 - 1) is None


async def test_python_computes_the_same(bank: Bank) -> None:
    """Random starts in every zone that both know; before the years of which their tables differ."""
    chosen = random.Random(11)
    known = {row["name"] for row in await bank.app.fetch("SELECT name FROM pg_timezone_names")}
    zones = sorted(known & available_timezones())
    cases = [
        (
            datetime.fromtimestamp(chosen.randrange(10**9, 15 * 10**8), UTC),
            chosen.randint(1, 4),
            chosen.choice(get_args(Unit)),
            chosen.choice(zones),
            chosen.randint(0, 20),
        )
        for _ in range(4_000)
    ]
    rows = await bank.owner.fetch(
        "SELECT ledger.occurrence(c.s, c.count, c.unit::ledger.schedule_unit, c.zone, c.n) AS at "
        "FROM unnest($1::timestamptz[], $2::integer[], $3::text[], $4::text[], $5::integer[]) "
        "WITH ORDINALITY AS c (s, count, unit, zone, n, number) ORDER BY c.number",
        *(list(column) for column in zip(*cases, strict=True)),
    )
    different = [
        (case, row["at"])
        for case, row in zip(cases, rows, strict=True)
        if row["at"] != _expected(*case)
    ]
    assert not different, different[:5]


async def test_the_next_occurrence_is_the_first_one_after_a_moment(bank: Bank) -> None:
    start_at = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
    rule = Recurrence(start_at, Interval("day", 3), "America/New_York")
    for hours in range(-30, 2_000, 7):
        moment = start_at + timedelta(hours=hours)
        for n in (0, 5, 40):
            found = await _occurrence_after(bank, start_at, n, moment)
            due = (k for k in range(n, 2_000) if (rule.occurrence(k) or moment) > moment)
            assert found == next(due)


async def _occurrence_after(bank: Bank, start_at: datetime, n: int, moment: datetime) -> int:
    (row,) = await bank.owner.fetch(
        "SELECT ledger.occurrence_after(s, $3) AS n FROM jsonb_populate_record("
        "NULL::ledger.schedules, jsonb_build_object('start_at', $1::timestamptz, 'every_count', 3, "
        "'every_unit', 'day', 'timezone', 'America/New_York', 'next_occurrence', $2::integer)) s",
        start_at,
        n,
        moment,
    )
    found: int = row["n"]
    return found


async def _occurrence(  # noqa: PLR0917  in the order of the function's own arguments
    bank: Bank, start_at: datetime, count: int | None, unit: str | None, zone: str, n: int
) -> datetime | None:
    (row,) = await bank.owner.fetch(
        "SELECT ledger.occurrence($1, $2, $3::text::ledger.schedule_unit, $4, $5) AS at",
        start_at,
        count,
        unit,
        zone,
        n,
    )
    found: datetime | None = row["at"]
    return found


def _expected(start_at: datetime, count: int, unit: Unit, zone: str, n: int) -> datetime | None:
    return Recurrence(start_at, Interval(unit, count), zone).occurrence(n)
