"""What finpay_app is refused, and what not even the owner can change."""

from collections.abc import AsyncIterator
from itertools import product
from typing import Final

import asyncpg
import pytest

from finpay import ids
from finpay.ledger.administration import set_status
from finpay.ledger.posting import Transfer
from tests.sql.ledger_fixtures import Bank, Holder, fresh_key, operation, transfer
from tests.sql.schedule_fixtures import ask, plan

# Everything in these goes through functions. The column is one to try an UPDATE on.
TABLES: Final = {
    "ledger.accounts": "balance",
    "ledger.transactions": "amount",
    "ledger.entries": "amount",
    "ledger.failed_transactions": "balance_after",
    "ledger.idempotency_keys": "answer",
    "ledger.payment_requests": "status",
    "ledger.schedules": "status",
    "ledger.erasures": "up_to_key",
    "ledger.status_changes": "reason",
    "ledger.verification_state": "violations",
    "ledger.account_limits": "ceiling_daily",
    "ledger.approvals": "status",
    "ledger.dry_run_receivers": "day",
    "ledger.payment_references": "reference",
    "ledger.held_changes": "held",
    "ledger.holds": "captured_amount",
    "ledger.hold_expiries": "expires_at",
    "ledger.withdrawals": "amount",
    "audit.actions": "recorded_by",
    "audit.log": "action",
    "outbox.event_types": "recorded_by",
    "outbox.events": "type",
    "outbox.retention_watermarks": "up_to_sequence",
    "ledger.transfer_batches": "key",
}
STATEMENTS: Final = (
    "INSERT INTO {table} DEFAULT VALUES",
    "UPDATE {table} SET {column} = {column}",
    "DELETE FROM {table}",
    "TRUNCATE {table}",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} ADD COLUMN more integer",
    "ALTER TABLE {table} OWNER TO finpay_app",
    "CREATE TRIGGER t BEFORE INSERT ON {table} EXECUTE FUNCTION ledger.reject_change()",
    "CREATE RULE r AS ON INSERT TO {table} DO INSTEAD NOTHING",
    "DROP TABLE {table}",
    "BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE",
)
OTHER_STATEMENTS: Final = (
    "SET session_replication_role = replica",
    "SET ROLE finpay_owner",
    "CREATE TABLE ledger.more (id integer)",
    "CREATE FUNCTION ledger.more() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA more",
    "DROP SCHEMA ledger CASCADE",
    "DROP FUNCTION ledger.post_transfers",
    "ALTER FUNCTION ledger.post_transfers SECURITY INVOKER",
    "ALTER ROLE finpay_app SUPERUSER",
    "SELECT ledger.fund(gen_random_uuid(), gen_random_uuid(), 1, 'k', '')",
    "SELECT ledger.set_status(gen_random_uuid(), 'frozen', 'r', 'k', '')",
    "SELECT ledger.system_account('ZAR')",
    "SELECT ledger.http_status('completed', 'one')",
    "SELECT webhooks.enqueue('{}', '{}', '{}')",
    "INSERT INTO finpay.schema_migrations VALUES ('x')",
    # What only the ledger may record.
    "SELECT audit.record(NULL, 'transaction.completed', gen_random_uuid(), 'r', NULL)",
    "SELECT audit.record(NULL, 'account.updated', gen_random_uuid(), 'r', NULL)",
    "SELECT outbox.record(gen_random_uuid(), 'transaction.completed', '{}', NULL, 'r')",
    "SELECT outbox.record(gen_random_uuid(), 'account.updated', '{}', NULL, 'r')",
    "SELECT outbox.record_events(gen_random_uuid(), 'account.updated', '{}', NULL, 'r')",
    "SELECT ledger.check_accounts('{}')",
    "SELECT ledger.record_change(gen_random_uuid(), 'transaction.completed', NULL, now())",
    "SELECT ledger.store_result(NULL, NULL, 'x', now())",
    "SELECT ledger.save_schedules(NULL)",
)
# Append-only for every role: a trigger refuses, not a missing right.
FINAL: Final = (
    "ledger.accounts SET public_id = 'acc_another'",
    "ledger.entries SET amount = 1",
    "ledger.entries SET balance_after = 1",
    "ledger.failed_transactions SET balance_after = 1",
    "ledger.transactions SET id = gen_random_uuid()",
    "ledger.transactions SET sender_id = gen_random_uuid()",
    "ledger.transactions SET receiver_id = gen_random_uuid()",
    "ledger.transactions SET amount = 1",
    "ledger.transactions SET currency = 'USD'",
    "ledger.transactions SET type = 'funding'",
    "ledger.transactions SET created_at = now()",
    "ledger.holds SET amount = 1",
    "ledger.holds SET expires_at = now()",
    "ledger.hold_expiries SET expires_at = now()",
    "ledger.withdrawals SET amount = 1",
    'ledger.withdrawals SET destination = \'{"iban":"ZA2"}\'',
    "ledger.payment_requests SET amount = 1",
    "ledger.payment_requests SET payer_email = 'x'",
    "ledger.schedules SET receiver_id = gen_random_uuid()",
    "ledger.schedules SET amount = 1",
    "ledger.status_changes SET reason = 'x'",
    "audit.log SET action = 'x'",
    "audit.log SET actor_id = NULL",
)
KEPT: Final = (
    "ledger.entries",
    "ledger.failed_transactions",
    "ledger.holds",
    "ledger.transactions",
    "ledger.withdrawals",
    "audit.log",
)
REFUSED: Final = asyncpg.InsufficientPrivilegeError
INVALID: Final = asyncpg.InvalidParameterValueError


