"""GET /requests: what a user's own requests came to, for seven days."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from finpay.db.pool import Database
from finpay.identity import cleanup
from finpay.identity.access_tokens import Principal
from finpay.identity.request_log import (
    FLUSH_S,
    MAX_DURATION_US,
    MAX_ROWS,
    MAX_ROWS_PER_USER,
    RequestLog,
)
from tests.api.assertions import problem
from tests.api.test_api_keys import asked, key_of
from tests.api_process import Api, User

_LIMIT_S: Final = 10 * FLUSH_S


def logged(user: User, request_id: str) -> Any:
    """The request once a process has written it."""
    until_s = time.monotonic() + _LIMIT_S
    while time.monotonic() < until_s:
        answer = user.get(f"/requests/{request_id}")
        if answer.status == 200:
            return answer.json()
        time.sleep(FLUSH_S / 5)
    pytest.fail("the request was not logged")


@pytest.mark.contract("1.10.1")
def test_a_request_is_logged_with_its_status_and_session(api: Api) -> None:
    user = api.user()
    answer = user.get("/transactions/txn_none")
    session = user.get("/auth/sessions").json()["data"][0]["id"]
    found = logged(user, answer.headers["x-request-id"])
    assert list(found) == [
        "id", "object", "method", "route", "status", "code", "duration_ms", "session_id",
        "api_key_id", "created_at",
    ]  # fmt: skip
    assert (found["object"], found["method"], found["status"]) == ("request", "GET", 404)
    assert (found["route"], found["code"]) == ("/api/v1/transactions/{id}", "not_found")
    assert (found["session_id"], found["api_key_id"]) == (session, None)
    assert 0 < found["duration_ms"] < 60_000
    age = datetime.now(UTC) - datetime.fromisoformat(found["created_at"])
    assert timedelta() < age < timedelta(minutes=1)


@pytest.mark.contract("1.10.1")
def test_a_request_with_a_key_names_the_key_and_can_be_read_with_it(api: Api) -> None:
    user = api.user()
    key = key_of(user, scopes=["account:read", "events:read"])
    answer = asked(api, key["secret"])
    found = logged(user, answer.headers["x-request-id"])
    assert (found["session_id"], found["api_key_id"]) == (None, key["id"])
    assert found["code"] is None
    assert asked(api, key["secret"], f"/requests/{found['id']}").json() == found


@pytest.mark.contract("1.10.1")
@pytest.mark.parametrize("unknown", ["req_none", "%00", "a%20b", "x" * 129, "ä"])
def test_requests_of_others_and_unknown_ids_are_not_found(api: Api, unknown: str) -> None:
    alice, other = api.user(), api.user()
    request_id = other.get("/accounts").headers["x-request-id"]
    logged(other, request_id)
    problem(alice.get(f"/requests/{request_id}"), 404, "not_found")
    problem(alice.get(f"/requests/{unknown}"), 404, "not_found")


@pytest.mark.contract("1.10.1")
def test_the_newest_of_a_repeated_request_id_is_shown(api: Api) -> None:
    user = api.user()
    for path in ("/accounts", "/transactions/txn_none"):
        user.client.request("GET", f"/api/v1{path}", headers={"X-Request-Id": "order-17"})
        time.sleep(0.01)
    time.sleep(3 * FLUSH_S)
    assert logged(user, "order-17")["status"] == 404


@pytest.mark.contract("1.10.1")
def test_the_list_is_newest_first_in_pages_that_miss_nothing(api: Api) -> None:
    user = api.user()
    made = [user.get("/accounts").headers["x-request-id"] for _ in range(5)]
    for request_id in made:
        logged(user, request_id)
    shown: list[str] = []
    page = user.get("/requests?limit=3").json()
    while True:
        shown += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        page = user.get(f"/requests?limit=3&cursor={page['next_cursor']}").json()
    assert [one for one in shown if one in made] == made[::-1]
    assert len(set(shown)) == len(shown)


@pytest.fixture
async def database(api: Api) -> AsyncIterator[Database]:
    database = Database(api.database_url, size=1)
    yield database
    await database.close()


def _principal(number: int) -> Principal:
    user = UUID(int=number)
    return Principal(user, user, user, "usr_", "acc_", "ses_", 0, 0)


def _add(log: RequestLog, principal: Principal, duration_s: float = 0.1) -> None:
    log.add(
        principal,
        request_id="r",
        method="GET",
        route="/",
        status=200,
        code=None,
        duration_s=duration_s,
    )


async def test_a_flush_writes_no_more_than_its_bounds(database: Database, api: Api) -> None:
    log = RequestLog(database)
    for number in (1, *range(1, 10 * MAX_ROWS)):
        for _ in range(MAX_ROWS if number == 1 else 1):
            _add(log, _principal(number))
    await log.flush()
    await log.flush()
    counts = api.sql(
        "SELECT user_id, count(*) AS n FROM identity.requests WHERE user_id < $1 GROUP BY 1",
        UUID(int=10 * MAX_ROWS),
    )
    assert {row["n"] for row in counts if row["user_id"].int == 1} == {MAX_ROWS_PER_USER}
    assert sum(row["n"] for row in counts) == MAX_ROWS


@pytest.mark.fault("M5")
async def test_a_very_long_request_is_logged_with_all_others(database: Database, api: Api) -> None:
    """A slow reader of a statement: its row would stop those of all users."""
    first = 10_000 * MAX_ROWS
    log = RequestLog(database)
    for number, duration_s in enumerate((0.1, 86_400.0, 1e9)):
        _add(log, _principal(first + number), duration_s)
    await log.flush()
    ids = [UUID(int=first + number) for number in range(3)]
    rows = api.sql("SELECT duration_us FROM identity.requests WHERE user_id = ANY ($1)", ids)
    assert sorted(row["duration_us"] for row in rows) == [100_000, MAX_DURATION_US, MAX_DURATION_US]


@pytest.mark.contract("1.10.1")
async def test_what_is_older_than_seven_days_is_not_shown_and_is_deleted(
    database: Database, api: Api
) -> None:
    user = api.user()
    request_id = user.get("/accounts").headers["x-request-id"]
    fresh = user.get("/accounts").headers["x-request-id"]
    logged(user, request_id)
    logged(user, fresh)
    api.sql(
        "UPDATE identity.requests SET created_at = created_at - interval '7 days'"
        " WHERE request_id = $1",
        request_id,
    )
    problem(user.get(f"/requests/{request_id}"), 404, "not_found")
    assert request_id not in [one["id"] for one in user.get("/requests").json()["data"]]
    assert await cleanup.prune_requests(database) >= 1
    left = api.sql("SELECT request_id FROM identity.requests WHERE user_id = $1", user.uuid)
    assert request_id not in {row["request_id"] for row in left}
    assert fresh in {row["request_id"] for row in left}
