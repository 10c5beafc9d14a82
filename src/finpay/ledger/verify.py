"""Proves the ledger on live data: what has to be true of the money, checked row by row.

The checks are the queries of the files verify*.sql, in their order. They run in one
snapshot, so that money may move meanwhile, with SELECT rights alone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast, get_args
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Database, Transaction
from finpay.db.snapshot import snapshot
from finpay.ids import Prefix, encode

MAX_VIOLATIONS: Final = (
    100  # per check: enough to see the pattern; a broken import could break millions
)

_CHECKS: Final = (
    *queries.load("finpay.ledger", "verify.sql"),
    *queries.load("finpay.ledger", "verify_operations.sql"),
    *queries.load("finpay.ledger", "verify_history.sql"),
    *queries.load("finpay.ledger", "verify_requests.sql"),
    *queries.load("finpay.ledger", "verify_schedules.sql"),
)
# `txn:` with nothing behind it is where the other side of a join is missing.
_ID: Final = re.compile(rf"\b({'|'.join(get_args(Prefix))}):(?:([0-9a-f-]{{36}})|(?=[\s.,)]|$))")


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, and the sentences that say where it is broken; the last may say how many more."""

    name: str
    count: int
    violations: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.count == 0


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, in the order of their files."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """`{ok, checks: [{name, ok, violations: […]}]}`, as `ledger verify --json` prints."""
        checks = [
            {"name": check.name, "ok": check.ok, "violations": list(check.violations)}
            for check in self.checks
        ]
        return {"ok": self.ok, "checks": checks}


async def verify(
    database: Database, *, progress: Callable[[Check], None] = lambda _: None
) -> Report:
    """Runs every check on one snapshot of all data; `progress` is called after each.

    Takes seconds per million transactions and no locks. Unavailable if it could not be done.
    """
    checks: list[Check] = []
    async with snapshot(database) as view:
        for name, query in _CHECKS:
            checks.append(await _check(view, name, query))
            progress(checks[-1])
    return Report(tuple(checks))


async def _check(view: Transaction, name: str, query: str) -> Check:
    # The window counts all violations while only the first ones travel.
    counted = f"SELECT sentence, count(*) OVER () AS total FROM ({query}) v LIMIT $1"  # noqa: S608
    rows = await view.fetch(counted, MAX_VIOLATIONS)
    violations = [with_public_ids(row["sentence"]) for row in rows]
    count = rows[0]["total"] if rows else 0
    if count > len(violations):
        violations.append(f"… and {count - len(violations)} more.")
    return Check(name, count, tuple(violations))


def with_public_ids(sentence: str) -> str:
    """`txn:018f…` as SQL writes it becomes the public id `txn_01h4…`."""
    return _ID.sub(_public_id, sentence)


def _public_id(found: re.Match[str]) -> str:
    prefix, uuid = found.groups()
    if uuid is None:
        return "no user" if prefix == "usr" else "nothing"
    return encode(cast("Prefix", prefix), UUID(uuid))
