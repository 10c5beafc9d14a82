"""FinPay and AsyncFinPay against scripted servers: every test runs over both shells."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
import pytest

from finpay.client import ApiError, AsyncFinPay, Code, ConnectionFailed, FinPay, UnexpectedResponse

ROOT = "http://finpay.test"
CROWD = 5
USER = {"id": "usr_1", "email": "a@b.c", "name": None, "created_at": "2026-01-02T03:04:05Z"}
TRANSACTION = {
    "id": "txn_1", "type": "transfer", "status": "completed", "direction": "sent", "amount": 5,
    "currency": "ZAR", "sender_id": "acc_a", "receiver_id": "acc_b", "description": None,
    "metadata": {}, "balance_after": 0, "failure_code": None, "created_at": "2026-01-02T03:04:05Z",
}  # fmt: skip

Handler = Callable[[httpx.Request], Any]


class Server:
    """Gives its replies in order, and keeps what it was asked."""

    def __init__(self, *replies: httpx.Response | Exception) -> None:
        self.replies = list(replies)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def headers(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request in self.asked]


class SyncClient:
    """FinPay, driven by name; pauses are noted in `slept`, not slept."""

    def __init__(self, handler: Handler, options: dict[str, Any]) -> None:
        self.slept: list[float] = []
        self._barrier = threading.Barrier(CROWD)
        self._http = httpx.Client(transport=httpx.MockTransport(handler))
        self.shell: Any = FinPay(ROOT, http=self._http, sleep=self.slept.append, **options)

    def call(self, name: str, *args: Any, **named: Any) -> Any:
        return getattr(self.shell, name)(*args, **named)

    def items(self, name: str, **filters: Any) -> list[Any]:
        return list(getattr(self.shell, name)(**filters))

    def page(self, name: str, cursor: str | None) -> Any:
        return getattr(self.shell, name)().page(cursor)

    def crowd(self, name: str) -> list[Any]:
        with ThreadPoolExecutor(CROWD) as pool:
            return list(pool.map(lambda _: self.call(name), range(CROWD)))

    def all_together(self, reply: httpx.Response) -> httpx.Response:
        self._barrier.wait(timeout=10)
        return reply

    def late(self, reply: httpx.Response) -> httpx.Response:
        time.sleep(0.02)
        return reply

    def close(self) -> None:
        self._http.close()


class AsyncClient:
    """AsyncFinPay, driven like the other from plain code."""

    def __init__(self, handler: Handler, options: dict[str, Any]) -> None:
        self.slept: list[float] = []
        self._barrier = asyncio.Barrier(CROWD)
        self._runner = asyncio.Runner()
        self._run = self._runner.run
        self._http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
        self.shell: Any = AsyncFinPay(ROOT, http=self._http, sleep=self._note, **options)

    def call(self, name: str, *args: Any, **named: Any) -> Any:
        return self._run(getattr(self.shell, name)(*args, **named))

    def items(self, name: str, **filters: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [item async for item in getattr(self.shell, name)(**filters)]

        return self._run(collect())

    def page(self, name: str, cursor: str | None) -> Any:
        return self._run(getattr(self.shell, name)().page(cursor))

    def crowd(self, name: str) -> list[Any]:
        async def together() -> list[Any]:
            return await asyncio.gather(*(getattr(self.shell, name)() for _ in range(CROWD)))

        return self._run(together())

    async def all_together(self, reply: httpx.Response) -> httpx.Response:
        await self._barrier.wait()
        return reply

    async def late(self, reply: httpx.Response) -> httpx.Response:
        await asyncio.sleep(0.02)
        return reply

    def close(self) -> None:
        self._run(self._http.aclose())
        self._runner.close()

    async def _note(self, delay_s: float) -> None:
        self.slept.append(delay_s)


Client = SyncClient | AsyncClient
Connect = Callable[..., Client]


@pytest.fixture(params=[SyncClient, AsyncClient])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes clients of one shell: `connect(handler, **options)`. Chance and keys are fixed."""
    clients: list[Client] = []

    def make(handler: Handler, **options: Any) -> Client:
        keys = map("key-{}".format, count())
        fixed = {"chance": lambda: 0.5, "new_key": lambda: next(keys)}
        clients.append(request.param(handler, fixed | options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def ok(body: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


def problem(code: Code, status: int, retry_after: str | None = None) -> httpx.Response:
    retryable = status in {429, 500, 503} or code is Code.REQUEST_IN_PROGRESS
    headers = {"content-type": "application/problem+json", "x-request-id": "req_9"}
    if retry_after is not None:
        headers["retry-after"] = retry_after
    body = {"code": code, "detail": "D", "retryable": retryable}
    return httpx.Response(status, headers=headers, json=body)


def tokens(name: str) -> dict[str, object]:
    made = {"access_token": f"access-{name}", "refresh_token": f"refresh-{name}"}
    return made | {"token_type": "Bearer", "expires_in": 900}


def page(*ids: str, cursor: str | None = None) -> httpx.Response:
    data = [TRANSACTION | {"id": name} for name in ids]
    return ok({"data": data, "has_more": cursor is not None, "next_cursor": cursor})


class TestRetries:
    def test_one_key_is_kept_over_all_tries_and_the_next_payment_has_its_own(
        self, connect: Connect
    ) -> None:
        server = Server(
            httpx.ReadTimeout("slow"),
            problem(Code.UNAVAILABLE, 503),
            problem(Code.REQUEST_IN_PROGRESS, 409, "1"),
            httpx.Response(502, html="<h1>Bad Gateway</h1>"),
            ok(TRANSACTION, 201),
            ok(TRANSACTION, 201),
        )
        client = connect(server)
        assert client.call("send", amount=5, receiver_email="b@c.d").amount == 5
        client.call("send", amount=5, receiver_email="b@c.d")
        assert server.headers("x-idempotency-key") == ["key-0"] * 5 + ["key-1"]
        assert len({request.content for request in server.asked}) == 1
        assert client.slept == [0.25, 0.5, 1 + 1.0, 2.0]

    def test_a_key_of_ones_own_is_used(self, connect: Connect) -> None:
        server = Server(httpx.ReadError("cut"), ok(TRANSACTION, 201))
        connect(server).call("send", amount=5, receiver_id="acc_b", idempotency_key="mine")
        assert server.headers("x-idempotency-key") == ["mine", "mine"]

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            (Code.INSUFFICIENT_FUNDS, 402),
            (Code.VALIDATION_FAILED, 422),
            (Code.IDEMPOTENCY_KEY_REUSE, 422),
            (Code.NOT_FOUND, 404),
            (Code.UNAUTHENTICATED, 401),
        ],
    )
    def test_a_refusal_that_stands_is_not_asked_twice(
        self, connect: Connect, code: Code, status: int
    ) -> None:
        server = Server(problem(code, status))
        client = connect(server, access_token="a")
        with pytest.raises(ApiError) as caught:
            client.call("send", amount=5, receiver_id="acc_b")
        assert (caught.value.code, caught.value.request_id) == (code, "req_9")
        assert caught.value.idempotency_key == "key-0"
        assert (len(server.asked), client.slept) == (1, [])

    def test_retry_after_is_the_least_wait(self, connect: Connect) -> None:
        client = connect(Server(problem(Code.RATE_LIMITED, 429, "30"), ok(USER)))
        client.call("me")
        assert client.slept == [30.25]

    def test_tries_end_and_the_error_names_the_key(self, connect: Connect) -> None:
        server = Server(*[httpx.ReadTimeout("slow")] * 3)
        with pytest.raises(ConnectionFailed, match="may or may not") as caught:
            connect(server, max_retries=2).call("send", amount=5, receiver_id="acc_b")
        assert (len(server.asked), caught.value.idempotency_key) == (3, "key-0")
        assert "idempotency_key='key-0'" in caught.value.__notes__[0]

    @pytest.mark.parametrize("name", ["login", "register"])
    def test_a_login_is_repeated_only_if_unsent(self, connect: Connect, name: str) -> None:
        server = Server(httpx.ConnectError("refused"), httpx.ReadTimeout("slow"))
        with pytest.raises(ConnectionFailed) as caught:
            connect(server).call(name, "a@b.c", "password123")
        assert (len(server.asked), caught.value.sent) == (2, True)

    def test_a_stranger_is_named(self, connect: Connect) -> None:
        with pytest.raises(UnexpectedResponse, match="base_url"):
            connect(Server(httpx.Response(404, html="<h1>It works</h1>"))).call("account")


class TestRenewal:
    def test_it_happens_once_and_the_call_is_repeated_with_its_key(self, connect: Connect) -> None:
        server = Server(problem(Code.UNAUTHENTICATED, 401), ok(tokens("2")), ok(TRANSACTION, 201))
        client = connect(server, access_token="access-1", refresh_token="refresh-1")
        client.call("send", amount=5, receiver_id="acc_b")
        assert server.headers("authorization") == ["Bearer access-1", None, "Bearer access-2"]
        assert server.headers("x-idempotency-key") == ["key-0", None, "key-0"]
        assert server.asked[1].content == b'{"refresh_token":"refresh-1"}'
        assert client.shell.refresh_token == "refresh-2"

    def test_calls_refused_together_renew_together(self, connect: Connect) -> None:
        renewals = count()

        def serve(request: httpx.Request) -> Any:
            if request.url.path.endswith("/refresh"):
                next(renewals)
                return client.late(ok(tokens("2")))
            if request.headers["authorization"] == "Bearer access-1":
                return client.all_together(problem(Code.UNAUTHENTICATED, 401))
            return ok(USER)

        client = connect(serve, access_token="access-1", refresh_token="refresh-1")
        assert [user.id for user in client.crowd("me")] == ["usr_1"] * CROWD
        assert next(renewals) == 1


class TestLists:
    def test_pages_follow_each_other_with_the_filters_sent_again(self, connect: Connect) -> None:
        slow = httpx.ReadTimeout("slow")
        server = Server(page("t1", "t2", cursor="c+1"), slow, page(cursor="c2"), page("t3"))
        found = connect(server).items("transactions", direction="sent", limit=2)
        assert [transaction.id for transaction in found] == ["t1", "t2", "t3"]
        queries = [request.url.query.decode() for request in server.asked]
        cursors = ["", "&cursor=c%2B1", "&cursor=c%2B1", "&cursor=c2"]
        assert queries == ["direction=sent&limit=2" + cursor for cursor in cursors]

    def test_one_page_can_be_taken(self, connect: Connect) -> None:
        client = connect(Server(page("t1", cursor="c1"), page("t2")))
        first = client.page("transactions", None)
        assert client.page("transactions", first.next_cursor).data[0].id == "t2"


def test_a_request_is_sent_once_as_told(connect: Connect) -> None:
    server = Server(problem(Code.UNAVAILABLE, 503, "1"))
    client = connect(server, access_token="a", refresh_token="r")
    answer = client.call("request", "POST", "/api/v1/transactions", json={"amount": 10**30})
    assert (answer.status, answer.json()["code"], answer.retry_after_s) == (503, "unavailable", 1)
    assert server.asked[0].content == b'{"amount":1000000000000000000000000000000}'
    assert server.headers("authorization") == ["Bearer a"]
    assert (client.shell.last_response, client.slept) == (answer, [])


def test_both_shells_have_the_same_methods() -> None:
    assert surface(FinPay) == surface(AsyncFinPay)


def surface(shell: type) -> dict[str, object]:
    return {
        name: list(inspect.signature(value).parameters.values()) if callable(value) else "property"
        for name, value in vars(shell).items()
        if not name.startswith("_")
    }
