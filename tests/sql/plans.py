"""What PostgreSQL does for a query, and how many rows it reads for it."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import asyncpg

from finpay.db.pool import Transaction

# The driver prepares every query, and after five calls PostgreSQL may turn to a generic plan.
CALLS: Final = 8


def array(values: Iterable[object]) -> str:
    return f"{{{','.join(map(str, values))}}}"


async def plan_of(connection: Transaction, query: str, *args: object) -> dict[str, Any]:
    """What PostgreSQL does for the prepared query, with the rows that it really read."""
    await connection.execute(f"PREPARE hot AS {query}")
    quoted = await connection.fetch(
        "SELECT quote_nullable(a) FROM unnest($1::text[]) WITH ORDINALITY u (a, n) ORDER BY n",
        [None if arg is None else str(arg) for arg in args],
    )
    values = ", ".join(value for (value,) in quoted)
    for _ in range(CALLS):
        ((explained,),) = await connection.fetch(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE hot({values})"
        )
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


def rows_read(plan: dict[str, Any]) -> dict[str, int]:
    """Rows read per index. A table that is read without one is a failure."""
    reads: dict[str, int] = {}
    for node in nodes(plan):
        assert node["Node Type"] != "Seq Scan", node["Relation Name"]
        if "Index Name" in node:
            rows = round(node["Actual Rows"] * node["Actual Loops"])
            reads[node["Index Name"]] = reads.get(node["Index Name"], 0) + rows
    return reads


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


async def sequential_scans(connection: asyncpg.Connection) -> dict[str, int]:
    """Per table, so that a failure names it."""
    rows = await connection.fetch(
        "SELECT relid::regclass::text AS name, seq_scan FROM pg_stat_user_tables "
        "WHERE schemaname IN ('ledger', 'identity', 'audit', 'outbox')"
    )
    return {row["name"]: row["seq_scan"] for row in rows}
