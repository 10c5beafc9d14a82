"""Two users with money, so that the first payment is one command away.

Everybody knows their password, so this is for development; it is the only place where a common
password is accepted. The money comes from the system account, as all money does.
"""

from dataclasses import dataclass
from typing import Final

from finpay import ids
from finpay.db import migrate, queries
from finpay.db.pool import Database
from finpay.identity.passwords import Hasher
from finpay.ledger import administration

PASSWORD: Final = "password123"  # noqa: S105  as the documentation says
CURRENCY: Final = "ZAR"

_SQL: Final = queries.load("finpay.dev", "seed.sql")


@dataclass(frozen=True, slots=True)
class SeedUser:
    """Who is to be there, with how many minor units."""

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
    """What became of one person: `created` and `funded` are false where that was done before."""

    email: str
    account_id: str
    created: bool
    funded: bool


async def seed(owner_url: str) -> list[Seeded]:
    """Makes sure that all SEED_USERS exist and were funded once. Safe to repeat, also in parallel.

    MigrationError when the database has not got its tables, FinPayError when it doesn't answer.
    """
    database = Database(owner_url, size=1, role="finpay_owner")
    hasher = Hasher()
    try:
        if missing := await migrate.missing(database):
            raise migrate.MigrationError(
                f"{missing[0]} was not applied to this database; run `finpay migrate` first"
            )
        return [await _seed(database, hasher, person) for person in SEED_USERS]
    finally:
        hasher.close()
        await database.close()


async def _seed(database: Database, hasher: Hasher, person: SeedUser) -> Seeded:
    known = await database.fetch_one(_SQL.get_account_of_email, person.email)
    created = await _create(database, hasher, person) if known is None else False
    funding = await administration.fund(database, person.email, person.amount, person.key)
    return Seeded(person.email, funding.account_id, created, funded=not funding.repeated)


async def _create(database: Database, hasher: Hasher, person: SeedUser) -> bool:
    """Whether it was us: somebody else may be seeding the same database."""
    password_hash = await hasher.hash(PASSWORD)
    user_id, account_id = ids.new_uuid(), ids.new_uuid()
    async with database.transaction() as transaction:
        ours = await transaction.fetch_one(
            _SQL.create_user,
            user_id,
            person.email,
            person.name,
            password_hash,
            account_id,
            CURRENCY,
        )
        if ours is not None:
            await transaction.execute(_SQL.record_creation, user_id, account_id)
    return ours is not None
