"""Asking for money: who may see a request, and what becomes of it."""

import json
import math
import re
from typing import Any

import pytest
import segno

from tests.api_process import PUBLIC_URL, Api, User
from tests.backdating import end_time


@pytest.fixture
def alice(api: Api) -> User:
    return api.user(name="Alice")


@pytest.fixture
def bob(api: Api) -> User:
    return api.user(1_000)


def ask(requester: User, amount: int = 100, **more: Any) -> Any:
    """A new request, as its requester sees it."""
    answer = requester.post("/payment_requests", amount=amount, **more)
    assert answer.status == 201, answer.body
    return answer.json()


@pytest.mark.contract("11.1.1", "11.1.2")
def test_a_request_is_answered_with_all_its_members(alice: User, bob: User) -> None:
    asked = ask(alice, payer_email=bob.email, description="Rent", metadata={"flat": "4"})
    members = {
        "object": "payment_request",
        "status": "open",
        "direction": "sent",
        "amount": 100,
        "currency": "ZAR",
        "requester": {"account_id": alice.account_id, "name": "Alice"},
        "payer_email": bob.email,
        "description": "Rent",
        "metadata": {"flat": "4"},
        "url": f"{PUBLIC_URL}/pay/{asked['id']}",
        "transaction_id": None,
    }
    assert {name: asked[name] for name in members} == members
    assert asked.keys() - members.keys() == {"id", "expires_at", "created_at"}
    assert asked["id"].startswith("prq_")
    assert alice.get(f"/payment_requests/{asked['id']}").json() == asked
    assert bob.get(f"/payment_requests/{asked['id']}").json() == asked | {"direction": "received"}


@pytest.mark.contract("11.1.1")
def test_it_expires_after_thirty_days_or_the_time_that_was_given(api: Api, alice: User) -> None:
    usual, brief = ask(alice), ask(alice, expires_in=60)
    for asked, seconds in ((usual, 2_592_000), (brief, 60)):
        (row,) = api.sql(
            "SELECT $1::text::timestamptz - $2::text::timestamptz = make_interval(secs => $3) "
            "AS ok",
            asked["expires_at"],
            asked["created_at"],
            seconds,
        )
        assert row["ok"]


@pytest.mark.contract("11.1.1")
@pytest.mark.parametrize(
    "members",
    [
        {},
        {"amount": 0},
        {"amount": 1.5},
        {"amount": 2**53},
        {"amount": 1, "expires_in": 59},
        {"amount": 1, "expires_in": 31_536_001},
        {"amount": 1, "payer_email": "no address"},
        {"amount": 1, "currency": "zar"},
        {"amount": 1, "description": "x" * 501},
        {"amount": 1, "metadata": {"n": 1}},
        {"amount": 1, "payer": "x"},
    ],
    ids=json.dumps,
)
def test_a_request_that_makes_no_sense_is_422(alice: User, members: dict[str, Any]) -> None:
    answer = alice.client.request("POST", "/api/v1/payment_requests", json=members)
    assert (answer.status, answer.json()["code"]) == (422, "validation_failed")


@pytest.mark.contract("11.1.1")
def test_requests_in_a_foreign_currency_or_to_oneself_are_refused(alice: User) -> None:
    answer = alice.post("/payment_requests", amount=1, currency="USD")
    assert (answer.status, answer.json()["code"]) == (422, "currency_mismatch")
    answer = alice.post("/payment_requests", amount=1, payer_email=alice.email.upper())
    assert (answer.status, answer.json()["code"]) == (422, "validation_failed")


@pytest.mark.contract("11.1.1")
def test_a_frozen_user_does_not_ask(api: Api, alice: User) -> None:
    api.set_status(alice, "frozen")
    answer = alice.post("/payment_requests", amount=1)
    assert (answer.status, answer.json()["code"]) == (403, "account_frozen")


@pytest.mark.contract("11.1.3")
def test_a_named_request_is_the_payers_alone(api: Api, alice: User, bob: User) -> None:
    asked = ask(alice, payer_email=bob.email)
    assert api.user().get(f"/payment_requests/{asked['id']}").status == 404


@pytest.mark.contract("11.1.3")
def test_whether_the_payer_is_a_user_makes_no_difference(api: Api, alice: User, bob: User) -> None:
    known = ask(alice, payer_email=bob.email)
    unknown = ask(alice, payer_email="nobody-yet@example.com")
    own = {"id", "payer_email", "url", "expires_at", "created_at"}
    assert {n: v for n, v in known.items() if n not in own} == {
        n: v for n, v in unknown.items() if n not in own
    }


