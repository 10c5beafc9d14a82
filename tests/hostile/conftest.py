"""Users and an API for hostile requests."""

import time
from collections.abc import Iterator

import pytest

from tests.api_process import Api, User

BALANCE = 1_000


@pytest.fixture(scope="module")
def alice(api: Api) -> User:
    return api.user(BALANCE)


@pytest.fixture(scope="module")
def bob(api: Api) -> User:
    return api.user()


@pytest.fixture
def nothing_moves(api: Api, alice: User) -> Iterator[None]:
    """The balance stays, and no request ends in an unhandled exception."""
    before, logged = alice.balance, api.log.stat().st_size
    yield
    assert alice.balance == before
    assert b"unhandled_exception" not in api.log.read_bytes()[logged:]


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """New for each test."""
    return f"{request.node.name}-{time.monotonic_ns()}".replace(" ", "-")[-200:]
