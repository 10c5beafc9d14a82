"""Fixtures for tests of the ledger's SQL."""

from collections.abc import AsyncIterator

import pytest

from tests.sql.ledger_fixtures import Bank


@pytest.fixture
async def bank(database_url: str) -> AsyncIterator[Bank]:
    """The worker's database; every test opens accounts of its own in it."""
    bank = Bank(database_url)
    yield bank
    await bank.close()
