"""What of a row never changes, and ids that are those of one row."""

import msgspec
import pytest

from finpay.db.pool import UniqueViolation
from finpay.ledger.posting import Mode
from tests.sql.ledger_fixtures import Bank, hold, operation


@pytest.mark.contract("2.1.1")
@pytest.mark.parametrize("mode", ["hold", "withdrawal"])
async def test_an_id_of_another_account_is_refused(bank: Bank, mode: Mode) -> None:
    """Operators know holds and withdrawals by their ids alone."""
    a, b, thief = await bank.open(100), await bank.open(), await bank.open(100)
    first, second = [
        hold(owner, b, 10)
        if mode == "hold"
        else operation(mode, owner, amount=10, metadata='{"iban":"ZA1"}')
        for owner in (a, thief)
    ]
    await bank.post(first)
    with pytest.raises(UniqueViolation):
        await bank.post(msgspec.structs.replace(second, id=first.id))
    assert (await bank.held(a), await bank.held(thief)) == (10, 0)


@pytest.mark.contract("2.3.4")
@pytest.mark.parametrize(("table", "changeable"), [
    ("accounts", """balance email_verified held limit_daily limit_single sent_on sent_today
                    sequence status subscribed version"""),
    ("transactions", "refunded_amount status"),
    ("holds", "captured_amount closed_at closed_sequence status"),
    ("withdrawals",
     "closed_at closed_sequence destination reason reference status transaction_id"),
    ("payment_requests", "payer_id status transaction_id"),
    ("schedules", """failures_in_a_row last_failure_code last_transaction_id late_in_a_row
                     leased_until next_at next_occurrence runs status"""),
])  # fmt: skip
async def test_only_these_columns_may_change(bank: Bank, table: str, changeable: str) -> None:
    """Whatever column is added: it is fixed, or it is named here."""
    rows = await bank.owner.fetch(
        "SELECT a.attname FROM pg_trigger t JOIN pg_attribute a ON a.attrelid = t.tgrelid "
        "WHERE t.tgrelid = $1::text::regclass AND t.tgname LIKE '%_fixed_columns' "
        "AND a.attnum > 0 AND NOT a.attisdropped AND a.attnum <> ALL (t.tgattr::int2[])",
        f"ledger.{table}",
    )
    assert sorted(row["attname"] for row in rows) == changeable.split()
