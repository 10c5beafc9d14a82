# Generated from _async_requests.py by tools/generate_sync_client.py: edit that file instead.
"""The methods of `FinPay` for payment requests and schedules."""

from collections.abc import Sequence
from typing import Unpack

from finpay.client import _request_operations
from finpay.client._models import PaymentRequest, Schedule, Transaction
from finpay.client._request_operations import (
    PaymentRequestFilters,
    RequestParams,
    ScheduleParams,
    SplitParams,
)
from finpay.client._session import ClientSession
from finpay.client._sync_transport import Pager, Transport


class RequestMethods:
    """A part of FinPay, which has the session and the transport."""

    _session: ClientSession
    _transport: Transport

    def request_payment(self, **request: Unpack[RequestParams]) -> PaymentRequest:
        """Ask a payer for money, or, without one, any user who has the id."""
        key = self._session.new_idempotency_key()
        return self._transport.call(_request_operations.create_request(request, key))

    def split_payment(self, **request: Unpack[SplitParams]) -> Sequence[PaymentRequest]:
        """Ask several payers for their shares of an amount, all or none."""
        key = self._session.new_idempotency_key()
        return (self._transport.call(_request_operations.split(request, key))).data

    def payment_request(self, request_id: str) -> PaymentRequest:
        """One payment request that the user may see."""
        return self._transport.call(_request_operations.request(request_id))

    def payment_request_qr(self, request_id: str) -> bytes:
        """The url of a payment request as a QR code, an SVG image."""
        return self._transport.call(_request_operations.qr_code(request_id))

    def payment_requests(self, **filters: Unpack[PaymentRequestFilters]) -> Pager[PaymentRequest]:
        """The user's payment requests, sent and received, newest first."""
        return Pager(self._transport, _request_operations.requests(filters))

    def pay_request(self, request_id: str, *, idempotency_key: str | None = None) -> Transaction:
        """Pay a request once: every attempt carries the same idempotency key."""
        key = self._session.new_idempotency_key()
        return self._transport.call(_request_operations.pay(request_id, idempotency_key, key))

    def cancel_request(self, request_id: str) -> PaymentRequest:
        """Take back a payment request, as its requester."""
        return self._transport.call(_request_operations.end(request_id, "cancel"))

    def decline_request(self, request_id: str) -> PaymentRequest:
        """Decline a payment request, as its payer."""
        return self._transport.call(_request_operations.end(request_id, "decline"))

    def create_schedule(self, **schedule: Unpack[ScheduleParams]) -> Schedule:
        """Schedule a transfer: once, or at intervals from `start_at` on."""
        key = self._session.new_idempotency_key()
        return self._transport.call(_request_operations.create_schedule(schedule, key))

    def schedule(self, schedule_id: str) -> Schedule:
        """One of the user's schedules."""
        return self._transport.call(_request_operations.schedule(schedule_id))

    def schedules(self, *, limit: int | None = None) -> Pager[Schedule]:
        """The user's schedules, newest first."""
        return Pager(self._transport, _request_operations.schedules(limit))

    def pause_schedule(self, schedule_id: str) -> Schedule:
        """Pause a schedule."""
        return self._transport.call(_request_operations.change(schedule_id, "pause"))

    def resume_schedule(self, schedule_id: str) -> Schedule:
        """Resume a schedule; what was due meanwhile is skipped."""
        return self._transport.call(_request_operations.change(schedule_id, "resume"))

    def cancel_schedule(self, schedule_id: str) -> Schedule:
        """End a schedule."""
        return self._transport.call(_request_operations.change(schedule_id, "cancel"))
