"""`finpay webhooks trigger`: every event of the catalogue has one, which causes it."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from finpay.db.pool import Database
from finpay.dev import payment_triggers, triggers
from finpay.dev.seed import PASSWORD, seed
from finpay.dev.trigger_context import AMOUNT, CannotTrigger, TriggerContext
from finpay.ledger import holds, payment_requests, schedule_runner
from finpay.outbox.event_types import EVENT_TYPES
from tests.api_process import Api
from tests.backdating import end_hold, end_time
from tests.sql.ledger_fixtures import REFUSALS

BY_WORKER = {"hold.expired", "payment_request.expired", "schedule.failed"}


@pytest.fixture
def seeded(serve: Callable[..., Api], fresh_database: Callable[[], str]) -> Api:
    url = fresh_database()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, seed(url)).result()
    return serve(DATABASE_URL=url)


def test_every_event_of_the_catalogue_has_a_trigger() -> None:
    assert set(triggers.TRIGGERS) == set(EVENT_TYPES)


def test_each_causes_its_event_for_who_acts(seeded: Api) -> None:
    context = _context(seeded)
    account = context.log_in().account()
    for event_type, trigger in payment_triggers.TRIGGERS.items():
        _, last = _newest(context)
        said = asyncio.run(trigger(context))
        if event_type in BY_WORKER:
            _work(seeded, event_type, said.partition(" ")[0])
        events = context.client.events(after_sequence=last)
        assert event_type in [event.type for event in events], said
    # A capture and a withdrawal went out, the payment of a request came in.
    assert context.client.account().balance == account.balance - AMOUNT
    seeded.verify()


def test_without_the_owners_rights_no_operator_acts(seeded: Api) -> None:
    context = _context(seeded, owner_url=None)
    with pytest.raises(CannotTrigger, match="FINPAY_DATABASE_OWNER_URL"):
        asyncio.run(payment_triggers.withdrawal_completed(context))


def _context(api: Api, owner_url: str | None = "") -> TriggerContext:
    url = api.database_url if owner_url == "" else owner_url
    return TriggerContext(api.client(), api.url, "alice@finpay.dev", PASSWORD, url)


def _newest(context: TriggerContext) -> tuple[str, int]:
    event = next(iter(context.client.events(limit=1)))
    return event.type, event.sequence


def _work(api: Api, event_type: str, made: str) -> None:
    """As a worker does when the time of what was made has come."""
    if event_type == "hold.expired":
        end_hold(api.database_url, made.rstrip(":"))
    elif event_type == "payment_request.expired":
        end_time(api.database_url, made.rstrip(":"))
    else:
        time.sleep(2.2)  # the schedule is due in two seconds

    async def run(database: Database) -> None:
        await holds.expire(database, lambda: None)
        await payment_requests.expire(database, None)
        await schedule_runner.run_due(database, REFUSALS)

    api.owner(run)
