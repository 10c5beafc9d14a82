"""Accounts with a long history."""

from datetime import UTC, datetime

from benchmarks import statement_history
from finpay import ids
from tests.api_process import Api, User

FIRST = statement_history.FIRST
STEP = statement_history.STEP


async def write_history(api: Api, user: User, partner: User, entries: int) -> None:
    """So many entries for both, one each STEP from FIRST."""
    account, other = (ids.decode("acc", each.account_id) for each in (user, partner))
    await statement_history.write_history(api.database_url, account, other, entries)


def written(moment: datetime) -> str:
    """A time as the API writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
