"""When a failed delivery is retried."""

from email.utils import formatdate

import pytest

from finpay.settings import read
from finpay.webhooks.retry_policy import MAX_RETRY_AFTER_S, next_wait_s

SCHEDULE = read({}).webhook_retry_schedule_s
NOW_S = 1_800_000_000.0


@pytest.mark.contract("6.3.4")
def test_the_schedule_of_the_settings() -> None:
    assert SCHEDULE == (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)


@pytest.mark.contract("6.3.4")
@pytest.mark.parametrize("step", range(9))
def test_each_wait_varies_by_a_fifth(step: int) -> None:
    waits = [next_wait_s(SCHEDULE, step, None) or 0 for _ in range(500)]
    assert SCHEDULE[step] * 0.8 <= min(waits) < SCHEDULE[step] * 0.85
    assert SCHEDULE[step] * 1.15 < max(waits) <= SCHEDULE[step] * 1.2


def test_the_schedule_has_an_end() -> None:
    assert next_wait_s(SCHEDULE, 9, None) is None
    assert next_wait_s((), 0, "5") is None


@pytest.mark.contract("6.3.4")
@pytest.mark.parametrize(
    ("retry_after", "at_least", "at_most"),
    [
        ("60", 60, 60),
        (" 60 ", 60, 60),
        (formatdate(NOW_S + 120, usegmt=True), 120, 120),
        ("1", 4, 6),  # never sooner than the schedule says
        (formatdate(NOW_S - 120, usegmt=True), 4, 6),
        ("999999999", MAX_RETRY_AFTER_S, MAX_RETRY_AFTER_S),
        (formatdate(NOW_S + 10**8, usegmt=True), MAX_RETRY_AFTER_S, MAX_RETRY_AFTER_S),
        *((nonsense, 4, 6) for nonsense in ("", "-5", "1.5", "soon", "9" * 40, "٣", "Sun, 99 Foo")),
    ],
)
def test_retry_after_delays_the_retry(retry_after: str, at_least: float, at_most: float) -> None:
    wait_s = next_wait_s(SCHEDULE, 0, retry_after, now_s=NOW_S)
    assert wait_s is not None
    assert at_least <= wait_s <= at_most
