"""A statement of an account with deposits, holds, captures, refunds and withdrawals."""

from typing import Any

import pytest

from finpay.ledger import operator_commands
from tests.api.test_holds import make_hold, post
from tests.api.test_statements import PATH, rows, today
from tests.api_process import Api, User


@pytest.fixture(scope="module")
def traded(api: Api) -> tuple[User, str]:
    """Alice: funded, deposited to, captured from, refunded, and paid out. And the day of it."""
    alice, shop = api.user(1_000), api.user(name="Shop")
    own = alice.account_id
    api.owner(lambda db: operator_commands.deposit(db, own, 50, f"IN-{own}", key=f"in-{own}"))
    hold = make_hold(alice, shop, 300, description="Order 7")["id"]
    taken = post(shop, f"/holds/{hold}/capture", amount=100, final=False).json()["id"]
    post(shop, f"/holds/{hold}/void")
    post(shop, f"/transactions/{taken}/refunds", amount=40, description="Broken")
    asked = post(alice, "/withdrawals", amount=20, destination={"account": "1"}).json()["id"]
    post(alice, "/withdrawals", amount=7, destination={})
    api.owner(
        lambda db: operator_commands.complete_withdrawal(db, asked, f"OUT-{own}", key=f"out-{own}")
    )
    return alice, today(api)


@pytest.mark.contract("11.4.3")
def test_each_movement_has_its_type_and_what_is_held_is_in_no_entry(
    traded: tuple[User, str],
) -> None:
    alice, day = traded
    shown = alice.get(PATH, **{"from": day, "to": day}).json()
    found = [(each["type"], each["amount"], each["balance_after"]) for each in shown["entries"]]
    assert found == [
        ("funding", 1_000, 1_000), ("deposit", 50, 1_050), ("transfer", -100, 950),
        ("refund", 40, 990), ("withdrawal", -20, 970),
    ]  # fmt: skip
    assert (shown["opening_balance"], shown["closing_balance"]) == (0, 970)
    assert shown["totals_by_type"]["refund"] == {"count": 1, "total_in": 40, "total_out": 0}
    assert shown["totals_by_type"]["withdrawal"] == {"count": 1, "total_in": 0, "total_out": 20}
    at = shown["entries"][-1]["created_at"]
    now: Any = alice.get("/accounts/balance", at=at).json()
    assert (now["balance"], now["held"], now["available"]) == (970, 7, 963)


@pytest.mark.contract("11.4.4")
def test_csv_has_them_with_their_descriptions(traded: tuple[User, str]) -> None:
    alice, day = traded
    answer = alice.get(PATH, **{"from": day, "to": day, "format": "csv"})
    found = [(row[2], row[4], row[5], row[6]) for row in rows(answer)[2:-1]]
    assert found[2:4] == [
        ("transfer", "Shop", "Order 7", "-1.00"), ("refund", "Shop", "Broken", "0.40"),
    ]  # fmt: skip
    assert [kind for kind, *_ in found] == [
        "funding", "deposit", "transfer", "refund", "withdrawal",
    ]  # fmt: skip