@pytest.fixture
async def app(bank: Bank) -> AsyncIterator[asyncpg.Connection]:
    """A session of finpay_app itself, as with a URL of its own: it never had another role."""
    connection = await asyncpg.connect(bank.url)
    await connection.execute("SET SESSION AUTHORIZATION finpay_app")
    yield connection
    await connection.close()


@pytest.fixture
async def owner(bank: Bank, posted: Transfer) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(bank.url)
    await connection.execute("SET SESSION AUTHORIZATION finpay_owner")
    yield connection
    await connection.close()


@pytest.fixture
async def posted(bank: Bank) -> Transfer:
    """A transfer and a failure, so that no statement is harmless for want of rows."""
    a, b = await bank.open(100), await bank.open()
    item = transfer(a, b, 1)
    assert await bank.outcomes(item, transfer(a, b, 1_000)) == ["completed", "insufficient_funds"]
    await plan(bank, a, b, due_days=-1)
    await ask(bank, a, b)
    await bank.hold(a, b, 1)
    await bank.post(operation("withdrawal", a, amount=1))
    await set_status(bank.owner, b.public_id, "frozen", "a test", fresh_key())
    return item


async def test_no_table_is_forgotten(bank: Bank) -> None:
    rows = await bank.app.fetch(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables "
        "WHERE schemaname IN ('ledger', 'audit', 'outbox')"
    )
    assert {row["name"] for row in rows} == set(TABLES)


@pytest.mark.parametrize(("table", "statement"), list(product(TABLES, STATEMENTS)))
async def test_the_app_is_refused(app: asyncpg.Connection, table: str, statement: str) -> None:
    with pytest.raises(REFUSED):
        await app.execute(statement.format(table=table, column=TABLES[table]))


@pytest.mark.parametrize("statement", OTHER_STATEMENTS)
async def test_the_app_is_refused_what_would_lead_around(
    app: asyncpg.Connection, statement: str
) -> None:
    with pytest.raises(REFUSED):
        await app.execute(statement)


@pytest.mark.contract("2.3.1")
async def test_the_app_has_no_right_to_write_but_in_identity_mail_and_webhooks(bank: Bank) -> None:
    """By the catalogue, so that no table and no column is forgotten."""
    rows = await bank.app.fetch(
        "SELECT DISTINCT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "CROSS JOIN unnest('{INSERT,UPDATE,DELETE,TRUNCATE,TRIGGER,REFERENCES}'::text[]) p "
        "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_)' "
        "AND (has_table_privilege('finpay_app', c.oid, p) OR p IN ('INSERT', 'UPDATE') "
        "     AND has_any_column_privilege('finpay_app', c.oid, p))"
    )
    assert {row["nspname"] for row in rows} == {"identity", "mail", "webhooks"}


