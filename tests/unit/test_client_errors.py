"""The client's exceptions: one tree, whole after pickle and copy, with the key of a payment."""

import copy
import inspect
import pickle
from collections.abc import Callable

import httpx
import pytest

import finpay.client
from finpay.client import (
    ApiError,
    Code,
    ConnectionFailed,
    FieldError,
    FinPay,
    FinPayError,
    RequestFailed,
    UnexpectedResponse,
    webhooks,
)
from tests.unit.client_responses import ROOT, response

HEADERS = httpx.Headers({"Retry-After": "7", "X-Request-ID": "req_1"})


def examples() -> list[Exception]:
    """One of each public exception, with every field set."""
    field_errors = (FieldError("X", pointer="#/amount"), FieldError("Y", parameter="limit"))
    refusal = (Code.RATE_LIMITED, "D", field_errors, {"policy": "global"}, HEADERS)
    proxy = response(520, b"<h1>", "text/html")
    made: list[Exception] = [
        FinPayError(*refusal),
        RequestFailed(*refusal, retryable=True),
        ApiError(*refusal, retryable=True),
        ConnectionFailed("got no response (ReadTimeout: slow)", sent=True),
        UnexpectedResponse("D", headers=HEADERS, retryable=True, response=proxy),
        webhooks.InvalidSignature("D"),
        webhooks.InvalidSecret("D"),
    ]
    for error in made:
        error.add_note("a note")
        if isinstance(error, RequestFailed):
            error.idempotency_key, error.request_id, error.retry_after_s = "key-1", "req_1", 7
    return made


COPIES: list[Callable[[Exception], Exception]] = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


def contents(error: Exception) -> dict[str, object]:
    """Every field and property with its value."""
    names = [name for name in dir(error) if not name.startswith("_")]
    values = {name: getattr(error, name) for name in names}
    plain = {name: value for name, value in values.items() if not callable(value)}
    return plain | {"str": str(error), "notes": error.__notes__}


def public_exceptions() -> set[type]:
    public = [getattr(module, name) for module in (finpay.client, webhooks)
              for name in module.__all__]  # fmt: skip
    return {each for each in public if inspect.isclass(each) and issubclass(each, Exception)}


def test_examples_cover_every_public_exception() -> None:
    assert {type(error) for error in examples()} == public_exceptions()


@pytest.mark.fault("S2")
@pytest.mark.parametrize("error", examples(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("duplicate", COPIES)
def test_copy_of_an_exception_is_whole(
    duplicate: Callable[[Exception], Exception], error: Exception
) -> None:
    copied = duplicate(error)
    assert copied is not error
    assert type(copied) is type(error)
    assert contents(copied) == contents(error)


def test_deep_copy_of_an_exception_shares_nothing_mutable() -> None:
    error = next(each for each in examples() if isinstance(each, ApiError))
    copied = copy.deepcopy(error)
    assert copied.extensions is not error.extensions
    assert copied.headers is not error.headers


@pytest.mark.fault("S4")
def test_every_failure_of_a_call_is_a_finpay_error() -> None:
    of_calls = public_exceptions() - {webhooks.InvalidSignature, webhooks.InvalidSecret}
    assert all(issubclass(each, FinPayError) for each in of_calls)
    assert {ApiError, ConnectionFailed, UnexpectedResponse} == {
        each for each in of_calls if each.__base__ is RequestFailed
    }


def test_code_of_a_failure_without_finpays_answer() -> None:
    lost = ConnectionFailed("D", sent=True)
    foreign = UnexpectedResponse("D", response=response(404, b"", "text/html"))
    assert (lost.code, lost.status) == (Code.UNAVAILABLE, 503)
    assert (foreign.code, foreign.status) == (Code.INTERNAL_ERROR, 404)


@pytest.mark.parametrize("error", [e for e in examples() if isinstance(e, RequestFailed)])
def test_text_of_a_failed_payment_names_its_key(error: RequestFailed) -> None:
    assert "Send the same payment with idempotency_key='key-1'" in str(error)
    error = copy.copy(error)
    error.retryable = False
    assert str(error).endswith("(idempotency key 'key-1')")
    error.idempotency_key = None
    assert "key" not in str(error)


def failing(error: Exception) -> httpx.Client:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    return httpx.Client(transport=httpx.MockTransport(fail))


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
        (httpx.TooManyRedirects("21"), True),
    ],
)
def test_network_error_is_connection_failed_and_says_whether_it_was_sent(
    error: httpx.RequestError, *, sent: bool
) -> None:
    with pytest.raises(ConnectionFailed, match=type(error).__name__) as caught:
        FinPay(ROOT, http=failing(error), max_retries=0).account()
    assert caught.value.sent is sent
    assert caught.value.__cause__ is error


def test_text_of_connection_failed_has_no_query() -> None:
    client = FinPay(ROOT, http=failing(httpx.ReadError("cut")))
    with pytest.raises(ConnectionFailed) as caught:
        client.request("GET", "/x", params={"idempotency_key": "given"})
    assert f"GET {ROOT}/x got no response" in str(caught.value)
    assert "given" not in str(caught.value)


def test_mistake_in_the_request_is_not_reported_as_a_network_error() -> None:
    with pytest.raises(httpx.LocalProtocolError):
        FinPay(ROOT, http=failing(httpx.LocalProtocolError("Illegal header value"))).account()
