"""Which data a database has, and how far its commits have come.

The gate compares it: keys in Redis must not outlive the data that they were made from.
"""

from dataclasses import dataclass
from typing import Final

from finpay.db.pool import Executor

# The history is one cluster, database, table of accounts (which a restore of a dump makes anew)
# and timeline (which a restore to a moment and each failover begin).
_QUERY: Final = """
SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' AS writable,
       CASE WHEN NOT pg_is_in_recovery() THEN concat_ws(
           '.', (SELECT system_identifier FROM pg_control_system()),
           (SELECT oid FROM pg_database WHERE datname = current_database()),
           to_regclass('ledger.accounts')::oid,
           left(pg_walfile_name(pg_current_wal_lsn()), 8)) END AS history,
       CASE WHEN NOT pg_is_in_recovery()
            THEN pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint END AS position
"""


@dataclass(frozen=True, slots=True)
class DataState:
    """`position` counts bytes of WAL and only grows within one `history`. None on a standby."""

    writable: bool
    history: str | None
    position: int | None


async def read_data_state(database: Executor) -> DataState:
    """Unavailable if PostgreSQL is."""
    row = await database.fetch_one(_QUERY)
    assert row is not None, "a query without FROM returns one row"  # noqa: S101
    return DataState(*row)
