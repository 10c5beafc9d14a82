"""Errors → application/problem+json (RFC 9457)."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from finpay.edge.request.model import Response
from finpay.errors import Code, FieldError, FinPayError
from finpay.ledger.outcome import REFUSALS, Outcome

CONTENT_TYPE: Final = b"application/problem+json"
_encode: Final = msgspec.json.Encoder().encode


class FieldErrorResource(msgspec.Struct, frozen=True):
    """One place that is wrong: a JSON pointer into the body, or a query parameter."""

    detail: str
    pointer: str | msgspec.UnsetType = msgspec.UNSET
    parameter: str | msgspec.UnsetType = msgspec.UNSET


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457. `code` is for programs, `detail` for people; `type` is a page that explains it."""

    type: str
    title: str
    status: int
    detail: str
    code: Code
    request_id: str
    retryable: bool
    errors: list[FieldErrorResource]
    transaction_id: str | msgspec.UnsetType | None = msgspec.UNSET  # null: nothing was recorded
    policy: str | msgspec.UnsetType = msgspec.UNSET


def type_of(code: Code) -> str:
    """Where the error is explained: a page of this server."""
    return f"/docs/errors/{code}"


def body(error: FinPayError, request_id: str) -> bytes:
    """The problem document."""
    return _encode(
        Problem(
            type=type_of(error.code),
            title=error.spec.title,
            status=error.status,
            detail=error.detail,
            code=error.code,
            request_id=request_id,
            retryable=error.retryable,
            errors=[_place(fault) for fault in error.field_errors],
            **error.extensions,
        )
    )


def reply(error: FinPayError, request_id: str) -> Response:
    """The error as an answer."""
    return Response(error.status, body(error, request_id), CONTENT_TYPE, dict(error.headers))


def refusal_templates() -> Sequence[str]:
    """The bodies of the ledger's refusals in the order of Outcome, for PostgreSQL's format():
    request id, transaction id. Then those for items of bulks: request id, index, the member
    transaction_id. What is no refusal has an empty one."""
    return [
        template(*REFUSALS[outcome]) if outcome in REFUSALS else ""
        for template in (_template, _item_template)
        for outcome in Outcome
    ]


def _template(code: Code, detail: str) -> str:
    extensions: Mapping[str, str] = {}
    if code is Code.INSUFFICIENT_FUNDS:
        extensions = {"transaction_id": "\x02"}
    text = body(FinPayError(code, detail, extensions=extensions), "\x01").decode()
    return text.replace("%", "%%").replace("\\u0001", "%1$s").replace("\\u0002", "%2$s")


def _item_template(code: Code, detail: str) -> str:
    item = FieldError(detail, pointer="#/transactions/\x02")
    text = body(FinPayError(code, detail, field_errors=(item,)), "\x01").decode()
    text = text.replace("%", "%%").replace("\\u0001", "%1$s").replace("\\u0002", "%2$s")
    return f"{text[:-1]}%3$s}}"  # in transaction_id's place: the last member


def _place(fault: FieldError) -> FieldErrorResource:
    if fault.parameter is not None:
        return FieldErrorResource(fault.detail, parameter=fault.parameter)
    return FieldErrorResource(fault.detail, pointer=fault.pointer or "#")
