"""GET /accounts/statement as JSON and CSV."""

import csv
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import httpx
import psutil
import pytest

from tests.api.assertions import invalid, problem
from tests.api.statement_accounts import WriteHistory
from tests.api_process import Api, User
from tests.servers import OwnPostgres

PATH = "/accounts/statement"
MANY = 100_000
MIB = 2**20
MAX_EXTRA_MIB = 30
JANUARY = {"from": "2026-01-01", "to": "2026-01-31"}


def rows(answer: Any) -> list[list[str]]:
    assert answer.status == 200, answer.body
    return list(csv.reader(io.StringIO(answer.body.decode(), newline="")))


def today(api: Api) -> str:
    day: str = api.sql("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date::text AS day")[0]["day"]
    return day


@pytest.fixture(scope="module")
def paid(api: Api) -> tuple[User, User, str]:
    """Alice with 1 000 sent 30 to Bob with a description, and he 5 back. And the day of it."""
    alice, bob = api.user(1_000, name="Alice"), api.user(name="=Bob")
    assert alice.send(bob, 30, "a", description="+1 lunch").status == 201
    assert bob.send(alice, 5, "b").status == 201
    return alice, bob, today(api)


@pytest.mark.contract("11.4.3")
def test_json_has_every_entry_with_counterparty_and_running_balance(
    api: Api, paid: tuple[User, User, str]
) -> None:
    alice, bob, day = paid
    answer = alice.get(PATH, **{"from": day, "to": day})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    shown = answer.json()
    entries = shown.pop("entries")
    assert shown == {
        "object": "statement", "from": day, "to": day, "timezone": "UTC", "currency": "ZAR",
        "opening_balance": 0, "closing_balance": 975, "total_in": 1_005, "total_out": 30,
        "totals_by_type": {
            "funding": {"count": 1, "total_in": 1_000, "total_out": 0},
            "transfer": {"count": 2, "total_in": 5, "total_out": 30},
        },
    }  # fmt: skip
    listed = alice.get("/accounts/entries").json()["data"][::-1]
    extra = ("type", "counterparty", "description")
    assert [{k: v for k, v in each.items() if k not in extra} for each in entries] == listed
    assert [each["type"] for each in entries] == ["funding", "transfer", "transfer"]
    assert entries[0]["counterparty"]["name"] is None
    assert entries[1]["counterparty"] == {"account_id": bob.account_id, "name": "=Bob"}
    assert [each["description"] for each in entries] == [None, "+1 lunch", None]


@pytest.mark.contract("11.4.4", "11.4.5")
def test_csv_over_http(paid: tuple[User, User, str]) -> None:
    alice, _, day = paid
    answer = alice.get(PATH, **{"from": day, "to": day, "format": "csv"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["Content-Disposition"] == (
        f'attachment; filename="finpay-statement-{day}-{day}.csv"'
    )
    head, opening, _, sent, received, closing = rows(answer)
    assert head == (
        [
            "date",
            "time",
            "type",
            "transaction_id",
            "counterparty",
            "description",
            "amount",
            "currency",
            "balance",
        ]
    )
    assert opening == [day, "", "opening", "", "", "", "", "ZAR", "0.00"]
    assert sent[4:] == ["'=Bob", "'+1 lunch", "-0.30", "ZAR", "9.70"]
    assert received[4:] == ["'=Bob", "", "0.05", "ZAR", "9.75"]
    assert closing == [day, "", "closing", "", "", "", "", "ZAR", "9.75"]


@pytest.mark.contract("11.4.2")
@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ({}, "*/*", "application/json"),
        ({}, "text/csv", "text/csv"),
        ({"format": "json"}, "text/csv", "application/json"),
        ({"format": "csv"}, "application/json", "text/csv"),
        ({}, "application/pdf", "application/pdf"),
    ],
)
def test_query_goes_before_accept(
    api: Api, query: dict[str, str], accept: str, media_type: str
) -> None:
    user = api.user()
    answer = user.client.request(
        "GET", f"/api/v1{PATH}", params=JANUARY | query, headers={"Accept": accept}
    )
    assert (answer.status, answer.media_type) == (200, media_type)


@pytest.mark.contract("11.4.1")
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({}, "from"),
        ({"from": "2026-01-01"}, "to"),
        ({"from": "2026-02-01", "to": "2026-01-31"}, "to"),
        ({"from": "2025-01-01", "to": "2026-01-02"}, "to"),
        ({"from": "2026-02-30", "to": "2026-03-01"}, "from"),
        ({"from": "2026-01-01", "to": "2026-01-01T00:00:00Z"}, "to"),
        (JANUARY | {"timezone": "Mars/Base"}, "timezone"),
        (JANUARY | {"timezone": "../UTC"}, "timezone"),
        (JANUARY | {"format": "xml"}, "format"),
        (JANUARY | {"limit": "5"}, "limit"),
    ],
)
def test_period_outside_of_the_rules_is_refused(
    api: Api, query: dict[str, str], parameter: str
) -> None:
    invalid(api.user().get(PATH, **query), parameter, kind="parameter")


@pytest.mark.contract("11.4.1")
def test_period_may_have_366_days_and_end_today_in_its_zone(api: Api) -> None:
    user = api.user()
    assert user.get(PATH, **{"from": "2025-01-01", "to": "2026-01-01"}).status == 200
    now = api.sql("SELECT clock_timestamp() AS now")[0]["now"]
    for name, hours in (("UTC", 0), ("Etc/GMT-14", 14), ("Etc/GMT+12", -12)):
        local = (now + timedelta(hours=hours)).date()
        for day, status in ((local, 200), (local + timedelta(days=1), 422)):
            query = {"from": f"{day}", "to": f"{day}", "timezone": name}
            assert user.get(PATH, **query).status == status, (name, day)


