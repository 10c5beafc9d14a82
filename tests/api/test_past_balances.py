"""GET /accounts/balance: the account as it was at a moment or version."""

import re
from datetime import datetime, timedelta

import pytest

from tests.api.assertions import TIME, invalid, problem
from tests.api.statement_accounts import FIRST, STEP, WriteHistory, written
from tests.api.test_holds import make_hold, post
from tests.api_process import Api, User

PATH = "/accounts/balance"


@pytest.fixture
async def account(api: Api, write_history: WriteHistory) -> User:
    """Eight entries of 5 and -5 in turns, one each minute."""
    user = api.user()
    await write_history(api, user, api.user(), 8)
    return user


@pytest.mark.contract("11.3.1")
@pytest.mark.parametrize(
    ("after", "version", "balance"),
    [
        (timedelta(days=-1), 0, 0),
        (timedelta(microseconds=-1), 0, 0),
        (timedelta(), 1, 5),
        (STEP - timedelta(microseconds=1), 1, 5),
        (STEP, 2, 0),
        (4 * STEP, 5, 5),
        (7 * STEP, 8, 0),
        (timedelta(days=60), 8, 0),
    ],
)
async def test_balance_is_that_after_the_last_entry_of_the_moment(
    account: User, after: timedelta, version: int, balance: int
) -> None:
    moment = written(FIRST + after)
    assert account.get(PATH, at=moment).json() == {
        "object": "balance",
        "balance": balance,
        "held": 0,
        "available": balance,
        "version": version,
        "at": moment,
    }


@pytest.mark.contract("11.3.1")
def test_offset_of_the_moment_counts(account: User) -> None:
    assert account.get(PATH, at="2026-01-01T02:00:00+02:00").json()["version"] == 1
    assert account.get(PATH, at="2026-01-01T00:00:00+02:00").json()["version"] == 0


@pytest.mark.contract("11.3.1")
def test_future_moment_is_refused_and_a_transfer_is_seen_at_once(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    now = api.sql("SELECT clock_timestamp() AS now")[0]["now"]
    invalid(alice.get(PATH, at=written(now + timedelta(minutes=1))), "at", kind="parameter")
    made = alice.send(bob, 1, "one").json()["created_at"]
    assert alice.get(PATH, at=made).json()["balance"] == 999
    before = datetime.fromisoformat(made) - timedelta(microseconds=1)
    assert alice.get(PATH, at=written(before)).json()["balance"] == 1_000


@pytest.mark.contract("11.3.1", "11.3.4")
def test_what_was_held_and_available_at_a_moment(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    hold = make_hold(alice, bob, 300)
    taken = post(bob, f"/holds/{hold['id']}/capture", amount=100, final=False).json()
    withdrawal = post(alice, "/withdrawals", amount=50, destination={}).json()
    post(bob, f"/holds/{hold['id']}/void")
    sent = alice.send(bob, 1, "last").json()
    before = datetime.fromisoformat(hold["created_at"]) - timedelta(microseconds=1)
    for moment, expected in (
        (written(before), (1_000, 0, 1_000, 1)),
        (hold["created_at"], (1_000, 300, 700, 1)),
        (taken["created_at"], (900, 200, 700, 2)),
        (withdrawal["created_at"], (900, 250, 650, 2)),
        (sent["created_at"], (899, 50, 849, 3)),
    ):
        found = alice.get(PATH, at=moment).json()
        members = ("balance", "held", "available", "version")
        assert tuple(found[name] for name in members) == expected, moment
    assert bob.get(PATH, at=sent["created_at"]).json()["held"] == 0


@pytest.mark.contract("11.3.2")
def test_balance_of_a_version(account: User) -> None:
    third = account.get(PATH, version=3).json()
    at = written(FIRST + 2 * STEP)
    assert third == {
        "object": "balance", "balance": 5, "held": None, "available": None, "version": 3, "at": at,
    }  # fmt: skip
    opened = account.get(PATH, version=0).json()
    assert (opened["balance"], opened["version"]) == (0, 0)
    assert re.fullmatch(TIME, opened["at"])
    problem(account.get(PATH, version=9), 404, "not_found")


@pytest.mark.contract("11.3.3")
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({}, "at"),
        ({"at": "2026-01-01T00:00:00Z", "version": 1}, "at"),
        ({"at": "2026-01-01"}, "at"),
        ({"at": "now"}, "at"),
        ({"version": -1}, "version"),
        ({"version": "1.0"}, "version"),
        ({"version": 2**53}, "version"),
        ({"moment": "2026-01-01T00:00:00Z"}, "moment"),
    ],
)
def test_query_that_names_no_balance_is_refused(
    api: Api, query: dict[str, str | int], parameter: str
) -> None:
    invalid(api.user().get(PATH, **query), parameter, kind="parameter")


def test_balance_needs_a_token(api: Api) -> None:
    answer = api.client().request("GET", f"/api/v1{PATH}?version=0")
    problem(answer, 401, "unauthenticated")
