"""Retries, token refresh and pages of both clients, against scripted servers."""

import inspect
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from finpay.client import (
    ApiError,
    AsyncFinPay,
    Code,
    ConnectionFailed,
    FinPay,
    HttpResponse,
    UnexpectedResponse,
)
from tests.unit.client_drivers import CALLERS, AsyncDriver, Connect, Driver, Handler, SyncDriver
from tests.unit.client_responses import (
    TRANSACTION,
    USER,
    over_http,
    page,
    refusal,
    response,
    tokens,
)


class Server:
    """Sends its responses in order and records the requests."""

    def __init__(self, *responses: httpx.Response | Exception) -> None:
        self.responses = list(responses)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        first = self.responses.pop(0)
        if isinstance(first, Exception):
            raise first
        return first

    def headers(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request in self.requests]


@pytest.fixture(params=[SyncDriver, AsyncDriver])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes drivers: `connect(handler, **options)`. Jitter and keys are fixed."""
    drivers: list[Driver] = []

    def make(handler: Handler, **options: Any) -> Driver:
        keys = map("key-{}".format, count())
        fixed = {"jitter": lambda: 0.5, "new_idempotency_key": lambda: next(keys)}
        drivers.append(request.param(handler, fixed | options))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.close()


def ok(body: object, status: int = 200) -> httpx.Response:
    return over_http(response(status, body))


def refused(code: Code, **headers: str) -> httpx.Response:
    return over_http(refusal(code, **headers))


def timed_out() -> httpx.ReadTimeout:
    return httpx.ReadTimeout("slow")


def from_proxy(status: int) -> httpx.Response:
    return httpx.Response(status, html="<h1>Error</h1>")


class TestRetries:
    def test_attempts_of_a_payment_share_one_key_and_the_next_payment_has_another(
        self, connect: Connect
    ) -> None:
        server = Server(
            timed_out(),
            refused(Code.UNAVAILABLE),
            refused(Code.REQUEST_IN_PROGRESS, retry_after="1"),
            from_proxy(502),
            ok(TRANSACTION, 201),
            ok(TRANSACTION, 201),
        )
        driver = connect(server)
        assert driver.call("send", amount=5, receiver_email="b@c.d").amount == 5
        driver.call("send", amount=5, receiver_email="b@c.d")
        assert server.headers("x-idempotency-key") == ["key-0"] * 5 + ["key-1"]
        assert len({request.content for request in server.requests}) == 1
        assert driver.slept_s == [0.25, 0.5, 1.25, 1.0]

    @pytest.mark.parametrize(
        "given",
        [
            *(response(status, b"<h1>", "text/html") for status in (200, 404, 500, 502, 520, 524)),
            response(500, {}),
            response(201, TRANSACTION | {"amount": None}),
            response(201, b'{"id":"txn_'),
            response(201, b"", ""),
        ],
        ids=str,
    )
    def test_payment_is_repeated_with_its_key_after_any_response_that_is_not_finpays(
        self, connect: Connect, given: HttpResponse
    ) -> None:
        server = Server(over_http(given), over_http(given), ok(TRANSACTION, 201))
        assert connect(server).call("send", amount=5, receiver_id="acc_b").amount == 5
        assert server.headers("x-idempotency-key") == ["key-0"] * 3

    def test_batch_is_repeated_with_its_key_after_a_proxys_error(self, connect: Connect) -> None:
        server = Server(from_proxy(524), ok({"data": []}))
        connect(server).call("send_batch", [{"amount": 1, "receiver_id": "acc_b"}])
        assert server.headers("x-idempotency-key") == ["key-0"] * 2

    def test_given_key_is_used_in_every_attempt(self, connect: Connect) -> None:
        server = Server(httpx.ReadError("cut"), ok(TRANSACTION, 201))
        connect(server).call("send", amount=5, receiver_id="acc_b", idempotency_key="given")
        assert server.headers("x-idempotency-key") == ["given", "given"]

    @pytest.mark.parametrize(
        "code",
        [
            Code.INSUFFICIENT_FUNDS,
            Code.VALIDATION_FAILED,
            Code.IDEMPOTENCY_KEY_REUSE,
            Code.NOT_FOUND,
            Code.UNAUTHENTICATED,
        ],
    )
    def test_final_refusal_is_raised_at_once_with_key_and_request_id(
        self, connect: Connect, code: Code
    ) -> None:
        server = Server(refused(code))
        driver = connect(server, access_token="a")
        with pytest.raises(ApiError) as caught:
            driver.call("send", amount=5, receiver_id="acc_b")
        assert (caught.value.code, caught.value.request_id) == (code, "req_1")
        assert caught.value.idempotency_key == "key-0"
        assert (len(server.requests), driver.slept_s) == (1, [])

    def test_retry_after_is_the_least_delay(self, connect: Connect) -> None:
        driver = connect(Server(refused(Code.RATE_LIMITED, retry_after="30"), ok(USER)))
        driver.call("me")
        assert driver.slept_s == [30.25]

    def test_retry_after_beyond_max_wait_raises_at_once(self, connect: Connect) -> None:
        driver = connect(Server(refused(Code.RATE_LIMITED, retry_after="900")))
        with pytest.raises(ApiError) as caught:
            driver.call("me")
        assert (caught.value.retry_after_s, driver.slept_s) == (900, [])

    def test_last_error_of_a_payment_names_its_key(self, connect: Connect) -> None:
        server = Server(from_proxy(520), timed_out(), timed_out())
        with pytest.raises(ConnectionFailed) as caught:
            connect(server, max_retries=2).call("send", amount=5, receiver_id="acc_b")
        assert len(server.requests) == 3
        assert "idempotency_key='key-0'" in str(caught.value)

    @pytest.mark.parametrize("name", ["login", "register"])
    def test_login_is_repeated_only_if_it_was_not_sent(self, connect: Connect, name: str) -> None:
        server = Server(httpx.ConnectError("refused"), timed_out())
        with pytest.raises(ConnectionFailed) as caught:
            connect(server).call(name, "a@b.c", "password123")
        assert (len(server.requests), caught.value.sent) == (2, True)

    def test_response_of_another_server_is_unexpected(self, connect: Connect) -> None:
        with pytest.raises(UnexpectedResponse, match="base_url"):
            connect(Server(from_proxy(404))).call("account")


class TestTokenRefresh:
    def test_expired_token_is_refreshed_once_and_the_payment_repeated_with_its_key(
        self, connect: Connect
    ) -> None:
        server = Server(refused(Code.UNAUTHENTICATED), ok(tokens("2")), ok(TRANSACTION, 201))
        driver = connect(server, access_token="access-1", refresh_token="refresh-1")
        driver.call("send", amount=5, receiver_id="acc_b")
        assert server.headers("authorization") == ["Bearer access-1", None, "Bearer access-2"]
        assert server.headers("x-idempotency-key") == ["key-0", None, "key-0"]
        assert server.requests[1].content == b'{"refresh_token":"refresh-1"}'
        assert driver.client.refresh_token == "refresh-2"

    def test_concurrent_callers_refresh_an_expired_token_once(self, connect: Connect) -> None:
        refreshes = count()

        def serve(request: httpx.Request) -> Any:
            if request.url.path.endswith("/refresh"):
                next(refreshes)
                return driver.delayed(ok(tokens("2")))
            if request.headers["authorization"] == "Bearer access-1":
                return driver.wait_for_all(refused(Code.UNAUTHENTICATED))
            return ok(USER)

        driver = connect(serve, access_token="access-1", refresh_token="refresh-1")
        assert [user.id for user in driver.call_concurrently("me")] == ["usr_1"] * CALLERS
        assert next(refreshes) == 1


class TestPages:
    def test_every_page_is_requested_with_the_filters(self, connect: Connect) -> None:
        server = Server(
            ok(page("t1", "t2", cursor="c+1")), timed_out(), ok(page(cursor="c2")), ok(page("t3"))
        )
        found = connect(server).items("transactions", direction="sent", limit=2)
        assert [transaction.id for transaction in found] == ["t1", "t2", "t3"]
        queries = [request.url.query.decode() for request in server.requests]
        cursors = ["", "&cursor=c%2B1", "&cursor=c%2B1", "&cursor=c2"]
        assert queries == ["direction=sent&limit=2" + cursor for cursor in cursors]

    def test_one_page_is_read_at_its_cursor(self, connect: Connect) -> None:
        driver = connect(Server(ok(page("t1", cursor="c1")), ok(page("t2"))))
        first = driver.page("transactions", None)
        assert driver.page("transactions", first.next_cursor).data[0].id == "t2"


def test_raw_request_is_sent_once_and_its_response_returned(connect: Connect) -> None:
    server = Server(refused(Code.UNAVAILABLE, retry_after="1"))
    driver = connect(server, access_token="a", refresh_token="r")
    answer = driver.call("request", "POST", "/api/v1/transactions", json={"amount": 10**30})
    assert (answer.status, answer.json()["code"], answer.retry_after_s) == (503, "unavailable", 1)
    assert server.requests[0].content == b'{"amount":1000000000000000000000000000000}'
    assert server.headers("authorization") == ["Bearer a"]
    assert (driver.client.last_response, driver.slept_s) == (answer, [])


def test_both_clients_have_the_same_methods() -> None:
    assert _surface(FinPay) == _surface(AsyncFinPay)


def _surface(client: type) -> dict[str, object]:
    return {
        name: list(inspect.signature(value).parameters.values()) if callable(value) else "property"
        for name, value in vars(client).items()
        if not name.startswith("_")
    }
