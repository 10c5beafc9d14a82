"""The routes of operators and auditors."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from finpay.edge.handlers import operator_actions as actions
from finpay.edge.handlers import operator_reads as reads
from finpay.edge.handlers import operator_reports as reports
from finpay.edge.request import operator_params as p
from finpay.edge.request import query_params as q
from finpay.edge.router import API, Route
from finpay.edge.schemas import money_requests, responses
from finpay.edge.schemas import operators as schemas
from finpay.errors import Code
from finpay.identity.access_tokens import Role
from finpay.ledger.resources import Account, Withdrawal
from finpay.operators.overview import Integrity, Overview
from finpay.operators.reconciliation import Reconciliation
from finpay.operators.resources import (
    Approval,
    OperatorHold,
    OperatorTransaction,
    OperatorUser,
    OperatorWithdrawal,
)

OPERATORS: Final[tuple[Role, ...]] = ("operator",)
READERS: Final[tuple[Role, ...]] = ("operator", "auditor")

_ROOT: Final = f"{API}/operator"
_TIMES: Final[q.Parameters] = {"created_from": q.CREATED_FROM, "created_to": q.CREATED_TO}
_LIST: Final = (Code.CURSOR_INVALID,)
_KEY_ERRORS: Final = (
    Code.IDEMPOTENCY_KEY_MISSING, Code.IDEMPOTENCY_KEY_INVALID, Code.REQUEST_IN_PROGRESS,
    Code.IDEMPOTENCY_KEY_REUSE, Code.NOT_FOUND,
)  # fmt: skip
_MOVED: Final[Mapping[int, type[Struct] | None]] = {201: OperatorTransaction, 202: Approval}
_MOVE_ERRORS: Final = (
    *_KEY_ERRORS, Code.RECEIVER_NOT_FOUND, Code.WITHDRAWAL_NOT_PENDING, Code.NOT_REFUNDABLE,
    Code.REFERENCE_TAKEN, Code.SENDER_UNAVAILABLE, Code.RECEIVER_UNAVAILABLE,
    Code.AMOUNT_TOO_LARGE, Code.INSUFFICIENT_FUNDS, Code.BALANCE_LIMIT,
)  # fmt: skip

OPERATOR_ROUTES: Final = (
    Route("GET", f"{_ROOT}/overview", reports.retrieve_overview, "retrieveOverview",
          "Retrieve numbers and balances, and what waits for an operator", {200: Overview},
          roles=READERS),
    Route("GET", f"{_ROOT}/integrity", reports.retrieve_integrity, "retrieveIntegrity",
          "Retrieve the result of the continuous verification", {200: Integrity}, roles=READERS),
    Route("GET", f"{_ROOT}/audit", reports.list_audit, "listAuditEntries",
          "List the audit log of a range of time, newest first", {200: schemas.AuditList},
          parameters={"limit": q.LIMIT, "cursor": p.AUDIT_CURSOR, **_TIMES, "action": p.ACTION,
                      "actor_id": p.USER_ID, "subject_id": p.SUBJECT_ID,
                      "request_id": p.REQUEST_ID},
          errors=_LIST, roles=READERS),
    Route("GET", f"{_ROOT}/reconciliation", reports.retrieve_reconciliation,
          "retrieveReconciliation", "Retrieve what came in from outside and went out on a day",
          {200: Reconciliation}, files=reports.FILES,
          parameters={"date": p.DATE, "format": q.one_of("json", "csv")}, roles=READERS),
    Route("GET", f"{_ROOT}/users", reads.list_users, "listUsers", "List users, newest first",
          {200: schemas.OperatorUserList}, errors=_LIST, roles=READERS,
          parameters={"limit": q.LIMIT, "cursor": p.USERS_CURSOR, "email": p.EMAIL,
                      "status": q.one_of("active", "frozen", "closed")}),
    Route("GET", f"{_ROOT}/users/{{id}}", reads.retrieve_user, "retrieveUserById",
          "Retrieve a user", {200: OperatorUser}, errors=(Code.NOT_FOUND,), roles=READERS),
    Route("POST", f"{_ROOT}/users/{{id}}/end_sessions", actions.end_sessions, "endUserSessions",
          "End all sessions of a user", {204: None}, body=schemas.Reasoned, id_prefix="usr",
          errors=(Code.NOT_FOUND,), roles=OPERATORS),
    Route("POST", f"{_ROOT}/users/{{id}}/reset_second_factor", actions.reset_second_factor,
          "resetSecondFactor", "Take away the second factor of a user, and end all sessions",
          {204: None}, body=schemas.Reasoned, id_prefix="usr", errors=(Code.NOT_FOUND,),
          roles=OPERATORS),
    Route("GET", f"{_ROOT}/accounts/{{id}}", reads.retrieve_account, "retrieveAccountById",
          "Retrieve an account with the newest of what happened to it",
          {200: schemas.OperatorAccount}, errors=(Code.NOT_FOUND,), roles=READERS),
    Route("GET", f"{_ROOT}/accounts/{{id}}/entries", reads.list_entries, "listEntriesOfAccount",
          "List the entries of an account, newest first", {200: responses.EntryList},
          parameters={"limit": q.LIMIT, "cursor": q.ENTRIES_CURSOR},
          errors=(*_LIST, Code.NOT_FOUND), roles=READERS),
    Route("GET", f"{_ROOT}/accounts/{{id}}/holds", reads.list_holds, "listHoldsOfAccount",
          "List the holds of an account, newest first", {200: schemas.OperatorHoldList},
          parameters={"limit": q.LIMIT, "cursor": q.HOLDS_CURSOR},
          errors=(*_LIST, Code.NOT_FOUND), roles=READERS),
    Route("GET", f"{_ROOT}/accounts/{{id}}/freezes", reads.list_freezes, "listFreezesOfAccount",
          "List when and why an account was frozen and unfrozen, newest first",
          {200: schemas.StatusChangeList},
          parameters={"limit": q.LIMIT, "cursor": p.STATUS_CHANGES_CURSOR},
          errors=(*_LIST, Code.NOT_FOUND), roles=READERS),
    Route("POST", f"{_ROOT}/accounts/{{id}}/freeze", actions.freeze, "freezeAccount",
          "Freeze an account: it neither sends nor receives", {200: Account},
          body=schemas.Reasoned, id_prefix="acc", marks_cache=True, errors=(Code.NOT_FOUND,),
          roles=OPERATORS, operates=True),
    Route("POST", f"{_ROOT}/accounts/{{id}}/unfreeze", actions.unfreeze, "unfreezeAccount",
          "Unfreeze an account", {200: Account}, body=schemas.Reasoned, id_prefix="acc",
          marks_cache=True, errors=(Code.NOT_FOUND,), roles=OPERATORS, operates=True),
    Route("PATCH", f"{_ROOT}/accounts/{{id}}/limits", actions.set_limits, "setAccountLimits",
          "Set the limits of an account, and what its owner may raise them to", {200: Account},
          body=schemas.OperatorLimitsUpdate, id_prefix="acc", marks_cache=True,
          errors=(Code.NOT_FOUND,), roles=OPERATORS, operates=True),
    Route("GET", f"{_ROOT}/transactions", reads.list_transactions, "listAllTransactions",
          "List the transactions of all users, newest first",
          {200: schemas.OperatorTransactionList}, errors=_LIST, roles=READERS,
          parameters={"limit": q.LIMIT, "cursor": p.TRANSACTIONS_CURSOR,
                      "type": q.one_of("transfer", "funding", "deposit", "withdrawal", "refund"),
                      "status": q.one_of("completed", "failed", "reversed"),
                      "currency": p.CURRENCY, **_TIMES, "amount_min": q.AMOUNT_MIN,
                      "amount_max": q.AMOUNT_MAX}),
    Route("GET", f"{_ROOT}/transactions/{{id}}", reads.retrieve_transaction,
          "retrieveTransactionById", "Retrieve a transaction with both of its entries",
          {200: OperatorTransaction}, errors=(Code.NOT_FOUND,), roles=READERS),
    Route("POST", f"{_ROOT}/transactions/{{id}}/refunds", actions.refund, "refundTransaction",
          "Refund a transfer, recall a deposit or return a withdrawal", _MOVED,
          body=schemas.OperatorRefundCreate, body_optional=True, needs_key=True, id_prefix="txn",
          errors=_MOVE_ERRORS, roles=OPERATORS, operates=True),
    Route("POST", f"{_ROOT}/deposits", actions.deposit, "createDeposit",
          "Record money that has arrived outside", _MOVED, body=schemas.DepositCreate,
          needs_key=True, errors=_MOVE_ERRORS, roles=OPERATORS, operates=True),
    Route("GET", f"{_ROOT}/withdrawals", reads.list_withdrawals, "listAllWithdrawals",
          "List the withdrawals of all users, newest first",
          {200: schemas.OperatorWithdrawalList}, errors=_LIST, roles=READERS,
          parameters={"limit": q.LIMIT, "cursor": p.WITHDRAWALS_CURSOR,
                      "status": q.one_of("pending", "completed", "rejected", "canceled")}),
    Route("GET", f"{_ROOT}/withdrawals/{{id}}", reads.retrieve_withdrawal,
          "retrieveWithdrawalById", "Retrieve a withdrawal", {200: OperatorWithdrawal},
          errors=(Code.NOT_FOUND,), roles=READERS),
    Route("POST", f"{_ROOT}/withdrawals/{{id}}/complete", actions.complete_withdrawal,
          "completeWithdrawal", "Record that a withdrawal was paid out", _MOVED,
          body=schemas.WithdrawalCompletion, needs_key=True, id_prefix="wdr",
          errors=_MOVE_ERRORS, roles=OPERATORS, operates=True),
    Route("POST", f"{_ROOT}/withdrawals/{{id}}/reject", actions.reject_withdrawal,
          "rejectWithdrawal", "Reject a withdrawal: its money is available again",
          {200: Withdrawal}, body=schemas.Reasoned, needs_key=True, id_prefix="wdr",
          errors=(*_KEY_ERRORS, Code.WITHDRAWAL_NOT_PENDING), roles=OPERATORS, operates=True),
    Route("POST", f"{_ROOT}/holds/{{id}}/void", actions.void_hold, "voidHoldById",
          "Release what is left of a hold", {200: OperatorHold}, body=money_requests.NoMembers,
          body_optional=True, needs_key=True, id_prefix="hld",
          errors=(*_KEY_ERRORS, Code.HOLD_NOT_OPEN), roles=OPERATORS, operates=True),
    Route("GET", f"{_ROOT}/approvals", reads.list_approvals, "listApprovals",
          "List approvals, newest first", {200: schemas.ApprovalList}, errors=_LIST,
          parameters={"limit": q.LIMIT, "cursor": p.APPROVALS_CURSOR,
                      "status": q.one_of("pending", "approved", "rejected", "expired")},
          roles=READERS),
    Route("GET", f"{_ROOT}/approvals/{{id}}", reads.retrieve_approval, "retrieveApproval",
          "Retrieve an approval", {200: Approval}, errors=(Code.NOT_FOUND,), roles=READERS),
    Route("POST", f"{_ROOT}/approvals/{{id}}/approve", actions.approve, "approveAction",
          "Approve what another operator asked for: it is done at once", {201: OperatorTransaction},
          body=money_requests.NoMembers, body_optional=True, needs_key=True, id_prefix="apr",
          errors=(*_MOVE_ERRORS, Code.APPROVAL_NOT_PENDING), roles=OPERATORS, operates=True),
    Route("POST", f"{_ROOT}/approvals/{{id}}/reject", actions.reject_approval, "rejectApproval",
          "Reject what an operator asked for", {200: Approval}, body=money_requests.NoMembers,
          body_optional=True, needs_key=True, id_prefix="apr",
          errors=(*_KEY_ERRORS, Code.APPROVAL_NOT_PENDING), roles=OPERATORS, operates=True),
)  # fmt: skip
