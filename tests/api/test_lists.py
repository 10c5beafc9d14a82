"""Lists by keyset: every item once, on pages of any size and with any filters."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations, islice
from typing import Any, Final

import pytest

from finpay.client import HttpResponse
from tests.api.assertions import problem, sending
from tests.api_process import Api, User

HISTORY: Final = "/transactions"
ENTRIES: Final = "/accounts/entries"
LISTS: Final = (HISTORY, ENTRIES)
MOST_PAGES: Final = 100  # of any list here; more pages mean a loop


@pytest.fixture(scope="module")
def alice(api: Api, bob: User, carol: User) -> User:
    """A history of a funding, then sent, failed and received transfers with two other users."""
    alice = api.user(1_000)
    for number in range(8):
        other = (bob, carol)[number % 2]
        assert alice.send(other, 10 + number, f"sent-{number}").status == 201
        assert alice.send(other, 10**9 + number, f"failed-{number}").status == 402
        if number % 3 == 0:
            assert alice.send(other, 10**9, f"failed-again-{number}").status == 402
        assert other.send(alice, 2 + number, f"received-{number}").status == 201
    assert alice.send(alice, 1, "refused").status == 422  # recorded nowhere
    return alice


@pytest.fixture(scope="module")
def bob(api: Api) -> User:
    return api.user(500)


@pytest.fixture(scope="module")
def carol(api: Api) -> User:
    return api.user(500)


@pytest.fixture(scope="module")
def history(alice: User) -> list[Any]:
    """The whole history, as one page."""
    answer = page(alice, HISTORY, limit=100)
    assert answer["has_more"] is False
    return list(answer["data"])


def page(user: User, path: str, **query: Any) -> Any:
    """The members of one page, after checks of all that the contract says of pages."""
    answer: HttpResponse = user.get(path, **query)
    assert answer.status == 200, answer.body
    members = answer.json()
    assert list(members) == ["object", "data", "has_more", "next_cursor"]
    assert members["object"] == "list"
    assert members["has_more"] is (members["next_cursor"] is not None)
    assert members["has_more"] is ("Link" in answer.headers)
    assert len(members["data"]) <= int(query.get("limit", 20))
    if not members["data"]:
        assert not members["has_more"]
    return members


def walk(user: User, path: str, **query: Any) -> list[Any]:
    """All items, page by page, with the same filters."""
    return [item for part in pages(user, path, **query) for item in part["data"]]


def pages(user: User, path: str, **query: Any) -> Iterator[Any]:
    for _ in range(MOST_PAGES):
        part = page(user, path, **query)
        yield part
        if not part["has_more"]:
            return
        query["cursor"] = part["next_cursor"]
    pytest.fail(f"more than {MOST_PAGES} pages")


class TestOrder:
    def test_is_newest_first_and_includes_failed_transactions(self, history: list[Any]) -> None:
        expected = ["funding"]
        for number in range(8):
            failed = [f"failed {10**9 + number}"] + ["failed 1000000000"] * (number % 3 == 0)
            expected += [f"sent {10 + number}", *failed, f"received {2 + number}"]
        steps = [
            "funding" if step["type"] == "funding"
            else f"{'failed' if step['status'] == 'failed' else step['direction']} {step['amount']}"
            for step in reversed(history)
        ]  # fmt: skip
        assert steps == expected
        times = [step["created_at"] for step in history]
        assert times == sorted(times, reverse=True)

    def test_each_balance_is_the_previous_one_plus_the_amount(self, history: list[Any]) -> None:
        balance = 0
        for step in reversed(history):
            sign = {"sent": -1, "received": 1}[step["direction"]]
            balance += 0 if step["status"] == "failed" else sign * step["amount"]
            assert step["balance_after"] == balance

    @pytest.mark.contract("1.2.8")
    def test_entries_are_those_of_completed_transactions(
        self, alice: User, history: list[Any]
    ) -> None:
        moved = [step for step in history if step["status"] == "completed"]
        entries = walk(alice, ENTRIES, limit=100)
        sign = {"sent": -1, "received": 1}
        assert entries == [
            {
                "id": entry["id"], "object": "entry", "transaction_id": step["id"],
                "amount": sign[step["direction"]] * step["amount"], "currency": "ZAR",
                "balance_after": step["balance_after"], "version": version,
                "created_at": step["created_at"],
            }
            for step, entry, version in zip(
                moved, entries, range(len(moved), 0, -1), strict=True
            )
        ]  # fmt: skip
        ids = {entry["id"] for entry in entries}
        assert len(ids) == len(entries)
        assert all(re.fullmatch("ent_[0-9a-hjkmnp-tv-z]{26}", id_) for id_ in ids)

    def test_each_side_of_a_transaction_has_its_own_entry(self, alice: User, bob: User) -> None:
        mine, theirs = ({entry["id"]: entry for entry in walk(user, ENTRIES, limit=100)}
                        for user in (alice, bob))  # fmt: skip
        assert not mine.keys() & theirs.keys()
        by_transaction = {entry["transaction_id"]: entry["amount"] for entry in mine.values()}
        shared = [e for e in theirs.values() if e["transaction_id"] in by_transaction]
        assert len(shared) == 8
        assert all(by_transaction[e["transaction_id"]] == -e["amount"] for e in shared)


class TestPages:
    @pytest.mark.contract("1.3.3")
    @pytest.mark.parametrize("path", LISTS)
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 27, 28, 99])
    def test_of_any_size_have_every_item_once(self, alice: User, path: str, limit: int) -> None:
        assert walk(alice, path, limit=limit) == page(alice, path, limit=100)["data"]

    @pytest.mark.contract("1.3.2")
    @pytest.mark.parametrize("path", LISTS)
    def test_have_20_items_by_default(self, api: Api, path: str) -> None:
        user, other = api.user(100), api.user()
        for number in range(20):
            assert user.send(other, 1, f"twenty-{number}").status == 201
        first, second = pages(user, path)
        assert (len(first["data"]), len(second["data"])) == (20, 1)
        whole = page(user, path, limit=21)
        assert (len(whole["data"]), whole["has_more"]) == (21, False)

    @pytest.mark.contract("1.3.1")
    @pytest.mark.parametrize("path", LISTS)
    def test_the_link_has_the_filters(self, alice: User, history: list[Any], path: str) -> None:
        query = {"limit": 3, "created_from": history[-6]["created_at"]}
        sizes, seen = [], []
        answer = alice.get(path, **query)
        for _ in range(MOST_PAGES):
            sizes.append(len(answer.json()["data"]))
            seen += answer.json()["data"]
            if "Link" not in answer.headers:
                break
            link = re.fullmatch(r'<(/api/v1/[^>]+)>; rel="next"', answer.headers["Link"])
            assert link is not None
            answer = alice.client.request("GET", link[1])
            assert answer.status == 200
        assert set(sizes[:-1]) == {3}
        assert seen == page(alice, path, **query | {"limit": 100})["data"]

    @pytest.mark.contract("1.3.3")
    @pytest.mark.parametrize("path", LISTS)
    def test_new_items_do_not_change_later_pages(self, api: Api, path: str) -> None:
        user, other = api.user(1_000), api.user(1_000)
        for number in range(6):
            assert user.send(other, 1, f"start-{number}").status == 201
            assert user.send(other, 10**9, f"start-failed-{number}").status == 402
        start = page(user, path, limit=100)["data"]
        seen: list[Any] = []
        for number, part in enumerate(pages(user, path, limit=2)):
            seen += part["data"]
            assert user.send(other, 1, f"sent-{number}").status == 201
            assert user.send(other, 10**9, f"failed-{number}").status == 402
            assert other.send(user, 1, f"received-{number}").status == 201
        assert seen == start

    def test_of_a_new_user_are_empty(self, api: Api) -> None:
        user = api.user()
        for path in LISTS:
            empty = {"object": "list", "data": [], "has_more": False, "next_cursor": None}
            assert page(user, path) == empty


class TestCursor:
    def test_that_was_changed_is_refused(self, alice: User) -> None:
        for path in LISTS:
            cursor = page(alice, path, limit=3)["next_cursor"]
            changed = {cursor[:at] + other + cursor[at + 1 :]
                       for at in range(len(cursor)) for other in "AZaz09-_"} - {cursor}  # fmt: skip
            shortened = {cursor[:-1], cursor[1:], cursor + "A", cursor + "=", cursor * 2, ""}
            for text in changed | shortened | {"A", "null", "0", "é", "../..", "%00", " "}:
                with sending(text):
                    problem(alice.get(path, cursor=text), 400, "cursor_invalid")

    @pytest.mark.contract("1.3.2")
    def test_of_another_list_or_another_user_is_refused(self, alice: User, bob: User) -> None:
        cursors = {path: page(alice, path, limit=3)["next_cursor"] for path in LISTS}
        problem(alice.get(HISTORY, cursor=cursors[ENTRIES]), 400, "cursor_invalid")
        problem(alice.get(ENTRIES, cursor=cursors[HISTORY]), 400, "cursor_invalid")
        for path, cursor in cursors.items():
            problem(bob.get(path, cursor=cursor), 400, "cursor_invalid")

    @pytest.mark.contract("1.3.2")
    def test_contains_a_position_without_filters(self, alice: User, history: list[Any]) -> None:
        """The filters are those of each request: other ones apply from the same position."""
        cursor = page(alice, HISTORY, limit=5)["next_cursor"]
        rest = page(alice, HISTORY, limit=100, cursor=cursor, status="failed")["data"]
        assert rest == [step for step in history[5:] if step["status"] == "failed"]


class TestFilters:
    """Each filter compared with the same condition in Python, alone and combined."""

    @pytest.fixture
    def filters(self, bob: User, history: list[Any]) -> dict[str, tuple[Any, Any]]:
        middle = history[len(history) // 2]["created_at"]
        return {
            "direction": ("sent", lambda step: step["direction"] == "sent"),
            "status": ("failed", lambda step: step["status"] == "failed"),
            "amount_min": (12, lambda step: step["amount"] >= 12),
            "amount_max": (13, lambda step: step["amount"] <= 13),
            "created_from": (middle, lambda step: step["created_at"] >= middle),
            "created_to": (middle, lambda step: step["created_at"] < middle),
            "counterparty_id": (
                bob.account_id,
                lambda step: bob.account_id in {step["sender_id"], step["receiver_id"]},
            ),
            "idempotency_key": ("sent-3", lambda step: step["amount"] == 13),
        }

    @pytest.mark.contract("1.3.4")
    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_narrow_the_history(
        self, alice: User, history: list[Any], filters: dict[str, tuple[Any, Any]], size: int
    ) -> None:
        for names in combinations(filters, size):
            query = {name: filters[name][0] for name in names}
            expected = [step for step in history if all(filters[n][1](step) for n in names)]
            with sending(names):
                assert page(alice, HISTORY, limit=100, **query)["data"] == expected

    @pytest.mark.parametrize(
        "query",
        [{"status": "failed"}, {"direction": "received"}, {"amount_min": 12, "amount_max": 16},
         {"status": "completed", "direction": "sent"}],
    )  # fmt: skip
    def test_apply_on_every_page(self, alice: User, query: dict[str, Any]) -> None:
        whole = page(alice, HISTORY, limit=100, **query)["data"]
        assert len(whole) > 4
        for limit in (1, 2, 4):
            assert walk(alice, HISTORY, limit=limit, **query) == whole

    def test_have_the_bounds_of_the_contract(self, alice: User, history: list[Any]) -> None:
        """Amounts and created_from are inclusive, created_to is exclusive."""
        for step in history:
            amount, at = step["amount"], step["created_at"]
            same = [other for other in history if other["amount"] == amount]
            since = [other for other in history if other["created_at"] >= at]
            until = [other for other in history if other["created_at"] < at]
            with sending(step):
                found = page(alice, HISTORY, limit=100, amount_min=amount, amount_max=amount)
                assert found["data"] == same
                assert page(alice, HISTORY, limit=100, created_from=at)["data"] == since
                assert page(alice, HISTORY, limit=100, created_to=at)["data"] == until

    def test_without_a_match_give_an_empty_list(self, alice: User, history: list[Any]) -> None:
        now = datetime.now(UTC)
        for query in (
            {"status": "reversed"}, {"amount_min": 14, "amount_max": 13},
            {"created_from": (now + timedelta(hours=1)).isoformat()},
            {"created_to": history[-1]["created_at"]}, {"idempotency_key": "refused"},
            {"counterparty_id": "acc_01h455vb4pex5vsknk084sn02q"}, {"amount_max": 0},
            {"status": "failed", "direction": "received"},
        ):  # fmt: skip
            with sending(query):
                assert page(alice, HISTORY, **query)["data"] == []

    def test_of_time_narrow_the_entries(self, alice: User) -> None:
        entries = walk(alice, ENTRIES, limit=100)
        for entry in islice(entries, 0, None, 4):
            at = entry["created_at"]
            since = [e for e in entries if e["created_at"] >= at]
            assert walk(alice, ENTRIES, created_from=at, limit=3) == since
            until = [e for e in entries if e["created_at"] < at]
            assert walk(alice, ENTRIES, created_to=at, limit=3) == until
            shifted = datetime.fromisoformat(at).astimezone().isoformat()
            assert walk(alice, ENTRIES, created_to=shifted, limit=100) == until
