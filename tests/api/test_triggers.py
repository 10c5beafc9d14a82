"""`finpay webhooks trigger` causes each event of the catalogue by requests of its own."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from finpay.dev import trigger_context
from finpay.dev.trigger_context import CannotTrigger, TriggerContext
from finpay.dev.triggers import TRIGGERS
from finpay.ledger import holds, payment_requests, schedule_runner
from finpay.outbox.event_types import EVENT_TYPES
from tests.api_process import PASSWORD, Api, User
from tests.backdating import end_hold, end_time
from tests.sql.ledger_fixtures import REFUSALS

LIMIT_S: Final = 10.0
# The events of a new user, and one that needs a worker: see tests/dev/test_first_webhook.py.
ELSEWHERE: Final = {"user.registered", "account.created", "webhook_endpoint.disabled"}
OPERATORS: Final = {"account.updated", "withdrawal.completed", "withdrawal.rejected"}


@pytest.fixture
def users(api: Api, monkeypatch: pytest.MonkeyPatch) -> tuple[User, User]:
    """As alice and bob of the seed."""
    alice, bob = api.user(1_000), api.user(1_000)
    monkeypatch.setattr(trigger_context, "PARTNERS", (bob.email, alice.email))
    return alice, bob


def test_every_event_of_the_catalogue_can_be_triggered() -> None:
    assert set(TRIGGERS) == set(EVENT_TYPES)


@pytest.mark.parametrize("event_type", sorted(set(EVENT_TYPES) - ELSEWHERE))
def test_the_event_follows(api: Api, users: tuple[User, User], event_type: str) -> None:
    alice, _ = users
    done = trigger(api, alice, event_type, api.database_url)
    wait = WAITS.get(event_type)
    if wait is not None:
        wait(api, done.split()[0])
    events = alice.get("/events", type=event_type).json()["data"]
    assert {event["type"] for event in events} == {event_type}


@pytest.mark.parametrize("event_type", sorted(OPERATORS))
def test_what_only_an_operator_may_do_needs_the_owners_rights(
    api: Api, users: tuple[User, User], event_type: str
) -> None:
    with pytest.raises(CannotTrigger, match="owner's rights"):
        trigger(api, users[0], event_type, None)
    assert users[0].balance == 1_000


def trigger(api: Api, user: User, event_type: str, owner_url: str | None) -> str:
    client = api.client()
    context = TriggerContext(client, api.url, user.email, PASSWORD, owner_url)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(TRIGGERS[event_type](context))).result()


def _expire_hold(api: Api, made: str) -> None:
    end_hold(api.database_url, made)
    api.owner(lambda database: holds.expire(database, lambda: None))


def _expire_request(api: Api, made: str) -> None:
    end_time(api.database_url, made)
    api.owner(lambda database: payment_requests.expire(database, None))


def _run_schedule(api: Api, _: str) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not api.owner(lambda database: schedule_runner.run_due(database, REFUSALS)):
        assert time.monotonic() < until_s
        time.sleep(0.1)


WAITS: Final[dict[str, Callable[[Api, str], None]]] = {
    "hold.expired": _expire_hold,
    "payment_request.expired": _expire_request,
    "schedule.failed": _run_schedule,
}
