"""What the changes of payment requests and schedules share: who makes them, and what became of one.

Each is one call of a SQL function, which decides under the lock of the owner's account and commits
the change with its key, events and audit.
"""

from typing import Final
from uuid import UUID

from msgspec import Struct

from finpay.db.pool import Record

COMPLETED: Final = "completed"


class ChangeOrigin(Struct, frozen=True):
    """The user who makes a change, in which request. `key` is None without an idempotency key."""

    user_id: UUID
    request_id: str
    address: str | None
    key: str | None = None
    fingerprint: bytes | None = None

    def arguments(self) -> tuple[object, ...]:
        """The members of ledger.change_origin."""
        return self.user_id, self.request_id, self.address, self.key, self.fingerprint


class ChangeResult(Struct, frozen=True):
    """The result of a change, committed.

    `outcome` is one of the ledger's, or validation_failed with `invalid` naming the rule. `answer`
    is the body of the response, `fingerprint` what the key belongs to, `status_now` the status
    that stood in the way.
    """

    outcome: str
    http_status: int | None
    answer: str | None
    fingerprint: bytes | None
    status_now: str | None
    invalid: str | None


def change_result(row: Record | None) -> ChangeResult:
    """From a row of ledger.change_result."""
    assert row is not None, "a function with a composite result returns one row"  # noqa: S101
    return ChangeResult(*row)
