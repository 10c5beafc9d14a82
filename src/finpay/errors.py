"""An error: a code of the closed list in error_codes.py, and what is wrong with this request.

Every error response is one of these. docs/errors.md has an entry for each code, and the `type` of a
problem (RFC 9457) links to it. The client raises the same class.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from finpay.error_codes import Code, ErrorSpec
from finpay.error_specs import ERROR_SPECS

__all__ = [
    "ERROR_SPECS",
    "Code",
    "ErrorSpec",
    "FieldError",
    "FinPayError",
    "invalid_parameter",
    "overloaded",
    "unavailable",
    "validation_failed",
]


@dataclass(frozen=True, slots=True)
class FieldError:
    """An invalid part of the request: a JSON pointer (`#/amount`) or a query parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


@dataclass(slots=True, eq=False)
class FinPayError(Exception):
    """An error response.

    `detail` says what was wrong and what to do. `extensions` are further members of the problem
    (`transaction_id`, `policy`), `headers` further response headers (`Retry-After`, `Allow`).
    """

    code: Code
    detail: str
    field_errors: tuple[FieldError, ...] = ()
    extensions: Mapping[str, Any] = field(default_factory=dict)
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
    """422 for a member of the body, named by its JSON pointer."""
    return FinPayError(
        Code.VALIDATION_FAILED, detail, field_errors=(FieldError(detail, pointer=pointer or "#"),)
    )


def invalid_parameter(parameter: str, detail: str) -> FinPayError:
    """422 for a query parameter."""
    return FinPayError(
        Code.VALIDATION_FAILED, detail, field_errors=(FieldError(detail, parameter=parameter),)
    )


def unavailable(detail: str, *, retry_after_s: int = 1) -> FinPayError:
    """503: the request may be valid, but could not be answered. Retry it."""
    return FinPayError(Code.UNAVAILABLE, detail, headers={"Retry-After": str(retry_after_s)})


def overloaded(detail: str, *, retry_after_s: int = 1) -> FinPayError:
    """503: a bounded queue is full; nothing was done."""
    return FinPayError(Code.OVERLOADED, detail, headers={"Retry-After": str(retry_after_s)})


def cause_of(error: BaseException) -> str:
    """What is behind an error, for the log and operators: a driver's text before the client's."""
    cause = error.__cause__ or error
    return str(cause) or type(cause).__name__
