"""Which SQL functions finpay_app may execute, and how each function is guarded."""

from typing import Final

import asyncpg
import pytest

from tests.sql.ledger_fixtures import Bank


@pytest.mark.contract("2.3.2")
async def test_the_app_may_execute_these_functions_and_no_other(bank: Bank) -> None:
    rows = await bank.app.fetch(
        "SELECT p.oid::regproc::text AS name FROM pg_proc p "
        "WHERE p.pronamespace::regnamespace::text !~ '^(pg_|information_)' "
        "AND has_function_privilege('finpay_app', p.oid, 'EXECUTE')"
    )
    assert {row["name"] for row in rows} == {
        "identity.can_be_found",
        "ledger.change_schedule",
        "ledger.close_account",
        "ledger.erase_closed_account",
        "ledger.create_payment_requests",
        "ledger.create_schedule",
        "ledger.dry_run",
        "ledger.end_payment_request",
        "ledger.expire_payment_requests",
        "ledger.json_string",
        "ledger.json_time",
        "ledger.lease_schedules",
        "ledger.occurrence",
        "ledger.open_account",
        "ledger.payment_request_status_at",
        "ledger.run_schedules",
        "ledger.schedule_object",
        "ledger.post_transfers",
        "ledger.verify_slice",
        "ledger.type_id",
        "ledger.format_timestamp",
        "ledger.account_object",
        "ledger.approval_object",
        "ledger.operator_transaction",
        "ledger.held_at",
        "ledger.open_writer",
        "ledger.version_at",
        "ledger.apply_pending_limits",
        "ledger.change_limits",
        "ledger.effective_limits",
        "ledger.expire_holds",
        "ledger.list_due_holds",
        "ledger.limits_object",
        "audit.first_id_since",
        "audit.record",
        "audit.record_each",
        "outbox.sequence_range",
        "outbox.first_sequence_since",
        "outbox.prune",
        "outbox.record",
        "outbox.record_events",
        "webhooks.new_id",
    }


# Steps of ledger.post_transfers, called with its search_path: setting one anew costs each call.
STEPS: Final = {
    "ledger.argument_error",
    "ledger.cancel_outcome",
    "ledger.capture_outcome",
    "ledger.compose_answers",
    "ledger.decide_batch",
    "ledger.decide_operation",
    "ledger.former_members",
    "ledger.hold_state",
    "ledger.http_status",
    "ledger.is_within_limits",
    "ledger.operation_error",
    "ledger.operation_event",
    "ledger.owner_refusal",
    "ledger.payment_outcome",
    "ledger.position_of",
    "ledger.refund_outcome",
    "ledger.refusal_members",
    "ledger.transfer_outcome",
    "ledger.void_outcome",
    "ledger.withdrawal_outcome",
}


@pytest.mark.contract("2.3.3")
async def test_every_function_is_guarded(bank: Bank) -> None:
    rows = await bank.app.fetch(
        "SELECT p.oid::regproc::text AS name, p.proconfig AS settings, p.prosecdef, "
        "       has_function_privilege('finpay_app', p.oid, 'EXECUTE') AS for_the_app, "
        "       p.proowner::regrole::text AS owner, "
        "       has_function_privilege('public', p.oid, 'EXECUTE') AS for_public "
        "FROM pg_proc p WHERE p.pronamespace::regnamespace::text !~ '^(pg_|information_)'"
    )
    assert len(rows) > 5
    for row in rows:
        if row["name"] in STEPS:
            assert not row["prosecdef"], row["name"]
            assert not row["for_the_app"], row["name"]
        else:
            assert "search_path=pg_catalog, pg_temp" in (row["settings"] or []), row["name"]
        assert row["owner"] == "finpay_owner", row["name"]
        assert not row["for_public"], row["name"]


async def test_a_new_function_can_be_executed_by_its_owner_alone(bank: Bank) -> None:
    owner = await asyncpg.connect(bank.url)
    async with owner.transaction():
        await owner.execute("SET LOCAL ROLE finpay_owner")
        await owner.execute("CREATE FUNCTION ledger.novelty() RETURNS int RETURN 1")
        assert not await owner.fetchval(
            "SELECT has_function_privilege('finpay_app', 'ledger.novelty()', 'EXECUTE')"
        )
        await owner.execute("DROP FUNCTION ledger.novelty()")
    await owner.close()
