"""The outcomes of a request, in order of precedence, and the error of each refusal.

The same list stands in SQL as `ledger.outcome`; a test compares the two.
"""

from enum import StrEnum
from typing import Final

from finpay.errors import Code


class Outcome(StrEnum):
    """One per item of a batch. A request with two faults gets the first."""

    IDEMPOTENCY_KEY_REUSE = "idempotency_key_reuse"
    DUPLICATE = "duplicate"
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    ACCOUNT_FROZEN = "account_frozen"
    EMAIL_NOT_VERIFIED = "email_not_verified"
    SAME_ACCOUNT = "same_account"
    RECEIVER_NOT_FOUND = "receiver_not_found"
    HOLD_NOT_OPEN = "hold_not_open"
    REQUEST_NOT_OPEN = "request_not_open"
    WITHDRAWAL_NOT_PENDING = "withdrawal_not_pending"
    APPROVAL_NOT_PENDING = "approval_not_pending"
    SCHEDULE_NOT_ACTIVE = "schedule_not_active"
    NOT_REFUNDABLE = "not_refundable"
    REFERENCE_TAKEN = "reference_taken"
    SENDER_UNAVAILABLE = "sender_unavailable"
    RECEIVER_UNAVAILABLE = "receiver_unavailable"
    CURRENCY_MISMATCH = "currency_mismatch"
    PRECONDITION_FAILED = "precondition_failed"
    AMOUNT_TOO_LARGE = "amount_too_large"
    LIMIT_EXCEEDED = "limit_exceeded"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    BALANCE_LIMIT = "balance_limit"
    APPROVAL_REQUIRED = "approval_required"
    COMPLETED = "completed"


REFUSALS: Final[dict[Outcome, tuple[Code, str]]] = {
    Outcome.NOT_FOUND: (
        Code.NOT_FOUND,
        "Nothing of yours has this id. Nothing was done.",
    ),
    Outcome.FORBIDDEN: (
        Code.FORBIDDEN,
        "Only the other party may do this. Nothing was done.",
    ),
    Outcome.ACCOUNT_FROZEN: (
        Code.ACCOUNT_FROZEN,
        "Your account is frozen: it neither sends nor receives. Ask the operator why.",
    ),
    Outcome.EMAIL_NOT_VERIFIED: (
        Code.EMAIL_NOT_VERIFIED,
        "Verify your e-mail address first. Nothing was done.",
    ),
    Outcome.SAME_ACCOUNT: (
        Code.SAME_ACCOUNT,
        "The receiver is your own account. Name another one.",
    ),
    Outcome.RECEIVER_NOT_FOUND: (
        Code.RECEIVER_NOT_FOUND,
        (
            "No account can receive under that receiver_id or receiver_email. Check its spelling, "
            "and use a new idempotency key: this one keeps its refusal."
        ),
    ),
    Outcome.HOLD_NOT_OPEN: (
        Code.HOLD_NOT_OPEN,
        "The hold is not open any more; status_now says why. Nothing was done.",
    ),
    Outcome.REQUEST_NOT_OPEN: (
        Code.REQUEST_NOT_OPEN,
        "The payment request is not open any more; status_now says why. Nothing was done.",
    ),
    Outcome.WITHDRAWAL_NOT_PENDING: (
        Code.WITHDRAWAL_NOT_PENDING,
        "The withdrawal is not pending any more; status_now says why. Nothing was done.",
    ),
    Outcome.APPROVAL_NOT_PENDING: (
        Code.APPROVAL_NOT_PENDING,
        "The approval is not pending any more; status_now says why. Nothing was done.",
    ),
    Outcome.SCHEDULE_NOT_ACTIVE: (
        Code.SCHEDULE_NOT_ACTIVE,
        "The schedule has ended. Nothing was done.",
    ),
    Outcome.NOT_REFUNDABLE: (
        Code.NOT_REFUNDABLE,
        "Only transfers can be refunded, by their receiver. Nothing was sent.",
    ),
    Outcome.REFERENCE_TAKEN: (
        Code.REFERENCE_TAKEN,
        "The reference belongs to another payment. Nothing was done.",
    ),
    Outcome.SENDER_UNAVAILABLE: (
        Code.SENDER_UNAVAILABLE,
        "The sender's account is frozen. Nothing was captured.",
    ),
    Outcome.RECEIVER_UNAVAILABLE: (
        Code.RECEIVER_UNAVAILABLE,
        "The receiver's account is frozen. Nothing was sent.",
    ),
    Outcome.CURRENCY_MISMATCH: (
        Code.CURRENCY_MISMATCH,
        "The currency differs from your account's or the receiver's. Nothing was sent.",
    ),
    Outcome.PRECONDITION_FAILED: (
        Code.PRECONDITION_FAILED,
        (
            "Your account's version or balance is not what if_version or if_balance_gte asks for. "
            "Nothing was done."
        ),
    ),
    Outcome.AMOUNT_TOO_LARGE: (
        Code.AMOUNT_TOO_LARGE,
        "The amount is more than what is left; the field `left` says how much. Nothing was done.",
    ),
    Outcome.LIMIT_EXCEEDED: (
        Code.LIMIT_EXCEEDED,
        "A limit of your account would be exceeded; see the field `limits`. Nothing was done.",
    ),
    Outcome.INSUFFICIENT_FUNDS: (
        Code.INSUFFICIENT_FUNDS,
        (
            "The amount is more than your account has available. "
            "To try again later, use a new idempotency key: this one keeps its refusal."
        ),
    ),
    Outcome.BALANCE_LIMIT: (
        Code.BALANCE_LIMIT,
        "The receiver's balance would exceed 9007199254740991 minor units. Nothing was sent.",
    ),
}
"""Refusals that the ledger decides and stores: their error code and detail."""

