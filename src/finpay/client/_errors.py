"""Why a call failed.

    FinPayError              code, detail, retryable, field_errors. Raised itself for an argument
    │                        that FinPay would refuse: nothing was sent
    └── RequestFailed        the request was tried; names its idempotency_key
        ├── ApiError              FinPay's refusal, read from problem+json
        ├── ConnectionFailed      no response was received
        └── UnexpectedResponse    the response is not one of FinPay's API

A payment may always be repeated with the key in `idempotency_key`: it never pays twice.
"""

from dataclasses import dataclass, field
from typing import Final

import httpx

from finpay.client._requests import HttpRequest, HttpResponse
from finpay.errors import Code, FinPayError

NETWORK_ERRORS: Final = (
    httpx.TimeoutException,
    httpx.NetworkError,
    httpx.ProxyError,
    httpx.RemoteProtocolError,
    httpx.DecodingError,
    httpx.TooManyRedirects,
)
# Raised before the first byte of the request is sent, so the server can't have seen it.
_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

# What a proxy sends when the server is unreachable, slow or overloaded: 408, 429, and 500 to 599.
_PROXY_RETRYABLE: Final = frozenset({408, 429, *range(500, 600)})

_EXCERPT_BYTES: Final = 200  # enough to recognise a proxy's page, short enough for a log line


@dataclass(slots=True, eq=False)
class RequestFailed(FinPayError):
    """A request was tried and has no result.

    `retryable`: the same request may succeed later. `idempotency_key`: the key of a payment.
    """

    retryable: bool = False
    request_id: str | None = None
    retry_after_s: int | None = None
    idempotency_key: str | None = None

    def __str__(self) -> str:
        return self.detail + self._advice()

    def _advice(self) -> str:
        if self.idempotency_key is None:
            return ""
        if not self.retryable:
            return f" (idempotency key {self.idempotency_key!r})"
        return (
            f" Send the same payment with idempotency_key={self.idempotency_key!r} to learn its"
            " outcome: the same key never pays twice."
        )


@dataclass(slots=True, eq=False)
class ApiError(RequestFailed):
    """FinPay refused the request. `headers` are those of the response."""

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}{self._advice()}"


@dataclass(slots=True, eq=False)
class ConnectionFailed(RequestFailed):
    """No response was received. `sent` is false if the server can't have seen the request."""

    code: Code = field(default=Code.UNAVAILABLE, init=False)
    retryable: bool = field(default=True, init=False)
    sent: bool = field(kw_only=True)


@dataclass(slots=True, eq=False)
class UnexpectedResponse(RequestFailed):
    """The response came from a proxy or another server, or from a newer FinPay."""

    code: Code = field(default=Code.INTERNAL_ERROR, init=False)
    response: HttpResponse = field(kw_only=True)

    @property
    def status(self) -> int:
        return self.response.status


def connection_failed(error: httpx.RequestError, request: HttpRequest) -> ConnectionFailed:
    """For an error of httpx. The URL's query is left out: it may hold personal data."""
    sent = not isinstance(error, _UNSENT)
    target = f"{request.method} {request.url.partition('?')[0]}"
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    if sent:
        return ConnectionFailed(
            f"{target} got no response ({reason}). It may or may not have been carried out.",
            sent=True,
        )
    return ConnectionFailed(
        f"{target} could not be sent ({reason}). Is FinPay running there?", sent=False
    )


def not_finpay(response: HttpResponse, *, is_payment: bool) -> UnexpectedResponse:
    """For a response that FinPay never sends. A payment's outcome is unknown after any of them."""
    excerpt = response.body[:_EXCERPT_BYTES].decode(errors="replace")
    return _unexpected(
        f"The server answered {response.status} with {response.media_type or 'no content type'}, "
        "which is not a response of FinPay. Is base_url the root of a FinPay server, and is there "
        f"a proxy in front of it? The body begins: {excerpt!r}",
        response,
        retryable=is_payment or response.status in _PROXY_RETRYABLE,
    )


def unreadable(response: HttpResponse, reason: str, *, retryable: bool) -> UnexpectedResponse:
    """For a response of FinPay that is cut short, or that this version does not understand."""
    return _unexpected(
        f"FinPay answered {response.status}, but {reason}. Was the body cut, or is this client "
        f"older than the server? Request id: {response.request_id}.",
        response,
        retryable=retryable,
    )


def _unexpected(detail: str, response: HttpResponse, *, retryable: bool) -> UnexpectedResponse:
    return UnexpectedResponse(
        detail,
        headers=response.headers,
        retryable=retryable,
        request_id=response.request_id,
        retry_after_s=response.retry_after_s,
        response=response,
    )
