"""What operators do to accounts and sessions: freeze, limits, the end of sessions."""

from itertools import count
from typing import Any, Final

import pytest

from tests.api.assertions import UNKNOWN_ACCOUNT, problem
from tests.api.operators import operator, patch
from tests.api_process import PASSWORD, Api, User

_NUMBERS: Final = count(1)


@pytest.fixture(scope="module")
def boss(api: Api) -> User:
    return operator(api)


@pytest.fixture
def alice(api: Api) -> User:
    return api.user(1_000)


def new(text: str) -> str:
    return f"{text}-{next(_NUMBERS)}"


@pytest.mark.contract("12.2.1")
def test_a_frozen_account_neither_sends_nor_receives(api: Api, boss: User, alice: User) -> None:
    path = f"/operator/accounts/{alice.account_id}"
    alice.get("/accounts")  # now it is cached
    answer = boss.post(f"{path}/freeze", reason="Reported as stolen")
    assert (answer.status, answer.json()["status"]) == (200, "frozen")
    assert alice.get("/accounts").json()["status"] == "frozen"
    problem(alice.send(api.user(), 1, new("t")), 403, "account_frozen")
    (event,) = alice.get("/events", type="account.updated").json()["data"]
    assert event["data"]["previous"] == {"status": "active"}
    assert (event["actor"], event["request"]) == (None, None)
    (row,) = boss.get("/operator/audit", subject_id=alice.account_id, action="account.updated"
                      ).json()["data"]  # fmt: skip
    assert (row["actor_id"], row["request_id"]) == (boss.user_id, answer.headers["X-Request-Id"])
    assert row["detail"] == {
        "status": "frozen", "previous": "active", "reason": "Reported as stolen",
    }  # fmt: skip
    assert boss.post(f"{path}/freeze", reason="Again").json()["status"] == "frozen"
    assert boss.post(f"{path}/unfreeze", reason="Found again").json()["status"] == "active"
    assert alice.send(api.user(), 1, new("t")).status == 201
    freezes = boss.get(path).json()["freezes"]
    assert [(each["status"], each["reason"], each["operator_id"]) for each in freezes] == [
        ("active", "Found again", boss.user_id),
        ("frozen", "Reported as stolen", boss.user_id),
    ]
    api.verify()


@pytest.mark.contract("12.2.1")
def test_the_command_line_is_in_the_list_of_freezes(api: Api, boss: User, alice: User) -> None:
    api.set_status(alice, "frozen")
    (freeze,) = boss.get(f"/operator/accounts/{alice.account_id}/freezes").json()["data"]
    assert (freeze["reason"], freeze["operator_id"]) == ("test", None)
    found = boss.get("/operator/users", status="frozen").json()["data"]
    assert alice.user_id in {each["id"] for each in found}


@pytest.mark.contract("12.2.1")
@pytest.mark.parametrize("reason", ["", " ", "a\nb", "x" * 501, None, 1])
def test_a_freeze_needs_a_reason(boss: User, alice: User, reason: Any) -> None:
    answer = boss.post(f"/operator/accounts/{alice.account_id}/freeze", reason=reason)
    problem(answer, 422, "validation_failed")
    assert alice.get("/accounts").json()["status"] == "active"


@pytest.mark.contract("12.2.2")
def test_limits_are_set_and_their_owner_raises_them_no_further(
    api: Api, boss: User, alice: User
) -> None:
    path = f"/operator/accounts/{alice.account_id}/limits"
    answer = patch(boss, path, single=100, daily=500)
    assert answer.status == 200
    assert {name: answer.json()["limits"][name] for name in ("single", "daily")} == {
        "single": 100, "daily": 500,
    }  # fmt: skip
    problem(alice.send(api.user(), 101, new("t")), 422, "limit_exceeded")
    problem(patch(alice, "/accounts", limits={"single": 101}), 422, "validation_failed")
    assert patch(alice, "/accounts", limits={"single": 50}).status == 200
    changed = patch(boss, path, daily=None).json()["limits"]
    assert (changed["single"], changed["daily"]) == (50, None)
    assert patch(alice, "/accounts", limits={"single": 100}).status == 200
    problem(patch(boss, path, single=0), 422, "validation_failed")
    rows = boss.get("/operator/audit", subject_id=alice.account_id).json()["data"]
    of_boss = [row for row in rows if row["actor_id"] == boss.user_id]
    assert [row["action"] for row in of_boss] == ["account.updated"] * 2
    api.verify()


@pytest.mark.contract("12.2.3")
def test_the_sessions_of_a_user_end(api: Api, boss: User, alice: User) -> None:
    second = api.client()
    second.login(alice.email, PASSWORD)
    token = second.access_token
    path = f"/operator/users/{alice.user_id}/end_sessions"
    assert boss.post(path, reason="Stolen telephone").status == 204
    for ended in (alice.token, token):
        answer = api.client(access_token=ended).request("GET", "/api/v1/accounts")
        problem(answer, 401, "unauthenticated")
    alice.client.login(alice.email, PASSWORD)
    events = alice.get("/events", type="session.revoked").json()["data"]
    assert [(each["actor"], each["request"]) for each in events] == [(None, None)] * 2
    rows = boss.get("/operator/audit", subject_id=alice.user_id, action="sessions.ended")
    (row,) = rows.json()["data"]
    assert (row["actor_id"], row["detail"]) == (boss.user_id, {"reason": "Stolen telephone"})
    api.verify()


@pytest.mark.contract("12.2.4")
@pytest.mark.parametrize(
    "path",
    ["/users/{}/end_sessions", "/accounts/{}/freeze", "/accounts/{}/unfreeze"],
)
def test_what_is_not_there_is_404(boss: User, path: str) -> None:
    unknown = UNKNOWN_ACCOUNT if "accounts" in path else UNKNOWN_ACCOUNT.replace("acc", "usr")
    for target in (unknown, "x", UNKNOWN_ACCOUNT.replace("acc", "txn")):
        answer = boss.post(f"/operator{path.format(target)}", reason="r")
        problem(answer, 404, "not_found")


@pytest.mark.contract("12.2.4")
def test_a_system_account_is_no_account_of_a_user(api: Api, boss: User, alice: User) -> None:
    (row,) = api.sql("SELECT public_id FROM ledger.accounts WHERE user_id IS NULL"
                     " AND currency = 'ZAR'")  # fmt: skip
    path = f"/operator/accounts/{row['public_id']}"
    problem(boss.get(path), 404, "not_found")
    problem(boss.post(f"{path}/freeze", reason="r"), 404, "not_found")
    problem(patch(boss, f"{path}/limits", single=1), 404, "not_found")
