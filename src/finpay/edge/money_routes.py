"""The routes of money: accounts, transactions, holds, withdrawals, requests, schedules."""

from typing import Final, get_args

from finpay.edge.handlers import (
    accounts,
    holds,
    idempotency_keys,
    leaving,
    payment_requests,
    refunds,
    schedules,
    statements,
    transactions,
    transfer_batches,
    withdrawals,
)
from finpay.edge.request import query_params as q
from finpay.edge.router import API, Route
from finpay.edge.schemas import leaving as leaving_schemas
from finpay.edge.schemas import money_requests, responses
from finpay.edge.schemas import payment_requests as request_schemas
from finpay.edge.schemas import schedules as schedule_schemas
from finpay.errors import Code
from finpay.ledger.payment_requests import PaymentRequest, Status
from finpay.ledger.resources import Account, Hold, Transaction, Withdrawal
from finpay.ledger.schedules import Schedule
from finpay.statements.resources import Balance, Statement

MAX_BATCH_BYTES: Final = 1024 * 1024  # a thousand transfers; with more text there are fewer
MAX_BATCH_VALUES: Final = 40_000

_TIMES: Final[q.Parameters] = {"created_from": q.CREATED_FROM, "created_to": q.CREATED_TO}
_TRANSACTION_FILTERS: Final[q.Parameters] = {
    "direction": q.one_of("sent", "received"),
    "status": q.one_of("completed", "failed", "reversed"),
    **_TIMES,
    "amount_min": q.AMOUNT_MIN,
    "amount_max": q.AMOUNT_MAX,
    "counterparty_id": q.ACCOUNT_ID,
    "type": q.one_of("transfer", "funding", "deposit", "withdrawal", "refund"),
    "origin": q.ORIGIN,
    "metadata": q.METADATA,
    "idempotency_key": q.IDEMPOTENCY_KEY,
}
_DRY_RUN: Final[q.Parameters] = {"dry_run": q.DRY_RUN}
_KEY_ERRORS: Final = (
    Code.IDEMPOTENCY_KEY_MISSING, Code.IDEMPOTENCY_KEY_INVALID, Code.REQUEST_IN_PROGRESS,
    Code.IDEMPOTENCY_KEY_REUSE,
)  # fmt: skip
_OWNER_ERRORS: Final = (*_KEY_ERRORS, Code.ACCOUNT_FROZEN, Code.EMAIL_NOT_VERIFIED)
_SENDING_ERRORS: Final = (
    *_OWNER_ERRORS, Code.RECEIVER_UNAVAILABLE, Code.CURRENCY_MISMATCH, Code.LIMIT_EXCEEDED,
    Code.INSUFFICIENT_FUNDS,
)  # fmt: skip
_BATCH_ERRORS: Final = (
    *_SENDING_ERRORS, Code.SAME_ACCOUNT, Code.RECEIVER_NOT_FOUND, Code.BALANCE_LIMIT,
)  # fmt: skip
_HOLD_ERRORS: Final = (
    *_SENDING_ERRORS, Code.SAME_ACCOUNT, Code.RECEIVER_NOT_FOUND, Code.PRECONDITION_FAILED,
)  # fmt: skip
_TRANSFER_ERRORS: Final = (*_HOLD_ERRORS, Code.BALANCE_LIMIT)
_CAPTURE_ERRORS: Final = (
    *_OWNER_ERRORS, Code.NOT_FOUND, Code.FORBIDDEN, Code.HOLD_NOT_OPEN, Code.SENDER_UNAVAILABLE,
    Code.AMOUNT_TOO_LARGE, Code.BALANCE_LIMIT,
)  # fmt: skip
_REFUND_ERRORS: Final = (
    *_OWNER_ERRORS, Code.NOT_FOUND, Code.FORBIDDEN, Code.NOT_REFUNDABLE, Code.RECEIVER_UNAVAILABLE,
    Code.AMOUNT_TOO_LARGE, Code.INSUFFICIENT_FUNDS, Code.BALANCE_LIMIT,
)  # fmt: skip
_PAYMENT_ERRORS: Final = (
    *_SENDING_ERRORS, Code.NOT_FOUND, Code.FORBIDDEN, Code.REQUEST_NOT_OPEN, Code.BALANCE_LIMIT,
)  # fmt: skip
_OPTIONAL_KEY_ERRORS: Final = (
    Code.IDEMPOTENCY_KEY_INVALID, Code.IDEMPOTENCY_KEY_REUSE, Code.REQUEST_IN_PROGRESS,
)  # fmt: skip
_REQUEST_ERRORS: Final = (
    *_OPTIONAL_KEY_ERRORS, Code.ACCOUNT_FROZEN, Code.CURRENCY_MISMATCH,
)  # fmt: skip
_SCHEDULE_ERRORS: Final = (
    *_REQUEST_ERRORS, Code.SAME_ACCOUNT, Code.RECEIVER_NOT_FOUND,
)  # fmt: skip

