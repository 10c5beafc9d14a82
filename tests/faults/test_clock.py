"""Two API hosts whose clocks are ten minutes off, one ahead and one behind: nothing notices.

libfaketime shifts what the processes see. The ledger's order is the account's own count, and its
times are the database's.
"""

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jwt
import pytest

from tests.api_process import Api, User

MINUTES: Final = 10
TRANSFERS: Final = 12
_LIBRARIES: Final = sorted(
    path
    for pattern in ("lib/*/faketime/libfaketime.so.1", "lib/faketime/libfaketime.so.1")
    for path in Path("/usr").glob(pattern)
)

pytestmark = pytest.mark.skipif(not _LIBRARIES, reason="needs libfaketime")


@pytest.fixture
def hosts(serve: Callable[..., Api]) -> tuple[Api, Api]:
    """One ten minutes ahead, one behind."""
    ahead, behind = (
        serve(
            LD_PRELOAD=str(_LIBRARIES[0]),
            FAKETIME=f"{sign}{MINUTES}m",
            FAKETIME_DONT_FAKE_MONOTONIC="1",  # a clock that is set does not move the monotonic one
        )
        for sign in "+-"
    )
    return ahead, behind


@pytest.mark.contract("1.1.3")
def test_the_order_of_the_ledger_is_no_hosts_clock(api: Api, hosts: tuple[Api, Api]) -> None:
    ahead, behind = hosts
    alice, bob = ahead.user(1_000), ahead.user()
    assert minutes_off(alice) == pytest.approx(MINUTES, abs=1), "the shift works"
    assert minutes_off(behind.user()) == pytest.approx(-MINUTES, abs=1)
    outcome_known = [at(behind, alice), alice]
    made = []
    for number in range(TRANSFERS):
        answer = outcome_known[number % 2].send(bob, number + 1, f"clock-{number}")
        assert answer.status == 201, answer.json()
        made.append(answer.json())
        again = outcome_known[(number + 1) % 2].send(bob, number + 1, f"clock-{number}")
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json() == made[-1]
    for host in (ahead, behind, api):
        page = at(host, alice).get("/transactions", direction="sent")
        assert [one["id"] for one in page.json()["data"]] == [one["id"] for one in made][::-1]
    times = [dt.datetime.fromisoformat(one["created_at"]) for one in made]
    assert times == sorted(times)
    off_s = (times[-1] - dt.datetime.now(dt.UTC)).total_seconds()
    assert abs(off_s) < 60, "the database's clock, which is right"
    api.verify()


def test_tokens_of_one_host_work_at_the_other(hosts: tuple[Api, Api]) -> None:
    """What is made ahead is good behind; what is made behind is good by a clock that is right."""
    ahead, behind = hosts
    assert at(behind, ahead.user()).get("/auth/me").status == 200
    old = behind.user()
    assert at(behind, old).get("/auth/me").status == 200
    refused = at(ahead, old).get("/auth/me")
    assert refused.status == 401, "it has 15 minutes, of which 20 have passed by that clock"


def minutes_off(user: User) -> float:
    """By when the host of this user says that it made the token."""
    claims = jwt.decode(user.token, options={"verify_signature": False})
    return (int(claims["iat"]) - time.time()) / 60


def at(api: Api, user: User) -> User:
    """The same user with the same token at another host."""
    client = api.client(access_token=user.token)
    return User(client, user.email, user.user_id, user.account_id)
