"""Concurrent holds, refunds and payment requests over two processes: exact, as documented.

Each test sends its requests at once, on a connection each, and takes a few seconds at most.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import pytest

from finpay import ids
from finpay.client import HttpResponse
from finpay.db.pool import Database
from finpay.ledger import holds
from tests.api.load_client import open_connections
from tests.api.test_holds import make_hold, post
from tests.api.test_payment_requests import ask
from tests.api_process import Api, User
from tests.backdating import end_hold

pytestmark = pytest.mark.usefixtures("sound")

_HOLDING: Final = "SELECT FROM ledger.accounts WHERE id = $1 AND held > 0"

Call = tuple[User, str, dict[str, Any]]  # who posts what where


async def send_all(pair: Api, name: str, calls: Sequence[Call]) -> list[HttpResponse]:
    """Sends all calls at once, each under a key of its own."""
    async with open_connections(pair, len(calls)) as clients:
        return await asyncio.gather(
            *(
                client.post(user, path, f"{name}-{n}", **body)
                for n, (client, (user, path, body)) in enumerate(zip(clients, calls, strict=True))
            )
        )


def outcomes(answers: Sequence[HttpResponse]) -> Counter[str]:
    """The status of each success, the code of each refusal."""
    return Counter(
        str(answer.status) if answer.status < 400 else answer.json()["code"] for answer in answers
    )


def held(user: User) -> int:
    return int(user.get("/accounts").json()["held"])


@pytest.mark.contract("8.2.3")
async def test_100_captures_of_one_hold_take_no_more_than_it_has(pair: Api) -> None:
    alice, shop = pair.user(1_000), pair.user()
    hold = make_hold(alice, shop, 50)
    path = f"/holds/{hold['id']}/capture"
    answers = await send_all(pair, "capture", [(shop, path, {"amount": 1, "final": False})] * 100)
    assert outcomes(answers) == {"201": 50, "hold_not_open": 50}
    refused = [answer.json()["status_now"] for answer in answers if answer.status == 409]
    assert set(refused) == {"captured"}
    assert (alice.balance, held(alice), shop.balance) == (950, 0, 50)
    left = sorted(answer.json()["balance_after"] for answer in answers if answer.status == 201)
    assert left == list(range(1, 51))


@pytest.mark.contract("9.1.2")
async def test_100_refunds_of_one_payment_never_exceed_it(pair: Api) -> None:
    alice, shop = pair.user(50), pair.user(1_000)
    paid = alice.send(shop, 50, "purchase").json()
    path = f"/transactions/{paid['id']}/refunds"
    answers = await send_all(pair, "refund", [(shop, path, {"amount": 1})] * 100)
    assert outcomes(answers) == {"201": 50, "amount_too_large": 50}
    assert {answer.json()["left"] for answer in answers if answer.status == 422} == {0}
    assert (alice.balance, shop.balance) == (50, 1_000)
    original = alice.get(f"/transactions/{paid['id']}").json()
    assert (original["refunded_amount"], original["status"]) == (50, "reversed")


async def test_one_of_captures_and_voids_wins(pair: Api) -> None:
    alice, shop = pair.user(1_000), pair.user()
    for round_ in range(10):
        hold = make_hold(alice, shop, 10)
        path = f"/holds/{hold['id']}"
        calls: list[Call] = [(shop, f"{path}/capture", {}), (shop, f"{path}/void", {})] * 4
        answers = await send_all(pair, f"end-{round_}", calls)
        counted = outcomes(answers)
        assert counted["hold_not_open"] == 7
        assert counted["200"] + counted["201"] == 1
        assert held(alice) == 0
    assert alice.balance + shop.balance == 1_000


@pytest.mark.contract("8.2.3", "8.3.1", "8.3.2")
async def test_one_of_captures_voids_and_expiry_wins(pair: Api) -> None:
    """The hold's time ends before, among or after the requests, while a worker expires holds."""
    alice, shop = pair.user(1_000), pair.user()
    worker = Database(pair.database_url, size=1, role="finpay_app")
    captured, ends = 0, Counter[str]()
    try:
        for round_, after_ms in enumerate(range(0, 100, 5)):
            hold = make_hold(alice, shop, 10)
            path = f"/holds/{hold['id']}"
            calls: list[Call] = [(shop, f"{path}/capture", {}), (shop, f"{path}/void", {})] * 4
            await asyncio.to_thread(end_hold, pair.database_url, hold["id"], after_ms)
            answers, _ = await asyncio.gather(
                send_all(pair, f"expiry-{round_}", calls), _expire(worker, alice)
            )
            status = alice.get(path).json()["status"]
            counted = outcomes(answers)
            assert counted["201"] == (status == "captured")
            assert counted["200"] == (status == "voided")
            refused = [answer.json()["status_now"] for answer in answers if answer.status == 409]
            assert refused == [status] * (8 if status == "expired" else 7)
            for user in (alice, shop):
                events = user.get("/events", type="hold.*", limit=2).json()["data"]
                assert [event["type"] for event in events] == [f"hold.{status}", "hold.created"]
            captured += 10 * counted["201"]
            ends[status] += 1
    finally:
        await worker.close()
    assert (alice.balance, held(alice), shop.balance) == (1_000 - captured, 0, captured)
    assert ends["expired"] >= 1