MONEY_ROUTES: Final = (
    Route("GET", f"{API}/accounts", accounts.retrieve, "retrieveAccount",
          "Retrieve the account with its balance", {200: Account}, cached=True,
          scope="account:read"),
    Route("PATCH", f"{API}/accounts", accounts.update, "updateAccount", "Change the limits",
          {200: Account}, body=money_requests.AccountUpdate, marks_cache=True),
    Route("POST", f"{API}/accounts/close", leaving.close_account, "closeAccount",
          "Close the account and erase the personal data", {204: None},
          body=leaving_schemas.AccountClosing, marks_cache=True,
          errors=(Code.INVALID_CREDENTIALS, Code.ACCOUNT_FROZEN, Code.ACCOUNT_NOT_CLOSABLE)),
    Route("GET", f"{API}/auth/export", leaving.export, "exportData",
          "Export all data of the person", {200: leaving_schemas.Export}),
    Route("GET", f"{API}/accounts/entries", accounts.list_entries, "listEntries",
          "List the account's entries, newest first", {200: responses.EntryList},
          parameters={"limit": q.LIMIT, "cursor": q.ENTRIES_CURSOR, **_TIMES},
          errors=(Code.CURSOR_INVALID,), scope="transactions:read"),
    Route("GET", f"{API}/accounts/balance", statements.retrieve_balance, "retrieveBalance",
          "Retrieve the balance at a moment or version", {200: Balance},
          parameters={"at": q.AT, "version": q.VERSION}, errors=(Code.NOT_FOUND,),
          scope="account:read"),
    Route("GET", f"{API}/accounts/statement", statements.retrieve_statement, "retrieveStatement",
          "Retrieve the statement of a period, as JSON, CSV or PDF", {200: Statement},
          files=statements.FILES, errors=(Code.NOT_FOUND,), scope="transactions:read",
          parameters={"from": q.FROM_DATE, "to": q.TO_DATE, "timezone": q.TIMEZONE,
                      "format": q.one_of("json", "csv", "pdf")}),
    Route("POST", f"{API}/transactions", transactions.create, "createTransaction", "Send money",
          {200: responses.DryRun, 201: Transaction}, body=money_requests.TransactionCreate,
          needs_key=True, parameters=_DRY_RUN, errors=_TRANSFER_ERRORS,
          scope="transactions:write"),
    Route("POST", f"{API}/transactions/batch", transfer_batches.create, "createTransferBatch",
          "Send up to 1 000 transfers under one key",
          {200: responses.TransferBatch, 201: responses.TransferBatch},
          body=money_requests.TransferBatchCreate, needs_key=True, max_body_bytes=MAX_BATCH_BYTES,
          max_body_values=MAX_BATCH_VALUES, errors=_BATCH_ERRORS, scope="transactions:write"),
    Route("GET", f"{API}/transactions", transactions.list_, "listTransactions",
          "List transactions, newest first", {200: responses.TransactionList}, cached=True,
          parameters={"limit": q.LIMIT, "cursor": q.TRANSACTIONS_CURSOR, **_TRANSACTION_FILTERS},
          errors=(Code.CURSOR_INVALID,), scope="transactions:read"),
    Route("GET", f"{API}/transactions/{{id}}", transactions.retrieve, "retrieveTransaction",
          "Retrieve a transaction", {200: Transaction}, errors=(Code.NOT_FOUND,),
          scope="transactions:read"),
    Route("POST", f"{API}/transactions/{{id}}/refunds", refunds.create, "createRefund",
          "Refund a transfer to its sender", {200: responses.DryRun, 201: Transaction},
          body=money_requests.RefundCreate, body_optional=True, needs_key=True, id_prefix="txn",
          parameters=_DRY_RUN, errors=_REFUND_ERRORS, scope="transactions:write"),
    Route("POST", f"{API}/holds", holds.create, "createHold", "Reserve money for a receiver",
          {200: responses.DryRun, 201: Hold}, body=money_requests.HoldCreate, needs_key=True,
          parameters=_DRY_RUN, errors=_HOLD_ERRORS, scope="holds:write"),
    Route("GET", f"{API}/holds", holds.list_, "listHolds", "List holds, newest first",
          {200: responses.HoldList}, errors=(Code.CURSOR_INVALID,),
          parameters={"limit": q.LIMIT, "cursor": q.HOLDS_CURSOR,
                      "direction": q.one_of("sent", "received"),
                      "status": q.one_of("open", "captured", "voided", "expired"),
                      "counterparty_id": q.ACCOUNT_ID, **_TIMES},
          scope="transactions:read"),
    Route("GET", f"{API}/holds/{{id}}", holds.retrieve, "retrieveHold", "Retrieve a hold",
          {200: Hold}, errors=(Code.NOT_FOUND,),
          scope="transactions:read"),
    Route("POST", f"{API}/holds/{{id}}/capture", holds.capture, "captureHold",
          "Move money of a hold to its receiver", {201: Transaction},
          body=money_requests.CaptureCreate, body_optional=True, needs_key=True, id_prefix="hld",
          errors=_CAPTURE_ERRORS,
          scope="holds:write"),
    Route("POST", f"{API}/holds/{{id}}/void", holds.void, "voidHold",
          "Release what is left of a hold", {200: Hold}, body=money_requests.NoMembers,
          body_optional=True, needs_key=True, counts_transfers=False, id_prefix="hld",
          errors=(*_KEY_ERRORS, Code.NOT_FOUND, Code.FORBIDDEN, Code.HOLD_NOT_OPEN),
          scope="holds:write"),
    Route("POST", f"{API}/withdrawals", withdrawals.create, "createWithdrawal",
          "Ask to pay money out", {201: Withdrawal}, body=money_requests.WithdrawalCreate,
          needs_key=True,
          errors=(*_OWNER_ERRORS, Code.LIMIT_EXCEEDED, Code.INSUFFICIENT_FUNDS),
          scope="withdrawals:write"),
    Route("GET", f"{API}/withdrawals", withdrawals.list_, "listWithdrawals",
          "List withdrawals, newest first", {200: responses.WithdrawalList},
          parameters={"limit": q.LIMIT, "cursor": q.WITHDRAWALS_CURSOR,
                      "status": q.one_of("pending", "completed", "rejected", "canceled")},
          errors=(Code.CURSOR_INVALID,),
          scope="transactions:read"),
    Route("GET", f"{API}/withdrawals/{{id}}", withdrawals.retrieve, "retrieveWithdrawal",
          "Retrieve a withdrawal", {200: Withdrawal}, errors=(Code.NOT_FOUND,),
          scope="transactions:read"),
    Route("POST", f"{API}/withdrawals/{{id}}/cancel", withdrawals.cancel, "cancelWithdrawal",
          "Cancel a pending withdrawal", {200: Withdrawal}, body=money_requests.NoMembers,
          body_optional=True, needs_key=True, counts_transfers=False, id_prefix="wdr",
          errors=(*_KEY_ERRORS, Code.NOT_FOUND, Code.WITHDRAWAL_NOT_PENDING),
          scope="withdrawals:write"),
    Route("GET", f"{API}/idempotency_keys", idempotency_keys.retrieve, "retrieveIdempotencyKey",
          "Retrieve the stored answer of an idempotency key", {200: responses.StoredAnswer},
          parameters={"key": q.REQUIRED_KEY}, errors=(Code.NOT_FOUND, Code.REQUEST_IN_PROGRESS),
          scope="transactions:read"),
    Route("POST", f"{API}/payment_requests", payment_requests.create, "createPaymentRequest",
          "Ask for money", {201: PaymentRequest}, body=request_schemas.PaymentRequestCreate,
          accepts_key=True, in_transaction_tier=True, errors=_REQUEST_ERRORS,
          scope="requests:write"),
    Route("POST", f"{API}/payment_requests/split", payment_requests.create, "splitPayment",
          "Ask several payers for their shares of an amount",
          {201: request_schemas.PaymentRequestList}, body=request_schemas.SplitCreate,
          accepts_key=True, in_transaction_tier=True, errors=_REQUEST_ERRORS,
          scope="requests:write"),
    Route("GET", f"{API}/payment_requests", payment_requests.list_, "listPaymentRequests",
          "List payment requests, newest first", {200: request_schemas.PaymentRequestList},
          parameters={"limit": q.LIMIT, "cursor": q.PAYMENT_REQUESTS_CURSOR,
                      "direction": q.one_of("sent", "received"),
                      "status": q.one_of(*get_args(Status))},
          errors=(Code.CURSOR_INVALID,), scope="transactions:read"),
    Route("GET", f"{API}/payment_requests/{{id}}", payment_requests.retrieve,
          "retrievePaymentRequest", "Retrieve a payment request", {200: PaymentRequest},
          errors=(Code.NOT_FOUND,), scope="transactions:read"),
    Route("GET", f"{API}/payment_requests/{{id}}/qr", payment_requests.qr,
          "retrievePaymentRequestQr", "Retrieve the QR code of a payment request, an SVG",
          {200: None}, files=payment_requests.FILES, errors=(Code.NOT_FOUND,),
          scope="transactions:read"),
    Route("POST", f"{API}/payment_requests/{{id}}/pay", payment_requests.pay,
          "payPaymentRequest", "Pay a payment request", {201: Transaction},
          body=money_requests.NoMembers, body_optional=True, needs_key=True,
          errors=_PAYMENT_ERRORS,
          scope="transactions:write"),
    Route("POST", f"{API}/payment_requests/{{id}}/cancel", payment_requests.cancel,
          "cancelPaymentRequest", "Cancel a payment request, as its requester",
          {200: PaymentRequest}, body=money_requests.NoMembers, body_optional=True,
          errors=(Code.NOT_FOUND, Code.FORBIDDEN, Code.REQUEST_NOT_OPEN), scope="requests:write"),
    Route("POST", f"{API}/payment_requests/{{id}}/decline", payment_requests.decline,
          "declinePaymentRequest", "Decline a payment request, as its payer",
          {200: PaymentRequest}, body=money_requests.NoMembers, body_optional=True,
          errors=(Code.NOT_FOUND, Code.FORBIDDEN, Code.REQUEST_NOT_OPEN), scope="requests:write"),
    Route("POST", f"{API}/schedules", schedules.create, "createSchedule",
          "Schedule a transfer, once or at intervals", {201: Schedule},
          body=schedule_schemas.ScheduleCreate, accepts_key=True, errors=_SCHEDULE_ERRORS,
          scope="schedules:write"),
    Route("GET", f"{API}/schedules", schedules.list_, "listSchedules",
          "List schedules, newest first", {200: schedule_schemas.ScheduleList},
          parameters={"limit": q.LIMIT, "cursor": q.SCHEDULES_CURSOR},
          errors=(Code.CURSOR_INVALID,), scope="transactions:read"),
    Route("GET", f"{API}/schedules/{{id}}", schedules.retrieve, "retrieveSchedule",
          "Retrieve a schedule", {200: Schedule}, errors=(Code.NOT_FOUND,),
          scope="transactions:read"),
    Route("POST", f"{API}/schedules/{{id}}/pause", schedules.pause, "pauseSchedule",
          "Pause a schedule", {200: Schedule}, body=money_requests.NoMembers, body_optional=True,
          errors=(Code.NOT_FOUND, Code.SCHEDULE_NOT_ACTIVE), scope="schedules:write"),
    Route("POST", f"{API}/schedules/{{id}}/resume", schedules.resume, "resumeSchedule",
          "Resume a schedule; what it missed is skipped", {200: Schedule},
          body=money_requests.NoMembers, body_optional=True,
          errors=(Code.NOT_FOUND, Code.ACCOUNT_FROZEN, Code.SCHEDULE_NOT_ACTIVE),
          scope="schedules:write"),
    Route("POST", f"{API}/schedules/{{id}}/cancel", schedules.cancel, "cancelSchedule",
          "Cancel a schedule", {200: Schedule}, body=money_requests.NoMembers, body_optional=True,
          errors=(Code.NOT_FOUND, Code.SCHEDULE_NOT_ACTIVE), scope="schedules:write"),
)  # fmt: skip
