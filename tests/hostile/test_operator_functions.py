"""Functions of operators, called with generated arguments by a thief of the operators' login.

The thief can name an operator and deposit money in their name, which the audit log keeps. Whatever
is called, the books are exact, no other user is taken for an operator, and nothing else is done.
"""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest

from finpay import ids
from finpay.ledger.verify import verify
from tests.hostile.sql_values import Value, hostile, literal
from tests.sql.ledger_fixtures import Bank, Holder, operation, transfer

CALLS_PER_RUN: Final = 800
REFUSALS: Final = ("22", "23", "42501", "54001")
OPERATORS_ALONE: Final = (
    "change_status", "complete_withdrawal", "decide_approval", "deposit", "refund_transaction",
    "reject_withdrawal", "set_limits", "void_hold",
)  # fmt: skip
_FUNCTIONS: Final = """
SELECT p.proname AS name,
       ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes::oid[]) AS t) AS types
FROM pg_proc p
WHERE p.pronamespace::regnamespace::text !~ '^(pg_|information_)'
  AND has_function_privilege('finpay_operator', p.oid, 'EXECUTE')
ORDER BY 1
"""


@dataclass(slots=True)
class Targets:
    """What a thief can name."""

    operators: list[UUID]
    accounts: list[UUID]
    transactions: list[UUID]
    withdrawals: list[UUID]
    holds: list[UUID]
    approvals: list[UUID]


@pytest.fixture
async def bank(fresh_database: Callable[[], str]) -> AsyncIterator[Bank]:
    bank = Bank(fresh_database(), size=1)
    yield bank
    await bank.close()