@pytest.mark.contract("11.1.3")
def test_who_registers_later_finds_what_was_asked_before(api: Api, alice: User) -> None:
    carol = api.user()
    api.sql("UPDATE identity.users SET email = 'x' || email WHERE id = $1", carol.uuid)
    asked = ask(alice, payer_email=carol.email)
    api.sql("UPDATE identity.users SET email = substr(email, 2) WHERE id = $1", carol.uuid)
    seen = carol.get(f"/payment_requests/{asked['id']}").json()
    assert seen == asked | {"direction": "received"}
    assert carol.get("/payment_requests").json()["data"] == [seen]
    assert carol.get("/payment_requests", direction="sent").json()["data"] == []
    assert carol.post(f"/payment_requests/{asked['id']}/decline").json()["status"] == "declined"
    assert [one["status"] for one in carol.get("/payment_requests").json()["data"]] == ["declined"]
    api.verify()


@pytest.mark.contract("11.1.3")
def test_who_has_the_id_of_one_without_payer_sees_a_part_of_it(api: Api, alice: User) -> None:
    asked = ask(alice, description="Coffee", metadata={"till": "2"})
    seen = api.user().get(f"/payment_requests/{asked['id']}").json()
    assert seen == {
        "id": asked["id"],
        "object": "payment_request",
        "status": "open",
        "direction": None,
        "amount": 100,
        "currency": "ZAR",
        "requester": {"account_id": None, "name": "Alice"},
        "payer_email": None,
        "description": "Coffee",
        "metadata": {},
        "url": None,
        "transaction_id": None,
        "expires_at": asked["expires_at"],
        "created_at": None,
    }


@pytest.mark.contract("11.1.3")
@pytest.mark.parametrize("ending", ["canceled", "expired"])
def test_a_part_is_seen_only_while_it_is_open(api: Api, alice: User, ending: str) -> None:
    asked = ask(alice)
    if ending == "canceled":
        assert alice.post(f"/payment_requests/{asked['id']}/cancel").status == 200
    else:
        end_time(api.database_url, asked["id"])
    assert api.user().get(f"/payment_requests/{asked['id']}").status == 404
    assert alice.get(f"/payment_requests/{asked['id']}").json()["status"] == ending


@pytest.mark.contract("11.1.5")
def test_the_requester_cancels_and_the_payer_declines(api: Api, alice: User, bob: User) -> None:
    for who, verb, status in ((alice, "cancel", "canceled"), (bob, "decline", "declined")):
        asked = ask(alice, payer_email=bob.email)
        answer = who.post(f"/payment_requests/{asked['id']}/{verb}")
        direction = "sent" if who is alice else "received"
        assert answer.status == 200
        assert answer.json() == asked | {"status": status, "direction": direction}
        for user in (alice, bob):
            assert user.get(f"/payment_requests/{asked['id']}").json()["status"] == status
    api.verify()


@pytest.mark.contract("11.1.5")
def test_the_other_side_may_not_and_others_do_not_find_it(api: Api, alice: User, bob: User) -> None:
    carol = api.user()
    named, unnamed = ask(alice, payer_email=bob.email), ask(alice)
    for who, asked, verb, expected in (
        (alice, named, "decline", (403, "forbidden")),
        (bob, named, "cancel", (403, "forbidden")),
        (carol, named, "cancel", (404, "not_found")),
        (carol, named, "decline", (404, "not_found")),
        (bob, unnamed, "cancel", (404, "not_found")),
        (bob, unnamed, "decline", (404, "not_found")),
        (alice, unnamed, "decline", (403, "forbidden")),
    ):
        answer = who.post(f"/payment_requests/{asked['id']}/{verb}")
        assert (answer.status, answer.json()["code"]) == expected


@pytest.mark.contract("11.1.5")
@pytest.mark.parametrize("verb", ["cancel", "decline"])
def test_who_paid_is_the_other_side(api: Api, alice: User, bob: User, verb: str) -> None:
    asked = ask(alice)
    assert bob.post(f"/payment_requests/{asked['id']}/pay", key="pay").status == 201
    answer = bob.post(f"/payment_requests/{asked['id']}/{verb}")
    assert (answer.status, answer.json()["code"]) == (403, "forbidden")
    others = api.user().post(f"/payment_requests/{asked['id']}/{verb}")
    assert (others.status, others.json()["code"]) == (404, "not_found")


