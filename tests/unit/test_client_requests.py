"""The requests of the client's operations, without a connection."""

from datetime import datetime, timedelta, timezone

import pytest

from finpay.client import Code, FinPayError, Page
from finpay.client import _operations as operations
from finpay.client._requests import HttpRequest, make_request
from finpay.client._session import ClientSession
from tests.unit.client_responses import ROOT, TXN


def test_payment_carries_key_token_and_exact_json() -> None:
    operation = operations.send({"amount": 10**16, "receiver_id": "acc_x"}, "key-1")
    request = operation.request(ROOT, "secret")
    assert (request.method, request.url) == ("POST", f"{ROOT}/api/v1/transactions")
    assert request.content == b'{"amount":10000000000000000,"receiver_id":"acc_x"}'
    assert request.headers == {
        "authorization": "Bearer secret",
        "content-type": "application/json",
        "x-idempotency-key": "key-1",
    }


def test_given_key_replaces_the_generated_one_and_is_not_in_the_body() -> None:
    operation = operations.send({"amount": 1, "idempotency_key": "given"}, "generated")
    assert (operation.idempotency_key, operation.content) == ("given", b'{"amount":1}')


@pytest.mark.parametrize("key", ["", "a b", "é", "k" * 256, "a\n"])
def test_invalid_key_is_refused_before_sending(key: str) -> None:
    for build in (
        lambda: operations.send({"amount": 1, "idempotency_key": key}, "generated"),
        lambda: operations.send_batch([{"amount": 1}], "atomic", key, "generated"),
    ):
        with pytest.raises(FinPayError) as caught:
            build()
        assert caught.value.code is Code.IDEMPOTENCY_KEY_INVALID


def test_login_is_sent_without_the_access_token() -> None:
    request = operations.login("a@b.c", "password123").request(ROOT, "secret")
    assert "authorization" not in request.headers


def test_filters_are_query_parameters_and_none_is_left_out() -> None:
    east = timezone(timedelta(hours=2))
    operation = operations.transactions(
        {
            "direction": "sent",
            "status": "failed",
            "created_from": datetime(2026, 1, 1, 1, tzinfo=east),
            "created_to": None,
            "amount_min": 1,
            "amount_max": 9,
            "counterparty_id": "acc_x",
            "idempotency_key": "a+b",
            "limit": 5,
        }
    )
    assert operation.request(ROOT, None).url == (
        f"{ROOT}/api/v1/transactions?direction=sent&status=failed"
        "&created_from=2025-12-31T23%3A00%3A00.000000Z&amount_min=1&amount_max=9"
        "&counterparty_id=acc_x&idempotency_key=a%2Bb&limit=5"
    )


def test_time_without_zone_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="created_from needs a time zone"):
        operations.entries({"created_from": datetime(2026, 1, 1)})  # noqa: DTZ001


@pytest.mark.parametrize("text", ["", "..", "acc_01h455vb4pex5vsknk084sn02q", TXN + "/x"])
def test_malformed_id_is_never_put_in_a_path(text: str) -> None:
    for build in (operations.transaction, operations.event):
        with pytest.raises(FinPayError) as caught:
            build(text)
        assert caught.value.code is Code.NOT_FOUND


def test_given_header_replaces_the_added_one_and_none_removes_it() -> None:
    headers = {"Authorization": None, "Content-Type": "text/plain"}
    request = make_request(ROOT, "POST", content=b"x", headers=headers, access_token="secret")
    assert request.headers == {"content-type": "text/plain"}


def test_raw_request_joins_root_path_and_parameters() -> None:
    session = ClientSession(f"{ROOT}/", {"access_token": "a"})
    headers = {"Authorization": None, "X-Odd": "1"}
    request = session.raw_request("PUT", "//x", b"\xff", headers, [("a", "1"), ("a", "2")])
    made = {"content-type": "application/json", "x-odd": "1"}
    assert request == HttpRequest("PUT", f"{ROOT}//x?a=1&a=2", made, b"\xff")


def test_repr_of_a_request_holds_no_secret() -> None:
    text = repr(operations.login("a@b.c", "password123").request(ROOT, "secret"))
    assert "secret" not in text
    assert "password123" not in text


def test_repeated_cursor_ends_the_list_with_an_error() -> None:
    operation = operations.page_at(operations.transactions({}), "c1")
    with pytest.raises(FinPayError, match="same cursor twice"):
        operations.page_after(operation, Page((), has_more=True, next_cursor="c1"))


@pytest.mark.parametrize("base_url", ["finpay.test", "localhost:3000", ""])
def test_base_url_without_scheme_is_a_value_error(base_url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        ClientSession(base_url, {})


def test_generated_key_is_a_new_uuid_of_version_7() -> None:
    keys = {ClientSession(ROOT, {}).new_idempotency_key() for _ in range(3)}
    assert {(len(key), key[14]) for key in keys} == {(36, "7")}
    assert len(keys) == 3
