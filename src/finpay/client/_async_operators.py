"""`client.operator`: what users with the role operator or auditor do."""

from typing import Unpack

from finpay.client import _operator_operations
from finpay.client._async_transport import AsyncPager, AsyncTransport
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


class AsyncOperatorMethods:
    """What moves money returns the transaction, or the approval that it waits for."""

    def __init__(self, session: ClientSession, transport: AsyncTransport) -> None:
        self._session = session
        self._transport = transport
        self._call = transport.call

    async def deposit(self, **deposit: Unpack[DepositParams]) -> Moved:
        """Record money that has arrived outside."""
        return await self._call(_operator_operations.deposit(deposit, self._key(None)))

    async def complete_withdrawal(
        self, withdrawal_id: str, reference: str, *, idempotency_key: str | None = None
    ) -> Moved:
        """Record that a withdrawal was paid out."""
        key = self._key(idempotency_key)
        return await self._call(_operator_operations.complete(withdrawal_id, reference, key))

    async def reject_withdrawal(
        self, withdrawal_id: str, reason: str, *, idempotency_key: str | None = None
    ) -> Withdrawal:
        """Reject a withdrawal: its owner reads the reason, and its money is available again."""
        key = self._key(idempotency_key)
        return await self._call(_operator_operations.reject(withdrawal_id, reason, key))

    async def refund(
        self,
        transaction_id: str,
        *,
        amount: int | None = None,
        description: str | None = None,
        idempotency_key: str | None = None,
    ) -> Moved:
        """Give a transfer back, recall a deposit or return a withdrawal; by default all of it."""
        key = self._key(idempotency_key)
        return await self._call(
            _operator_operations.refund(transaction_id, amount, description, key)
        )

    async def void_hold(self, hold_id: str, *, idempotency_key: str | None = None) -> OperatorHold:
        """Release what is left of a hold."""
        key = self._key(idempotency_key)
        return await self._call(_operator_operations.void_hold(hold_id, key))

    def approvals(
        self, *, status: str | None = None, limit: int | None = None
    ) -> AsyncPager[Approval]:
        """What waits for a second operator, or waited, newest first."""
        return AsyncPager(self._transport, _operator_operations.approvals(status, limit))

    async def approval(self, approval_id: str) -> Approval:
        """One approval."""
        return await self._call(_operator_operations.approval(approval_id))

    async def approve(self, approval_id: str, *, idempotency_key: str | None = None) -> Moved:
        """Approve what another operator asked for: it is done now."""
        key = self._key(idempotency_key)
        return await self._call(_operator_operations.approve(approval_id, key))

    async def reject_approval(
        self, approval_id: str, *, idempotency_key: str | None = None
    ) -> Approval:
        """Reject what an operator asked for."""
        key = self._key(idempotency_key)
        return await self._call(_operator_operations.reject_approval(approval_id, key))

    async def freeze(self, account_id: str, reason: str) -> Account:
        """Freeze an account: it neither sends nor receives."""
        return await self._call(_operator_operations.set_status(account_id, "freeze", reason))

    async def unfreeze(self, account_id: str, reason: str) -> Account:
        """Unfreeze an account."""
        return await self._call(_operator_operations.set_status(account_id, "unfreeze", reason))

    async def set_limits(self, account_id: str, **limits: Unpack[LimitsUpdate]) -> Account:
        """Set limits of an account, and what its owner may raise them to; None is no limit."""
        return await self._call(_operator_operations.set_limits(account_id, limits))

    async def end_sessions(self, user_id: str, reason: str) -> None:
        """End all sessions of a user, everywhere at once."""
        await self._call(_operator_operations.end_sessions(user_id, reason))

    async def reset_second_factor(self, user_id: str, reason: str) -> None:
        """Take away the second factor of a user who has lost it, and end all sessions."""
        await self._call(_operator_operations.reset_second_factor(user_id, reason))

    async def user(self, user_id: str) -> OperatorUser:
        """One user."""
        return await self._call(_operator_operations.user(user_id))

    def users(self, **filters: Unpack[UserFilters]) -> AsyncPager[OperatorUser]:
        """Users, newest first."""
        return AsyncPager(self._transport, _operator_operations.users(filters))

    async def account(self, account_id: str) -> OperatorAccount:
        """An account with the newest of its entries, holds and freezes."""
        return await self._call(_operator_operations.account(account_id))

    async def transaction(self, transaction_id: str) -> OperatorTransaction:
        """A transaction with both of its entries."""
        return await self._call(_operator_operations.transaction(transaction_id))

    def withdrawals(
        self, *, status: str | None = None, limit: int | None = None
    ) -> AsyncPager[OperatorWithdrawal]:
        """The withdrawals of all users, newest first."""
        return AsyncPager(self._transport, _operator_operations.withdrawals(status, limit))

    def audit(self, **filters: Unpack[AuditFilters]) -> AsyncPager[AuditEntry]:
        """The audit log of a range of time, newest first."""
        return AsyncPager(self._transport, _operator_operations.audit(filters))

    def _key(self, given: str | None) -> str:
        return given or self._session.new_idempotency_key()
