"""The closed list of errors: code, HTTP status, retryable, one sentence.

Every refusal that leaves FinPay is one of these. `docs/errors.md` has an entry for each code, and
the `type` of a problem (RFC 9457) links to it. The client raises the same class.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final


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
    INSUFFICIENT_FUNDS = "insufficient_funds"
    ACCOUNT_FROZEN = "account_frozen"
    NOT_FOUND = "not_found"
    RECEIVER_NOT_FOUND = "receiver_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    EMAIL_TAKEN = "email_taken"
    REQUEST_IN_PROGRESS = "request_in_progress"
    REPLAY_IN_PROGRESS = "replay_in_progress"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    VALIDATION_FAILED = "validation_failed"
    IDEMPOTENCY_KEY_REUSE = "idempotency_key_reuse"
    SAME_ACCOUNT = "same_account"
    RECEIVER_UNAVAILABLE = "receiver_unavailable"
    CURRENCY_MISMATCH = "currency_mismatch"
    BALANCE_LIMIT = "balance_limit"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """What never changes about an error: HTTP status, title, whether to retry, what to do."""

    status: int
    title: str
    advice: str
    retryable: bool = False


ERROR_SPECS: Final[Mapping[Code, ErrorSpec]] = {
    Code.MALFORMED_JSON: ErrorSpec(
        400,
        "The body is not well-formed JSON.",
        "Send one JSON object in UTF-8: no member twice, no NaN, nothing behind it.",
    ),
    Code.IDEMPOTENCY_KEY_MISSING: ErrorSpec(
        400,
        "This request needs an X-Idempotency-Key header.",
        "Make a key of your own before you send, such as a UUID, store it with the "
        "payment, and send the same one when you retry.",
    ),
    Code.IDEMPOTENCY_KEY_INVALID: ErrorSpec(
        400,
        "The idempotency key is not valid.",
        "Use 1 to 255 visible ASCII characters. If you send both headers, they have to be equal.",
    ),
    Code.CURSOR_INVALID: ErrorSpec(
        400,
        "The cursor is not one that this list gave.",
        "Send next_cursor back unchanged, to the list and the account that gave it; "
        "start without one.",
    ),
    Code.UNAUTHENTICATED: ErrorSpec(
        401,
        "A valid access token is needed.",
        "Log in, or refresh, and send the access token as Authorization: Bearer ….",
    ),
    Code.INVALID_CREDENTIALS: ErrorSpec(
        401,
        "The e-mail or the password is wrong.",
        "Check the e-mail and the password. Which of them is wrong is not told.",
    ),
    Code.REFRESH_TOKEN_INVALID: ErrorSpec(
        401,
        "The refresh token is not valid.",
        "Log in again. Keep the refresh token of the last answer only.",
    ),
    Code.REFRESH_TOKEN_REUSED: ErrorSpec(
        401,
        "The refresh token was used before; its session ended.",
        "Log in again. If you did not send the token twice, somebody else may have "
        "it: change the password.",
    ),
    Code.INSUFFICIENT_FUNDS: ErrorSpec(
        402,
        "The account does not hold enough money.",
        "The transaction is in the history as failed, under transaction_id. Try a "
        "smaller amount or top up, with a new idempotency key: the refusal is final "
        "for its own.",
    ),
    Code.ACCOUNT_FROZEN: ErrorSpec(
        403,
        "The account is frozen.",
        "A frozen account neither sends nor receives. Ask the operator.",
    ),
    Code.NOT_FOUND: ErrorSpec(
        404,
        "There is nothing here.",
        "Check the path and the id. What belongs to others looks the same as what does not exist.",
    ),
    Code.RECEIVER_NOT_FOUND: ErrorSpec(
        404,
        "The receiver does not exist.",
        "Check receiver_id or receiver_email. With a new idempotency key you may try again.",
    ),
    Code.METHOD_NOT_ALLOWED: ErrorSpec(
        405,
        "This path does not know that method.",
        "Use one of the methods in the Allow header.",
    ),
    Code.EMAIL_TAKEN: ErrorSpec(
        409,
        "The e-mail address is registered already.",
        "Log in instead, or register another address.",
    ),
    Code.REQUEST_IN_PROGRESS: ErrorSpec(
        409,
        "A request with this idempotency key is still being worked on.",
        "Wait for as long as Retry-After says and send the same request with the same key.",
        retryable=True,
    ),
    Code.REPLAY_IN_PROGRESS: ErrorSpec(
        409,
        "A replay of this webhook endpoint is running.",
        "Wait until it has answered, then send the request again.",
    ),
    Code.BODY_TOO_LARGE: ErrorSpec(
        413,
        "The body is too large.",
        "Send at most 64 KiB, or 1 MiB to /transactions/batch.",
    ),
    Code.UNSUPPORTED_MEDIA_TYPE: ErrorSpec(
        415,
        "The body has to be application/json in UTF-8.",
        "Send Content-Type: application/json, without a charset or with utf-8.",
    ),
    Code.VALIDATION_FAILED: ErrorSpec(
        422,
        "The request is not valid.",
        "See errors: each names the member (pointer) or the query parameter that is "
        "wrong. Nothing was done, so the idempotency key is still free.",
    ),
    Code.IDEMPOTENCY_KEY_REUSE: ErrorSpec(
        422,
        "The idempotency key was used before, with another request.",
        "A key belongs to one request for ever. Send another request with another key.",
    ),
    Code.SAME_ACCOUNT: ErrorSpec(
        422,
        "Sender and receiver are the same account.",
        "Name an account that is not your own.",
    ),
    Code.RECEIVER_UNAVAILABLE: ErrorSpec(
        422,
        "The receiver can't take money now.",
        "The receiver's account is frozen. Nothing was sent.",
    ),
    Code.CURRENCY_MISMATCH: ErrorSpec(
        422,
        "The accounts and the request differ in currency.",
        "Sender, receiver and request need the same currency. Nothing was sent.",
    ),
    Code.BALANCE_LIMIT: ErrorSpec(
        422,
        "The receiver's balance would pass its limit.",
        "No balance may pass 9007199254740991 minor units. Nothing was sent.",
    ),
    Code.RATE_LIMITED: ErrorSpec(
        429,
        "Too many requests.",
        "Wait for as long as Retry-After says. The member policy names the limit, "
        "RateLimit tells what is left of each.",
        retryable=True,
    ),
    Code.INTERNAL_ERROR: ErrorSpec(
        500,
        "Something went wrong on our side.",
        "Try again with the same idempotency key; report the request_id if it stays.",
        retryable=True,
    ),
    Code.UNAVAILABLE: ErrorSpec(
        503,
        "The service can't answer now.",
        "Try again after Retry-After with the same idempotency key: it is done once at most.",
        retryable=True,
    ),
    Code.OVERLOADED: ErrorSpec(
        503,
        "The service has more work than it can take.",
        "Nothing was done. Try again after Retry-After, and slower.",
        retryable=True,
    ),
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One place in the request that is wrong: a JSON pointer (`#/amount`) or a query parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


@dataclass(slots=True, eq=False)
class FinPayError(Exception):
    """A refusal that a person can act on.

    `detail` says what was wrong and what to do. `extensions` are further members of the problem
    (`transaction_id`, `policy`), `headers` further headers of the answer (`Retry-After`, `Allow`).
    """

    code: Code
    detail: str
    field_errors: tuple[FieldError, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> ErrorSpec:
        return ERROR_SPECS[self.code]

    @property
    def status(self) -> int:
        return self.spec.status

    @property
    def retryable(self) -> bool:
        return self.spec.retryable

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle every field and note: Exception itself keeps only the positional arguments."""
        state = {each.name: getattr(self, each.name) for each in fields(self)}
        return _unfilled, (type(self),), {"args": self.args, **state, **self.__dict__}


def _unfilled(error_type: type[FinPayError]) -> FinPayError:
    """For pickle and copy, which set the fields afterwards."""
    return error_type.__new__(error_type)


def validation_failed(detail: str, *, pointer: str | None = None) -> FinPayError:
    """422 for one member of the body, named by its JSON pointer."""
    return FinPayError(
        Code.VALIDATION_FAILED, detail, field_errors=(FieldError(detail, pointer=pointer or "#"),)
    )


def invalid_parameter(parameter: str, detail: str) -> FinPayError:
    """422 for one query parameter."""
    return FinPayError(
        Code.VALIDATION_FAILED, detail, field_errors=(FieldError(detail, parameter=parameter),)
    )


def unavailable(detail: str, *, retry_after_s: int = 1) -> FinPayError:
    """503: nothing is known to be wrong with the request; try again."""
    return FinPayError(Code.UNAVAILABLE, detail, headers={"Retry-After": str(retry_after_s)})


def overloaded(detail: str, *, retry_after_s: int = 1) -> FinPayError:
    """503: a bounded queue is full; nothing was done."""
    return FinPayError(Code.OVERLOADED, detail, headers={"Retry-After": str(retry_after_s)})
