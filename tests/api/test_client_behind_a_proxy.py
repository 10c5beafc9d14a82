"""A payment through a proxy that replaces the response: paid once, and its result returned."""

from itertools import count
from typing import Final

import httpx
import pytest

from finpay.client import ApiError, FinPay, UnexpectedResponse
from tests.api_process import Api

AMOUNT: Final = 5
PAGE: Final = b"<h1>Error</h1>"


class FaultyProxy(httpx.BaseTransport):
    """Passes every request on. The responses to the first `faults` of them are replaced."""

    def __init__(self, status: int, body: bytes, media_type: str, faults: int) -> None:
        self.keys: list[str | None] = []
        self._fault = (status, {"content-type": media_type}, body)
        self._faults = faults
        self._transport = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._transport.handle_request(request)
        self.keys.append(request.headers.get("x-idempotency-key"))
        if len(self.keys) > self._faults:
            return response
        response.read()
        status, headers, body = self._fault
        return httpx.Response(status, headers=headers, content=body)

    def close(self) -> None:
        self._transport.close()


def behind(proxy: FaultyProxy, api: Api, token: str) -> FinPay:
    http = httpx.Client(transport=proxy)
    api.connections.append(http)
    keys = map(f"proxied-{token[-20:]}-{{}}".format, count())
    return FinPay(
        api.url,
        http=http,
        access_token=token,
        sleep=lambda _: None,
        new_idempotency_key=lambda: next(keys),
    )


@pytest.mark.fault("S1")
@pytest.mark.parametrize(
    ("status", "body", "media_type"),
    [
        (500, PAGE, "text/html"),
        (502, PAGE, "text/html"),
        (520, PAGE, "text/html"),
        (524, b"", ""),
        (201, b'{"id":"txn_', "application/json"),
        (200, PAGE, "text/html"),
    ],
)
def test_payment_whose_response_was_replaced_is_paid_once_and_returned(
    api: Api, status: int, body: bytes, media_type: str
) -> None:
    sender, receiver = api.user(100), api.user()
    proxy = FaultyProxy(status, body, media_type, faults=2)
    payment = behind(proxy, api, sender.token).send(receiver_id=receiver.account_id, amount=AMOUNT)
    assert (payment.status, payment.balance_after) == ("completed", 95)
    assert len(proxy.keys) == 3
    assert len(set(proxy.keys)) == 1
    assert (sender.balance, receiver.balance) == (95, 5)


@pytest.mark.fault("S1")
def test_error_behind_a_proxy_that_never_recovers_names_the_key(
    api: Api,
) -> None:
    sender, receiver = api.user(100), api.user()
    client = behind(FaultyProxy(520, PAGE, "text/html", faults=5), api, sender.token)
    with pytest.raises(UnexpectedResponse) as caught:
        client.send(receiver_id=receiver.account_id, amount=AMOUNT)
    key = caught.value.idempotency_key
    assert key is not None
    payment = client.send(receiver_id=receiver.account_id, amount=AMOUNT, idempotency_key=key)
    assert payment.balance_after == 95
    assert (sender.balance, receiver.balance) == (95, 5)


def test_refusal_whose_response_was_replaced_is_raised_with_its_transaction(api: Api) -> None:
    sender, receiver = api.user(1), api.user()
    client = behind(FaultyProxy(524, PAGE, "text/html", faults=1), api, sender.token)
    with pytest.raises(ApiError, match="insufficient_funds") as caught:
        client.send(receiver_id=receiver.account_id, amount=AMOUNT)
    (failed,) = client.transactions(status="failed")
    assert caught.value.extensions["transaction_id"] == failed.id
