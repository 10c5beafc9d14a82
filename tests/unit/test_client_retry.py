"""The client's retry policy: what is repeated, how often, and after how long."""

from typing import Any

import pytest

from finpay.client import ApiError, Code, ConnectionFailed, RequestFailed, UnexpectedResponse
from finpay.client import _operations as operations
from finpay.client._operations import Operation
from finpay.client._retry import MAX_POLLS, Retries, RetryPolicy
from finpay.errors import ERROR_SPECS
from finpay.gate.redis_keys import CLAIM_TTL_MS
from tests.unit.client_responses import response

PAYMENT = operations.send({"amount": 1}, "key")
LOGIN = operations.login("a@b.c", "password123")


def unsent() -> ConnectionFailed:
    return ConnectionFailed("x", sent=False)


def unanswered() -> ConnectionFailed:
    return ConnectionFailed("x", sent=True)


def refused(code: Code, retry_after_s: int | None = None) -> ApiError:
    retryable = ERROR_SPECS[code].retryable
    return ApiError(code, "D", retryable=retryable, retry_after_s=retry_after_s)


def from_proxy(*, retryable: bool) -> UnexpectedResponse:
    return UnexpectedResponse("D", retryable=retryable, response=response(520, b"", "text/html"))


IN_PROGRESS = refused(Code.REQUEST_IN_PROGRESS, 1)


def delays_s(
    failure: RequestFailed,
    operation: Operation[Any] = PAYMENT,
    *,
    jitter: float = 0.5,
    **policy: Any,
) -> list[float]:
    """The delays until the policy gives up."""
    retries = Retries(RetryPolicy(**policy))
    delays = []
    while (delay_s := retries.next_delay_s(operation, failure, jitter=jitter)) is not None:
        delays.append(delay_s)
        assert len(delays) < 100, "the policy never gives up"
    return delays


@pytest.mark.parametrize(
    ("operation", "failure", "first_s"),
    [
        (PAYMENT, unsent(), 0.25),
        (PAYMENT, unanswered(), 0.25),
        (PAYMENT, from_proxy(retryable=True), 0.25),
        (PAYMENT, from_proxy(retryable=False), None),
        (PAYMENT, refused(Code.UNAVAILABLE), 0.25),
        (PAYMENT, refused(Code.REQUEST_IN_PROGRESS), 1.25),
        (PAYMENT, refused(Code.REQUEST_IN_PROGRESS, 3), 3.25),
        (PAYMENT, refused(Code.RATE_LIMITED, 60), 60.0),
        (PAYMENT, refused(Code.RATE_LIMITED, 61), None),
        (PAYMENT, refused(Code.INSUFFICIENT_FUNDS), None),
        (PAYMENT, refused(Code.UNAUTHENTICATED), None),
        (operations.account(), refused(Code.INTERNAL_ERROR), 0.25),
        (LOGIN, unsent(), 0.25),
        (LOGIN, unanswered(), None),
        (LOGIN, from_proxy(retryable=True), None),
        (LOGIN, refused(Code.UNAVAILABLE), None),
        (operations.logout(), unanswered(), None),
    ],
)
def test_first_delay_is_none_unless_a_repeat_is_safe_and_may_help(
    operation: Operation[Any], failure: RequestFailed, first_s: float | None
) -> None:
    assert Retries(RetryPolicy()).next_delay_s(operation, failure, jitter=0.5) == first_s


def test_backoff_doubles_up_to_a_cap() -> None:
    assert delays_s(unanswered(), max_retries=6) == [0.25, 0.5, 1, 2, 4, 4]


@pytest.mark.parametrize(("jitter", "delay_s"), [(0.0, 0.0), (0.5, 0.25), (1.0, 0.5)])
def test_jitter_covers_the_whole_backoff(jitter: float, delay_s: float) -> None:
    assert delays_s(unanswered(), jitter=jitter, max_retries=1) == [delay_s]


def test_max_retries_bounds_the_number_of_retries() -> None:
    assert len(delays_s(unanswered(), max_retries=6)) == 6
    assert len(delays_s(unanswered())) == 4


def test_max_wait_bounds_the_sum_of_the_delays() -> None:
    assert delays_s(refused(Code.OVERLOADED, 2), max_wait_s=5, jitter=0) == [2.0, 2.0]
    assert delays_s(unanswered(), max_wait_s=0.3) == pytest.approx([0.25, 0.05, 0, 0])


@pytest.mark.parametrize("failure", [unsent(), refused(Code.UNAVAILABLE), IN_PROGRESS])
def test_max_retries_of_zero_raises_the_first_failure(failure: RequestFailed) -> None:
    assert delays_s(failure, max_retries=0) == []


@pytest.mark.fault("S3")
@pytest.mark.parametrize("jitter", [0.0, 0.99])
@pytest.mark.parametrize("retry_after_s", [None, 0, 1])
def test_request_in_progress_is_polled_longer_than_the_claim_of_a_crashed_process(
    jitter: float, retry_after_s: int | None
) -> None:
    delays = delays_s(refused(Code.REQUEST_IN_PROGRESS, retry_after_s), jitter=jitter)
    assert len(delays) == MAX_POLLS
    assert sum(delays) >= 15 > CLAIM_TTL_MS / 1_000
    assert max(delays) < 1.5, "polled often, so that the result is there soon"


def test_polls_do_not_use_up_the_retries() -> None:
    retries = Retries(RetryPolicy())
    for _ in range(10):
        assert retries.next_delay_s(PAYMENT, IN_PROGRESS, jitter=0.0) == 1.0
    assert retries.next_delay_s(PAYMENT, unanswered(), jitter=0.5) == 0.25


def test_max_wait_bounds_the_polls_too() -> None:
    assert sum(delays_s(IN_PROGRESS, max_wait_s=5)) <= 5