_NOTHING: Final = "Nothing was done."
OPERATOR_REFUSALS: Final[dict[Outcome, tuple[Code, str]]] = {
    Outcome.NOT_FOUND: (Code.NOT_FOUND, f"There is nothing with this id. {_NOTHING}"),
    Outcome.FORBIDDEN: (
        Code.FORBIDDEN,
        (
            "Only an operator may do this, not to their own account, and not approve what they "
            f"asked for. {_NOTHING}"
        ),
    ),
    Outcome.RECEIVER_NOT_FOUND: (
        Code.RECEIVER_NOT_FOUND,
        f"There is no user account with this id or e-mail address. {_NOTHING}",
    ),
    Outcome.HOLD_NOT_OPEN: (Code.HOLD_NOT_OPEN, f"The hold is not open. {_NOTHING}"),
    Outcome.WITHDRAWAL_NOT_PENDING: (
        Code.WITHDRAWAL_NOT_PENDING,
        f"The withdrawal is not pending. {_NOTHING}",
    ),
    Outcome.APPROVAL_NOT_PENDING: (
        Code.APPROVAL_NOT_PENDING,
        f"The approval is not pending. {_NOTHING}",
    ),
    Outcome.NOT_REFUNDABLE: (
        Code.NOT_REFUNDABLE,
        f"Fundings and refunds can't be refunded. {_NOTHING}",
    ),
    Outcome.REFERENCE_TAKEN: (
        Code.REFERENCE_TAKEN,
        f"The reference belongs to another payment. {_NOTHING}",
    ),
    Outcome.SENDER_UNAVAILABLE: (
        Code.SENDER_UNAVAILABLE,
        f"The account is frozen; unfreeze it first. {_NOTHING}",
    ),
    Outcome.RECEIVER_UNAVAILABLE: (
        Code.RECEIVER_UNAVAILABLE,
        f"The account is frozen; unfreeze it first. {_NOTHING}",
    ),
    Outcome.AMOUNT_TOO_LARGE: (
        Code.AMOUNT_TOO_LARGE,
        f"The amount is more than what is left. {_NOTHING}",
    ),
    Outcome.INSUFFICIENT_FUNDS: (
        Code.INSUFFICIENT_FUNDS,
        f"The account has less than this available. {_NOTHING}",
    ),
    Outcome.BALANCE_LIMIT: (
        Code.BALANCE_LIMIT,
        f"The balance would exceed 9007199254740991 minor units. {_NOTHING}",
    ),
}
"""The same for what operators do: their error code and detail."""

# Of payments of requests, in the order of their templates in ledger.post_transfers.
PAYMENT_REFUSALS: Final[dict[Outcome, tuple[Code, str]]] = {
    Outcome.NOT_FOUND: (Code.NOT_FOUND, "You have no payment request with this id."),
    Outcome.FORBIDDEN: (Code.FORBIDDEN, "This payment request is your own."),
    Outcome.REQUEST_NOT_OPEN: (
        Code.REQUEST_NOT_OPEN,
        "This payment request is not open any more. No money was moved.",
    ),
}
