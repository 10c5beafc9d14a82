"""Schedules through the API: created, read, paused, resumed, canceled. Their runs: tests/sql."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api_process import Api, User
from tests.backdating import start_earlier


@pytest.fixture
def alice(api: Api) -> User:
    return api.user(1_000)


@pytest.fixture
def bob(api: Api) -> User:
    return api.user()


def ahead(**interval: float) -> str:
    """A time from now, by this machine's clock, which is the database's."""
    moment = datetime.now(UTC) + timedelta(**interval)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def plan(sender: User, receiver: User, **more: Any) -> Any:
    """A new monthly schedule."""
    members: dict[str, Any] = {
        "receiver_id": receiver.account_id,
        "amount": 100,
        "start_at": ahead(days=1),
        "every": {"unit": "month", "count": 1},
    } | more
    answer = sender.post("/schedules", **members)
    assert answer.status == 201, answer.body
    return answer.json()


@pytest.mark.contract("11.2.1", "11.2.7")
def test_a_schedule_is_answered_with_all_its_members(alice: User, bob: User) -> None:
    start_at = ahead(days=2)
    made = plan(
        alice, bob, start_at=start_at, timezone="Africa/Johannesburg", occurrences=12,
        description="Rent", metadata={"flat": "4"},
    )  # fmt: skip
    members = {
        "object": "schedule",
        "status": "active",
        "receiver_id": bob.account_id,
        "amount": 100,
        "currency": "ZAR",
        "description": "Rent",
        "metadata": {"flat": "4"},
        "start_at": start_at,
        "every": {"unit": "month", "count": 1},
        "timezone": "Africa/Johannesburg",
        "until": None,
        "occurrences": 12,
        "next_at": start_at,
        "runs": 0,
        "failures_in_a_row": 0,
        "last_transaction_id": None,
        "last_failure_code": None,
    }
    assert {name: made[name] for name in members} == members
    assert made.keys() - members.keys() == {"id", "created_at"}
    assert made["id"].startswith("sch_")
    assert alice.get(f"/schedules/{made['id']}").json() == made
    assert alice.get("/schedules").json()["data"] == [made]


@pytest.mark.contract("11.2.1")
def test_the_receiver_is_resolved_when_it_is_created(api: Api, alice: User, bob: User) -> None:
    answer = alice.post(
        "/schedules", receiver_email=bob.email, amount=1, start_at=ahead(hours=1), until=None
    )
    assert answer.status == 201
    made = answer.json()
    assert (made["receiver_id"], made["every"], made["timezone"]) == (bob.account_id, None, "UTC")


@pytest.mark.contract("11.2.1")
@pytest.mark.parametrize(
    "members",
    [
        {"start_at": ahead(seconds=-5)},
        {"start_at": ahead(days=5 * 366)},
        {"start_at": "2030-01-01"},
        {"every": {"unit": "hour", "count": 1}},
        {"every": {"unit": "day", "count": 0}},
        {"every": {"unit": "day", "count": 366}},
        {"every": {"unit": "day"}},
        {"timezone": "Africa/Nowhere"},
        {"timezone": "localtime"},
        {"timezone": "Factory"},
        {"timezone": "+02:00"},
        {"until": ahead(minutes=1)},
        {"until": ahead(days=90), "occurrences": 2},
        {"occurrences": 0},
        {"every": None, "occurrences": 2},
        {"receiver_email": "x@example.com"},
        {"receiver_id": None},
        {"amount": 0},
        {"weekday": 1},
    ],
    ids=lambda members: re.sub(r"\d{4}-.*?Z", "…", json.dumps(members)),
)
def test_a_schedule_that_makes_no_sense_is_422(
    alice: User, bob: User, members: dict[str, Any]
) -> None:
    plain = {
        "receiver_id": bob.account_id,
        "amount": 100,
        "start_at": ahead(days=1),
        "every": {"unit": "day", "count": 1},
    }
    answer = alice.client.request("POST", "/api/v1/schedules", json=plain | members)
    assert (answer.status, answer.json()["code"]) == (422, "validation_failed")


@pytest.mark.contract("11.2.6")
def test_what_can_never_be_paid_is_refused(api: Api, alice: User, bob: User) -> None:
    dollars, frozen = api.user(currency="USD"), api.user()
    api.set_status(frozen, "frozen")
    plan(alice, frozen)  # it may be unfrozen by then
    for sender, members, expected in (
        (frozen, {"receiver_id": bob.account_id}, (403, "account_frozen")),
        (alice, {"receiver_id": alice.account_id}, (422, "same_account")),
        (alice, {"receiver_email": "nobody@example.com"}, (404, "receiver_not_found")),
        (alice, {"receiver_id": dollars.account_id}, (422, "currency_mismatch")),
        (alice, {"receiver_id": bob.account_id, "currency": "USD"}, (422, "currency_mismatch")),
    ):
        answer = sender.post("/schedules", amount=1, start_at=ahead(days=1), **members)
        assert (answer.status, answer.json()["code"]) == expected


@pytest.mark.contract("11.2.6")
def test_at_most_100_are_active(alice: User, bob: User) -> None:
    schedules = [plan(alice, bob) for _ in range(100)]
    members: dict[str, Any] = {
        "receiver_id": bob.account_id,
        "amount": 1,
        "start_at": ahead(days=1),
    }
    assert alice.post("/schedules", **members).status == 422
    assert alice.post(f"/schedules/{schedules[0]['id']}/pause").status == 200
    assert alice.post("/schedules", **members).status == 201
    refused = alice.post(f"/schedules/{schedules[0]['id']}/resume")
    assert (refused.status, refused.json()["code"]) == (422, "validation_failed")
    assert alice.post(f"/schedules/{schedules[1]['id']}/cancel").status == 200
    assert alice.post(f"/schedules/{schedules[0]['id']}/resume").status == 200


@pytest.mark.contract("11.2.4")
def test_it_is_paused_resumed_and_canceled(api: Api, alice: User, bob: User) -> None:
    made = plan(alice, bob)
    path = f"/schedules/{made['id']}"
    paused = made | {"status": "paused", "next_at": None}
    ended = made | {"status": "ended", "next_at": None}
    for verb, expected in (
        ("resume", made),  # it is active: nothing changes
        ("pause", paused),
        ("pause", paused),
        ("resume", made),
        ("pause", paused),
        ("cancel", ended),
    ):
        answer = alice.post(f"{path}/{verb}")
        assert (answer.status, answer.json()) == (200, expected)
        assert alice.get(path).json() == expected
    for verb in ("pause", "resume", "cancel"):
        problem = alice.post(f"{path}/{verb}").json()
        found = problem["status"], problem["code"], problem["status_now"]
        assert found == (409, "schedule_not_active", "ended")
    types = [event["type"] for event in alice.get("/events", type="schedule.*").json()["data"]]
    assert types[::-1] == [f"schedule.{what}" for what in
                           ("created", "paused", "resumed", "paused", "ended")]  # fmt: skip
    api.verify()


@pytest.mark.contract("11.2.4")
def test_resuming_skips_what_was_missed(api: Api, alice: User, bob: User) -> None:
    every = {"unit": "day", "count": 1}
    made = plan(alice, bob, every=every, occurrences=5)
    path = f"/schedules/{made['id']}"
    alice.post(f"{path}/pause")
    start_earlier(api.database_url, made["id"], "10 days")
    resumed = alice.post(f"{path}/resume").json()
    (row,) = api.sql("SELECT now() + interval '1 day' - $1::text::timestamptz AS left",
                     resumed["next_at"])  # fmt: skip
    assert timedelta(0) <= row["left"] < timedelta(days=1)
    assert (resumed["status"], resumed["runs"], resumed["occurrences"]) == ("active", 0, 5)
    api.verify()


@pytest.mark.contract("11.2.4")
def test_resuming_after_the_last_occurrence_ends_it(api: Api, alice: User, bob: User) -> None:
    made = plan(alice, bob, until=ahead(days=40))
    alice.post(f"/schedules/{made['id']}/pause")
    start_earlier(api.database_url, made["id"], "60 days")
    answer = alice.post(f"/schedules/{made['id']}/resume")
    assert (answer.status, answer.json()["status"]) == (200, "ended")


@pytest.mark.contract("11.2.4", "11.2.6")
def test_a_frozen_user_pauses_and_cancels_but_does_not_resume(
    api: Api, alice: User, bob: User
) -> None:
    made = plan(alice, bob)
    api.set_status(alice, "frozen")
    assert alice.post(f"/schedules/{made['id']}/pause").status == 200
    refused = alice.post(f"/schedules/{made['id']}/resume")
    assert (refused.status, refused.json()["code"]) == (403, "account_frozen")
    assert alice.post(f"/schedules/{made['id']}/cancel").status == 200


@pytest.mark.contract("11.2.7")
def test_others_do_not_find_it(api: Api, alice: User, bob: User) -> None:
    made = plan(alice, bob)
    assert bob.get("/schedules").json()["data"] == []
    assert bob.get(f"/schedules/{made['id']}").status == 404
    for verb in ("pause", "resume", "cancel"):
        assert bob.post(f"/schedules/{made['id']}/{verb}").status == 404
        assert bob.post(f"/schedules/sch_x/{verb}").status == 404


@pytest.mark.contract("11.2.7")
def test_the_list_is_newest_first_in_pages(alice: User, bob: User) -> None:
    made = [plan(alice, bob)["id"] for _ in range(5)]
    found, cursor = [], None
    while True:
        page = alice.get("/schedules", limit=2, **({"cursor": cursor} if cursor else {})).json()
        found += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert found == made[::-1]


@pytest.mark.contract("11.2.8")
def test_a_key_makes_one_schedule(alice: User, bob: User) -> None:
    members: dict[str, Any] = {
        "receiver_id": bob.account_id,
        "amount": 1,
        "start_at": ahead(days=1),
    }
    first, repeated = (alice.post("/schedules", key="once", **members) for _ in range(2))
    assert (first.status, first.body) == (repeated.status, repeated.body)
    assert repeated.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    reused = alice.post("/schedules", key="once", **members | {"amount": 2})
    assert (reused.status, reused.json()["code"]) == (422, "idempotency_key_reuse")
    assert len(alice.get("/schedules").json()["data"]) == 1
