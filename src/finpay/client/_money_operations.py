"""Every operation on holds, refunds and withdrawals: path, body and result."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, TypedDict, TypeVar

from finpay.client._models import Account, Page, Transaction
from finpay.client._money_models import DryRun, Hold, StoredAnswer, Withdrawal
from finpay.client._operations import Operation, SendParams, check_key, checked, query, without_none
from finpay.client._requests import encode

T = TypeVar("T")

_API: Final = "/api/v1"


class HoldParams(SendParams, total=False):
    """A hold. `expires_in`: seconds until the rest is released, 60 to 2 592 000; a week if None."""

    expires_in: int | None


class CaptureParams(TypedDict, total=False):
    """Without `amount`: all that is left. `final` (True) releases the rest."""

    amount: int | None
    final: bool | None
    idempotency_key: str | None


class RefundParams(TypedDict, total=False):
    """Without `amount`: all that was not refunded yet."""

    amount: int | None
    description: str | None
    metadata: Mapping[str, str] | None
    idempotency_key: str | None


class HoldFilters(TypedDict, total=False):
    """`created_from` is inclusive, `created_to` exclusive; `limit` is the page size, 1 to 100."""

    direction: Literal["sent", "received"] | None
    status: Literal["open", "captured", "voided", "expired"] | None
    counterparty_id: str | None
    created_from: datetime | None
    created_to: datetime | None
    limit: int | None


class WithdrawalFilters(TypedDict, total=False):
    """`limit` is the page size, 1 to 100."""

    status: Literal["pending", "completed", "rejected", "canceled"] | None
    limit: int | None


class LimitsUpdate(TypedDict, total=False):
    """Limits to change: what is not given stays, None is no limit."""

    single: int | None
    daily: int | None


def create_hold(hold: HoldParams, new_key: str) -> Operation[Hold]:
    members = without_none(hold)
    return _post("/holds", Hold, members, members.pop("idempotency_key", new_key))


def capture_hold(hold_id: str, params: CaptureParams, new_key: str) -> Operation[Transaction]:
    members = without_none(params)
    key = members.pop("idempotency_key", new_key)
    return _post(f"/holds/{checked('hld', hold_id)}/capture", Transaction, members, key)


def void_hold(hold_id: str, idempotency_key: str | None, new_key: str) -> Operation[Hold]:
    path = f"/holds/{checked('hld', hold_id)}/void"
    return _post(path, Hold, {}, idempotency_key or new_key)


def hold(hold_id: str) -> Operation[Hold]:
    return Operation("GET", f"{_API}/holds/{checked('hld', hold_id)}", Hold)


def holds(filters: HoldFilters) -> Operation[Page[Hold]]:
    return Operation("GET", f"{_API}/holds", Page[Hold], params=query(filters))


def refund(transaction_id: str, params: RefundParams, new_key: str) -> Operation[Transaction]:
    members = without_none(params)
    key = members.pop("idempotency_key", new_key)
    path = f"/transactions/{checked('txn', transaction_id)}/refunds"
    return _post(path, Transaction, members, key)


def withdraw(
    amount: int,
    destination: Mapping[str, str],
    description: str | None,
    idempotency_key: str | None,
    new_key: str,
) -> Operation[Withdrawal]:
    members = {"amount": amount, "destination": dict(destination), "description": description}
    return _post("/withdrawals", Withdrawal, without_none(members), idempotency_key or new_key)


def cancel_withdrawal(
    withdrawal_id: str, idempotency_key: str | None, new_key: str
) -> Operation[Withdrawal]:
    path = f"/withdrawals/{checked('wdr', withdrawal_id)}/cancel"
    return _post(path, Withdrawal, {}, idempotency_key or new_key)


def withdrawal(withdrawal_id: str) -> Operation[Withdrawal]:
    return Operation("GET", f"{_API}/withdrawals/{checked('wdr', withdrawal_id)}", Withdrawal)


def withdrawals(filters: WithdrawalFilters) -> Operation[Page[Withdrawal]]:
    return Operation("GET", f"{_API}/withdrawals", Page[Withdrawal], params=query(filters))


def dry_run(path: str, payment: Mapping[str, object]) -> Operation[DryRun]:
    """Of the payment that a POST to this path would make. It needs no key."""
    members = without_none(payment)
    members.pop("idempotency_key", None)
    return Operation("POST", f"{_API}{path}", DryRun, encode(members), params={"dry_run": "true"})


def dry_run_refund(transaction_id: str, params: RefundParams) -> Operation[DryRun]:
    return dry_run(f"/transactions/{checked('txn', transaction_id)}/refunds", params)


def idempotency_key(key: str) -> Operation[StoredAnswer]:
    check_key(key)
    return Operation("GET", f"{_API}/idempotency_keys", StoredAnswer, params={"key": key})


def update_limits(limits: LimitsUpdate) -> Operation[Account]:
    return Operation("PATCH", f"{_API}/accounts", Account, encode({"limits": limits}))


def _post(path: str, result: type[T], members: Mapping[str, object], key: object) -> Operation[T]:
    """Key and body are made once, so every attempt carries the same ones."""
    check_key(str(key))
    return Operation("POST", f"{_API}{path}", result, encode(members), idempotency_key=str(key))