async def thief_of(bank: Bank, role: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(bank.url, statement_cache_size=0)
    await connection.execute(f"SET SESSION AUTHORIZATION {role}")
    return connection


async def targets(bank: Bank) -> Targets:
    owners: list[Holder] = [await bank.open(10_000) for _ in range(4)]
    users = [owner.user_id for owner in owners]
    await bank.owner.execute(
        "UPDATE identity.users SET role = 'operator' WHERE id = ANY ($1)", users[2:]
    )
    holds = [(await bank.hold(owners[0], owners[1], 9)).id for _ in range(20)]
    withdrawals = [operation("withdrawal", owners[0], amount=7, metadata="{}") for _ in range(20)]
    await bank.post(*withdrawals, *(transfer(owners[0], owners[1], 100) for _ in range(9)))
    rows = await bank.app.fetch("SELECT id FROM ledger.transactions WHERE type = 'transfer'")
    system = await bank.app.fetch("SELECT id FROM ledger.accounts WHERE user_id IS NULL")
    accounts = [owner.account_id for owner in owners] + [row["id"] for row in system]
    made = [each.id for each in withdrawals]
    return Targets(users, accounts, [row["id"] for row in rows], made, holds, [])


def origin(rng: random.Random, operators: list[UUID]) -> Value:
    """As text of the composite: three currencies need a second operator above 500."""
    key = str(ids.new_uuid()) if rng.random() < 0.9 else "again"
    above = rng.choice(["", '"{""ZAR"": 500}"'])
    return rf"""({rng.choice(operators)},{key},"\\x66",req_hostile,192.0.2.1,{above},)"""


def plausible(rng: random.Random, name: str, known: Targets) -> list[Value]:
    by, amount = origin(rng, known.operators), rng.choice([1, 5, 501, None])
    account, text = rng.choice(known.accounts), f"r{rng.randrange(50)}"
    arguments: dict[str, list[Value]] = {
        "change_status": [by, account, rng.choice(["active", "frozen"]), text],
        "complete_withdrawal": [by, ids.new_uuid(), rng.choice(known.withdrawals), text],
        "decide_approval": [
            by, rng.choice(known.approvals or [UUID(int=1)]), rng.choice([True, False]),
            ids.new_uuid(),
        ],
        "deposit": [by, ids.new_uuid(), account, amount or 3, text, None],
        "refund_transaction": [by, ids.new_uuid(), rng.choice(known.transactions), amount, text],
        "reject_withdrawal": [by, rng.choice(known.withdrawals), text],
        "set_limits": [by, account, amount, amount, True, rng.choice([True, False])],
        "void_hold": [by, rng.choice(known.holds)],
    }  # fmt: skip
    return arguments[name]


@pytest.mark.contract("2.3.6")
async def test_no_argument_breaks_the_books(bank: Bank) -> None:
    known, rng = await targets(bank), random.Random(7)
    thief = await thief_of(bank, "finpay_operator")
    functions = await bank.app.fetch(_FUNCTIONS)
    completed = dict.fromkeys(OPERATORS_ALONE, 0)
    for _ in range(CALLS_PER_RUN):
        function = rng.choice(functions)
        arguments = plausible(rng, function["name"], known)
        for _ in range(rng.choice([0, 0, 1, 2])):
            at = rng.randrange(len(arguments))
            arguments[at] = hostile(rng, function["types"][at], arguments[at])
        row = await call(thief, function, arguments)
        if row is not None and row["outcome"] in {"completed", "approval_required"}:
            completed[function["name"]] += 1
        if row is not None and row["outcome"] == "approval_required":
            found = await bank.app.fetch("SELECT id FROM ledger.approvals")
            known.approvals = [each["id"] for each in found]
    await thief.close()
    assert min(completed.values()) > 0, completed
    report = await verify(bank.app)
    assert report.ok, [check.violations for check in report.checks if not check.ok]
    by_users = await bank.app.fetch(
        "SELECT FROM ledger.idempotency_keys k JOIN identity.users u ON u.id = k.principal_id"
        " WHERE u.role = 'user' AND k.http_status IN (200, 201, 202) AND k.answer LIKE '%deposit%'"
    )
    assert not by_users


async def call(thief: asyncpg.Connection, function: Any, arguments: list[Value]) -> Any:
    """The row, or None where the call is refused as it should be."""
    slots = ", ".join(f"${n}::text::{kind}" for n, kind in enumerate(function["types"], 1))
    try:
        return await thief.fetchrow(
            f"SELECT * FROM ledger.{function['name']}({slots})", *map(literal, arguments)
        )
    except asyncpg.PostgresError as error:
        if not str(error.sqlstate).startswith(REFUSALS):
            pytest.fail(f"{function['name']}{arguments}: {error}"[:2_000])
        return None


@pytest.mark.contract("2.3.6")
async def test_operators_may_execute_these_functions_and_no_other(bank: Bank) -> None:
    names = [row["name"] for row in await bank.app.fetch(_FUNCTIONS)]
    assert names == list(OPERATORS_ALONE)


@pytest.mark.contract("2.3.6")
@pytest.mark.parametrize("name", OPERATORS_ALONE)
async def test_the_app_executes_none_of_them(bank: Bank, name: str) -> None:
    known = await targets(bank)
    thief = await thief_of(bank, "finpay_app")
    functions = {row["name"]: row for row in await bank.app.fetch(_FUNCTIONS)}
    arguments = plausible(random.Random(1), name, known)
    slots = ", ".join(f"${n}::text::{kind}" for n, kind in enumerate(functions[name]["types"], 1))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await thief.fetch(f"SELECT ledger.{name}({slots})", *map(literal, arguments))
    await thief.close()


@pytest.mark.contract("2.3.6")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE identity.users SET role = 'operator'",
        "UPDATE ledger.approvals SET status = 'approved'",
        "INSERT INTO ledger.approvals SELECT * FROM ledger.approvals",
        "SELECT * FROM ledger.accounts",
        "SELECT ledger.fund(gen_random_uuid(), gen_random_uuid(), 1, 'k', '')",
        "SELECT ledger.operate(NULL, NULL, NULL)",
        "SELECT ledger.store_operator_result(NULL, NULL, NULL, NULL, NULL)",
        "SET ROLE finpay_owner",
        "SET ROLE finpay_app",
    ],
)
async def test_the_operators_login_has_its_functions_alone(bank: Bank, statement: str) -> None:
    thief = await thief_of(bank, "finpay_operator")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await thief.execute(statement)
    await thief.close()


@pytest.mark.contract("2.3.6")
async def test_the_operators_login_is_not_the_command_line(bank: Bank) -> None:
    """A command without an operator needs no second one, so it needs the owner's rights."""
    owner = await bank.open()
    thief = await thief_of(bank, "finpay_operator")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="without an operator"):
        await thief.fetch(
            "SELECT ledger.deposit(ROW(NULL, 'k', 'f', 'r', NULL, NULL, NULL)"
            "::ledger.operator_origin, gen_random_uuid(), $1, 1, 'r', NULL)",
            owner.account_id,
        )
    await thief.close()
    assert await bank.balance(owner) == 0
