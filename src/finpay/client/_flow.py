"""What to do next in a call: send, pause, renew the login, or stop. No I/O.

A call is a generator: it yields steps, the shell carries each out and sends back what came of it
(an Answer for a Send, else None) or throws the failure in. So the sync and the async shell can't
differ in anything that matters. The pattern is that of `httpx.Auth.auth_flow`.
"""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict, TypeVar

from finpay import ids
from finpay.client import _operations, _retry
from finpay.client._errors import FAILURES, ApiError, Failure, name_key
from finpay.client._models import Tokens
from finpay.client._operations import Operation
from finpay.client._requests import Answer, Request
from finpay.errors import Code, FinPayError

T = TypeVar("T")

# FinPay answers within 5 s whatever is down; a client that gives up sooner only adds load.
DEFAULT_TIMEOUT_S: Final = 10.0

# The session is over: no second try with this refresh token can help.
_OVER: Final = frozenset({Code.REFRESH_TOKEN_INVALID, Code.REFRESH_TOKEN_REUSED})


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request; give back its Answer."""

    request: Request


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Renew:
    """Run `ClientSession.renew(stale)`, one caller at a time."""

    stale: str | None


Step = Send | Pause | Renew
Flow = Generator[Step, Answer | None, T]


class Options(TypedDict, total=False):
    """What both shells can be told.

    `timeout_s` bounds each step of one try (connect, write, read): 10 s, or what an httpx client
    of one's own says. `max_wait_s` bounds the pauses of one call in all. `chance` (in [0, 1)) and
    `new_key` are the sources of jitter and of idempotency keys.
    """

    access_token: str | None
    refresh_token: str | None
    timeout_s: float | None
    max_retries: int
    max_wait_s: float
    chance: Callable[[], float]
    new_key: Callable[[], str]


@dataclass(frozen=True, slots=True)
class _Held:
    """The tokens of the login, replaced together so that threads never see half a pair."""

    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Progress:
    """What one call has spent so far."""

    retries: int = 0
    waited_s: float = 0.0
    may_renew: bool = True


class ClientSession:
    """What a client remembers between its calls, and the order of steps in each."""

    def __init__(self, base_url: str, options: Options) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url starts with http:// or https://, unlike {base_url!r}")
        self.last_response: Answer | None = None
        self.new_key = options.get("new_key", _new_key)
        self._base_url = base_url.rstrip("/")
        self._held = _Held(options.get("access_token"), options.get("refresh_token"))
        self._chance = options.get("chance", random.random)
        default = _retry.RetryPolicy()
        self._patience = _retry.RetryPolicy(
            options.get("max_retries", default.max_retries),
            options.get("max_wait_s", default.max_wait_s),
        )

    @property
    def access_token(self) -> str | None:
        return self._held.access_token

    @property
    def refresh_token(self) -> str | None:
        return self._held.refresh_token

    def perform(self, operation: Operation[T]) -> Flow[T]:
        """Carry out an operation; a failure names the key that a payment went with."""
        try:
            return (yield from self._tries(operation))
        except FAILURES as failure:
            name_key(failure, operation.idempotency_key)
            raise

    def renew(self, stale: str | None) -> Flow[None]:
        """Trade the refresh token, unless another caller did so since `stale` was refused."""
        held = self._held
        if held.refresh_token is None or held.access_token != stale:
            return
        try:
            yield from self.perform(_operations.refresh(held.refresh_token))
        except ApiError as refused:
            if refused.code not in _OVER:
                raise
            self._held = _Held()

    def refresh(self) -> Flow[Tokens]:
        """Trade the refresh token because the caller says so."""
        if self.refresh_token is None:
            raise FinPayError(Code.REFRESH_TOKEN_INVALID, "No refresh token is held: log in first.")
        return (yield from self.perform(_operations.refresh(self.refresh_token)))

    def logout(self) -> Flow[None]:
        """End the session, then forget its tokens."""
        yield from self.perform(_operations.logout())
        self._held = _Held()

    def exchange(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str | None] | None,
        params: _retry.Params | None,
    ) -> Flow[Answer]:
        """One request and its answer, whatever they are."""
        return self._ask(
            _retry.compose(
                self._base_url + path,
                method,
                content=content,
                headers=headers,
                params=params,
                access_token=self.access_token,
            )
        )

    def _tries(self, operation: Operation[T]) -> Flow[T]:
        progress = _Progress(may_renew=operation.authenticated)
        while True:  # ends: one renewal at most, and as many pauses as RetryPolicy allows
            access_token = self.access_token
            try:
                request = _retry.build(self._base_url, operation, access_token)
                value = _retry.read(operation, (yield from self._ask(request)))
            except FAILURES as failure:
                last = failure
                step = self._next_step(operation, failure, progress, access_token)
            else:
                self._learn(value)
                return value
            yield step
            if isinstance(step, Renew) and self.access_token in {None, step.stale}:
                raise last  # the login is over: the first refusal says it best

    def _next_step(
        self,
        operation: Operation[T],
        failure: Failure,
        progress: _Progress,
        access_token: str | None,
    ) -> Step:
        """What may help after this failure. Raises the failure if nothing may."""
        if progress.may_renew and _needs_login(failure) and self.refresh_token is not None:
            progress.may_renew = False
            return Renew(access_token)
        delay_s = self._patience.delay_s(
            operation,
            failure,
            retries=progress.retries,
            waited_s=progress.waited_s,
            chance=self._chance(),
        )
        if delay_s is None:
            raise failure
        progress.retries += 1
        progress.waited_s += delay_s
        return Pause(delay_s)

    def _ask(self, request: Request) -> Flow[Answer]:
        answer = yield Send(request)
        if answer is None:
            raise TypeError("a Send is answered with an Answer")
        self.last_response = answer
        return answer

    def _learn(self, value: object) -> None:
        """Register, login and refresh all answer with tokens to go on with."""
        if isinstance(value, Tokens):
            self._held = _Held(value.access_token, value.refresh_token)


def _needs_login(failure: Failure) -> bool:
    return isinstance(failure, ApiError) and failure.code is Code.UNAUTHENTICATED


def _new_key() -> str:
    return str(ids.new_uuid())
