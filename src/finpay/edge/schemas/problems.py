"""Errors as application/problem+json (RFC 9457)."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from finpay.edge.response import Response
from finpay.errors import Code, FieldError, FinPayError
from finpay.formats import MinorUnits
from finpay.ledger.outcome import PAYMENT_REFUSALS, REFUSALS, Outcome
from finpay.ledger.resources import Limits

CONTENT_TYPE: Final = b"application/problem+json"
_encode: Final = msgspec.json.Encoder().encode


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one member of the body (JSON pointer) or one query parameter."""

    detail: str
    pointer: str | msgspec.UnsetType = msgspec.UNSET
    parameter: str | msgspec.UnsetType = msgspec.UNSET


class OpenItems(msgspec.Struct, frozen=True):
    """What stands in the way of closing an account: its balance, and the number of the others."""

    balance: MinorUnits
    holds: int
    withdrawals: int
    approvals: int


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457. `code` is for programs, `detail` for people; `type` is a page that explains it."""

    type: str
    title: str
    status: int
    detail: str
    code: Code
    request_id: str
    retryable: bool
    errors: list[FieldProblem]
    transaction_id: str | msgspec.UnsetType | None = msgspec.UNSET  # null: nothing was recorded
    policy: str | msgspec.UnsetType = msgspec.UNSET
    scope: str | msgspec.UnsetType = msgspec.UNSET
    challenge: str | msgspec.UnsetType = msgspec.UNSET  # of second_factor_required at a login
    status_now: str | msgspec.UnsetType = msgspec.UNSET  # of a 409 that names a status
    left: MinorUnits | msgspec.UnsetType = msgspec.UNSET  # of amount_too_large
    limits: Limits | msgspec.UnsetType = msgspec.UNSET  # of limit_exceeded
    open: OpenItems | msgspec.UnsetType = msgspec.UNSET  # of account_not_closable


def body(error: FinPayError, request_id: str) -> bytes:
    """The problem document."""
    return _encode(
        Problem(
            type=f"/docs/errors/{error.code}",
            title=error.spec.title,
            status=error.status,
            detail=error.detail,
            code=error.code,
            request_id=request_id,
            retryable=error.retryable,
            errors=[_field_problem(each) for each in error.field_errors],
            **error.extensions,
        )
    )


def response(error: FinPayError, request_id: str) -> Response:
    return Response(
        error.status,
        body(error, request_id),
        CONTENT_TYPE,
        dict(error.headers),
        code=error.code,
        transaction_id=error.extensions.get("transaction_id"),
    )


def refusal_templates() -> Sequence[str]:
    """The bodies of the ledger's refusals in the order of Outcome, for PostgreSQL's format().

    First those of requests, then those of items of transfer batches, then the three of payments of
    requests. Each has places for request id, index of the item, and further members. An outcome
    that is not a refusal has "".
    """
    return [
        *(
            _template(*REFUSALS[outcome], in_batch=in_batch) if outcome in REFUSALS else ""
            for in_batch in (False, True)
            for outcome in Outcome
        ),
        *(_template(*refusal, in_batch=False) for refusal in PAYMENT_REFUSALS.values()),
    ]


def templates_of(refusals: Mapping[Outcome, tuple[Code, str]]) -> Sequence[str]:
    """As refusal_templates, of requests alone, for the refusals of another kind of caller."""
    return [
        _template(*refusals[outcome], in_batch=False) if outcome in refusals else ""
        for outcome in Outcome
    ]


def _template(code: Code, detail: str, *, in_batch: bool) -> str:
    item = FieldError(detail, pointer="#/transactions/\x02")
    error = FinPayError(code, detail, field_errors=(item,) if in_batch else ())
    text = _with_placeholders(body(error, "\x01"))
    return f"{text[:-1]}%3$s}}"  # before the closing brace


def _with_placeholders(text: bytes) -> str:
    """Replaces the control characters, which JSON has escaped, by placeholders of format()."""
    escaped = text.decode().replace("%", "%%")
    return escaped.replace("\\u0001", "%1$s").replace("\\u0002", "%2$s")


def _field_problem(error: FieldError) -> FieldProblem:
    if error.parameter is not None:
        return FieldProblem(error.detail, parameter=error.parameter)
    return FieldProblem(error.detail, pointer=error.pointer or "#")
