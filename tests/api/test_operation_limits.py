"""Which rate limits holds, refunds and withdrawals count in."""

from typing import Any

import pytest

from tests.api.assertions import problem
from tests.api.conftest import Strict
from tests.api.rate_limit_headers import left_of
from tests.api.test_holds import make_hold, post
from tests.api.test_rate_limits import spend
from tests.api_process import Api, User


def counted(user: User, path: str, **body: Any) -> dict[str, int]:
    """What the request counted in each tier."""
    before = spend(user)
    after = left_of(post(user, path, **body))
    return {tier: left - after.get(tier, left) for tier, left in before.items()}


@pytest.mark.contract("7.9.1")
def test_operations_count_as_transfers_and_releases_do_not(strict: Strict) -> None:
    alice, bob = strict.user(1_000), strict.user(100)
    both, general = {"global": 1, "transaction": 1}, {"global": 1, "transaction": 0}
    hold = {"receiver_id": bob.account_id, "amount": 10}
    assert counted(alice, "/holds", **hold) == both
    first, second = (make_hold(alice, bob, 10)["id"] for _ in range(2))
    assert counted(bob, f"/holds/{first}/capture") == both
    assert counted(bob, f"/holds/{second}/void") == general
    paid = alice.send(bob, 10, "pay").json()["id"]
    assert counted(bob, f"/transactions/{paid}/refunds") == both
    assert counted(alice, "/withdrawals", amount=1, destination={}) == both
    withdrawal = post(alice, "/withdrawals", amount=1, destination={}).json()["id"]
    assert counted(alice, f"/withdrawals/{withdrawal}/cancel") == general


@pytest.mark.contract("7.9.1")
def test_money_can_be_released_when_the_transaction_tier_is_used_up(
    strict: Strict, api: Api
) -> None:
    alice, bob = strict.user(1_000), strict.user(100)
    hold = make_hold(alice, bob, 10)["id"]
    withdrawal = post(bob, "/withdrawals", amount=1, destination={}).json()["id"]
    while spend(bob)["transaction"]:
        pass
    problem(post(bob, f"/holds/{hold}/capture"), 429, "rate_limited")
    assert post(bob, f"/holds/{hold}/void").status == 200
    assert post(bob, f"/withdrawals/{withdrawal}/cancel").status == 200
