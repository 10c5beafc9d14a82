"""Fixtures for tests of the SQL of the ledger and of identity."""

from collections.abc import AsyncIterator

import pytest

from tests.sql.identity_fixtures import People
from tests.sql.ledger_fixtures import Bank


@pytest.fixture
async def bank(database_url: str) -> AsyncIterator[Bank]:
    """The worker's database; every test opens accounts of its own in it."""
    bank = Bank(database_url)
    yield bank
    await bank.close()


@pytest.fixture
async def strict(database_url: str) -> AsyncIterator[Bank]:
    """With FINPAY_REQUIRE_VERIFIED_EMAIL. No user of these tests has a verified address."""
    bank = Bank(database_url, session_settings={"finpay.require_verified_sender": "on"})
    yield bank
    await bank.close()


@pytest.fixture
async def people(database_url: str) -> AsyncIterator[People]:
    """Identity on the worker's database; every test registers users of its own."""
    people = People(database_url)
    yield people
    await people.close()
