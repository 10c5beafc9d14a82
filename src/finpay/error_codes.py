"""The closed list of error codes. error_specs.py says what each means."""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """The stable, machine-readable name of an error."""

    MALFORMED_JSON = "malformed_json"
    IDEMPOTENCY_KEY_MISSING = "idempotency_key_missing"
    IDEMPOTENCY_KEY_INVALID = "idempotency_key_invalid"
    CURSOR_INVALID = "cursor_invalid"
    UNAUTHENTICATED = "unauthenticated"
    INVALID_CREDENTIALS = "invalid_credentials"
    REFRESH_TOKEN_INVALID = "refresh_token_invalid"  # noqa: S105  a code, not a password
    REFRESH_TOKEN_REUSED = "refresh_token_reused"  # noqa: S105
    TOKEN_INVALID = "token_invalid"  # noqa: S105
    SECOND_FACTOR_REQUIRED = "second_factor_required"
    SECOND_FACTOR_INVALID = "second_factor_invalid"
    CHALLENGE_INVALID = "challenge_invalid"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    FORBIDDEN = "forbidden"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    ACCOUNT_FROZEN = "account_frozen"
    EMAIL_NOT_VERIFIED = "email_not_verified"
    NOT_FOUND = "not_found"
    RECEIVER_NOT_FOUND = "receiver_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    EMAIL_TAKEN = "email_taken"
    ACCOUNT_NOT_CLOSABLE = "account_not_closable"
    REQUEST_IN_PROGRESS = "request_in_progress"
    REPLAY_IN_PROGRESS = "replay_in_progress"
    HOLD_NOT_OPEN = "hold_not_open"
    REQUEST_NOT_OPEN = "request_not_open"
    WITHDRAWAL_NOT_PENDING = "withdrawal_not_pending"
    APPROVAL_NOT_PENDING = "approval_not_pending"
    SCHEDULE_NOT_ACTIVE = "schedule_not_active"
    PRECONDITION_FAILED = "precondition_failed"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    VALIDATION_FAILED = "validation_failed"
    IDEMPOTENCY_KEY_REUSE = "idempotency_key_reuse"
    SAME_ACCOUNT = "same_account"
    NOT_REFUNDABLE = "not_refundable"
    REFERENCE_TAKEN = "reference_taken"
    SENDER_UNAVAILABLE = "sender_unavailable"
    RECEIVER_UNAVAILABLE = "receiver_unavailable"
    CURRENCY_MISMATCH = "currency_mismatch"
    AMOUNT_TOO_LARGE = "amount_too_large"
    LIMIT_EXCEEDED = "limit_exceeded"
    BALANCE_LIMIT = "balance_limit"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """The constant members of an error: HTTP status, title, what to do, whether to retry."""

    status: int
    title: str
    advice: str
    retryable: bool = False
