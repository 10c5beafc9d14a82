"""What each error code means: HTTP status, title, advice, and whether to retry.

docs/errors.md has an entry for each code.
"""

from collections.abc import Mapping
from typing import Final

from finpay.error_codes import Code, ErrorSpec

ERROR_SPECS: Final[Mapping[Code, ErrorSpec]] = {
    Code.MALFORMED_JSON: ErrorSpec(
        400,
        "The request can't be read.",
        "Send valid HTTP/1.1 and, as the body, one JSON object in UTF-8, without duplicate "
        "members, NaN, or text after its end.",
    ),
    Code.IDEMPOTENCY_KEY_MISSING: ErrorSpec(
        400,
        "The X-Idempotency-Key header is missing.",
        "Generate a key, such as a UUID, before you send. Store it with the payment and send the "
        "same key when you retry.",
    ),
    Code.IDEMPOTENCY_KEY_INVALID: ErrorSpec(
        400,
        "The idempotency key is not valid.",
        "Use 1 to 255 visible ASCII characters. If you send both headers, they have to be equal.",
    ),
    Code.CURSOR_INVALID: ErrorSpec(
        400,
        "The cursor is not valid for this list.",
        "Send next_cursor unchanged, to the same list of the same account. Omit cursor for the "
        "first page.",
    ),
    Code.UNAUTHENTICATED: ErrorSpec(
        401,
        "A valid access token is required.",
        "Log in or refresh, and send the access token as Authorization: Bearer ….",
    ),
    Code.INVALID_CREDENTIALS: ErrorSpec(
        401,
        "The e-mail address or the password is wrong.",
        "Check both. The response never says which of them is wrong.",
    ),
    Code.REFRESH_TOKEN_INVALID: ErrorSpec(
        401,
        "The refresh token is not valid.",
        "Log in again. Always use the refresh token of the latest response.",
    ),
    Code.REFRESH_TOKEN_REUSED: ErrorSpec(
        401,
        "The refresh token was used before. Its session has ended.",
        "Log in again. If you did not send the token twice, it may have been stolen: change the "
        "password.",
    ),
    Code.TOKEN_INVALID: ErrorSpec(
        401,
        "The token of the link is not valid.",
        "The newest link works once: one of a new password for 30 minutes, one that verifies an "
        "e-mail address for 24 hours. Ask for another mail.",
    ),
    Code.SECOND_FACTOR_REQUIRED: ErrorSpec(
        401,
        "A code of the second factor is required.",
        "At a login, send the field `challenge` with a code to /auth/login/second_factor within 5 "
        "minutes. Elsewhere, send the request again with the field `code`.",
    ),
    Code.SECOND_FACTOR_INVALID: ErrorSpec(
        401,
        "The code of the second factor is not valid.",
        "Each code works once. Check the clock of the authenticator, and wait for its next code.",
    ),
    Code.CHALLENGE_INVALID: ErrorSpec(
        401,
        "The challenge of the login is not valid.",
        "Log in again. A challenge is valid for 5 minutes, for 5 wrong codes, and for one login.",
    ),
    Code.INSUFFICIENT_FUNDS: ErrorSpec(
        402,
        "The account does not have enough money.",
        "The failed transaction is in the history under transaction_id. Send a smaller amount, or "
        "the same one after a deposit, with a new idempotency key: this response is final for its "
        "key.",
    ),
    Code.FORBIDDEN: ErrorSpec(
        403,
        "The caller may not do this.",
        "The detail says who may: the other party, the user in a session of their own instead of "
        "an API key, or an operator.",
    ),
    Code.INSUFFICIENT_SCOPE: ErrorSpec(
        403,
        "The API key lacks a scope.",
        "The member scope names it. Create a key with this scope, and delete the old one.",
    ),
    Code.ACCOUNT_FROZEN: ErrorSpec(
        403,
        "The account is frozen.",
        "A frozen account can neither send nor receive money. Contact the operator.",
    ),
    Code.EMAIL_NOT_VERIFIED: ErrorSpec(
        403,
        "The e-mail address is not verified.",
        "Verify the e-mail address, then send the request with a new idempotency key.",
    ),
    Code.NOT_FOUND: ErrorSpec(
        404,
        "Not found.",
        "Check the path and the id. Resources of other users are not found either.",
    ),
    Code.RECEIVER_NOT_FOUND: ErrorSpec(
        404,
        "The receiver does not exist.",
        "Check receiver_id or receiver_email, and send the request with a new idempotency key.",
    ),
    Code.METHOD_NOT_ALLOWED: ErrorSpec(
        405,
        "Method not allowed.",
        "Use one of the methods in the Allow header.",
    ),
    Code.EMAIL_TAKEN: ErrorSpec(
        409,
        "The e-mail address is already registered.",
        "Log in, or register another address.",
    ),
    Code.ACCOUNT_NOT_CLOSABLE: ErrorSpec(
        409,
        "The account is not empty.",
        "Withdraw the balance, and wait for what the member `open` names; then close it.",
    ),
    Code.REQUEST_IN_PROGRESS: ErrorSpec(
        409,
        "A request with this idempotency key is in progress.",
        "Wait for the seconds in Retry-After, then send the same request with the same key.",
        retryable=True,
    ),
    Code.REPLAY_IN_PROGRESS: ErrorSpec(
        409,
        "A replay of this webhook endpoint is running.",
        "Wait until it has answered, then send the request again.",
    ),
    Code.HOLD_NOT_OPEN: ErrorSpec(
        409,
        "The hold is not open.",
        "It was captured, voided or has expired: see status_now. Create a new hold.",
    ),
    Code.REQUEST_NOT_OPEN: ErrorSpec(
        409,
        "The payment request is not open.",
        "The member status_now says what became of it. No money was moved.",
    ),
    Code.WITHDRAWAL_NOT_PENDING: ErrorSpec(
        409,
        "The withdrawal is not pending.",
        "It was completed, rejected or canceled: see status_now.",
    ),
    Code.APPROVAL_NOT_PENDING: ErrorSpec(
        409,
        "The approval is not pending.",
        "It was approved, rejected or has expired: see status_now.",
    ),
    Code.SCHEDULE_NOT_ACTIVE: ErrorSpec(409, "The schedule has ended.", "Create a new one."),
    Code.PRECONDITION_FAILED: ErrorSpec(
        412,
        "The account is not as the request expects.",
        "The version or the balance has changed. Read the account, decide again, and send a new "
        "idempotency key.",
    ),
    Code.BODY_TOO_LARGE: ErrorSpec(
        413,
        "The body is too large.",
        "Send at most 64 KiB, or 1 MiB to /transactions/batch.",
    ),
    Code.UNSUPPORTED_MEDIA_TYPE: ErrorSpec(
        415,
        "The body has to be application/json in UTF-8.",
        "Send Content-Type: application/json, without a charset or with charset=utf-8.",
    ),
    Code.VALIDATION_FAILED: ErrorSpec(
        422,
        "The request is not valid.",
        "Each entry of errors names an invalid member (pointer) or query parameter. Nothing was "
        "done, and the idempotency key can still be used.",
    ),
    Code.IDEMPOTENCY_KEY_REUSE: ErrorSpec(
        422,
        "The idempotency key was used with a different request.",
        "A key belongs to its first request for ever. Use a new key for a different request.",
    ),
    Code.SAME_ACCOUNT: ErrorSpec(
        422,
        "Sender and receiver are the same account.",
        "Send to an account other than your own.",
    ),
    Code.NOT_REFUNDABLE: ErrorSpec(
        422,
        "The transaction can't be refunded.",
        "Its receiver can refund a transfer; only an operator a deposit or a withdrawal. Fundings "
        "and refunds can't be refunded.",
    ),
    Code.REFERENCE_TAKEN: ErrorSpec(
        409,
        "The reference was used before.",
        "A reference belongs to one payment for ever: see transaction_id. Check whether this "
        "payment was recorded already.",
    ),
    Code.SENDER_UNAVAILABLE: ErrorSpec(
        422,
        "The sender can't pay now.",
        "The sender's account is frozen. No money was moved; the hold stays as it is.",
    ),
    Code.RECEIVER_UNAVAILABLE: ErrorSpec(
        422,
        "The receiver can't receive money now.",
        "The receiver's account is frozen. No money was moved.",
    ),
    Code.CURRENCY_MISMATCH: ErrorSpec(
        422,
        "The currencies do not match.",
        "Sender, receiver and request need the same currency. No money was moved.",
    ),
    Code.AMOUNT_TOO_LARGE: ErrorSpec(
        422,
        "The amount is more than what is left.",
        "The field `left` is what can still be captured or refunded. Send at most that amount, or "
        "no amount for all of it.",
    ),
    Code.LIMIT_EXCEEDED: ErrorSpec(
        422,
        "A limit of the account would be exceeded.",
        "The field `limits` has the limits, what was sent today, and when the next day begins. No "
        "money was moved.",
    ),
    Code.BALANCE_LIMIT: ErrorSpec(
        422,
        "The receiver's balance would exceed the maximum.",
        "The maximum balance is 9007199254740991 minor units. No money was moved.",
    ),
    Code.RATE_LIMITED: ErrorSpec(
        429,
        "Too many requests.",
        "Wait for the seconds in Retry-After. The member policy names the exhausted limit, the "
        "RateLimit header shows what is left of each.",
        retryable=True,
    ),
    Code.INTERNAL_ERROR: ErrorSpec(
        500,
        "Internal server error.",
        "Retry with the same idempotency key. If the error persists, report the request_id.",
        retryable=True,
    ),
    Code.UNAVAILABLE: ErrorSpec(
        503,
        "The service is unavailable.",
        "Retry after the seconds in Retry-After with the same idempotency key. The request is "
        "carried out at most once.",
        retryable=True,
    ),
    Code.OVERLOADED: ErrorSpec(
        503,
        "The service is overloaded.",
        "Nothing was done. Retry after the seconds in Retry-After, at a lower rate.",
        retryable=True,
    ),
}
