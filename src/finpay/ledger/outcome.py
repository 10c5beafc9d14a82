"""The outcomes of a transfer, in order of precedence, and the error of each refusal.

The same list stands in SQL as `ledger.outcome`; a test compares the two.
"""

from enum import StrEnum
from typing import Final

from finpay.errors import Code


class Outcome(StrEnum):
    """One per item of a batch. A request with two faults gets the first."""

    IDEMPOTENCY_KEY_REUSE = "idempotency_key_reuse"
    DUPLICATE = "duplicate"
    ACCOUNT_FROZEN = "account_frozen"
    SAME_ACCOUNT = "same_account"
    RECEIVER_NOT_FOUND = "receiver_not_found"
    RECEIVER_UNAVAILABLE = "receiver_unavailable"
    CURRENCY_MISMATCH = "currency_mismatch"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    BALANCE_LIMIT = "balance_limit"
    COMPLETED = "completed"


REFUSALS: Final[dict[Outcome, tuple[Code, str]]] = {
    Outcome.ACCOUNT_FROZEN: (
        Code.ACCOUNT_FROZEN,
        "Your account is frozen: it neither sends nor receives. Ask the operator why.",
    ),
    Outcome.SAME_ACCOUNT: (
        Code.SAME_ACCOUNT,
        "The receiver is your own account. Name another one.",
    ),
    Outcome.RECEIVER_NOT_FOUND: (
        Code.RECEIVER_NOT_FOUND,
        (
            "No account can receive under that receiver_id or receiver_email. Check its spelling, "
            "and use a new idempotency key: this refusal is final for its own."
        ),
    ),
    Outcome.RECEIVER_UNAVAILABLE: (
        Code.RECEIVER_UNAVAILABLE,
        "The receiver's account is frozen. Nothing was sent.",
    ),
    Outcome.CURRENCY_MISMATCH: (
        Code.CURRENCY_MISMATCH,
        "The currency differs from your account's or the receiver's. Nothing was sent.",
    ),
    Outcome.INSUFFICIENT_FUNDS: (
        Code.INSUFFICIENT_FUNDS,
        (
            "The amount is more than your account has available. "
            "To try again later, use a new idempotency key: this refusal is final for its own."
        ),
    ),
    Outcome.BALANCE_LIMIT: (
        Code.BALANCE_LIMIT,
        "The receiver's balance would pass 9007199254740991 minor units. Nothing was sent.",
    ),
}
"""Refusals that the ledger decides and stores: their error code and detail."""
