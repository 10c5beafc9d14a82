"""No answer, and no time of one, reveals which e-mail addresses are registered.

`make test-enumeration` takes 1 000 samples of each kind, the suite fewer. An attacker orders two
answers by their time; the share of right guesses must not differ from a half by more than chance.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from math import sqrt
from typing import Any, Final

import httpx
import pytest

from tests.api_process import PASSWORD, Api

SAMPLES: Final = int(os.environ.get("ENUMERATION_SAMPLES", "60"))
DEVIATIONS: Final = 4.5  # by chance once in 100 000 runs

Ask = Callable[[str], httpx.Response]


@pytest.fixture
def asker(api: Api) -> Iterator[Callable[[str, dict[str, Any]], Ask]]:
    with httpx.Client(base_url=api.url, trust_env=False) as client:

        def make(path: str, more: dict[str, Any]) -> Ask:
            return lambda email: client.post(f"/api/v1/auth/{path}", json={"email": email, **more})

        yield make


def unknown(number: int) -> str:
    """As long as a registered one."""
    return f"none{number}-{os.getpid()}@example.com"


def measure(ask: Ask, registered: list[str]) -> tuple[list[float], list[float]]:
    """Milliseconds of answers for registered and for unknown addresses, in random order."""
    asked = [(True, registered[n % len(registered)]) for n in range(SAMPLES)]
    asked += [(False, unknown(n % len(registered))) for n in range(SAMPLES)]
    random.shuffle(asked)
    times: dict[bool, list[float]] = {True: [], False: []}
    answers = set()
    for known, email in asked:
        started = time.perf_counter()
        answer = ask(email)
        times[known].append(1_000 * (time.perf_counter() - started))
        answers.add((answer.status_code, without_request_id(answer)))
    assert len(answers) == 1, answers
    return times[True], times[False]


def without_request_id(answer: httpx.Response) -> str:
    if not answer.content:
        return ""
    return str(sorted({**answer.json(), "request_id": None}.items()))


def right_guesses(longer: list[float], shorter: list[float]) -> float:
    """The share of pairs in which the first has the longer time (Mann-Whitney's U)."""
    ranked = sorted([(ms, 1) for ms in longer] + [(ms, 0) for ms in shorter])
    ranks = sum(rank for rank, (_, is_longer) in enumerate(ranked, 1) if is_longer)
    count = len(longer)
    return (ranks - count * (count + 1) / 2) / (count * len(shorter))


def assert_no_difference(known: list[float], unknown_: list[float]) -> None:
    share = right_guesses(known, unknown_)
    by_chance = DEVIATIONS * sqrt((2 * SAMPLES + 1) / (12 * SAMPLES**2))
    print(f"{SAMPLES} samples: {share:.3f} of guesses are right, {0.5 + by_chance:.3f} by chance")
    assert abs(share - 0.5) < by_chance, share


def test_the_measure_finds_a_difference() -> None:
    fast = [random.gauss(20, 3) for _ in range(SAMPLES)]
    slow = [random.gauss(24, 3) for _ in range(SAMPLES)]
    assert_no_difference(fast, [random.gauss(20, 3) for _ in range(SAMPLES)])
    with pytest.raises(AssertionError):
        assert_no_difference(slow, fast)


@pytest.mark.contract("12.8.2", "1.2.2")
def test_a_login_reveals_no_address(api: Api, asker: Callable[..., Ask]) -> None:
    registered = [api.user().email for _ in range(10)]
    ask = asker("login", {"password": "wrong password"})
    assert_no_difference(*measure(ask, registered))


@pytest.mark.contract("12.8.2", "1.6.11")
def test_a_forgotten_password_reveals_no_address(api: Api, asker: Callable[..., Ask]) -> None:
    registered = [api.user().email for _ in range(10)]
    assert_no_difference(*measure(asker("password/forgot", {}), registered))


@pytest.mark.contract("12.8.2", "1.2.1")
def test_a_registration_reveals_by_its_status_alone(api: Api, asker: Callable[..., Ask]) -> None:
    """A refused password is refused before the address is looked up."""
    registered = [api.user().email for _ in range(10)]
    for email, status in ((registered[0], 409), (unknown(999), 201)):
        assert asker("register", {"password": PASSWORD})(email).status_code == status
    ask = asker("register", {"password": "password123"})
    assert_no_difference(*measure(ask, registered))
