"""Every operation of operators: path, body and result."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, Required, TypedDict, TypeVar

from finpay.client._models import Account, Page
from finpay.client._money_models import Withdrawal
from finpay.client._operations import Operation, check_key, checked, query, without_none
from finpay.client._operator_models import (
    Approval,
    AuditEntry,
    OperatorAccount,
    OperatorHold,
    OperatorTransaction,
    OperatorUser,
    OperatorWithdrawal,
)
from finpay.client._requests import encode

T = TypeVar("T")
Moved = OperatorTransaction | Approval

_ROOT: Final = "/api/v1/operator"
_NOTHING: Final = type(None)


class DepositParams(TypedDict, total=False):
    """`account_id` (`acc_…`) or `email`, exactly one. `reference`: that of the payment outside."""

    amount: Required[int]
    reference: Required[str]
    account_id: str | None
    email: str | None
    description: str | None
    idempotency_key: str | None


class UserFilters(TypedDict, total=False):
    """`email` is the whole address, `status` that of the account."""

    email: str | None
    status: Literal["active", "frozen", "closed"] | None
    limit: int | None


class AuditFilters(TypedDict, total=False):
    """At most 31 days; the last 24 hours unless given."""

    created_from: datetime | None
    created_to: datetime | None
    action: str | None
    actor_id: str | None
    subject_id: str | None
    request_id: str | None
    limit: int | None


def deposit(new: DepositParams, new_key: str) -> Operation[Moved]:
    members = without_none(new)
    return _moved("/deposits", members, members.pop("idempotency_key", new_key))


def complete(withdrawal_id: str, reference: str, key: str) -> Operation[Moved]:
    path = f"/withdrawals/{checked('wdr', withdrawal_id)}/complete"
    return _moved(path, {"reference": reference}, key)


def reject(withdrawal_id: str, reason: str, key: str) -> Operation[Withdrawal]:
    path = f"/withdrawals/{checked('wdr', withdrawal_id)}/reject"
    return _post(path, Withdrawal, {"reason": reason}, key)


def refund(
    transaction_id: str, amount: int | None, description: str | None, key: str
) -> Operation[Moved]:
    members = without_none({"amount": amount, "description": description})
    return _moved(f"/transactions/{checked('txn', transaction_id)}/refunds", members, key)


def void_hold(hold_id: str, key: str) -> Operation[OperatorHold]:
    return _post(f"/holds/{checked('hld', hold_id)}/void", OperatorHold, {}, key)


def approve(approval_id: str, key: str) -> Operation[Moved]:
    return _moved(f"/approvals/{checked('apr', approval_id)}/approve", {}, key)


def reject_approval(approval_id: str, key: str) -> Operation[Approval]:
    return _post(f"/approvals/{checked('apr', approval_id)}/reject", Approval, {}, key)


def set_status(account_id: str, command: str, reason: str) -> Operation[Account]:
    path = f"{_ROOT}/accounts/{checked('acc', account_id)}/{command}"
    return Operation("POST", path, Account, encode({"reason": reason}))


def set_limits(account_id: str, limits: Mapping[str, object]) -> Operation[Account]:
    path = f"{_ROOT}/accounts/{checked('acc', account_id)}/limits"
    return Operation("PATCH", path, Account, encode(dict(limits)))


def end_sessions(user_id: str, reason: str) -> Operation[None]:
    path = f"{_ROOT}/users/{checked('usr', user_id)}/end_sessions"
    return Operation("POST", path, _NOTHING, encode({"reason": reason}))


def reset_second_factor(user_id: str, reason: str) -> Operation[None]:
    """Not repeatable: the second attempt would be 422."""
    path = f"{_ROOT}/users/{checked('usr', user_id)}/reset_second_factor"
    return Operation("POST", path, _NOTHING, encode({"reason": reason}), repeatable=False)


def user(user_id: str) -> Operation[OperatorUser]:
    return _get(f"/users/{checked('usr', user_id)}", OperatorUser)


def users(filters: UserFilters) -> Operation[Page[OperatorUser]]:
    return _get("/users", Page[OperatorUser], filters)


def account(account_id: str) -> Operation[OperatorAccount]:
    return _get(f"/accounts/{checked('acc', account_id)}", OperatorAccount)


def transaction(transaction_id: str) -> Operation[OperatorTransaction]:
    return _get(f"/transactions/{checked('txn', transaction_id)}", OperatorTransaction)


def withdrawals(status: str | None, limit: int | None) -> Operation[Page[OperatorWithdrawal]]:
    return _get("/withdrawals", Page[OperatorWithdrawal], {"status": status, "limit": limit})


def approvals(status: str | None, limit: int | None) -> Operation[Page[Approval]]:
    return _get("/approvals", Page[Approval], {"status": status, "limit": limit})


def approval(approval_id: str) -> Operation[Approval]:
    return _get(f"/approvals/{checked('apr', approval_id)}", Approval)


def audit(filters: AuditFilters) -> Operation[Page[AuditEntry]]:
    return _get("/audit", Page[AuditEntry], filters)


def _get(path: str, result: type[T], filters: Mapping[str, object] | None = None) -> Operation[T]:
    return Operation("GET", f"{_ROOT}{path}", result, params=query(filters or {}))


def _moved(path: str, members: Mapping[str, object], key: object) -> Operation[Moved]:
    """201 with the transaction, or 202 with the approval that it waits for."""
    result: Any = Moved
    return _post(path, result, members, key)


def _post(path: str, result: type[T], members: Mapping[str, object], key: object) -> Operation[T]:
    """Key and body are made once, so every attempt carries the same ones."""
    check_key(str(key))
    return Operation(
        "POST",
        f"{_ROOT}{path}",
        result,
        encode(members),
        idempotency_key=str(key),
        success=frozenset({200, 201, 202}),
    )
