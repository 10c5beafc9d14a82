"""Two users with money, so that the first payment is one command away.

Their password is public, so this is for development; no other code accepts a common password. Their
addresses are verified, so the first payment also works with FINPAY_SMTP_URL and
FINPAY_REQUIRE_VERIFIED_EMAIL. The money comes from the system account, as all money does.
"""

from dataclasses import dataclass
from typing import Final

from finpay import ids
from finpay.db import migrate, queries
from finpay.db.pool import Database
from finpay.identity.passwords import Hasher
from finpay.ledger import administration
from finpay.money import Money

PASSWORD: Final = "password123"  # noqa: S105  as the documentation says
CURRENCY: Final = "ZAR"

_SQL: Final = queries.load("finpay.dev", "seed.sql")


@dataclass(frozen=True, slots=True)
class SeedUser:
    """A user to create, with `amount` minor units."""

    email: str
    name: str
    amount: int
    key: str


SEED_USERS: Final = (
    SeedUser("alice@finpay.dev", "Alice", 1_000_000, "seed-alice"),
    SeedUser("bob@finpay.dev", "Bob", 500_000, "seed-bob"),
)


@dataclass(frozen=True, slots=True)
class Seeded:
    """A seeded user. `created` and `funded` are false where an earlier seed did that."""

    email: str
    account_id: str
    balance: Money
    created: bool
    funded: bool


async def seed(owner_url: str) -> list[Seeded]:
    """Creates each of SEED_USERS and funds it once. Safe to repeat, and in parallel.

    MigrationError when the database lacks a migration, FinPayError when it doesn't answer.
    """
    database = Database(owner_url, size=1, role="finpay_owner")
    hasher = Hasher()
    try:
        if missing := await migrate.missing(database):
            raise migrate.MigrationError(
                f"{missing[0]} was not applied to this database; run `finpay migrate` first"
            )
        return [await _seed(database, hasher, user) for user in SEED_USERS]
    finally:
        hasher.close()
        await database.close()


async def _seed(database: Database, hasher: Hasher, user: SeedUser) -> Seeded:
    known = await database.fetch_one(_SQL.get_account_by_email, user.email)
    created = await _create(database, hasher, user) if known is None else False
    funding = await administration.fund(database, user.email, user.amount, user.key)
    account = await database.fetch_one(_SQL.get_account_by_email, user.email)
    balance = Money(account["balance"] if account else 0, funding.currency)
    return Seeded(user.email, funding.account_id, balance, created, funded=not funding.repeated)


async def _create(database: Database, hasher: Hasher, user: SeedUser) -> bool:
    """False when another process seeded the same database first."""
    password_hash = await hasher.hash(PASSWORD)
    user_id, account_id = ids.new_uuid(), ids.new_uuid()
    async with database.transaction() as transaction:
        created = await transaction.fetch_one(
            _SQL.create_user,
            user_id,
            user.email,
            user.name,
            password_hash,
            account_id,
            CURRENCY,
        )
        if created is not None:
            await transaction.execute(_SQL.record_creation, user_id, account_id)
            await transaction.execute(_SQL.set_email_verified, user_id)
    return created is not None