@pytest.mark.contract("11.1.5")
@pytest.mark.parametrize("verb", ["cancel", "decline"])
def test_what_is_not_open_is_409_with_its_status(
    api: Api, alice: User, bob: User, verb: str
) -> None:
    who = alice if verb == "cancel" else bob
    canceled, overdue = ask(alice, payer_email=bob.email), ask(alice, payer_email=bob.email)
    alice.post(f"/payment_requests/{canceled['id']}/cancel")
    end_time(api.database_url, overdue["id"])
    for asked, status in ((canceled, "canceled"), (overdue, "expired")):
        problem = who.post(f"/payment_requests/{asked['id']}/{verb}").json()
        found = problem["status"], problem["code"], problem["status_now"], problem["retryable"]
        assert found == (409, "request_not_open", status, False)


@pytest.mark.contract("11.1.5")
def test_frozen_users_cancel_and_decline(api: Api, alice: User, bob: User) -> None:
    one, two = ask(alice, payer_email=bob.email), ask(alice, payer_email=bob.email)
    for user in (alice, bob):
        api.set_status(user, "frozen")
    assert alice.post(f"/payment_requests/{one['id']}/cancel").status == 200
    assert bob.post(f"/payment_requests/{two['id']}/decline").status == 200


@pytest.mark.parametrize("verb", ["", "/qr", "/cancel", "/decline"])
def test_a_malformed_id_is_404(alice: User, verb: str) -> None:
    ask_for = alice.post if verb in {"/cancel", "/decline"} else alice.get
    for wrong in ("prq_x", alice.account_id, "prq_00000000000000000000000000"):
        assert ask_for(f"/payment_requests/{wrong}{verb}").status == 404


@pytest.mark.contract("11.1.8")
def test_at_most_100_are_open_to_one_payer(api: Api, alice: User, bob: User) -> None:
    first = ask(alice, payer_email=bob.email)
    for _ in range(99):
        ask(alice, payer_email=bob.email)
    refused = alice.post("/payment_requests", amount=1, payer_email=bob.email)
    assert (refused.status, refused.json()["code"]) == (422, "validation_failed")
    ask(alice, payer_email="another@example.com")
    ask(alice)
    end_time(api.database_url, first["id"])  # not open any more, whenever the worker comes
    ask(alice, payer_email=bob.email)


@pytest.mark.contract("11.1.10")
def test_the_qr_code_is_an_image_of_the_url_and_nothing_else(api: Api, alice: User) -> None:
    asked = ask(alice)
    for user in (alice, api.user()):
        answer = user.get(f"/payment_requests/{asked['id']}/qr")
        assert answer.status == 200
        assert answer.headers["content-type"] == "image/svg+xml"
        assert answer.body.startswith(b'<svg xmlns="http://www.w3.org/2000/svg"')
        assert answer.body.count(b"<") == 3  # svg, path, /svg
        assert asked["id"].encode() not in answer.body
        # The quiet zone is four modules wide.
        modules = [bytes(row) for row in segno.make_qr(asked["url"], error="m").matrix]
        assert drawn_modules(answer.body.decode(), len(modules), border=4) == modules


def drawn_modules(svg: str, size: int, border: int) -> list[bytes]:
    """The matrix of a QR code whose path draws each run of dark modules as a line."""
    rows = [bytearray(size) for _ in range(size)]
    x, y = -border, -border - 1
    for command, numbers in re.findall(r"([Mmh])([-\d. ]+)", svg.partition(' d="')[2]):
        if command == "h":
            rows[y][x : x + int(numbers)] = b"\x01" * int(numbers)
            x += int(numbers)
        else:
            right, down = numbers.split()
            x, y = x + int(right), y + math.ceil(float(down))
    return [bytes(row) for row in rows]


@pytest.mark.contract("11.1.10")
def test_without_a_public_url_there_is_no_url_and_no_qr_code(api: Api, serve: Any) -> None:
    plain = serve()
    user = plain.user()
    asked = ask(user)
    assert asked["url"] is None
    assert user.get(f"/payment_requests/{asked['id']}/qr").status == 404
