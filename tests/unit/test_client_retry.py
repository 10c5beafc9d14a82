"""The client's sans-I/O core: what is sent, how answers are read, when to try again."""

from datetime import datetime, timedelta, timezone
from typing import TypeVar

import httpx
import pytest

from finpay.client import (
    ApiError,
    Code,
    ConnectionFailed,
    FieldError,
    FinPayError,
    UnexpectedResponse,
)
from finpay.client import _operations as operations
from finpay.client import _retry as core
from finpay.client._errors import Failure
from finpay.client._models import Login, Page, Transaction
from finpay.client._operations import Operation
from finpay.client._requests import Answer, Request, encode
from finpay.errors import ERROR_SPECS

T = TypeVar("T")

ROOT = "http://finpay.test"
TXN = "txn_01h455vb4pex5vsknk084sn02q"


def answer(status: int, body: object, **headers: str) -> Answer:
    made = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return Answer(status, httpx.Headers(made), body if isinstance(body, bytes) else encode(body))


def problem(code: str, status: int = 503, *, retryable: bool = False, **more: object) -> Answer:
    body = {"type": "about:blank", "title": "T", "status": status, "detail": "D", "code": code}
    body |= {"request_id": "req_1", "retryable": retryable, "errors": []} | more
    return answer(status, body, content_type="application/problem+json", retry_after="7")


def refusal(given: Answer) -> Failure:
    with pytest.raises((ApiError, UnexpectedResponse)) as caught:
        core.read(operations.account(), given)
    assert isinstance(caught.value, ApiError | UnexpectedResponse)
    return caught.value


def transaction(**changes: object) -> dict[str, object]:
    return {
        "id": TXN, "object": "transaction", "type": "transfer", "status": "completed",
        "direction": "sent", "amount": 2**53 - 1, "currency": "ZAR", "sender_id": "acc_a",
        "receiver_id": "acc_b", "description": None, "metadata": {}, "balance_after": 0,
        "failure_code": None, "created_at": "2026-01-02T03:04:05.000006Z",
    } | changes  # fmt: skip


class TestBuild:
    def test_a_payment_carries_its_key_its_token_and_exact_json(self) -> None:
        operation = operations.send({"amount": 10**16, "receiver_id": "acc_x"}, "key-1")
        request = core.build(ROOT, operation, "secret")
        assert (request.method, request.url) == ("POST", f"{ROOT}/api/v1/transactions")
        assert request.content == b'{"amount":10000000000000000,"receiver_id":"acc_x"}'
        assert request.headers == {
            "authorization": "Bearer secret",
            "content-type": "application/json",
            "x-idempotency-key": "key-1",
        }

    def test_a_key_of_ones_own_replaces_the_made_one_and_stays_out_of_the_body(self) -> None:
        operation = operations.send({"amount": 1, "idempotency_key": "mine"}, "made")
        assert (operation.idempotency_key, operation.content) == ("mine", b'{"amount":1}')

    @pytest.mark.parametrize("key", ["", "a b", "é", "k" * 256, "a\n"])
    def test_a_key_that_no_header_can_carry_is_refused_before_sending(self, key: str) -> None:
        with pytest.raises(FinPayError) as caught:
            operations.send({"amount": 1, "idempotency_key": key}, "made")
        assert caught.value.code is Code.IDEMPOTENCY_KEY_INVALID

    def test_routes_without_login_never_see_the_token(self) -> None:
        request = core.build(ROOT, operations.login("a@b.c", "password123"), "secret")
        assert "authorization" not in request.headers

    def test_every_filter_is_sent_and_none_is_not(self) -> None:
        east = timezone(timedelta(hours=2))
        operation = operations.transactions(
            {
                "direction": "sent",
                "status": "failed",
                "created_from": datetime(2026, 1, 1, 1, tzinfo=east),
                "created_to": None,
                "amount_min": 1,
                "amount_max": 9,
                "counterparty_id": "acc_x",
                "idempotency_key": "a+b",
                "limit": 5,
            }
        )
        assert core.build(ROOT, operation, None).url == (
            f"{ROOT}/api/v1/transactions?direction=sent&status=failed"
            "&created_from=2025-12-31T23%3A00%3A00.000000Z&amount_min=1&amount_max=9"
            "&counterparty_id=acc_x&idempotency_key=a%2Bb&limit=5"
        )

    def test_a_time_without_a_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="created_from needs a time zone"):
            operations.entries({"created_from": datetime(2026, 1, 1)})  # noqa: DTZ001

    @pytest.mark.parametrize("bad", ["", "..", "acc_01h455vb4pex5vsknk084sn02q", TXN + "/x"])
    def test_only_a_well_formed_id_is_put_in_a_path(self, bad: str) -> None:
        with pytest.raises(FinPayError) as caught:
            operations.transaction(bad)
        assert caught.value.code is Code.NOT_FOUND

    def test_given_headers_win_and_none_drops_one(self) -> None:
        headers = {"Authorization": None, "Content-Type": "text/plain"}
        request = core.compose(ROOT, "POST", content=b"x", headers=headers, access_token="secret")
        assert request.headers == {"content-type": "text/plain"}

    def test_no_secret_is_printed(self) -> None:
        request = core.build(ROOT, operations.login("a@b.c", "password123"), "secret")
        login = core.read(operations.refresh("old"), answer(200, TOKENS))
        for text in (repr(request), repr(login)):
            assert "secret" not in text
            assert "password123" not in text


