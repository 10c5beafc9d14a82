"""Functions with the owner's rights, called by a thief of the app's login with generated arguments.

Whatever is called, and with what: money moves by completed transfers alone, the books are exact,
and `ledger verify` finds nothing.
"""

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import pytest

from finpay import ids
from finpay.ledger.verify import verify
from tests.hostile.request_calls import CALLS as REQUEST_CALLS
from tests.hostile.request_calls import add_requests
from tests.hostile.sql_calls import CALLS as OTHER_CALLS
from tests.hostile.sql_calls import World
from tests.hostile.sql_values import Value, elements, hostile, literal
from tests.sql.ledger_fixtures import Bank

# Some seconds; `make fuzz-sql` makes 10 000.
CALLS_PER_RUN: Final = int(os.environ.get("SQL_CALLS", "500"))
SEED: Final = int(os.environ.get("SQL_SEED", "0"))
# What a function answers to arguments that it refuses: of its own accord, for its caller's rights,
# or because a constraint of a table stops it. Class 22 are also texts that are no value of a type.
REFUSALS: Final = ("22", "23", "42501", "54001")

CALLS: Final = OTHER_CALLS | REQUEST_CALLS
# Modes that move nothing, and payments of requests, which are read afterwards.
NOT_COUNTED: Final = frozenset({"hold", "void", "withdrawal", "cancel", "pay"})
_FUNCTIONS: Final = """
SELECT p.oid::regproc::text AS name,
       ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes::oid[]) AS t) AS types
FROM pg_proc p
WHERE p.prosecdef AND has_function_privilege('finpay_app', p.oid, 'EXECUTE')
  AND p.prorettype <> 'trigger'::regtype
ORDER BY 1
"""
_BOOKS: Final = """
SELECT a.id, a.user_id, a.balance, a.version,
       COALESCE(e.amount, 0) AS entries, COALESCE(e.count, 0) AS count,
       COALESCE(e.last_version, 0) AS last_version
FROM ledger.accounts a
LEFT JOIN (SELECT account_id, sum(amount)::bigint AS amount, count(*) AS count,
                  max(version) AS last_version
           FROM ledger.entries GROUP BY account_id) e ON e.account_id = a.id
"""
# Payments of requests and runs of schedules: `ledger verify` compares each with what it comes of.
_OF_REQUESTS: Final = """
SELECT sender_id, receiver_id, amount FROM ledger.transactions
WHERE origin_type IN ('payment_request', 'schedule') AND status = 'completed'
"""


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    types: list[str]

    @property
    def call(self) -> str:
        arguments = ", ".join(f"${n}::text::{kind}" for n, kind in enumerate(self.types, 1))
        return f"SELECT * FROM {self.name}({arguments})"


@pytest.fixture
async def bank(fresh_database: Callable[[], str]) -> AsyncIterator[Bank]:
    bank = Bank(fresh_database(), size=1)
    yield bank
    await bank.close()


async def functions(bank: Bank) -> list[Function]:
    return [Function(row["name"], row["types"]) for row in await bank.app.fetch(_FUNCTIONS)]


async def make_world(bank: Bank) -> World:
    holders = [await bank.open(1_000) for _ in range(5)]
    holders += [await bank.open(1_000, currency="USD"), await bank.open(1_000, frozen=True)]
    newcomers = [ids.new_uuid() for _ in range(20)]
    for newcomer in newcomers:
        await bank.app.execute(
            "INSERT INTO identity.users (id, email, password_hash) VALUES ($1, $2, 'none')",
            newcomer,
            f"{newcomer}@example.com",
        )
    rows = await bank.app.fetch("SELECT id FROM ledger.accounts WHERE user_id IS NULL")
    world = World(
        [holder.account_id for holder in holders],
        [row["id"] for row in rows],
        [holder.user_id for holder in holders],
        [*(holder.email for holder in holders), "nobody@example.com"],
        newcomers,
    )
    await add_requests(bank, world, holders[:5])
    return world