async def _expire(worker: Database, sender: User) -> None:
    """As a worker does, until nothing of the sender is held."""
    async with asyncio.timeout(5):
        while await worker.fetch(_HOLDING, ids.decode("acc", sender.account_id)):
            await holds.expire(worker, lambda: None)
            await asyncio.sleep(0.005)


async def test_refunds_and_payments_spend_the_same_money_once(pair: Api) -> None:
    alice, shop, supplier = pair.user(30), pair.user(), pair.user()
    paid = alice.send(shop, 30, "purchase").json()
    refund: Call = (shop, f"/transactions/{paid['id']}/refunds", {"amount": 1})
    spend: Call = (shop, "/transactions", {"receiver_id": supplier.account_id, "amount": 1})
    answers = await send_all(pair, "spend", [refund, spend] * 30)
    assert outcomes(answers) == {"201": 30, "insufficient_funds": 30}
    assert shop.balance == 0
    assert alice.balance + supplier.balance == 30


async def test_a_freeze_in_between_stops_captures_and_refunds(pair: Api) -> None:
    alice, shop = pair.user(1_000), pair.user(100)
    paid = alice.send(shop, 100, "purchase").json()
    hold = make_hold(alice, shop, 100)
    capture: Call = (shop, f"/holds/{hold['id']}/capture", {"amount": 1, "final": False})
    refund: Call = (shop, f"/transactions/{paid['id']}/refunds", {"amount": 1})
    sent = asyncio.create_task(send_all(pair, "frozen", [capture, refund] * 30))
    await asyncio.to_thread(pair.set_status, shop, "frozen")
    counted = outcomes(await sent)
    assert set(counted) <= {"201", "account_frozen"}
    assert sum(counted.values()) == 60
    after = await send_all(pair, "after", [capture, refund])
    assert outcomes(after) == {"account_frozen": 2}
    assert post(shop, f"/holds/{hold['id']}/void").status == 200
    assert held(alice) == 0
    assert alice.balance + shop.balance == 1_100


@pytest.mark.contract("11.1.7")
async def test_one_of_payments_cancellations_and_declines_wins(pair: Api) -> None:
    alice, bob = pair.user(), pair.user(1_000)
    paid = 0
    for round_ in range(10):
        asked = ask(alice, 10, payer_email=bob.email)
        path = f"/payment_requests/{asked['id']}"
        calls: list[Call] = [(bob, f"{path}/pay", {}), (alice, f"{path}/cancel", {})] * 3
        calls += [(bob, f"{path}/decline", {})] * 3
        counted = outcomes(await send_all(pair, f"request-{round_}", calls))
        assert counted["request_not_open"] == 8
        assert counted["200"] + counted["201"] == 1
        paid += 10 * counted["201"]
    assert (alice.balance, bob.balance) == (paid, 1_000 - paid)