TOKENS = {
    "access_token": "secret-a", "token_type": "Bearer", "expires_in": 900,
    "refresh_token": "secret-r",
}  # fmt: skip


class TestRead:
    def test_a_transaction_is_typed_and_its_money_exact(self) -> None:
        given = answer(201, transaction(metadata={"k": "v"}, added_by_a_newer_server=1))
        read = core.read(operations.send({"amount": 1}, "k"), given)
        assert isinstance(read, Transaction)
        assert (read.amount, read.metadata) == (2**53 - 1, {"k": "v"})
        assert read.created_at.isoformat() == "2026-01-02T03:04:05.000006+00:00"

    @pytest.mark.parametrize("amount", [1.5, "1", True, None])
    def test_money_that_is_not_an_integer_is_never_accepted(self, amount: object) -> None:
        with pytest.raises(UnexpectedResponse, match="amount"):
            core.read(operations.transaction(TXN), answer(200, transaction(amount=amount)))

    def test_a_login_has_user_account_and_tokens(self) -> None:
        user = {"id": "usr_1", "email": "a@b.c", "name": None, "created_at": "2026-01-02T03:04:05Z"}
        account = {
            "id": "acc_1", "balance": 5, "available": 4, "held": 1, "currency": "ZAR",
            "status": "active", "version": 2, "created_at": "2026-01-02T03:04:05Z",
        }  # fmt: skip
        given = answer(200, TOKENS | {"user": user, "account": account})
        login = core.read(operations.login("a@b.c", "password123"), given)
        assert isinstance(login, Login)
        assert (login.user.name, login.account.held, login.expires_in) == (None, 1, 900)

    def test_no_content_reads_as_none(self) -> None:
        given = Answer(204, httpx.Headers(), b"")
        assert core.read(operations.change_password("a", "b"), given) is None

    def test_ill_health_is_an_answer(self) -> None:
        body = {"status": "down", "version": "1", "checks": {"postgres": "down", "redis": "ok"}}
        assert core.read(operations.health(), answer(503, body)).checks["postgres"] == "down"

    @pytest.mark.parametrize("code", list(Code))
    def test_every_code_comes_back_as_the_same_error(self, code: Code) -> None:
        kind = ERROR_SPECS[code]
        failure = refusal(problem(code, kind.status, retryable=kind.retryable))
        assert isinstance(failure, ApiError)
        assert isinstance(failure, FinPayError)
        assert (failure.code, failure.status, failure.detail) == (code, kind.status, "D")
        assert (failure.retryable, failure.retry_after_s) == (kind.retryable, 7)
        assert failure.headers["Retry-After"] == "7"

    def test_a_refusal_keeps_faults_extensions_and_request_id(self) -> None:
        field_errors = [
            {"pointer": "#/amount", "detail": "X"},
            {"parameter": "limit", "detail": "Y"},
        ]
        failure = refusal(problem("rate_limited", 429, errors=field_errors, policy="auth_email"))
        assert isinstance(failure, ApiError)
        assert failure.field_errors == (
            FieldError("X", pointer="#/amount"),
            FieldError("Y", parameter="limit"),
        )
        assert failure.extensions == {"policy": "auth_email"}
        assert failure.request_id == "req_1"

    @pytest.mark.parametrize("retryable", [True, False])
    def test_a_code_of_a_newer_server_is_named(self, *, retryable: bool) -> None:
        failure = refusal(problem("mfa_needed", 403, retryable=retryable))
        assert isinstance(failure, UnexpectedResponse)
        assert "'mfa_needed' (D)" in str(failure)
        assert failure.retryable is retryable

    @pytest.mark.parametrize(
        ("status", "media_type", "body", "retryable"),
        [
            (502, "text/html", b"<h1>Bad Gateway</h1>", True),
            (504, "", b"", True),
            (404, "text/html", b"nginx", False),
            (500, "application/json", b"{}", False),
            (302, "", b"", False),
            (200, "text/html", b"<h1>Welcome</h1>", False),
        ],
    )
    def test_what_finpay_never_says_is_unexpected(
        self, status: int, media_type: str, body: bytes, *, retryable: bool
    ) -> None:
        failure = refusal(answer(status, body, content_type=media_type))
        assert isinstance(failure, UnexpectedResponse)
        assert "base_url" in str(failure)
        assert (failure.retryable, failure.answer.body) == (retryable, body)

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"code":1}', b"\xff"])
    @pytest.mark.parametrize("media_type", ["application/json", "application/problem+json"])
    def test_a_broken_body_is_unexpected(self, body: bytes, media_type: str) -> None:
        failure = refusal(answer(200, body, content_type=media_type))
        assert isinstance(failure, UnexpectedResponse)
        assert "older than the server" in str(failure)


