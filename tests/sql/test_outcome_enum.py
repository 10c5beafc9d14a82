"""The outcomes and their HTTP statuses are the same in SQL and in Python."""

import pytest

from finpay.errors import ERROR_SPECS, Code
from finpay.ledger.outcome import REFUSALS, Outcome
from tests.sql.ledger_fixtures import Bank


@pytest.mark.contract("2.2.2")
async def test_the_enums_are_the_same_in_order(bank: Bank) -> None:
    row = await bank.row("SELECT enum_range(NULL::ledger.outcome)::text[] AS names")
    assert row["names"] == list(Outcome)


@pytest.mark.contract("1.4.2")
@pytest.mark.parametrize(
    ("mode", "completed"),
    [
        ("transfer", 201),
        ("independent", 200),
        ("atomic", 201),
        ("hold", 201),
        ("capture", 201),
        ("void", 200),
        ("refund", 201),
        ("withdrawal", 201),
        ("cancel", 200),
    ],
)
async def test_every_stored_status_is_that_of_its_error(
    bank: Bank, mode: str, completed: int
) -> None:
    rows = await bank.owner.fetch(
        "SELECT outcome::text, ledger.http_status(outcome, $1) AS status "
        "FROM unnest(enum_range(NULL::ledger.outcome)) AS outcome",
        mode,
    )
    statuses = {row["outcome"]: row["status"] for row in rows}
    assert statuses["completed"] == completed
    assert {outcome: statuses[outcome] for outcome in REFUSALS} == {
        outcome: ERROR_SPECS[code].status for outcome, (code, _) in REFUSALS.items()
    }


def test_every_refusal_has_its_error() -> None:
    """A duplicate has the stored answer, and the edge answers reuse."""
    apart = {
        Outcome.COMPLETED,
        Outcome.APPROVAL_REQUIRED,
        Outcome.DUPLICATE,
        Outcome.IDEMPOTENCY_KEY_REUSE,
    }
    assert set(REFUSALS) == set(Outcome) - apart
    assert all(code == Code(outcome) for outcome, (code, _) in REFUSALS.items())
