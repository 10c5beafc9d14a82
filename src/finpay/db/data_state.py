"""Which data a database has, and how far its commits have come.

The gate compares it: keys in Redis must not outlive the data that they were made from.
"""

from typing import Final

from msgspec import Struct

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


class DataState(Struct, frozen=True):
    """One history of commits, and how far it has come: bytes of WAL. It only grows."""

    history: str
    position: int

    def continues(self, earlier: "DataState | None") -> bool:
        """Whether every commit of `earlier` is in it."""
        return (
            earlier is not None
            and self.history == earlier.history
            and self.position >= earlier.position
        )


async def read_data_state(database: Executor) -> DataState | None:
    """None while it takes no writes, as a standby. Unavailable if PostgreSQL is."""
    row = await database.fetch_one(_QUERY)
    assert row is not None, "a query without FROM returns one row"  # noqa: S101
    writable, history, position = row
    return DataState(history, position) if writable else None