def failed(*, sent: bool) -> ConnectionFailed:
    return ConnectionFailed("x", sent=sent)


def refused(code: Code, retry_after_s: int | None = None) -> ApiError:
    retryable = ERROR_SPECS[code].retryable
    return ApiError(code, "D", retryable=retryable, retry_after_s=retry_after_s)


PAYMENT = operations.send({"amount": 1}, "key")
LOGIN = operations.login("a@b.c", "password123")


class TestPatience:
    @pytest.mark.parametrize(
        ("operation", "failure", "delay_s"),
        [
            (PAYMENT, failed(sent=False), 0.25),
            (PAYMENT, failed(sent=True), 0.25),
            (PAYMENT, refused(Code.UNAVAILABLE), 0.25),
            (PAYMENT, refused(Code.REQUEST_IN_PROGRESS, 1), 1.25),
            (PAYMENT, refused(Code.RATE_LIMITED, 60), 60.0),
            (PAYMENT, refused(Code.RATE_LIMITED, 61), None),
            (PAYMENT, refused(Code.INSUFFICIENT_FUNDS), None),
            (PAYMENT, refused(Code.UNAUTHENTICATED), None),
            (operations.account(), refused(Code.INTERNAL_ERROR), 0.25),
            (LOGIN, failed(sent=False), 0.25),
            (LOGIN, failed(sent=True), None),
            (LOGIN, refused(Code.UNAVAILABLE), None),
            (operations.logout(), failed(sent=True), None),
        ],
    )
    def test_only_what_is_safe_and_may_help_is_repeated(
        self, operation: Operation[object], failure: Failure, delay_s: float | None
    ) -> None:
        assert delay(operation, failure) == delay_s

    @pytest.mark.parametrize(("retries", "delay_s"), list(enumerate([0.25, 0.5, 1, 2, 4, 4])))
    def test_backoff_doubles_up_to_a_cap(self, retries: int, delay_s: float) -> None:
        assert delay(PAYMENT, failed(sent=True), retries=retries) == delay_s

    @pytest.mark.parametrize(("chance", "delay_s"), [(0.0, 0.0), (0.5, 0.25), (1.0, 0.5)])
    def test_jitter_is_full(self, chance: float, delay_s: float) -> None:
        assert delay(PAYMENT, failed(sent=True), chance=chance) == delay_s

    def test_retries_and_waiting_are_bounded(self) -> None:
        assert delay(PAYMENT, failed(sent=True), retries=6) is None
        assert delay(PAYMENT, failed(sent=True), waited_s=59.9) == pytest.approx(0.1)
        assert delay(PAYMENT, refused(Code.OVERLOADED, 2), waited_s=58.5) is None


def delay(
    operation: Operation[T],
    failure: Failure,
    *,
    retries: int = 0,
    waited_s: float = 0.0,
    chance: float = 0.5,
) -> float | None:
    return core.RetryPolicy(max_retries=6).delay_s(
        operation, failure, retries=retries, waited_s=waited_s, chance=chance
    )


def test_a_cursor_that_leads_to_itself_ends_the_list() -> None:
    operation = operations.page_at(operations.transactions({}), "c1")
    with pytest.raises(FinPayError, match="same cursor twice"):
        operations.page_after(operation, Page((), has_more=True, next_cursor="c1"))


def test_an_answer_reads_its_headers() -> None:
    given = answer(200, {"a": 1}, x_request_id="r", retry_after="Wed, 21 Oct 2026 07:28:00 GMT")
    assert (given.json(), given.request_id, given.retry_after_s) == ({"a": 1}, "r", None)


def test_a_request_is_a_plain_value() -> None:
    assert Request("GET", ROOT, {}) == core.compose(ROOT, "GET")
