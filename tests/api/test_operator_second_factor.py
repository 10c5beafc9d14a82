"""Operators and the second factor: they take away a lost one, and need one of their own."""

import pytest

from tests.api.assertions import problem
from tests.api.operators import auditor, operator
from tests.api.second_factors import Guarded, guarded, login
from tests.api_process import Api


@pytest.fixture
def alice(api: Api) -> Guarded:
    return guarded(api)


@pytest.mark.contract("12.2.5")
def test_an_operator_takes_a_lost_second_factor_away(api: Api, alice: Guarded) -> None:
    boss, user = operator(api), alice.user
    path = f"/operator/users/{user.user_id}/reset_second_factor"
    assert boss.get(f"/operator/users/{user.user_id}").json()["second_factor"] is True
    assert boss.post(path, reason="Lost telephone").status == 204
    problem(user.get("/accounts"), 401, "unauthenticated")
    assert login(api, user.email).status == 200
    assert boss.get(f"/operator/users/{user.user_id}").json()["second_factor"] is False
    rows = boss.get("/operator/audit", subject_id=user.user_id, action="second_factor.disabled")
    (row,) = rows.json()["data"]
    assert (row["actor_id"], row["detail"]) == (boss.user_id, {"reason": "Lost telephone"})
    (mail,) = api.sql(
        "SELECT kind FROM mail.messages WHERE user_id = $1 AND kind = 'second_factor_disabled'",
        user.uuid,
    )
    assert mail["kind"] == "second_factor_disabled"
    problem(boss.post(path, reason="Lost telephone"), 422, "validation_failed")
    api.verify()


@pytest.mark.contract("12.2.5")
def test_others_may_not_take_it_away_and_operators_not_their_own(api: Api, alice: Guarded) -> None:
    boss, user = operator(api), alice.user
    path = f"/operator/users/{user.user_id}/reset_second_factor"
    for caller in (user, auditor(api)):
        problem(caller.post(path, reason="r"), 403, "forbidden")
    own = f"/operator/users/{boss.user_id}/reset_second_factor"
    problem(boss.post(own, reason="r"), 403, "forbidden")
    unknown = f"/operator/users/{'usr_' + user.account_id[4:]}/reset_second_factor"
    problem(boss.post(unknown, reason="r"), 404, "not_found")
    assert login(api, user.email).status == 401
