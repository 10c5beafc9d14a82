"""Two API hosts with clocks ten minutes off, one ahead and one behind: no difference.

libfaketime shifts the clocks of the processes. The ledger orders by the account's own sequence, and
its times are those of the database.
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
            FAKETIME_DONT_FAKE_MONOTONIC="1",  # as a host whose clock is set
        )
        for sign in "+-"
    )
    return ahead, behind


@pytest.mark.contract("1.1.3")
def test_ledger_order_is_independent_of_the_hosts_clocks(api: Api, hosts: tuple[Api, Api]) -> None:
    ahead, behind = hosts
    alice, bob = ahead.user(1_000), ahead.user()
    assert minutes_off(alice) == pytest.approx(MINUTES, abs=1), "the shift works"
    assert minutes_off(behind.user()) == pytest.approx(-MINUTES, abs=1)
    clients = [at(behind, alice), alice]
    made = []
    for number in range(TRANSFERS):
        answer = clients[number % 2].send(bob, number + 1, f"clock-{number}")
        assert answer.status == 201, answer.json()
        made.append(answer.json())
        replayed = clients[(number + 1) % 2].send(bob, number + 1, f"clock-{number}")
        assert replayed.headers["idempotent-replayed"] == "true"
        assert replayed.json() == made[-1]
    for host in (ahead, behind, api):
        page = at(host, alice).get("/transactions", direction="sent")
        assert [one["id"] for one in page.json()["data"]] == [one["id"] for one in made][::-1]
    times = [dt.datetime.fromisoformat(one["created_at"]) for one in made]
    assert times == sorted(times)
    off_s = (times[-1] - dt.datetime.now(dt.UTC)).total_seconds()
    assert abs(off_s) < 60, "times are those of the database"
    api.verify()


def test_token_of_one_host_is_checked_by_the_clock_of_the_other(hosts: tuple[Api, Api]) -> None:
    """A token of the host ahead is valid behind; one of the host behind expires early ahead."""
    ahead, behind = hosts
    assert at(behind, ahead.user()).get("/auth/me").status == 200
    old = behind.user()
    assert at(behind, old).get("/auth/me").status == 200
    refused = at(ahead, old).get("/auth/me")
    assert refused.status == 401, "issued 20 minutes ago by that clock, and valid for 15"


def minutes_off(user: User) -> float:
    """The minutes from now to the token's time of issue."""
    claims = jwt.decode(user.token, options={"verify_signature": False})
    return (int(claims["iat"]) - time.time()) / 60


def at(api: Api, user: User) -> User:
    """The same user with the same token at another host."""
    client = api.client(access_token=user.token)
    return User(client, user.email, user.user_id, user.account_id)
