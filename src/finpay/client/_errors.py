"""What can go wrong in a call, as three exceptions.

    FinPayError               FinPay refused (finpay.errors); `code` says why
        ApiError              the same, with what the answer said beside it
    ConnectionFailed          no answer came
    UnexpectedResponse          an answer came that is not in FinPay's contract

For a payment, each names the idempotency key that was used: sending the same payment again with
that key never pays twice.
"""

from dataclasses import dataclass
from typing import Final

import httpx

from finpay.client._requests import Answer, Request
from finpay.errors import FinPayError

NETWORK_ERRORS: Final = (
    httpx.TimeoutException,
    httpx.NetworkError,
    httpx.ProxyError,
    httpx.RemoteProtocolError,
    httpx.DecodingError,
)
# Raised before the first byte of the request leaves: the server cannot have seen it.
_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

# A gateway says these for a server that it could not reach, so they are worth another try.
_GATEWAY_STATUSES: Final = frozenset({502, 503, 504})

_EXCERPT_BYTES: Final = 200  # enough to recognise a proxy's page, short enough for a log line


@dataclass(slots=True)
class ApiError(FinPayError):
    """FinPay's own refusal, read from problem+json. `headers` are those of the answer."""

    retryable: bool = False
    request_id: str | None = None
    retry_after_s: int | None = None
    idempotency_key: str | None = None


class ConnectionFailed(Exception):
    """No answer came. `sent` is false if the server cannot have seen the request."""

    retryable: Final = True
    retry_after_s: Final = None

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent
        self.idempotency_key: str | None = None


class UnexpectedResponse(Exception):
    """An answer outside the contract: from a proxy, another server, or a newer FinPay."""

    def __init__(self, message: str, answer: Answer, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.answer = answer
        self.retryable = retryable
        self.idempotency_key: str | None = None

    @property
    def retry_after_s(self) -> int | None:
        return self.answer.retry_after_s


Failure = ApiError | ConnectionFailed | UnexpectedResponse
FAILURES: Final = (ApiError, ConnectionFailed, UnexpectedResponse)


def connection_failed(error: httpx.RequestError, request: Request) -> ConnectionFailed:
    """Say what httpx met in terms of what the caller can do."""
    sent = not isinstance(error, _UNSENT)
    place = f"{request.method} {request.url.partition('?')[0]}"
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    if sent:
        return ConnectionFailed(
            f"{place} got no answer ({reason}). It may or may not have been carried out.",
            sent=True,
        )
    return ConnectionFailed(
        f"{place} could not be sent ({reason}). Is FinPay running there?", sent=False
    )


def foreign(answer: Answer) -> UnexpectedResponse:
    """For an answer that no FinPay would give."""
    excerpt = answer.body[:_EXCERPT_BYTES].decode(errors="replace")
    return UnexpectedResponse(
        f"The server answered {answer.status} with {answer.media_type or 'no content type'}, "
        "which is not an answer of FinPay. Is base_url the root of a FinPay server, and does a "
        f"proxy stand before it? It said: {excerpt!r}",
        answer,
        retryable=answer.status in _GATEWAY_STATUSES,
    )


def unreadable(answer: Answer, reason: str, *, retryable: bool = False) -> UnexpectedResponse:
    """For an answer of FinPay that this version does not understand."""
    return UnexpectedResponse(
        f"FinPay answered {answer.status}, but {reason}. Is this client older than the server? "
        f"Request id: {answer.request_id}.",
        answer,
        retryable=retryable,
    )


def name_key(failure: Failure, idempotency_key: str | None) -> None:
    """Tell the caller how to learn the outcome of a payment that got no final answer."""
    if idempotency_key is None or failure.idempotency_key is not None:
        return
    failure.idempotency_key = idempotency_key
    if failure.retryable:
        failure.add_note(
            f"Send the same payment again with idempotency_key={idempotency_key!r} to learn its "
            "outcome. It is never carried out twice."
        )