@pytest.mark.contract("2.3.2")
async def test_the_app_can_not_make_money(bank: Bank) -> None:
    """The system account is never a sender, in either direction."""
    a = await bank.open(100)
    row = await bank.row(
        "SELECT id, balance FROM ledger.accounts WHERE user_id IS NULL AND currency = 'ZAR'"
    )
    system = Holder(ids.new_uuid(), row["id"], "")
    with pytest.raises(INVALID, match="is not a user account"):
        await bank.post(transfer(system, a, 1))
    assert await bank.outcome(transfer(a, system, 1)) == "receiver_not_found"
    for sender, receiver in ((system, a), (a, system)):
        with pytest.raises(INVALID, match="an amount is not"):
            await bank.post(transfer(sender, receiver, -1))
    assert await bank.balance(system) == row["balance"]
    assert await bank.balance(a) == 100


async def test_the_app_can_not_open_a_system_account(app: asyncpg.Connection) -> None:
    assert await app.fetchval("SELECT ledger.open_account(gen_random_uuid(), NULL, 'XOF')") is None
    assert not await app.fetchval("SELECT count(*) FROM ledger.accounts WHERE currency = 'XOF'")


async def test_an_account_is_opened_empty(app: asyncpg.Connection) -> None:
    account_id, user_id = ids.new_uuid(), ids.new_uuid()
    async with app.transaction():
        await app.execute(
            "INSERT INTO identity.users (id, email, password_hash) VALUES ($1, $2, 'none')",
            user_id,
            f"{user_id}@example.com",
        )
        row = await app.fetchrow(
            "SELECT balance, held, version, sequence, status FROM ledger.open_account($1, $2, $3)",
            account_id,
            user_id,
            "ZAR",
        )
    assert row is not None
    assert tuple(row) == (0, 0, 0, 0, "active")


async def test_a_temporary_table_does_not_replace_a_real_one(
    bank: Bank, app: asyncpg.Connection
) -> None:
    """Temporary objects come last in a function's search_path, and its names are qualified."""
    a, b = await bank.open(), await bank.open()
    await app.execute("CREATE TEMP TABLE accounts (LIKE ledger.accounts)")
    await app.execute(
        "INSERT INTO pg_temp.accounts SELECT * FROM ledger.accounts WHERE id = $1", a.account_id
    )
    await app.execute("CREATE TYPE pg_temp.outcome AS ENUM ('completed')")
    await app.execute("SET search_path = pg_temp, ledger")
    assert await bank.outcome(transfer(a, b, 1)) == "insufficient_funds"


@pytest.mark.contract("2.3.4")
@pytest.mark.parametrize("change", FINAL)
async def test_the_owner_can_not_change_what_is_final(
    owner: asyncpg.Connection, change: str
) -> None:
    with pytest.raises(REFUSED, match="append-only"):
        await owner.execute(f"UPDATE {change}")


@pytest.mark.contract("2.3.4")
@pytest.mark.parametrize(
    ("table", "statement"), list(product(KEPT, ("DELETE FROM {}", "TRUNCATE {}")))
)
async def test_the_owner_can_not_remove_what_is_kept(
    owner: asyncpg.Connection, table: str, statement: str
) -> None:
    with pytest.raises(REFUSED, match="append-only"):
        await owner.execute(statement.format(table))


async def test_a_status_may_change_later(owner: asyncpg.Connection, posted: Transfer) -> None:
    """A reversal will set it; the triggers guard amounts and parties."""
    attempt = owner.transaction()
    await attempt.start()
    await owner.execute(
        "UPDATE ledger.transactions SET status = 'reversed' WHERE id = $1", posted.id
    )
    await attempt.rollback()


@pytest.mark.parametrize("name", ["transaction.completed", "transaction.x", "account.updated"])
async def test_the_app_can_not_forge_what_the_ledger_records(
    app: asyncpg.Connection, name: str
) -> None:
    with pytest.raises(REFUSED):
        await app.execute("SELECT audit.record(NULL, $1, NULL, NULL, NULL)", name)
    with pytest.raises(REFUSED):
        await app.execute("SELECT outbox.record($2, $1, '{}', NULL, NULL)", name, ids.new_uuid())


@pytest.mark.contract("2.1.2")
@pytest.mark.parametrize("change", ["balance = -1", "held = balance + 1", "balance = 2 ^ 53"])
async def test_no_user_account_leaves_its_bounds_whatever_role_writes(
    owner: asyncpg.Connection, change: str
) -> None:
    """The last line of defence, below every function."""
    with pytest.raises(asyncpg.CheckViolationError):
        await owner.execute(f"UPDATE ledger.accounts SET {change} WHERE user_id IS NOT NULL")
