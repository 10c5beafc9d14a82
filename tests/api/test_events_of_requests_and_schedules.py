"""Events of payment requests and schedules are of the catalogue, and as their schemas say."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from finpay.ledger import payment_requests, schedule_runner
from finpay.outbox import schemas
from finpay.outbox.event_types import EVENT_TYPES
from tests.api.test_payment_requests import ask
from tests.api.test_payments_of_requests import pay
from tests.api.test_schedules import ahead, plan
from tests.api_process import PUBLIC_URL, Api, User
from tests.backdating import end_time, start_earlier
from tests.sql.ledger_fixtures import REFUSALS


@pytest.fixture(scope="module")
def sides(api: Api) -> tuple[User, User]:
    return api.user(1_000, name="Alice"), api.user(1_000)


@pytest.fixture(scope="module")
def caused(api: Api, sides: tuple[User, User]) -> list[Any]:
    alice, bob = sides
    for end in ("cancel", "decline", "pay", "expire", None):
        asked = ask(alice, payer_email=bob.email)
        path = f"/payment_requests/{asked['id']}"
        match end:
            case "cancel":
                assert alice.post(f"{path}/cancel").status == 200
            case "decline":
                assert bob.post(f"{path}/decline").status == 200
            case "pay":
                assert pay(bob, asked).status == 201
            case "expire":
                end_time(api.database_url, asked["id"])
    made = plan(alice, bob)
    for verb in ("pause", "resume", "cancel"):
        assert alice.post(f"/schedules/{made['id']}/{verb}").status == 200
    for amount in (10, 10**6):
        made = plan(alice, bob, amount=amount, every={"unit": "day", "count": 1})
        start_earlier(api.database_url, made["id"], "5 days")
    plan(alice, bob, start_at=ahead(days=1), every=None)
    api.owner(lambda database: payment_requests.expire(database, PUBLIC_URL))
    api.owner(lambda database: schedule_runner.run_due(database, REFUSALS))
    return [event for user in sides for event in _all(user)]


@pytest.fixture(autouse=True)
def _proved(api: Api) -> Iterator[None]:
    yield
    api.verify()


@pytest.mark.contract("11.1.9", "11.2.9")
def test_each_is_as_its_schema_says(caused: list[Any]) -> None:
    assert {event["type"] for event in caused} == {
        kind for kind in EVENT_TYPES if kind.startswith(("payment_request.", "schedule."))
    }
    for event in caused:
        validator = jsonschema_rs.validator_for(
            schemas.schema(event["type"]), validate_formats=True
        )
        validator.validate(event)


@pytest.mark.contract("11.1.9")
def test_both_sides_receive_the_same_events(caused: list[Any], sides: tuple[User, User]) -> None:
    events = [event for event in caused if event["type"].startswith("payment_request.")]
    own = {"sent": [], "received": []}  # type: dict[str, list[Any]]
    for event in events:
        shown = dict(event["data"]["object"])
        own[shown.pop("direction")].append((event["type"], shown, event["data"]["previous"]))
    assert own["sent"] == own["received"]
    assert all(shown["url"].startswith(PUBLIC_URL) for _, shown, _ in own["sent"])


@pytest.mark.contract("11.1.9")
def test_only_who_caused_it_is_its_actor(caused: list[Any], sides: tuple[User, User]) -> None:
    alice, bob = (user.user_id for user in sides)
    actors = {"created": alice, "canceled": alice, "declined": bob, "paid": bob, "expired": None}
    for event in caused:
        group, _, what = event["type"].partition(".")
        if group == "payment_request":
            owner = alice if event["data"]["object"]["direction"] == "sent" else bob
            expected = owner if actors[what] == owner else None
            assert event["actor"] == expected
            assert (event["request"] is None) == (expected is None)


@pytest.mark.contract("11.2.9")
def test_only_the_owner_receives_events_of_schedules(
    caused: list[Any], sides: tuple[User, User]
) -> None:
    alice, _ = sides
    events = [event for event in caused if event["type"].startswith("schedule.")]
    assert {event["actor"] for event in events} == {alice.user_id}
    assert {event["type"] for event in events if event["request"] is None} >= {"schedule.failed"}


def _all(user: User) -> list[Any]:
    answer = user.get("/events", after_sequence=0, limit=100).json()
    assert not answer["has_more"]
    return [
        event
        for event in answer["data"]
        if event["type"].startswith(("payment_request.", "schedule."))
    ]
