"""What the client says when no answer came, and what it does with its httpx client."""

import asyncio
from typing import Any

import httpx
import pytest

from finpay.client import (
    ApiError,
    AsyncFinPay,
    Code,
    ConnectionFailed,
    Entry,
    FinPay,
    UnexpectedResponse,
)
from finpay.client._errors import FAILURES, name_key

ROOT = "http://finpay.test"
PAGE = {"data": [], "has_more": False, "next_cursor": None}


def failing(error: Exception) -> httpx.MockTransport:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    return httpx.MockTransport(fail)


class TestNoAnswer:
    @pytest.mark.parametrize(
        ("error", "sent"),
        [
            (httpx.ConnectError("refused"), False),
            (httpx.ConnectTimeout("slow"), False),
            (httpx.PoolTimeout("busy"), False),
            (httpx.ReadTimeout("slow"), True),
            (httpx.WriteTimeout("slow"), True),
            (httpx.ReadError("cut"), True),
            (httpx.WriteError("cut"), True),
            (httpx.CloseError("cut"), True),
            (httpx.RemoteProtocolError("nonsense"), True),
            (httpx.ProxyError("no"), True),
            (httpx.DecodingError("gzip"), True),
        ],
    )
    def test_each_network_error_says_whether_it_was_sent(
        self, error: httpx.RequestError, *, sent: bool
    ) -> None:
        http = httpx.Client(transport=failing(error))
        finpay = FinPay(ROOT, http=http, max_retries=0)
        with pytest.raises(ConnectionFailed, match=type(error).__name__) as caught:
            finpay.account()
        assert caught.value.sent is sent
        assert caught.value.__cause__ is error

    def test_the_query_of_a_url_is_not_told(self) -> None:
        finpay = FinPay(ROOT, http=httpx.Client(transport=failing(httpx.ReadError("cut"))))
        with pytest.raises(ConnectionFailed) as caught:
            finpay.request("GET", "/x", params={"idempotency_key": "mine"})
        assert f"GET {ROOT}/x got no answer" in str(caught.value)

    def test_a_mistake_in_the_call_is_not_taken_for_the_network(self) -> None:
        error = httpx.LocalProtocolError("Illegal header value")
        finpay = FinPay(ROOT, http=httpx.Client(transport=failing(error)))
        with pytest.raises(httpx.LocalProtocolError):
            finpay.account()


def test_only_an_open_outcome_is_worth_asking_again() -> None:
    answer = FinPay(ROOT, http=serving(httpx.Response(502))).request("GET", "/")
    open_ones = (
        ConnectionFailed("x", sent=True),
        UnexpectedResponse("x", answer, retryable=True),
        ApiError(Code.UNAVAILABLE, "x", retryable=True),
    )
    final = ApiError(Code.INSUFFICIENT_FUNDS, "x")
    for failure in (*open_ones, final):
        assert isinstance(failure, FAILURES)
        name_key(failure, "key")
        name_key(failure, "another")
        assert failure.idempotency_key == "key"
    assert [len(failure.__notes__) for failure in open_ones] == [1, 1, 1]
    assert not hasattr(final, "__notes__")


class TestHttpClient:
    @pytest.mark.parametrize(("timeout_s", "read_s"), [(None, 7.0), (0.5, 0.5)])
    def test_timeout_s_goes_before_that_of_a_given_client(
        self, timeout_s: float | None, read_s: float
    ) -> None:
        seen: list[Any] = []

        def serve(request: httpx.Request) -> httpx.Response:
            seen.append(request.extensions["timeout"]["read"])
            return httpx.Response(200, json=PAGE)

        async def over_asyncio() -> None:
            async with httpx.AsyncClient(transport=httpx.MockTransport(serve), timeout=7) as http:
                listing = AsyncFinPay(ROOT, http=http, timeout_s=timeout_s).entries()
                assert [page async for page in listing.pages()] != []

        with httpx.Client(transport=httpx.MockTransport(serve), timeout=7) as http:
            found: list[Entry] = list(FinPay(ROOT, http=http, timeout_s=timeout_s).entries())
        asyncio.run(over_asyncio())
        assert (found, seen) == ([], [read_s, read_s])

    def test_a_given_client_stays_open_and_ones_own_is_closed(self) -> None:
        with httpx.Client() as http:
            with FinPay(http=http):
                pass
            assert not http.is_closed
        with FinPay() as own:
            pass
        with pytest.raises(RuntimeError, match="closed"):
            own.health()

    def test_the_same_over_asyncio(self) -> None:
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


def serving(response: httpx.Response) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(lambda _: response))
