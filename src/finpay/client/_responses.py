"""Reads a response: the operation's result, or the error that it reports."""

from typing import Final, TypeVar, cast

import msgspec

from finpay.client._errors import ApiError, RequestFailed, not_finpay, unreadable
from finpay.client._operations import Operation
from finpay.client._requests import HttpResponse, encode
from finpay.errors import Code, FieldError

T = TypeVar("T")


class _Problem(msgspec.Struct, frozen=True):
    """RFC 9457 with FinPay's members."""

    code: str
    detail: str = ""
    request_id: str | None = None
    retryable: bool = False
    errors: tuple[FieldError, ...] = ()


_CODES: Final = {str(code): code for code in Code}
_STANDARD: Final = frozenset({*_Problem.__struct_fields__, "type", "title", "status"})


def read(operation: Operation[T], response: HttpResponse) -> T:
    """The operation's result. Raises ApiError or UnexpectedResponse."""
    if response.media_type == "application/problem+json":
        raise _refusal(response, is_payment=operation.is_payment)
    if response.status not in operation.success or not _has_type(response, operation.media_type):
        raise not_finpay(response, is_payment=operation.is_payment)
    if operation.media_type != "application/json":
        return cast("T", response.body)
    try:
        # A response without a body (204) reads as None.
        return msgspec.json.decode(response.body or b"null", type=operation.result)
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        reason = f"its body can't be read ({fault})"
        raise unreadable(response, reason, retryable=operation.is_payment) from fault


def _has_type(response: HttpResponse, media_type: str) -> bool:
    return not response.body or response.media_type == media_type


def _refusal(response: HttpResponse, *, is_payment: bool) -> RequestFailed:
    try:
        problem = msgspec.json.decode(response.body, type=_Problem)
        members = msgspec.json.decode(response.body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        reason = f"its problem can't be read ({fault})"
        return unreadable(response, reason, retryable=is_payment)
    code = _CODES.get(problem.code)
    if code is None:
        reason = f"this client doesn't know the code {problem.code!r} ({problem.detail})"
        return unreadable(response, reason, retryable=problem.retryable)
    return ApiError(
        code,
        problem.detail,
        problem.errors,
        {name: _text(value) for name, value in members.items() if name not in _STANDARD},
        response.headers,
        retryable=problem.retryable,
        request_id=problem.request_id or response.request_id,
        retry_after_s=response.retry_after_s,
    )


def _text(value: object) -> str:
    """Extensions are texts; a null is empty, anything else is JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else encode(value).decode()
