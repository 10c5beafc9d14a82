"""/webhook_endpoints: create, retrieve, update, delete, list; secrets and ownership."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from finpay import ids
from finpay.outbox import event_types
from tests.api.assertions import TIME, invalid, problem, sending
from tests.api.webhook_assertions import MEMBERS, PATH, SECRET, URL, ask, endpoint, made
from tests.api_process import Api, User


@pytest.fixture(scope="module")
def user(api: Api) -> User:
    return api.user()


def test_a_new_endpoint_is_returned_with_its_secret(user: User) -> None:
    body = {"url": URL, "event_types": ["transaction.*"]}
    shown = endpoint(ask(user, "POST", json=body), 201)
    assert re.fullmatch(SECRET, shown["secret"])
    assert shown == {
        **dict.fromkeys(MEMBERS),
        **body,
        "id": shown["id"],
        "object": "webhook_endpoint",
        "enabled": True,
        "created_at": shown["created_at"],
        "updated_at": shown["updated_at"],
        "secret": shown["secret"],
    }
    full = {**body, "description": "Ünser Laden", "enabled": False, "event_types": ["*"]}
    switched_off = endpoint(ask(user, "POST", json=full), 201)
    assert {name: switched_off[name] for name in full} == full
    assert switched_off["disabled_reason"] == "owner"
    assert switched_off["disabled_at"] is not None


def test_only_the_patterns_of_the_event_types_are_accepted(user: User) -> None:
    patterns = event_types.patterns()
    shown = made(user, event_types=[*patterns, *patterns[:20]])
    assert shown["event_types"] == patterns, "each once"
    for wrong in ("", "transaction", "transaction.", "transaction.x", "*.*", "t*", "Transaction.*"):
        with sending(wrong):
            body = {"url": URL, "event_types": ["account.*", wrong]}
            invalid(ask(user, "POST", json=body), "#/event_types/1")
            invalid(ask(user, "PATCH", f"/{shown['id']}", body), "#/event_types/1")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"url": ...}, "#/url"),
        ({"url": None}, "#/url"),
        ({"url": ""}, "#/url"),
        ({"url": 1}, "#/url"),
        ({"url": "example.com"}, "#/url"),
        ({"url": "ftp://example.com/"}, "#/url"),
        ({"url": "https://user@example.com/"}, "#/url"),
        ({"url": "https://127.0.0.1/"}, "#/url"),
        ({"url": "https://localhost/"}, "#/url"),
        ({"url": "https://169.254.169.254/latest"}, "#/url"),
        ({"url": "https://[::1]/"}, "#/url"),
        ({"url": "https://2130706433/"}, "#/url"),
        ({"url": "https://93.184.215.14:22/"}, "#/url"),
        ({"url": f"https://93.184.215.14/{'x' * 2048}"}, "#/url"),
        ({"event_types": ...}, "#/event_types"),
        ({"event_types": []}, "#/event_types"),
        ({"event_types": None}, "#/event_types"),
        ({"event_types": "*"}, "#/event_types"),
        ({"event_types": [1]}, "#/event_types/0"),
        ({"event_types": ["*"] * 65}, "#/event_types"),
        ({"description": "x" * 501}, "#/description"),
        ({"description": 1}, "#/description"),
        ({"description": "a\0b"}, "#/description"),
        ({"enabled": None}, "#/enabled"),
        ({"enabled": "yes"}, "#/enabled"),
        ({"secret": "whsec_x"}, "#/secret"),
        ({"id": "whe_x"}, "#/id"),
    ],
)
def test_the_invalid_member_is_named(user: User, change: dict[str, Any], pointer: str) -> None:
    whole = {"url": URL, "event_types": ["*"], **change}
    given = {name: value for name, value in whole.items() if value is not ...}
    invalid(ask(user, "POST", json=given), pointer)
    if ... not in change.values():
        unknown = ids.encode("whe", ids.new_uuid())
        invalid(ask(user, "PATCH", f"/{unknown}", change), pointer)


@pytest.mark.contract("6.2.1")
def test_an_update_leaves_other_members_unchanged(user: User) -> None:
    before = made(user, description="old") | {"secret": None}
    path = f"/{before['id']}"
    assert endpoint(ask(user, "PATCH", path, {})) == before
    for change in (
        {"description": "new"},
        {"description": None},
        {"url": f"{URL}/2"},
        {"event_types": ["account.updated", "session.*"]},
        {"url": URL, "description": "both"},
    ):
        after = endpoint(ask(user, "PATCH", path, change))
        assert after == {**before, **change, "updated_at": after["updated_at"]}
        assert after["updated_at"] > before["updated_at"]
        assert endpoint(ask(user, "GET", path)) == after
        before = after


def test_the_body_of_an_update_is_checked_like_every_body(user: User) -> None:
    path = f"{PATH}/{made(user)['id']}"
    for body, status, code in (
        (b'{"enabled":true', 400, "malformed_json"),
        (b'{"enabled":true,"enabled":true}', 400, "malformed_json"),
        (b"[]", 422, "validation_failed"),
        (b"", 400, "malformed_json"),
    ):
        problem(user.client.request("PATCH", path, content=body), status, code)
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = user.client.request("PATCH", path, content=b"{}", headers=headers)
    problem(answer, 415, "unsupported_media_type")


def test_enabling_resets_the_failures(api: Api, user: User) -> None:
    made_here = made(user)
    path, key = f"/{made_here['id']}", ids.decode("whe", made_here["id"])
    api.sql(
        "UPDATE webhooks.endpoints SET enabled = false, disabled_at = now(), failures_in_row = 9,"
        " disabled_reason = 'failing', first_failing_at = now() WHERE id = $1",
        key,
    )
    given_up = endpoint(ask(user, "GET", path))
    assert (given_up["enabled"], given_up["disabled_reason"]) == (False, "failing")
    assert re.fullmatch(TIME, given_up["disabled_at"])
    assert re.fullmatch(TIME, given_up["failing_since"])
    kept = endpoint(ask(user, "PATCH", path, {"enabled": False}))
    assert kept["disabled_reason"] == "failing", "it was off already, and not by its owner"
    enabled = endpoint(ask(user, "PATCH", path, {"enabled": True}))
    assert enabled["enabled"] is True
    assert [enabled[name] for name in ("disabled_reason", "disabled_at", "failing_since")] == [
        None
    ] * 3
    (row,) = api.sql("SELECT failures_in_row FROM webhooks.endpoints WHERE id = $1", key)
    assert row["failures_in_row"] == 0
    off = endpoint(ask(user, "PATCH", path, {"enabled": False}))
    assert (off["enabled"], off["disabled_reason"]) == (False, "owner")


@pytest.mark.contract("6.2.1")
def test_a_deleted_endpoint_is_404_and_its_secrets_are_deleted(api: Api) -> None:
    user = api.user()
    gone, kept = made(user), made(user)
    path = f"/{gone['id']}"
    answer = ask(user, "DELETE", path)
    assert (answer.status, answer.body) == (204, b"")
    for method, rest, body in (
        ("GET", "", None),
        ("PATCH", "", {"enabled": True}),
        ("DELETE", "", None),
        ("POST", "/rotate_secret", None),
        ("GET", "/deliveries", None),
    ):
        problem(ask(user, method, path + rest, body), 404, "not_found")
    assert [each["id"] for each in ask(user, "GET").json()["data"]] == [kept["id"]]
    query = "SELECT endpoint_id FROM webhooks.secrets WHERE endpoint_id = ANY ($1)"
    keys = [ids.decode("whe", each["id"]) for each in (gone, kept)]
    assert [row["endpoint_id"] for row in api.sql(query, keys)] == keys[1:]


@pytest.mark.contract("6.2.1")
def test_concurrent_requests_create_at_most_sixteen_endpoints(api: Api) -> None:
    user, other = api.user(), api.user()
    body = {"url": URL, "event_types": ["*"]}
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: ask(user, "POST", json=body), range(20)))
    assert sorted(answer.status for answer in answers) == [201] * 16 + [422] * 4
    for answer in answers:
        if answer.status == 422:
            problem(answer, 422, "validation_failed")
    listed = ask(user, "GET", params={"limit": 100}).json()["data"]
    assert len(listed) == 16
    assert ask(user, "DELETE", f"/{listed[3]['id']}").status == 204
    made(user)
    problem(ask(user, "POST", json=body), 422, "validation_failed")
    made(other)


def test_endpoints_of_other_users_are_404_like_missing_ones(api: Api, user: User) -> None:
    theirs = made(api.user())["id"]
    nothing = ids.encode("whe", ids.new_uuid())
    for method, rest, body in (
        ("GET", "", None),
        ("PATCH", "", {"enabled": False}),
        ("DELETE", "", None),
        ("POST", "/rotate_secret", None),
        ("POST", "/test", None),
        ("POST", "/replay", {"since": "2026-01-01T00:00:00Z"}),
        ("GET", "/deliveries", None),
    ):
        problems = []
        for name in (theirs, nothing, user.account_id, "whe_x", "x"):
            answer = ask(user, method, f"/{name}{rest}", body)
            problems.append({**problem(answer, 404, "not_found"), "request_id": None})
            headers = {"Authorization": None}
            problem(
                ask(user, method, f"/{name}{rest}", body, headers=headers), 401, "unauthenticated"
            )
        assert all(each == problems[0] for each in problems), method
    assert api.sql(
        "SELECT 1 FROM webhooks.endpoints WHERE id = $1 AND enabled", ids.decode("whe", theirs)
    )


def test_the_list_is_newest_first_and_comes_in_pages(api: Api) -> None:
    user = api.user()
    names = [made(user)["id"] for _ in range(5)][::-1]
    assert names == sorted(names, reverse=True)
    first = ask(user, "GET", params={"limit": 2})
    found = [each["id"] for each in first.json()["data"]]
    page = first.json()
    while page["has_more"]:
        answer = ask(user, "GET", params={"limit": 2, "cursor": page["next_cursor"]})
        page = answer.json()
        found += [each["id"] for each in page["data"]]
    assert (found, page["next_cursor"]) == (names, None)
    cursor = first.json()["next_cursor"]
    assert first.headers["Link"] == f'<{PATH}?limit=2&cursor={cursor}>; rel="next"'
    other = api.user()
    problem(ask(other, "GET", params={"cursor": cursor}), 400, "cursor_invalid")
    problem(ask(user, "GET", params={"cursor": "x"}), 400, "cursor_invalid")
    invalid(ask(user, "GET", params={"status": "failed"}), "status", kind="parameter")