async def as_the_app(url: str) -> asyncpg.Connection:
    """A session of finpay_app that has put objects of its own in the position of the ledger's."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    await connection.execute("""
        SET SESSION AUTHORIZATION finpay_app;
        SET search_path = pg_temp, ledger;
        SET timezone = 'Asia/Kathmandu';
        SET datestyle = 'German';
        SET extra_float_digits = -15;
        SET plan_cache_mode = force_custom_plan;
        SET enable_indexscan = off;
    """)
    return connection


async def test_there_is_a_call_for_each_function_of_the_catalogue(bank: Bank) -> None:
    """A new function has to be given one."""
    assert {function.name for function in await functions(bank)} == set(CALLS)


@pytest.mark.fault("M1", "M2", "M5")
@pytest.mark.contract("2.1.1", "2.3.2")
async def test_no_argument_makes_or_moves_money(bank: Bank) -> None:
    world = await make_world(bank)
    opening = {row["id"]: row["balance"] for row in await bank.app.fetch(_BOOKS)}
    run = Run(bank, world, random.Random(SEED), await functions(bank))
    await run.calls(CALLS_PER_RUN)
    await run.open_the_rest()
    await assert_books_are_exact(bank, opening, run.moved)
    assert min(run.succeeded[name] for name in CALLS) > 0, run.succeeded


class Run:
    """Calls in a row, and what they may have moved."""

    def __init__(
        self, bank: Bank, world: World, rng: random.Random, functions: list[Function]
    ) -> None:
        self.bank = bank
        self.world = world
        self.rng = rng
        self.functions = functions
        self.moved: Counter[UUID] = Counter()
        self.succeeded: Counter[str] = Counter()

    async def calls(self, number: int) -> None:
        app = await as_the_app(self.bank.url)
        try:
            for _ in range(number):
                function = self.rng.choice(self.functions)
                await self._call(app, function, self._arguments(function))
        finally:
            await app.close()

    def _arguments(self, function: Function) -> list[Value]:
        """Plausible ones, of which up to three are replaced."""
        arguments = CALLS[function.name](self.rng, self.world)
        for _ in range(self.rng.choice([0, 1, 1, 2, 3])):
            at = self.rng.randrange(len(arguments))
            arguments[at] = hostile(self.rng, function.types[at], arguments[at])
        return arguments

    async def _call(
        self, app: asyncpg.Connection, function: Function, arguments: list[Value]
    ) -> None:
        try:
            rows = await app.fetch(function.call, *map(literal, arguments))
        except asyncpg.PostgresError as error:
            if not str(error.sqlstate).startswith(REFUSALS):
                pytest.fail(f"{function.name}{arguments}: {error}"[:2_000])
            return
        self.succeeded[function.name] += 1
        if function.name == "ledger.post_transfers":
            await self._count(arguments, rows[0]["item_outcomes"])
        elif function.name == "ledger.open_account" and rows[0]["id"] is not None:
            self.world.newcomers.remove(rows[0]["user_id"])

    async def _count(self, arguments: list[Value], outcomes: list[str | None]) -> None:
        """What the completed items of a call say that they move."""
        accounts, senders, modes, sizes, made, receivers, emails, amounts = (
            elements(arguments[at]) for at in (0, 1, 6, 7, 13, 14, 15, 16)
        )
        owners = [n for n, size in enumerate(sizes) for _ in range(int(str(size)))]
        for i, outcome in enumerate(outcomes):
            mode = str(modes[owners[i]])
            if outcome != "completed" or mode in NOT_COUNTED:
                continue
            if mode in {"capture", "refund"}:
                await self._count_operation(mode, UUID(str(made[i])))
                continue
            position = receivers[i]
            receiver = (
                self.world.accounts[list(self.world.emails).index(str(emails[i]))]
                if position is None
                else accounts[int(str(position)) - 1]
            )
            sender = accounts[int(str(senders[owners[i]])) - 1]
            self._move(sender, receiver, int(str(amounts[i])))

    async def _count_operation(self, mode: str, transaction_id: UUID) -> None:
        """A capture moves money from the sender of its hold, a refund to that of its payment."""
        row = await self.bank.row(
            "SELECT t.*, h.receiver_id AS holds_for, p.sender_id AS paid_by "
            "FROM ledger.transactions t "
            "LEFT JOIN ledger.holds h ON h.account_id = t.sender_id AND h.id = t.origin_id "
            "LEFT JOIN ledger.transactions p ON p.id = t.origin_id WHERE t.id = $1",
            transaction_id,
        )
        assert row["receiver_id"] == row["holds_for" if mode == "capture" else "paid_by"]
        self._move(row["sender_id"], row["receiver_id"], row["amount"])

    def _move(self, sender: object, receiver: object, amount: int) -> None:
        self.moved[UUID(str(sender))] -= amount
        self.moved[UUID(str(receiver))] += amount

    async def open_the_rest(self) -> None:
        """`ledger verify` wants an account for each user."""
        for user in self.world.newcomers:
            await self.bank.app.execute(
                "SELECT ledger.open_account($1, $2, 'ZAR')", ids.new_uuid(), user
            )


async def assert_books_are_exact(
    bank: Bank, opening: dict[UUID, int], moved: Counter[UUID]
) -> None:
    for row in await bank.app.fetch(_OF_REQUESTS):
        moved[row["sender_id"]] -= row["amount"]
        moved[row["receiver_id"]] += row["amount"]
    rows = await bank.app.fetch(_BOOKS)
    for row in rows:
        assert row["balance"] == row["entries"]
        assert row["version"] == row["count"] == row["last_version"]
        assert row["balance"] == opening.get(row["id"], 0) + moved[row["id"]]
    totals = await bank.app.fetch(
        "SELECT currency FROM ledger.accounts GROUP BY currency HAVING sum(balance) <> 0"
    )
    assert not totals
    report = await verify(bank.app)
    assert report.ok, [check.violations for check in report.checks if not check.ok]
    state = await bank.row("SELECT violations, messages FROM ledger.verification_state")
    assert state["violations"] == 0, state["messages"]
