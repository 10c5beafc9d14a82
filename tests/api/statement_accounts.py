"""Accounts with a long history, which is removed again: its transactions have no keys."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg

from benchmarks import statement_history
from finpay import ids
from tests.api_process import Api, User

FIRST: Final = statement_history.FIRST
STEP: Final = statement_history.STEP
WriteHistory: TypeAlias = Callable[[Api, User, User, int], Coroutine[None, None, None]]

_REMOVE: Final = (
    "SET session_replication_role = replica",  # no trigger keeps the rows
    (
        "DELETE FROM ledger.transactions t USING ledger.entries e"
        " WHERE t.id = e.transaction_id AND e.account_id = $1 AND t.description LIKE 'payment %'"
    ),
    "DELETE FROM ledger.entries WHERE account_id = $1",
    (
        "UPDATE ledger.accounts SET balance = 0, version = 0, sequence ="
        " (SELECT max(v.sequence) FROM outbox.events v WHERE v.account_id = $1) WHERE id = $1"
    ),
)


@contextmanager
def histories(shared_url: str) -> Iterator[WriteHistory]:
    """Writes so many entries for two users, one each STEP from FIRST.

    Those in the database that modules share are removed at the end.
    """
    written: list[UUID] = []

    async def write(api: Api, user: User, partner: User, entries: int) -> None:
        account, other = (ids.decode("acc", each.account_id) for each in (user, partner))
        await statement_history.write_history(api.database_url, account, other, entries)
        if api.database_url == shared_url:
            written.extend([other, account])

    yield write
    asyncio.run(_remove(shared_url, written))


async def _remove(url: str, written: list[UUID]) -> None:
    superuser = await asyncpg.connect(url)
    try:
        for account_id in written:
            for statement in _REMOVE:
                await superuser.execute(statement, *([account_id] if "$1" in statement else []))
    finally:
        await superuser.close()


def written(moment: datetime) -> str:
    """A time as the API writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
