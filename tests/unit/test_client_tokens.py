"""The tokens of a login: stored, refreshed and forgotten, and the client's own connections."""

import asyncio
from collections.abc import Iterator
from typing import Any, Unpack

import httpx
import pytest

from finpay.client import (
    ApiError,
    AsyncFinPay,
    Code,
    FinPay,
    FinPayError,
    HttpResponse,
    Options,
)
from tests.unit.client_responses import (
    ACCOUNT,
    ROOT,
    USER,
    over_http,
    page,
    refusal,
    response,
    tokens,
)

NO_CONTENT = response(204, b"", "")
EXPIRED = refusal(Code.UNAUTHENTICATED)


class Script:
    """A client whose server sends these responses in order."""

    def __init__(self, *responses: HttpResponse, **options: Unpack[Options]) -> None:
        self.requests: list[httpx.Request] = []
        self.slept_s: list[float] = []
        self._responses: Iterator[HttpResponse] = iter(responses)
        http = httpx.Client(transport=httpx.MockTransport(self._serve))
        self.client = FinPay(ROOT, http=http, sleep=self.slept_s.append, **options)

    def _serve(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return over_http(next(self._responses))

    @property
    def access_tokens(self) -> list[str | None]:
        sent = [request.headers.get("authorization") for request in self.requests]
        return [None if text is None else text.removeprefix("Bearer ") for text in sent]


class TestRefresh:
    def test_second_refusal_is_raised(self) -> None:
        script = Script(
            EXPIRED, response(200, tokens("2")), EXPIRED, access_token="a", refresh_token="r"
        )
        with pytest.raises(ApiError, match="unauthenticated"):
            script.client.me()
        assert script.access_tokens == ["a", None, "access-2"]

    def test_refresh_token_alone_is_enough(self) -> None:
        script = Script(EXPIRED, response(200, tokens("2")), response(200, USER), refresh_token="r")
        assert script.client.me().id == "usr_1"

    def test_refusal_without_a_refresh_token_is_raised(self) -> None:
        script = Script(EXPIRED, access_token="a")
        with pytest.raises(ApiError, match="unauthenticated"):
            script.client.me()

    @pytest.mark.parametrize("code", [Code.REFRESH_TOKEN_INVALID, Code.REFRESH_TOKEN_REUSED])
    def test_tokens_of_an_ended_session_are_forgotten(self, code: Code) -> None:
        script = Script(EXPIRED, refusal(code), EXPIRED, access_token="a", refresh_token="r")
        for _ in range(2):
            with pytest.raises(ApiError, match="unauthenticated"):
                script.client.me()
        assert script.access_tokens == ["a", None, None]

    def test_failed_refresh_keeps_the_tokens_and_names_the_payments_key(self) -> None:
        script = Script(
            EXPIRED,
            *[refusal(Code.INTERNAL_ERROR)] * 2,
            access_token="a",
            refresh_token="r",
            max_retries=1,
        )
        with pytest.raises(ApiError) as caught:
            script.client.send(amount=5, receiver_id="acc_b", idempotency_key="key")
        assert (caught.value.code, caught.value.idempotency_key) == (Code.INTERNAL_ERROR, "key")
        assert script.client.refresh_token == "r"

    def test_wrong_password_does_not_refresh(self) -> None:
        script = Script(refusal(Code.INVALID_CREDENTIALS), access_token="a", refresh_token="r")
        with pytest.raises(ApiError, match="invalid_credentials"):
            script.client.change_password("x", "y")

    def test_refresh_uses_up_no_retry(self) -> None:
        script = Script(
            refusal(Code.OVERLOADED),
            EXPIRED,
            response(200, tokens("2")),
            response(200, USER),
            access_token="a",
            refresh_token="r",
            max_retries=1,
            jitter=lambda: 0.5,
        )
        script.client.me()
        assert script.slept_s == [0.25]


class TestLogin:
    def test_tokens_are_stored_until_logout(self) -> None:
        login = response(200, tokens("1") | {"user": USER, "account": ACCOUNT})
        script = Script(login, *(response(200, tokens(n)) for n in "23"), NO_CONTENT)
        client = script.client
        assert client.login("a@b.c", "password123").user.id == "usr_1"
        assert (client.access_token, client.refresh_token) == ("access-1", "refresh-1")
        client.refresh()
        assert script.requests[1].content == b'{"refresh_token":"refresh-1"}'
        client.change_password("password123", "password456")
        client.logout()
        assert script.access_tokens == [None, None, "access-2", "access-3"]
        assert (client.access_token, client.refresh_token) == (None, None)
        with pytest.raises(FinPayError, match="log in"):
            client.refresh()

    def test_failed_logout_keeps_the_tokens(self) -> None:
        script = Script(refusal(Code.UNAVAILABLE), access_token="a", refresh_token="r")
        with pytest.raises(ApiError, match="unavailable"):
            script.client.logout()
        assert script.client.access_token == "a"


class TestHttpClient:
    @pytest.mark.parametrize(("timeout_s", "read_s"), [(None, 7.0), (0.5, 0.5)])
    def test_timeout_s_overrides_the_timeout_of_a_given_client(
        self, timeout_s: float | None, read_s: float
    ) -> None:
        seen: list[Any] = []

        def serve(request: httpx.Request) -> httpx.Response:
            seen.append(request.extensions["timeout"]["read"])
            return httpx.Response(200, json=page())

        async def over_asyncio() -> None:
            async with httpx.AsyncClient(transport=httpx.MockTransport(serve), timeout=7) as http:
                pager = AsyncFinPay(ROOT, http=http, timeout_s=timeout_s).entries()
                assert [each async for each in pager.pages()] != []

        with httpx.Client(transport=httpx.MockTransport(serve), timeout=7) as http:
            assert list(FinPay(ROOT, http=http, timeout_s=timeout_s).entries()) == []
        asyncio.run(over_asyncio())
        assert seen == [read_s, read_s]

    def test_given_client_stays_open_and_own_client_is_closed(self) -> None:
        with httpx.Client() as http:
            with FinPay(http=http):
                pass
            assert not http.is_closed
        with FinPay() as own:
            pass
        with pytest.raises(RuntimeError, match="closed"):
            own.health()

    def test_given_async_client_stays_open_and_own_client_is_closed(self) -> None:
        async def scenario() -> None:
            async with httpx.AsyncClient() as http:
                async with AsyncFinPay(http=http):
                    pass
                assert not http.is_closed
            async with AsyncFinPay() as own:
                pass
            with pytest.raises(RuntimeError, match="closed"):
                await own.health()

        asyncio.run(scenario())
