"""Webhook secrets: returned once, rotated with an overlap, and never recorded."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from finpay import ids
from tests.api.assertions import invalid, sending
from tests.api.webhook_assertions import MEMBERS, SECRET, URL, ask, endpoint, made
from tests.api_process import Api, User

A_DAY: Final = timedelta(days=1)


@pytest.fixture(scope="module")
def user(api: Api) -> User:
    return api.user()


@pytest.mark.contract("6.2.2")
def test_a_secret_is_returned_once(api: Api) -> None:
    user = api.user()
    first = made(user)
    path = f"/{first['id']}"
    rotated = endpoint(ask(user, "POST", f"{path}/rotate_secret"))
    assert re.fullmatch(SECRET, rotated["secret"])
    assert rotated["secret"] != first["secret"]
    for answer in (ask(user, "GET", path), ask(user, "PATCH", path, {"enabled": False})):
        assert endpoint(answer)["secret"] is None
    (listed,) = ask(user, "GET").json()["data"]
    assert (list(listed), listed["secret"]) == (MEMBERS, None)
    recorded = str(api.sql("SELECT * FROM audit.log")) + str(api.sql("SELECT * FROM outbox.events"))
    for secret in (first["secret"], rotated["secret"]):
        assert secret not in recorded
        assert secret not in api.log.read_text()


@pytest.mark.contract("6.2.2")
def test_both_secrets_sign_for_a_day_by_default(api: Api, user: User) -> None:
    path = f"/{made(user)['id']}/rotate_secret"
    for body, overlap in ((None, A_DAY), ({}, A_DAY), ({"overlap_s": 60}, timedelta(minutes=1))):
        rotated = endpoint(ask(user, "POST", path, body))
        assert timedelta(seconds=-5) < expires_in(rotated) - overlap <= timedelta(seconds=5)
    at_once = endpoint(ask(user, "POST", path, {"overlap_s": 0}))
    assert at_once["previous_secret_expires_at"] is None, "not even those before it"
    for wrong in (-1, 604_801, "60", 1.5, True):
        with sending(wrong):
            invalid(ask(user, "POST", path, {"overlap_s": wrong}), "#/overlap_s")
    invalid(ask(user, "POST", path, {"seconds": 1}), "#/seconds")
    for _ in range(6):
        ask(user, "POST", path)
    key = ids.decode("whe", path.split("/")[1])
    rows = api.sql("SELECT expires_at FROM webhooks.secrets WHERE endpoint_id = $1", key)
    assert len(rows) == 4, "the number of signatures in a delivery is bounded"


def test_the_overlap_is_a_setting(serve: Callable[..., Api]) -> None:
    api = serve(FINPAY_WEBHOOK_SECRET_OVERLAP="3600")
    user = api.user()
    rotated = endpoint(ask(user, "POST", f"/{made(user)['id']}/rotate_secret"))
    assert abs(expires_in(rotated) - timedelta(hours=1)) < timedelta(seconds=5)


def test_the_audit_log_has_actor_and_action_of_each_change(api: Api) -> None:
    user = api.user()
    name = made(user)["id"]
    ask(user, "PATCH", f"/{name}", {"enabled": False, "description": "x"})
    ask(user, "POST", f"/{name}/rotate_secret", {"overlap_s": 1})
    ask(user, "DELETE", f"/{name}")
    rows = api.sql(
        "SELECT actor_id, action, request_id, address, detail FROM audit.log"
        " WHERE subject_id = $1 ORDER BY id",
        ids.decode("whe", name),
    )
    assert [row["action"] for row in rows] == [
        "webhook_endpoint.created",
        "webhook_endpoint.updated",
        "webhook_endpoint.secret_rotated",
        "webhook_endpoint.deleted",
    ]
    for row in rows:
        assert row["actor_id"] == user.uuid
        assert row["request_id"].startswith("req_")
        assert row["address"] == "127.0.0.1"
        assert URL not in str(row["detail"]), "it may contain a secret"
    api.verify()


def expires_in(members: Any) -> timedelta:
    return datetime.fromisoformat(members["previous_secret_expires_at"]) - datetime.now(UTC)
