"""The Python SDK of FinPay: typed, with safe retries, for plain code and for asyncio.

    from finpay.client import FinPay, FinPayError

    with FinPay("http://127.0.0.1:3000") as client:
        client.login("alice@finpay.dev", "password123")
        try:
            payment = client.send(amount=50_000, receiver_email="bob@finpay.dev")
        except FinPayError as error:
            print(error.code, error.detail)
        for transaction in client.transactions(direction="sent"):
            print(transaction.id, transaction.amount, transaction.currency)

Amounts are integers in minor units. `AsyncFinPay` has the same methods to await; its lists are read
with `async for`. `finpay.client.webhooks` verifies webhooks. docs/sdk.md is the reference.

Inside: `_operations` and `_requests` make requests, `_responses` and `_errors` read responses,
`_retry` decides on retries, `_session` keeps the tokens, all without I/O. `_async_transport` and
`_async` with its `_async_…` parts do the I/O; `_sync_transport` and `_sync…` are generated from
them. `…_models` are the resources.
"""

from finpay.client._async import AsyncFinPay
from finpay.client._async_transport import AsyncPager
from finpay.client._errors import ApiError, ConnectionFailed, RequestFailed, UnexpectedResponse
from finpay.client._identity_models import (
    ActiveSession,
    ApiKey,
    LoggedRequest,
    Login,
    SecondFactor,
    Tokens,
)
from finpay.client._identity_operations import ApiKeyOptions
from finpay.client._models import (
    Account,
    Delivery,
    DeliveryAttempt,
    Entry,
    Event,
    EventData,
    EventRequest,
    Health,
    Interval,
    Limits,
    Page,
    PaymentRequest,
    PendingLimits,
    Requester,
    Schedule,
    Transaction,
    TransferBatch,
    TransferBatchError,
    TransferBatchItem,
    User,
    WebhookEndpoint,
)
from finpay.client._money_models import DryRun, Hold, StoredAnswer, Withdrawal
from finpay.client._money_operations import (
    CaptureParams,
    HoldFilters,
    HoldParams,
    LimitsUpdate,
    RefundParams,
    WithdrawalFilters,
)
from finpay.client._operations import (
    EntryFilters,
    EventFilters,
    SendParams,
    TransactionFilters,
    TransferParams,
)
from finpay.client._operator_models import (
    Approval,
    ApprovalParameters,
    AuditEntry,
    Leg,
    OperatorAccount,
    OperatorHold,
    OperatorTransaction,
    OperatorUser,
    OperatorWithdrawal,
    StatusChange,
)
from finpay.client._operator_operations import AuditFilters, DepositParams, UserFilters
from finpay.client._request_operations import (
    Every,
    PaymentRequestFilters,
    RequestParams,
    ScheduleParams,
    SplitParams,
)
from finpay.client._requests import HttpResponse
from finpay.client._session import Options
from finpay.client._statement_models import (
    Balance,
    Counterparty,
    Statement,
    StatementEntry,
    StatementTotals,
)
from finpay.client._sync import FinPay
from finpay.client._sync_transport import Pager
from finpay.client._webhook_operations import DeliveryFilters, WebhookEndpointUpdate
from finpay.errors import Code, FieldError, FinPayError

__all__ = [
    "Account",
    "ActiveSession",
    "ApiError",
    "ApiKey",
    "ApiKeyOptions",
    "Approval",
    "ApprovalParameters",
    "AsyncFinPay",
    "AsyncPager",
    "AuditEntry",
    "AuditFilters",
    "Balance",
    "CaptureParams",
    "Code",
    "ConnectionFailed",
    "Counterparty",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryFilters",
    "DepositParams",
    "DryRun",
    "Entry",
    "EntryFilters",
    "Event",
    "EventData",
    "EventFilters",
    "EventRequest",
    "Every",
    "FieldError",
    "FinPay",
    "FinPayError",
    "Health",
    "Hold",
    "HoldFilters",
    "HoldParams",
    "HttpResponse",
    "Interval",
    "Leg",
    "Limits",
    "LimitsUpdate",
    "LoggedRequest",
    "Login",
    "OperatorAccount",
    "OperatorHold",
    "OperatorTransaction",
    "OperatorUser",
    "OperatorWithdrawal",
    "Options",
    "Page",
    "Pager",
    "PaymentRequest",
    "PaymentRequestFilters",
    "PendingLimits",
    "RefundParams",
    "RequestFailed",
    "RequestParams",
    "Requester",
    "Schedule",
    "ScheduleParams",
    "SecondFactor",
    "SendParams",
    "SplitParams",
    "Statement",
    "StatementEntry",
    "StatementTotals",
    "StatusChange",
    "StoredAnswer",
    "Tokens",
    "Transaction",
    "TransactionFilters",
    "TransferBatch",
    "TransferBatchError",
    "TransferBatchItem",
    "TransferParams",
    "UnexpectedResponse",
    "User",
    "UserFilters",
    "WebhookEndpoint",
    "WebhookEndpointUpdate",
    "Withdrawal",
    "WithdrawalFilters",
]
