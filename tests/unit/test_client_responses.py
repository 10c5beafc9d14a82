"""How the client reads responses: results, refusals, and what no FinPay sends."""

from typing import Any

import pytest

from finpay.client import (
    ApiError,
    Code,
    FieldError,
    HttpResponse,
    Login,
    RequestFailed,
    Transaction,
    UnexpectedResponse,
)
from finpay.client import _operations as operations
from finpay.client._operations import Operation
from finpay.client._responses import read
from finpay.errors import ERROR_SPECS
from tests.unit.client_responses import (
    ACCOUNT,
    TRANSACTION,
    TXN,
    USER,
    problem,
    response,
    tokens,
)

PAYMENT = operations.send({"amount": 1}, "key")
BATCH = operations.send_batch([{"amount": 1}], "atomic", None, "key")
READ = operations.account()
LOGIN = operations.login("a@b.c", "password123")
PROBLEM = "application/problem+json"


def failure(given: HttpResponse, operation: Operation[Any] = READ) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        read(operation, given)
    return caught.value


def test_transaction_is_typed_and_its_amount_exact() -> None:
    body = TRANSACTION | {"amount": 2**53 - 1, "metadata": {"k": "v"}, "added_later": 1}
    result = read(PAYMENT, response(201, body))
    assert isinstance(result, Transaction)
    assert (result.amount, result.metadata) == (2**53 - 1, {"k": "v"})
    assert result.created_at.isoformat() == "2026-01-02T03:04:05.000006+00:00"


@pytest.mark.parametrize("amount", [1.5, "1", True, None])
def test_amount_that_is_not_an_integer_is_unexpected(amount: object) -> None:
    with pytest.raises(UnexpectedResponse, match="amount"):
        read(operations.transaction(TXN), response(200, TRANSACTION | {"amount": amount}))


def test_login_has_user_account_and_tokens_and_its_repr_no_secret() -> None:
    login = read(LOGIN, response(200, tokens("1") | {"user": USER, "account": ACCOUNT}))
    assert isinstance(login, Login)
    assert (login.user.name, login.account.held, login.expires_in) == (None, 1, 900)
    assert "access-1" not in repr(login)
    assert "refresh-1" not in repr(login)


def test_no_content_reads_as_none() -> None:
    assert read(operations.logout(), response(204, b"", "")) is None


def test_health_of_a_server_that_is_down_is_a_result() -> None:
    body = {"status": "down", "version": "1", "checks": {"postgres": "down", "redis": "ok"}}
    assert read(operations.health(), response(503, body)).checks["postgres"] == "down"


@pytest.mark.parametrize("code", list(Code))
def test_problem_of_every_code_is_an_api_error(code: Code) -> None:
    spec = ERROR_SPECS[code]
    error = failure(response(spec.status, problem(code), PROBLEM, retry_after="7"))
    assert isinstance(error, ApiError)
    assert (error.code, error.status, error.detail) == (code, spec.status, "D")
    assert (error.retryable, error.retry_after_s) == (spec.retryable, 7)
    assert error.headers["Retry-After"] == "7"


def test_problem_keeps_field_errors_extensions_and_request_id() -> None:
    errors = [{"pointer": "#/amount", "detail": "X"}, {"parameter": "limit", "detail": "Y"}]
    more = {"policy": "auth_email", "transaction_id": None, "left": {"a": 1}}
    error = failure(response(429, problem(Code.RATE_LIMITED, errors=errors, **more), PROBLEM))
    assert error.field_errors == (
        FieldError("X", pointer="#/amount"),
        FieldError("Y", parameter="limit"),
    )
    assert error.extensions == {"policy": "auth_email", "transaction_id": "", "left": '{"a":1}'}
    assert error.request_id == "req_1"


@pytest.mark.parametrize("operation", [READ, PAYMENT])
@pytest.mark.parametrize("retryable", [True, False])
def test_unknown_code_is_unexpected_and_retryable_as_the_problem_says(
    operation: Operation[Any], *, retryable: bool
) -> None:
    body = problem(Code.ACCOUNT_FROZEN, retryable=retryable) | {"code": "mfa_needed"}
    error = failure(response(403, body, PROBLEM), operation)
    assert isinstance(error, UnexpectedResponse)
    assert "'mfa_needed' (D)" in str(error)
    assert error.retryable is retryable


# status, media type and body of the response; whether a read of it may be repeated
NOT_FINPAY = [
    (408, "text/html", b"<h1>Request Timeout</h1>", True),
    (429, "text/html", b"<h1>Slow down</h1>", True),
    (500, "text/html", b"<h1>Error</h1>", True),
    (500, "application/json", b"{}", True),
    (502, "text/html", b"<h1>Bad Gateway</h1>", True),
    (504, "", b"", True),
    (520, "text/html", b"Web server returned an unknown error", True),
    (524, "text/html", b"A timeout occurred", True),
    (404, "text/html", b"nginx", False),
    (302, "", b"", False),
    (200, "text/html", b"<h1>Welcome</h1>", False),
]


@pytest.mark.parametrize(("status", "media_type", "body", "repeatable"), NOT_FINPAY)
def test_response_that_is_not_finpays_is_unexpected(
    status: int, media_type: str, body: bytes, *, repeatable: bool
) -> None:
    error = failure(response(status, body, media_type, retry_after="3", x_request_id="r"))
    assert isinstance(error, UnexpectedResponse)
    assert "base_url" in str(error)
    assert (error.status, error.response.body, error.retryable) == (status, body, repeatable)
    assert (error.code, error.request_id, error.retry_after_s) == ("internal_error", "r", 3)


@pytest.mark.parametrize(("status", "media_type", "body", "repeatable"), NOT_FINPAY)
@pytest.mark.parametrize("operation", [PAYMENT, BATCH])
def test_response_that_is_not_finpays_to_a_payment_is_always_retryable(
    operation: Operation[Any], status: int, media_type: str, body: bytes, *, repeatable: bool
) -> None:
    assert failure(response(status, body, media_type), operation).retryable


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"code":1}', b"\xff"])
@pytest.mark.parametrize("media_type", ["application/json", PROBLEM])
def test_unreadable_body_is_unexpected_and_retryable_for_a_payment_only(
    body: bytes, media_type: str
) -> None:
    for operation, status, retryable in ((READ, 200, False), (PAYMENT, 201, True)):
        error = failure(response(status, body, media_type), operation)
        assert isinstance(error, UnexpectedResponse)
        assert "older than the server" in str(error)
        assert error.retryable is retryable


def test_retry_after_with_a_date_counts_as_absent() -> None:
    given = response(200, {"a": 1}, x_request_id="r", retry_after="Wed, 21 Oct 2026 07:28:00 GMT")
    assert (given.json(), given.request_id, given.retry_after_s) == ({"a": 1}, "r", None)
