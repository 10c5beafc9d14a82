"""More requests than fit are refused at once, and none is half done."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from finpay.errors import Code, FinPayError
from finpay.ledger.batcher import MAX_BATCH, MAX_IN_FLIGHT, MAX_QUEUED, Batcher
from finpay.ledger.posting import PostingResult
from tests.api_process import PASSWORD, Api
from tests.faults.api_probes import ask
from tests.load import http_client
from tests.sql.ledger_fixtures import REFUSALS, Bank, transfer

REGISTRATIONS: Final = 90  # two cores hash two passwords at once and queue 32
EXTRA: Final = 100


@pytest.fixture
async def bank(database_url: str) -> AsyncIterator[Bank]:
    bank = Bank(database_url)
    yield bank
    await bank.close()


@pytest.mark.contract("2.2.7")
async def test_full_queue_refuses_at_once_and_loses_no_accepted_transfer(bank: Bank) -> None:
    """The sender is locked, so that the first batches stay in flight while the others queue."""
    batcher = Batcher(bank.app, REFUSALS)
    capacity = MAX_IN_FLIGHT * MAX_BATCH + MAX_QUEUED
    a, b = await bank.open(capacity + EXTRA), await bank.open()
    items = [transfer(a, b, 1) for _ in range(capacity + EXTRA)]
    async with bank.owner.transaction() as lock:
        await lock.execute("SELECT FROM ledger.accounts WHERE id = $1 FOR UPDATE", a.account_id)
        posting = [asyncio.ensure_future(batcher.post(items[0]))]
        await bank.until_a_statement_waits()
        started = time.monotonic()
        posting += [asyncio.ensure_future(batcher.post(item)) for item in items[1:]]
        await asyncio.sleep(0)
        refused = [future.exception() for future in posting if future.done()]
        assert time.monotonic() - started < 3, "refused without a wait"
        assert all(is_overloaded(error) for error in refused)
        assert len(refused) >= EXTRA
    answers = await asyncio.gather(*posting, return_exceptions=True)
    done = [answer for answer in answers if isinstance(answer, PostingResult)]
    assert len(done) + len(refused) == len(items), Counter(map(type, answers))
    assert {posted.outcome for posted in done} == {"completed"}
    assert await bank.balance(b) == len(done)
    first_refused = next(
        item for item, answer in zip(items, answers, strict=True) if is_overloaded(answer)
    )
    assert (await batcher.post(first_refused)).outcome == "completed", "its key is still free"
    await batcher.drain()


async def test_registrations_above_the_capacity_are_refused_without_effect(api: Api) -> None:
    emails = [
        f"registration-{number}-{time.time_ns()}@example.com" for number in range(REGISTRATIONS)
    ]
    async with http_client(api, REGISTRATIONS + 1) as http:
        registering = asyncio.gather(*(register(http, email) for email in emails))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        livez = await asyncio.to_thread(ask, api, "/livez")
        waited_s = time.monotonic() - started
        answers = await registering
        assert livez.status_code == 200
        assert waited_s < 1, "passwords are not hashed in the event loop"
        assert {answer.status_code for answer in answers} == {201, 503}
        refused = {
            email: answer
            for email, answer in zip(emails, answers, strict=True)
            if answer.status_code == 503
        }
        for answer in refused.values():
            assert answer.json()["code"] == "overloaded"
            assert int(answer.headers["retry-after"]) >= 1
        created = api.sql("SELECT email FROM identity.users WHERE email = ANY($1)", emails)
        assert {row["email"] for row in created} == set(emails) - set(refused)
        assert (await register(http, next(iter(refused)))).status_code == 201
    api.verify()


async def register(http: httpx.AsyncClient, email: str) -> httpx.Response:
    return await http.post("/api/v1/auth/register", json={"email": email, "password": PASSWORD})


def is_overloaded(answer: Any) -> bool:
    return isinstance(answer, FinPayError) and answer.code is Code.OVERLOADED
