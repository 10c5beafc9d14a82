"""Fixtures for tests of delivery."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.delivery.fixtures import System
from tests.delivery.mailbox import Mailbox
from tests.delivery.receiver import Receiver, receiving
from tests.sql.identity_fixtures import People
from tests.sql.ledger_fixtures import Bank


@pytest.fixture
async def system(fresh_database: Callable[[], str], tmp_path: Path) -> AsyncIterator[System]:
    """A database of its own. Workers that the test starts are killed after it."""
    url = fresh_database()
    created = System(url, tmp_path, Bank(url))
    yield created
    await created.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """On loopback. It answers 200 until a test sets `behave`."""
    with receiving() as running:
        yield running


@pytest.fixture
async def people(fresh_database: Callable[[], str]) -> AsyncIterator[People]:
    people = People(fresh_database())
    yield people
    await people.close()


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()
