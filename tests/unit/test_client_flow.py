"""The order of steps in a call, without shells: what is sent, waited for and remembered."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar, Unpack

import httpx
import pytest

from finpay.client import Answer, ApiError, Code, FinPayError
from finpay.client import _operations as operations
from finpay.client._flow import ClientSession, Flow, Options, Pause, Renew, Send, Step
from finpay.client._requests import Request, encode

T = TypeVar("T")

ROOT = "http://finpay.test/"
USER = {"id": "usr_1", "email": "a@b.c", "name": None, "created_at": "2026-01-02T03:04:05Z"}
ACCOUNT = {
    "id": "acc_1", "balance": 5, "available": 5, "held": 0, "currency": "ZAR",
    "status": "active", "version": 1, "created_at": "2026-01-02T03:04:05Z",
}  # fmt: skip
PAYMENT = operations.send({"amount": 5, "receiver_id": "acc_b"}, "key")


class Script:
    """Carries out flows with prepared answers, and keeps what was sent."""

    def __init__(self, *answers: Answer, **options: Unpack[Options]) -> None:
        self.talk = ClientSession(ROOT, options)
        self.sent: list[Request] = []
        self.pauses_s: list[float] = []
        self._answers: Iterator[Answer] = iter(answers)

    def run(self, flow: Flow[T]) -> T:
        advance: Callable[[], Step] = partial(next, flow)
        while True:
            try:
                step = advance()
            except StopIteration as end:
                value: T = end.value
                return value
            try:
                advance = partial(flow.send, self._carry_out(step))
            except ApiError as refusal:
                advance = partial(flow.throw, refusal)

    def _carry_out(self, step: Step) -> Answer | None:
        match step:
            case Send(request):
                self.sent.append(request)
                return next(self._answers)
            case Pause(delay_s):
                self.pauses_s.append(delay_s)
            case Renew(stale):
                self.run(self.talk.renew(stale))
        return None

    def refusal(self, flow: Flow[T]) -> FinPayError:
        with pytest.raises(FinPayError) as caught:
            self.run(flow)
        return caught.value

    @property
    def bearers(self) -> list[str | None]:
        return [request.headers.get("authorization") for request in self.sent]


def ok(body: object) -> Answer:
    return Answer(200, httpx.Headers({"content-type": "application/json"}), encode(body))


def problem(code: Code, status: int, retry_after: str | None = None) -> Answer:
    headers = {"content-type": "application/problem+json"}
    if retry_after is not None:
        headers["retry-after"] = retry_after
    body = {"code": code, "detail": "D", "retryable": status in {429, 500, 503}}
    return Answer(status, httpx.Headers(headers), encode(body))


def tokens(name: str) -> dict[str, object]:
    made = {"access_token": f"access-{name}", "refresh_token": f"refresh-{name}"}
    return made | {"token_type": "Bearer", "expires_in": 900}


NO_CONTENT = Answer(204, httpx.Headers(), b"")
REFUSED = problem(Code.UNAUTHENTICATED, 401)


class TestRenewal:
    def test_a_second_refusal_stands(self) -> None:
        script = Script(REFUSED, ok(tokens("2")), REFUSED, access_token="a", refresh_token="r")
        assert script.refusal(script.talk.perform(operations.me())).code is Code.UNAUTHENTICATED
        assert script.bearers == ["Bearer a", None, "Bearer access-2"]

    def test_a_refresh_token_alone_is_enough(self) -> None:
        script = Script(REFUSED, ok(tokens("2")), ok(USER), refresh_token="r")
        assert script.run(script.talk.perform(operations.me())).id == "usr_1"

    def test_without_a_refresh_token_the_refusal_stands(self) -> None:
        script = Script(REFUSED, access_token="a")
        assert script.refusal(script.talk.perform(operations.me())).code is Code.UNAUTHENTICATED

    @pytest.mark.parametrize("code", [Code.REFRESH_TOKEN_INVALID, Code.REFRESH_TOKEN_REUSED])
    def test_a_login_that_is_over_is_forgotten(self, code: Code) -> None:
        refused = [REFUSED, problem(code, 401), REFUSED]
        script = Script(*refused, access_token="a", refresh_token="r")
        for _ in range(2):
            refusal = script.refusal(script.talk.perform(operations.me()))
            assert refusal.code is Code.UNAUTHENTICATED
        assert script.bearers == ["Bearer a", None, None]

    def test_a_renewal_that_fails_keeps_the_login_and_names_the_key(self) -> None:
        broken = problem(Code.INTERNAL_ERROR, 500)
        options = Options(access_token="a", refresh_token="r", max_retries=0)
        script = Script(REFUSED, broken, **options)
        refusal = script.refusal(script.talk.perform(PAYMENT))
        assert isinstance(refusal, ApiError)
        assert (refusal.code, refusal.idempotency_key) == (Code.INTERNAL_ERROR, "key")
        assert script.talk.refresh_token == "r"

    def test_what_another_caller_renewed_is_not_renewed_again(self) -> None:
        script = Script(access_token="access-2", refresh_token="refresh-2")
        script.run(script.talk.renew("access-1"))
        assert script.sent == []

    def test_a_wrong_password_is_no_reason_to_renew(self) -> None:
        wrong = problem(Code.INVALID_CREDENTIALS, 401)
        script = Script(wrong, access_token="a", refresh_token="r")
        refusal = script.refusal(script.talk.perform(operations.change_password("x", "y")))
        assert refusal.code is Code.INVALID_CREDENTIALS

    def test_a_renewal_costs_no_retry(self) -> None:
        busy = problem(Code.OVERLOADED, 503)
        options = Options(access_token="a", refresh_token="r", max_retries=1, chance=lambda: 0.5)
        script = Script(busy, REFUSED, ok(tokens("2")), ok(USER), **options)
        script.run(script.talk.perform(operations.me()))
        assert script.pauses_s == [0.25]


class TestLogin:
    def test_it_is_remembered_and_logout_forgets(self) -> None:
        login = ok(tokens("1") | {"user": USER, "account": ACCOUNT})
        script = Script(login, ok(tokens("2")), NO_CONTENT, NO_CONTENT)
        talk = script.talk
        assert script.run(talk.perform(operations.login("a@b.c", "password123"))).user.id == "usr_1"
        assert (talk.access_token, talk.refresh_token) == ("access-1", "refresh-1")
        script.run(talk.refresh())
        assert script.sent[1].content == b'{"refresh_token":"refresh-1"}'
        script.run(talk.perform(operations.change_password("password123", "password456")))
        script.run(talk.logout())
        assert script.bearers == [None, None, "Bearer access-2", "Bearer access-2"]
        assert (talk.access_token, talk.refresh_token) == (None, None)
        assert script.refusal(talk.refresh()).code is Code.REFRESH_TOKEN_INVALID

    def test_a_logout_that_fails_can_be_asked_again(self) -> None:
        busy = problem(Code.UNAVAILABLE, 503)
        script = Script(busy, access_token="a", refresh_token="r")
        assert script.refusal(script.talk.logout()).code is Code.UNAVAILABLE
        assert script.talk.access_token == "a"


class TestWaiting:
    def test_a_wait_past_ones_patience_is_the_callers(self) -> None:
        script = Script(problem(Code.RATE_LIMITED, 429, "900"))
        refusal = script.refusal(script.talk.perform(operations.me()))
        assert isinstance(refusal, ApiError)
        assert (refusal.retry_after_s, script.pauses_s) == (900, [])

    def test_pauses_add_up_to_at_most_max_wait_s(self) -> None:
        busy = problem(Code.OVERLOADED, 503, "2")
        script = Script(*[busy] * 9, max_retries=8, max_wait_s=5, chance=lambda: 0.0)
        assert script.refusal(script.talk.perform(operations.me())).code is Code.OVERLOADED
        assert script.pauses_s == [2.0, 2.0]


class TestRequest:
    def test_every_part_can_be_bent(self) -> None:
        script = Script(NO_CONTENT, access_token="a")
        headers = {"Authorization": None, "X-Odd": "1"}
        flow = script.talk.exchange("PUT", "//x", b"\xff", headers, [("a", "1"), ("a", "2")])
        assert script.run(flow) is script.talk.last_response
        made = {"content-type": "application/json", "x-odd": "1"}
        assert script.sent == [Request("PUT", "http://finpay.test//x?a=1&a=2", made, b"\xff")]


@pytest.mark.parametrize("base_url", ["finpay.test", "localhost:3000", ""])
def test_a_base_url_names_its_scheme(base_url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        ClientSession(base_url, {})


def test_a_made_key_is_a_uuid_of_version_7() -> None:
    keys = {ClientSession(ROOT, {}).new_key() for _ in range(3)}
    assert {(len(key), key[14]) for key in keys} == {(36, "7")}
    assert len(keys) == 3