@pytest.mark.contract("11.4.1")
@pytest.mark.parametrize(
    ("zone", "first", "entries"),
    [("UTC", "00:00:00", 1440), ("Asia/Kathmandu", "05:45:00", 1095),
     ("America/New_York", "00:00:00", 1440)],
)  # fmt: skip
async def test_days_are_those_of_the_time_zone(
    api: Api, zone: str, first: str, entries: int, write_history: WriteHistory
) -> None:
    """Three days of an entry each minute, from midnight UTC of 1 January."""
    user = api.user()
    await write_history(api, user, api.user(), 3 * 1440)
    query = {"from": "2026-01-01", "to": "2026-01-01", "timezone": zone}
    found = rows(user.get(PATH, **query, format="csv"))[2:-1]
    assert len(found) == entries
    assert found[0][:2] == ["2026-01-01", first]
    assert found[-1][:2] == ["2026-01-01", "23:59:00"]
    shown = user.get(PATH, **query).json()
    whole = shown["opening_balance"] + shown["total_in"] - shown["total_out"]
    assert whole == shown["closing_balance"]


def test_statement_needs_a_token_and_shows_the_callers_account_alone(
    api: Api, paid: tuple[User, User, str]
) -> None:
    answer = api.client().request("GET", f"/api/v1{PATH}", params=JANUARY)
    problem(answer, 401, "unauthenticated")
    day = paid[2]
    assert api.user().get(PATH, **{"from": day, "to": day}).json()["entries"] == []


def test_head_has_no_body(paid: tuple[User, User, str]) -> None:
    answer = paid[0].client.request("HEAD", f"/api/v1{PATH}", params=JANUARY | {"format": "csv"})
    assert (answer.status, answer.body, answer.media_type) == (200, b"", "text/csv")


@pytest.mark.contract("11.4.9")
async def test_statement_counts_a_tenth_for_each_thousand_entries(
    serve: Callable[..., Api], fresh_database: Callable[[], str], write_history: WriteHistory
) -> None:
    limited = serve(DATABASE_URL=fresh_database(), FINPAY_RATE_LIMIT_GLOBAL="7/900")
    user = limited.user()
    await write_history(limited, user, limited.user(), 30_000)
    first = user.get(PATH, **JANUARY, format="csv")
    assert first.headers["RateLimit"].startswith('"global";r=3;')
    assert len(rows(first)) == 30_000 + 3
    refused = problem(user.get(PATH, **JANUARY), 429, "rate_limited")
    assert refused["policy"] == "global"
    small = {"from": "2026-01-01", "to": "2026-01-06"}  # 8 640 entries
    assert user.get(PATH, **small).headers["RateLimit"].startswith('"global";r=1;')


@pytest.mark.contract("11.4.8")
async def test_long_statement_is_streamed_in_constant_memory(
    serve: Callable[..., Api], fresh_database: Callable[[], str], write_history: WriteHistory
) -> None:
    own = serve(DATABASE_URL=fresh_database())
    user = own.user()
    await write_history(own, user, own.user(), MANY)
    (process,) = own.workers()
    for kind in ("csv", "json"):
        idle = process.memory_info().rss
        size, peak = read(own, user, kind, process)
        assert size > 5 * MIB
        assert peak - idle <= MAX_EXTRA_MIB * MIB, f"{kind}: {(peak - idle) / MIB:.0f} MiB"


def streamed(own: Api, user: User, kind: str) -> AbstractContextManager[httpx.Response]:
    """The statement of the first three months of 2026."""
    return httpx.stream(
        "GET",
        f"{own.url}/api/v1{PATH}",
        params={"from": "2026-01-01", "to": "2026-03-31", "format": kind},
        headers={"Authorization": f"Bearer {user.token}"},
        trust_env=False,
        timeout=60,
    )


def read(own: Api, user: User, kind: str, process: psutil.Process) -> tuple[int, int]:
    """Bytes of the statement, and the most memory that the process had meanwhile."""
    size = peak = 0
    with streamed(own, user, kind) as answer:
        for part in answer.iter_bytes():
            size += len(part)
            peak = max(peak, process.memory_info().rss)
    return size, peak


@pytest.mark.contract("11.4.8")
async def test_stream_that_fails_ends_without_its_last_chunk(
    serve: Callable[..., Api], own_postgres: Callable[..., OwnPostgres], write_history: WriteHistory
) -> None:
    postgres = own_postgres()
    own = serve(DATABASE_URL=postgres.url)
    user = own.user()
    await write_history(own, user, own.user(), MANY)
    received: list[bytes] = []
    with pytest.raises(httpx.RemoteProtocolError):
        read_and_kill(own, user, postgres, received)
    body = b"".join(received)
    assert body.startswith(b"date,time,")
    assert b"closing" not in body
    (line,) = (json.loads(x) for x in own.log.read_text().splitlines() if "stream_failed" in x)
    assert line["route"] == "/api/v1/accounts/statement"


def read_and_kill(own: Api, user: User, postgres: OwnPostgres, received: list[bytes]) -> None:
    """Kills PostgreSQL after the first part of the statement."""
    with streamed(own, user, "csv") as answer:
        assert answer.status_code == 200
        for part in answer.iter_raw(4_096):
            if not received:
                postgres.kill()
            received.append(part)


@pytest.mark.contract("1.1.3")
def test_times_are_those_of_the_entries(paid: tuple[User, User, str]) -> None:
    alice, _, day = paid
    for each in alice.get(PATH, **{"from": day, "to": day}).json()["entries"]:
        past = alice.get("/accounts/balance", at=each["created_at"]).json()
        assert (past["version"], past["balance"]) == (each["version"], each["balance_after"])
