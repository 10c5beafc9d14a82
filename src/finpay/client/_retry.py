"""The sans-I/O core: build a request, read an answer, decide on a retry.

Pure functions: time and chance are arguments. Whoever has sockets calls these; `_conversation`
puts them in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec

from finpay.client._errors import ApiError, ConnectionFailed, Failure, foreign, unreadable
from finpay.client._operations import Operation
from finpay.client._requests import Answer, Request, encode
from finpay.errors import Code, FieldError

T = TypeVar("T")

Params = Mapping[str, str | int] | Sequence[tuple[str, str | int]]

_FIRST_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 8.0  # longer than FinPay needs to recover, shorter than a person waits


def build(base_url: str, operation: Operation[T], access_token: str | None) -> Request:
    """The request of one try. All tries of an operation differ in the access token at most."""
    return compose(
        base_url + operation.path,
        operation.method,
        content=operation.content,
        headers={"x-idempotency-key": operation.idempotency_key},
        params=operation.params,
        access_token=access_token if operation.authenticated else None,
    )


def compose(
    url: str,
    method: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str | None] | None = None,
    params: Params | None = None,
    access_token: str | None = None,
) -> Request:
    """Join the parts. `headers` win over those made here; None as a value drops a header."""
    made = {
        "authorization": None if access_token is None else f"Bearer {access_token}",
        "content-type": None if content is None else "application/json",
    }
    wanted = made | {name.lower(): value for name, value in (headers or {}).items()}
    return Request(
        method,
        f"{url}?{urlencode(params)}" if params else url,
        {name: value for name, value in wanted.items() if value is not None},
        content,
    )


def read(operation: Operation[T], answer: Answer) -> T:
    """The operation's result, or the error that the answer tells of."""
    if answer.media_type == "application/problem+json":
        raise _refusal(answer)
    if answer.status not in operation.success or _is_foreign(answer):
        raise foreign(answer)
    try:
        # An answer without a body (204) reads as nothing.
        return msgspec.json.decode(answer.body or b"null", type=operation.result)
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise unreadable(answer, f"its body can't be read ({fault})") from fault


def _is_foreign(answer: Answer) -> bool:
    return bool(answer.body) and answer.media_type != "application/json"


class _Problem(msgspec.Struct, frozen=True):
    """RFC 9457 with FinPay's members."""

    code: str
    detail: str = ""
    request_id: str | None = None
    retryable: bool = False
    errors: tuple[FieldError, ...] = ()


_CODES: Final = {str(code): code for code in Code}
_STANDARD: Final = frozenset({*_Problem.__struct_fields__, "type", "title", "status"})


def _refusal(answer: Answer) -> Exception:
    try:
        problem = msgspec.json.decode(answer.body, type=_Problem)
        members = msgspec.json.decode(answer.body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        return unreadable(answer, f"its problem can't be read ({fault})")
    code = _CODES.get(problem.code)
    if code is None:
        reason = f"this client doesn't know the code {problem.code!r} ({problem.detail})"
        return unreadable(answer, reason, retryable=problem.retryable)
    return ApiError(
        code,
        problem.detail,
        problem.errors,
        {name: _text(value) or "" for name, value in members.items() if name not in _STANDARD},
        answer.headers,
        retryable=problem.retryable,
        request_id=problem.request_id or answer.request_id,
        retry_after_s=answer.retry_after_s,
    )


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else encode(value).decode()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to try again, and how long to wait for it in all (seconds)."""

    max_retries: int = 4
    max_wait_s: float = 60.0

    def delay_s(
        self,
        operation: Operation[T],
        failure: Failure,
        *,
        retries: int,
        waited_s: float,
        chance: float,
    ) -> float | None:
        """How long to wait before trying again, after `retries` retries; None to give up.

        `chance` is in [0, 1). Full jitter: clients that failed together don't return together.
        """
        if retries >= self.max_retries or not _may_repeat(operation, failure):
            return None
        backoff_s = chance * min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2.0**retries)
        # Never before the server's own time; a time past our patience is the caller's to wait.
        least_s = failure.retry_after_s or 0
        if waited_s + least_s > self.max_wait_s:
            return None
        return min(least_s + backoff_s, self.max_wait_s - waited_s)


def _may_repeat(operation: Operation[T], failure: Failure) -> bool:
    if isinstance(failure, ConnectionFailed) and not failure.sent:
        return True
    return operation.repeatable and failure.retryable
