"""What a client keeps between its calls: options and the tokens of the login. No I/O."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict

from finpay import ids
from finpay.client._errors import ApiError, RequestFailed
from finpay.client._identity_models import (
    Tokens,
)
from finpay.client._requests import HttpRequest, HttpResponse, Params, make_request
from finpay.client._retry import RetryPolicy
from finpay.errors import Code

# FinPay answers within 5 s even when its servers are down; giving up sooner only adds load.
DEFAULT_TIMEOUT_S: Final = 10.0

# The session has ended: the refresh token stays invalid.
_SESSION_ENDED: Final = frozenset({Code.REFRESH_TOKEN_INVALID, Code.REFRESH_TOKEN_REUSED})


class Options(TypedDict, total=False):
    """Options of FinPay and AsyncFinPay.

    `api_key` is used instead of a login. `timeout_s` bounds each step of one attempt (connect,
    write, read): 10 s, or the timeout of `http`. `max_retries` (4) and `max_wait_s`
    (60 s of pauses) bound one call; 0 retries: none.
    `jitter` returns a number in [0, 1); `new_idempotency_key` returns the key of one payment.
    """

    api_key: str | None
    access_token: str | None
    refresh_token: str | None
    timeout_s: float | None
    max_retries: int
    max_wait_s: float
    jitter: Callable[[], float]
    new_idempotency_key: Callable[[], str]


@dataclass(frozen=True, slots=True)
class _TokenPair:
    """Replaced as a whole, so that threads never read one token of each login."""

    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)


class ClientSession:
    """The state of one client. Replacing a token pair is atomic; the rest is read only."""

    def __init__(self, base_url: str, options: Options) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url starts with http:// or https://, unlike {base_url!r}")
        default = RetryPolicy()
        self.base_url = base_url.rstrip("/")
        self.last_response: HttpResponse | None = None
        self.jitter = options.get("jitter", random.random)
        self.new_idempotency_key = options.get("new_idempotency_key", _new_idempotency_key)
        self.retry_policy = RetryPolicy(
            options.get("max_retries", default.max_retries),
            options.get("max_wait_s", default.max_wait_s),
        )
        self._tokens = _TokenPair(
            options.get("api_key") or options.get("access_token"), options.get("refresh_token")
        )

    @property
    def access_token(self) -> str | None:
        return self._tokens.access_token

    @property
    def refresh_token(self) -> str | None:
        return self._tokens.refresh_token

    def store_tokens(self, result: object) -> None:
        """Register, login and refresh return tokens, which the next calls use."""
        if isinstance(result, Tokens):
            self._tokens = _TokenPair(result.access_token, result.refresh_token)

    def forget_tokens(self) -> None:
        self._tokens = _TokenPair()

    def refresh_token_after(self, refused: str | None) -> str | None:
        """The refresh token to use; None if another caller replaced the `refused` access token."""
        tokens = self._tokens
        return tokens.refresh_token if tokens.access_token == refused else None

    def raw_request(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str | None] | None,
        params: Params | None,
    ) -> HttpRequest:
        """A request of the caller's own making."""
        return make_request(
            self.base_url + path,
            method,
            content=content,
            headers=headers,
            params=params,
            access_token=self.access_token,
        )


def needs_login(failure: RequestFailed) -> bool:
    """Whether a new access token may help."""
    return isinstance(failure, ApiError) and failure.code is Code.UNAUTHENTICATED


def has_ended(refusal: ApiError) -> bool:
    """Whether the refusal of a refresh token is final."""
    return refusal.code in _SESSION_ENDED


def _new_idempotency_key() -> str:
    return str(ids.new_uuid())
