"""Notices by mail, each in the commit of its cause. Texts: tests/unit/test_mail_texts.py."""

import asyncio
from typing import Any

import pytest

from finpay import ids
from finpay.db.pool import Database
from finpay.ledger import limits, operator_commands
from tests.api.second_factors import guarded
from tests.api_process import PASSWORD, Api, User


def notices(api: Api, user: User) -> list[str]:
    """Kinds of the user's mails, oldest first."""
    query = "SELECT kind FROM mail.messages WHERE user_id = $1 ORDER BY created_at"
    return [row["kind"] for row in api.sql(query, user.uuid)]


def login_with(api: Api, user: User, device: str | None) -> None:
    answer = api.client().request(
        "POST",
        "/api/v1/auth/login",
        json={"email": user.email, "password": PASSWORD},
        headers={"User-Agent": device},
    )
    assert answer.status == 200


@pytest.mark.contract("12.6.4")
def test_the_first_login_of_a_device_sends_a_mail(api: Api) -> None:
    user = api.user()
    assert notices(api, user) == []
    api.client().login(user.email, PASSWORD)  # as the registration
    assert notices(api, user) == []
    for device, mails in (("phone", 1), ("phone", 1), ("tablet", 2)):
        login_with(api, user, device)
        assert notices(api, user) == ["new_device"] * mails
    user.client.end_other_sessions()
    login_with(api, user, "phone")
    assert notices(api, user) == ["new_device"] * 2, "also one whose session has ended is known"


@pytest.mark.contract("12.6.4")
def test_a_second_step_of_a_new_device_sends_a_mail_too(api: Api) -> None:
    alice = guarded(api)
    body = {"challenge": alice.challenge(), "code": alice.code()}
    answer = api.client().request(
        "POST", "/api/v1/auth/login/second_factor", json=body, headers={"User-Agent": "phone"}
    )
    assert answer.status == 200
    assert notices(api, alice.user) == ["new_device"]


@pytest.mark.contract("12.6.4")
def test_a_new_password_and_a_new_key_send_mails(api: Api) -> None:
    user = api.user()
    user.client.create_api_key("server", ["account:read"], PASSWORD)
    user.client.change_password(PASSWORD, "a better horse battery")
    assert notices(api, user) == ["api_key_created", "password_changed"]


@pytest.mark.contract("12.6.4")
def test_a_refused_change_sends_none(api: Api) -> None:
    user = api.user()
    assert user.post("/auth/password", current_password="x", new_password=PASSWORD).status == 401
    body: dict[str, Any] = {"name": "server", "scopes": ["account:read"], "password": "x"}
    assert user.post("/api_keys", **body).status == 401
    assert notices(api, user) == []


def patch_limits(user: User, **values: int | None) -> None:
    answer = user.client.request("PATCH", "/api/v1/accounts", json={"limits": values})
    assert answer.status == 200, answer.body


@pytest.mark.contract("12.6.4", "7.8.5")
def test_each_change_of_limits_sends_a_mail_and_a_raise_another_when_it_counts(api: Api) -> None:
    user = api.user()
    expected = []
    for changes, kind in (
        ({"single": 500}, "limits_changed"),
        ({"single": 600}, "limits_raise_requested"),
        ({"single": 700, "daily": 50}, "limits_raise_requested"),
        ({}, "limits_changed"),  # what waited is dropped
        ({"single": None}, "limits_raise_requested"),
    ):
        patch_limits(user, **changes)
        expected.append(kind)
        assert notices(api, user) == expected
    patch_limits(user, single=None)
    patch_limits(user)
    patch_limits(user)  # nothing changes
    expected += ["limits_raise_requested", "limits_changed"]
    assert notices(api, user) == expected
    patch_limits(user, single=600)
    api.sql(
        "UPDATE ledger.account_limits SET effective_at = clock_timestamp() WHERE account_id = $1",
        ids.decode("acc", user.account_id),
    )
    applied = asyncio.run(apply_pending(api))
    assert applied >= 1
    assert notices(api, user) == [*expected, "limits_raise_requested", "limits_raised"]


async def apply_pending(api: Api) -> int:
    database = Database(api.database_url, size=1)
    try:
        return await limits.apply_pending(database)
    finally:
        await database.close()


@pytest.mark.contract("12.6.4")
def test_limits_that_an_operator_changes_send_a_mail(api: Api) -> None:
    user = api.user()

    def set_limits(single: int | None) -> Any:
        key = f"limits-{single}-{user.account_id}"
        return api.owner(
            lambda database: operator_commands.set_limits(
                database, user.account_id, single, None, key=key
            )
        )

    set_limits(500)
    set_limits(None)
    assert notices(api, user) == ["limits_changed", "limits_raised"]
