"""What moves and reserves money: transfers, holds, refunds, withdrawals.

Every attempt of a call carries the same idempotency key. Store your own `idempotency_key` first to
be safe over a crash.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Unpack

from finpay.client import _money_operations, _operations
from finpay.client._async_transport import AsyncPager, AsyncTransport
from finpay.client._models import Account, Transaction, TransferBatch
from finpay.client._money_models import DryRun, Hold, StoredAnswer, Withdrawal
from finpay.client._money_operations import (
    CaptureParams,
    HoldFilters,
    HoldParams,
    LimitsUpdate,
    RefundParams,
    WithdrawalFilters,
)
from finpay.client._operations import SendParams, TransferParams
from finpay.client._session import ClientSession


class AsyncPayments:
    """The part of AsyncFinPay that is about payments."""

    def __init__(self, session: ClientSession, transport: AsyncTransport) -> None:
        self._session = session
        self._transport = transport
        self._call = transport.call

    async def send(self, **transfer: Unpack[SendParams]) -> Transaction:
        """Send money once: every attempt carries the same idempotency key."""
        key = self._session.new_idempotency_key()
        return await self._call(_operations.send(transfer, key))

    async def send_batch(
        self,
        transfers: Sequence[TransferParams],
        *,
        mode: Literal["independent", "atomic"] = "independent",
        idempotency_key: str | None = None,
    ) -> TransferBatch:
        """Send up to 1 000 transfers. independent: each by itself; atomic: all, or ApiError."""
        key = self._session.new_idempotency_key()
        return await self._call(_operations.send_batch(transfers, mode, idempotency_key, key))

    async def hold(self, hold_id: str) -> Hold:
        """One of the account's holds, sent or received."""
        return await self._call(_money_operations.hold(hold_id))

    def holds(self, **filters: Unpack[HoldFilters]) -> AsyncPager[Hold]:
        """The account's holds, newest first."""
        return AsyncPager(self._transport, _money_operations.holds(filters))

    async def create_hold(self, **hold: Unpack[HoldParams]) -> Hold:
        """Reserve money for a receiver, who captures it or lets it expire."""
        key = self._session.new_idempotency_key()
        return await self._call(_money_operations.create_hold(hold, key))

    async def capture_hold(self, hold_id: str, **capture: Unpack[CaptureParams]) -> Transaction:
        """Receive money that was reserved, by default all of it."""
        key = self._session.new_idempotency_key()
        return await self._call(_money_operations.capture_hold(hold_id, capture, key))

    async def void_hold(self, hold_id: str, *, idempotency_key: str | None = None) -> Hold:
        """Release what is left of a hold that was made for this account."""
        key = self._session.new_idempotency_key()
        return await self._call(_money_operations.void_hold(hold_id, idempotency_key, key))

    async def refund(self, transaction_id: str, **refund: Unpack[RefundParams]) -> Transaction:
        """Give money of a received transfer back, by default all that is left of it."""
        key = self._session.new_idempotency_key()
        return await self._call(_money_operations.refund(transaction_id, refund, key))

    async def withdraw(
        self,
        amount: int,
        destination: Mapping[str, str],
        *,
        description: str | None = None,
        idempotency_key: str | None = None,
    ) -> Withdrawal:
        """Ask to pay money out. It is held until an operator completes or rejects it."""
        key = self._session.new_idempotency_key()
        return await self._call(
            _money_operations.withdraw(amount, destination, description, idempotency_key, key)
        )

    async def withdrawal(self, withdrawal_id: str) -> Withdrawal:
        """One of the account's withdrawals."""
        return await self._call(_money_operations.withdrawal(withdrawal_id))

    def withdrawals(self, **filters: Unpack[WithdrawalFilters]) -> AsyncPager[Withdrawal]:
        """The account's withdrawals, newest first."""
        return AsyncPager(self._transport, _money_operations.withdrawals(filters))

    async def cancel_withdrawal(
        self, withdrawal_id: str, *, idempotency_key: str | None = None
    ) -> Withdrawal:
        """Cancel a pending withdrawal: its money is available again."""
        key = self._session.new_idempotency_key()
        return await self._call(
            _money_operations.cancel_withdrawal(withdrawal_id, idempotency_key, key)
        )

    async def dry_run_send(self, **transfer: Unpack[SendParams]) -> DryRun:
        """The outcome that a transfer would have now. No money moves."""
        return await self._call(_money_operations.dry_run("/transactions", transfer))

    async def dry_run_hold(self, **hold: Unpack[HoldParams]) -> DryRun:
        """The outcome that a hold would have now. No money is held."""
        return await self._call(_money_operations.dry_run("/holds", hold))

    async def dry_run_refund(self, transaction_id: str, **refund: Unpack[RefundParams]) -> DryRun:
        """The outcome that a refund would have now. No money moves."""
        return await self._call(_money_operations.dry_run_refund(transaction_id, refund))

    async def idempotency_key(self, key: str) -> StoredAnswer:
        """The answer that a key stands for, if its response was lost."""
        return await self._call(_money_operations.idempotency_key(key))

    async def update_limits(self, **limits: Unpack[LimitsUpdate]) -> Account:
        """Lower a limit at once, or raise it after 24 hours; None is no limit."""
        return await self._call(_money_operations.update_limits(limits))
