# Generated from _async_operators.py by tools/generate_sync_client.py: edit that file instead.
"""`client.operator`: what users with the role operator or auditor do."""

from typing import Unpack

from finpay.client import _operator_operations
from finpay.client._models import Account
from finpay.client._money_models import Withdrawal
from finpay.client._money_operations import LimitsUpdate
from finpay.client._operator_models import (
    Approval,
    AuditEntry,
    OperatorAccount,
    OperatorHold,
    OperatorTransaction,
    OperatorUser,
    OperatorWithdrawal,
)
from finpay.client._operator_operations import AuditFilters, DepositParams, Moved, UserFilters
from finpay.client._session import ClientSession
from finpay.client._sync_transport import Pager, Transport


class OperatorMethods:
    """What moves money returns the transaction, or the approval that it waits for."""

    def __init__(self, session: ClientSession, transport: Transport) -> None:
        self._session = session
        self._transport = transport
        self._call = transport.call

    def deposit(self, **deposit: Unpack[DepositParams]) -> Moved:
        """Record money that has arrived outside."""
        return self._call(_operator_operations.deposit(deposit, self._key(None)))

    def complete_withdrawal(
        self, withdrawal_id: str, reference: str, *, idempotency_key: str | None = None
    ) -> Moved:
        """Record that a withdrawal was paid out."""
        key = self._key(idempotency_key)
        return self._call(_operator_operations.complete(withdrawal_id, reference, key))

    def reject_withdrawal(
        self, withdrawal_id: str, reason: str, *, idempotency_key: str | None = None
    ) -> Withdrawal:
        """Reject a withdrawal: its owner reads the reason, and its money is available again."""
        key = self._key(idempotency_key)
        return self._call(_operator_operations.reject(withdrawal_id, reason, key))

    def refund(
        self,
        transaction_id: str,
        *,
        amount: int | None = None,
        description: str | None = None,
        idempotency_key: str | None = None,
    ) -> Moved:
        """Give a transfer back, recall a deposit or return a withdrawal; by default all of it."""
        key = self._key(idempotency_key)
        return self._call(_operator_operations.refund(transaction_id, amount, description, key))

    def void_hold(self, hold_id: str, *, idempotency_key: str | None = None) -> OperatorHold:
        """Release what is left of a hold."""
        key = self._key(idempotency_key)
        return self._call(_operator_operations.void_hold(hold_id, key))

    def approvals(self, *, status: str | None = None, limit: int | None = None) -> Pager[Approval]:
        """What waits for a second operator, or waited, newest first."""
        return Pager(self._transport, _operator_operations.approvals(status, limit))

    def approval(self, approval_id: str) -> Approval:
        """One approval."""
        return self._call(_operator_operations.approval(approval_id))

    def approve(self, approval_id: str, *, idempotency_key: str | None = None) -> Moved:
        """Approve what another operator asked for: it is done now."""
        key = self._key(idempotency_key)
        return self._call(_operator_operations.approve(approval_id, key))

    def reject_approval(self, approval_id: str, *, idempotency_key: str | None = None) -> Approval:
        """Reject what an operator asked for."""
        key = self._key(idempotency_key)
        return self._call(_operator_operations.reject_approval(approval_id, key))

    def freeze(self, account_id: str, reason: str) -> Account:
        """Freeze an account: it neither sends nor receives."""
        return self._call(_operator_operations.set_status(account_id, "freeze", reason))

    def unfreeze(self, account_id: str, reason: str) -> Account:
        """Unfreeze an account."""
        return self._call(_operator_operations.set_status(account_id, "unfreeze", reason))

    def set_limits(self, account_id: str, **limits: Unpack[LimitsUpdate]) -> Account:
        """Set limits of an account, and what its owner may raise them to; None is no limit."""
        return self._call(_operator_operations.set_limits(account_id, limits))

    def end_sessions(self, user_id: str, reason: str) -> None:
        """End all sessions of a user, everywhere at once."""
        self._call(_operator_operations.end_sessions(user_id, reason))

    def reset_second_factor(self, user_id: str, reason: str) -> None:
        """Take away the second factor of a user who has lost it, and end all sessions."""
        self._call(_operator_operations.reset_second_factor(user_id, reason))

    def user(self, user_id: str) -> OperatorUser:
        """One user."""
        return self._call(_operator_operations.user(user_id))

    def users(self, **filters: Unpack[UserFilters]) -> Pager[OperatorUser]:
        """Users, newest first."""
        return Pager(self._transport, _operator_operations.users(filters))

    def account(self, account_id: str) -> OperatorAccount:
        """An account with the newest of its entries, holds and freezes."""
        return self._call(_operator_operations.account(account_id))

    def transaction(self, transaction_id: str) -> OperatorTransaction:
        """A transaction with both of its entries."""
        return self._call(_operator_operations.transaction(transaction_id))

    def withdrawals(
        self, *, status: str | None = None, limit: int | None = None
    ) -> Pager[OperatorWithdrawal]:
        """The withdrawals of all users, newest first."""
        return Pager(self._transport, _operator_operations.withdrawals(status, limit))

    def audit(self, **filters: Unpack[AuditFilters]) -> Pager[AuditEntry]:
        """The audit log of a range of time, newest first."""
        return Pager(self._transport, _operator_operations.audit(filters))

    def _key(self, given: str | None) -> str:
        return given or self._session.new_idempotency_key()
