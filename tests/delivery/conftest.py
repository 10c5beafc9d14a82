"""Fixtures for tests of delivery."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.delivery.fixtures import Scene
from tests.delivery.receiver import Receiver, receiving
from tests.sql.ledger_fixtures import Bank


@pytest.fixture
async def scene(fresh_database: Callable[[], str], tmp_path: Path) -> AsyncIterator[Scene]:
    """A database, a bank in it, and the workers that the test starts."""
    url = fresh_database()
    made = Scene(url, tmp_path, Bank(url))
    yield made
    await made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """On loopback; it answers 200 until a test says more."""
    with receiving() as running:
        yield running
