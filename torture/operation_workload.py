"""The random operations of a client: what it makes, captures, voids, refunds, pays and cancels."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from torture.history import MoneyRequest
from torture.operations import (
    NEVER_ALLOWED,
    RECENT,
    REFUSALS,
    WITHOUT_KEY,
    Kind,
    Operation,
    Targets,
)

MAX_AMOUNT: Final = 2_000
MIN_EXPIRY_S: Final = 60  # the least that is allowed: such holds expire within the run
START_S: Final = (1.0, 4.0)  # until a schedule's run is due

# In per cent of all operations.
_SHARES: Final[dict[Kind, int]] = {
    "hold": 24, "capture": 20, "void": 6, "refund": 14, "withdrawal": 8, "cancel_withdrawal": 6,
    "payment_request": 8, "pay": 6, "cancel_request": 2, "decline": 2, "schedule": 4,
}  # fmt: skip
_PATHS: Final[dict[Kind, str]] = {
    "hold": "/holds",
    "capture": "/holds/{}/capture",
    "void": "/holds/{}/void",
    "refund": "/transactions/{}/refunds",
    "withdrawal": "/withdrawals",
    "cancel_withdrawal": "/withdrawals/{}/cancel",
    "payment_request": "/payment_requests",
    "pay": "/payment_requests/{}/pay",
    "cancel_request": "/payment_requests/{}/cancel",
    "decline": "/payment_requests/{}/decline",
    "schedule": "/schedules",
    "deposit": "/operator/deposits",
    "deposit_taken": "/operator/deposits",
    "complete": "/operator/withdrawals/{}/complete",
    "reject": "/operator/withdrawals/{}/reject",
    "operator_refund": "/operator/transactions/{}/refunds",
    "operator_void": "/operator/holds/{}/void",
    "approve": "/operator/approvals/{}/approve",
    "approve_own": "/operator/approvals/{}/approve",
    "reject_approval": "/operator/approvals/{}/reject",
}


@dataclass(slots=True)
class OperationWorkload:
    """The operations of wallet `own` among `accounts` and `emails`, which belong together."""

    own: int
    accounts: tuple[str, ...]
    emails: tuple[str, ...]
    random: Random
    targets: Targets

    def next_request(self, key: str) -> MoneyRequest:
        """On a known object where there is one, else a new hold."""
        (kind,) = self.random.choices(list(_SHARES), list(_SHARES.values()))
        known = self.targets.of[kind, self.own]
        if "{}" in _PATHS[kind] and not known:
            kind = "hold"
        makers: dict[Kind, Callable[[str], tuple[Operation, dict[str, Any]]]] = {
            "hold": self._hold,
            "withdrawal": self._withdrawal,
            "payment_request": self._payment_request,
            "schedule": self._schedule,
        }
        make = makers.get(kind)
        operation, members = make(key) if make is not None else self._on_target(kind, key)
        return request_of(operation, self.own, key, members)

    def _on_target(self, kind: Kind, key: str) -> tuple[Operation, dict[str, Any]]:
        known = self.targets.of[kind, self.own]
        target = self.random.choice(known[-RECENT:] if self.random.random() < 0.8 else known)
        amount, members = None, dict[str, Any]()
        if kind in {"capture", "refund"} and self.random.random() < 0.7:
            # Now and then more than there is.
            amount = self.random.randint(1, max(1, int(target.amount * 0.7)))
            members["amount"] = amount
        if kind == "capture" and self.random.random() < 0.6:
            members["final"] = False
        if kind == "refund":
            members["description"] = key
        return Operation(kind, key, amount, None, target.id), members

    def _hold(self, key: str) -> tuple[Operation, dict[str, Any]]:
        operation = self._new("hold", key)
        expires_in = MIN_EXPIRY_S if self.random.random() < 0.5 else 600
        members = {
            "receiver_id": self.accounts[self._other(operation)],
            "amount": operation.amount,
            "expires_in": expires_in,
            "description": key,
        }
        return operation, members

    def _withdrawal(self, key: str) -> tuple[Operation, dict[str, Any]]:
        amount = self.random.randint(1, MAX_AMOUNT)
        members = {"amount": amount, "destination": {"iban": key}, "description": key}
        return Operation("withdrawal", key, amount), members

    def _payment_request(self, key: str) -> tuple[Operation, dict[str, Any]]:
        operation = self._new("payment_request", key)
        members = {
            "payer_email": self.emails[self._other(operation)],
            "amount": operation.amount,
            "expires_in": MIN_EXPIRY_S if self.random.random() < 0.5 else 600,
            "description": key,
        }
        return operation, members

    def _schedule(self, key: str) -> tuple[Operation, dict[str, Any]]:
        operation = self._new("schedule", key)
        start = datetime.now(UTC) + timedelta(seconds=self.random.uniform(*START_S))
        members: dict[str, Any] = {
            "receiver_id": self.accounts[self._other(operation)],
            "amount": operation.amount,
            "start_at": start.isoformat().replace("+00:00", "Z"),
            "description": key,
        }
        if self.random.random() < 0.5:
            members["every"] = {"unit": "day", "count": 1}
        return operation, members

    def _new(self, kind: Kind, key: str) -> Operation:
        other = self.random.choice([n for n in range(len(self.accounts)) if n != self.own])
        return Operation(kind, key, self.random.randint(1, MAX_AMOUNT), other)

    def _other(self, operation: Operation) -> int:
        assert operation.other is not None  # noqa: S101  for the type checker
        return operation.other


def request_of(
    operation: Operation, caller: int, key: str, members: dict[str, Any]
) -> MoneyRequest:
    """The request of an operation."""
    return MoneyRequest(
        key,
        caller,
        "/api/v1" + _PATHS[operation.kind].format(operation.target),
        (),
        json.dumps(members).encode() if members else b"",
        REFUSALS[operation.kind],
        may_succeed=operation.kind not in NEVER_ALLOWED,
        operation=operation,
        has_key=operation.kind not in WITHOUT_KEY,
    )
