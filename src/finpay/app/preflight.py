"""Whether this release may run on a database: its migrations, and its durability in production."""

from typing import Final

from finpay.db import migrate
from finpay.db.pool import AccessDenied, Database
from finpay.settings import Settings

_UNSAFE_SETTINGS: Final = """
SELECT name FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
ORDER BY name
"""


class StartupRefused(Exception):
    """The release may not run with these settings on this database. The message says why."""


async def check(database: Database, settings: Settings) -> None:
    """Raises StartupRefused, or Unavailable if PostgreSQL does not answer."""
    try:
        missing = await migrate.missing(database)
    except AccessDenied as denied:
        raise StartupRefused(
            f"PostgreSQL denies access ({denied.reason}): check the URL, or run finpay migrate"
        ) from denied
    if missing:
        raise StartupRefused(
            f"the database lacks the migration {missing[0]}: run finpay migrate first"
        )
    if settings.production:
        rows = await database.fetch(_UNSAFE_SETTINGS)
        if rows:
            names = ", ".join(row["name"] for row in rows)
            raise StartupRefused(f"PostgreSQL runs with {names} off and can lose money: set it on")


async def check_operators(database: Database) -> None:
    """Whether FINPAY_DATABASE_OPERATOR_URL can be used. StartupRefused, or Unavailable."""
    try:
        await database.fetch_one("SELECT 1")
    except AccessDenied as denied:
        raise StartupRefused(
            f"FINPAY_DATABASE_OPERATOR_URL: PostgreSQL denies access ({denied.reason}): it needs a "
            "login that may SET ROLE finpay_operator"
        ) from denied
