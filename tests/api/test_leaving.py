"""Leaving: the account is closed, the person erased, and the ledger still proves itself."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Final

import msgspec
import pytest

from finpay import ids
from finpay.edge.schemas.leaving import Export
from finpay.ledger import closing
from tests.api.assertions import problem
from tests.api.matrix import make_world, pending_approval
from tests.api.operators import operator, withdrawal
from tests.api.second_factors import guarded, wrong_code
from tests.api.test_api_keys import key_of
from tests.api_process import PASSWORD, Api, User

_NUMBERS: Final = count(1)
WRONG: Final = "another battery"


def new(text: str) -> str:
    return f"{text}-{next(_NUMBERS)}"


def close(user: User, password: str = PASSWORD) -> Any:
    return user.post("/accounts/close", password=password)


@pytest.fixture
def alice(api: Api) -> User:
    return api.user(name="Alice Leaves")


def empty(user: User, to: User) -> None:
    if user.balance:
        assert user.send(to, user.balance, new("all")).status == 201


@pytest.mark.contract("12.5.1")
def test_who_leaves_is_erased_and_the_ledger_proves_itself(api: Api) -> None:
    bob = api.user(100)
    world = make_world(api, operator(api))
    alice, name = world.owner, f"Alice {ids.new_uuid()}"
    assert alice.client.request("PATCH", "/api/v1/auth/me", json={"name": name}).status == 200
    alice.post("/payment_requests", amount=1, payer_email=bob.email)
    for route in ("POST /holds/{id}/void", "POST /withdrawals/{id}/cancel"):
        path = route.removeprefix("POST ").replace("{id}", world.ids[route])
        assert alice.post(path, new("k")).status == 200
    for row in alice.get("/holds", status="open").json()["data"]:
        assert alice.post(f"/holds/{row['id']}/void", new("v")).status == 200
    for row in alice.get("/withdrawals", status="pending").json()["data"]:
        assert alice.post(f"/withdrawals/{row['id']}/cancel", new("c")).status == 200
    boss = operator(api)
    for row in boss.get("/operator/approvals", status="pending").json()["data"]:
        boss.post(f"/operator/approvals/{row['id']}/reject", new("r"))
    key = key_of(alice, scopes=["account:read"])["secret"]
    empty(alice, bob)
    assert close(alice).status == 204
    for token in (alice.token, key):
        refused = api.client(access_token=token).request("GET", "/api/v1/accounts")
        problem(refused, 401, "unauthenticated")
    login = api.client().request(
        "POST", "/api/v1/auth/login", json={"email": alice.email, "password": PASSWORD}
    )
    problem(login, 401, "invalid_credentials")
    api.owner(closing.erase)
    assert left_of(api, alice, name) == []
    request = bob.get("/payment_requests").json()["data"]
    assert all(each["status"] != "open" for each in request)
    api.verify()


# Requests of others name the address that their requester wrote, their events what it was then.
OF_OTHERS: Final = ("ledger.payment_requests", "outbox.events", "ledger.idempotency_keys")


def left_of(api: Api, user: User, name: str) -> list[str]:
    """The tables in which the address, the name or a destination can still be found."""
    found = []
    for table in api.sql(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname IN ('identity', 'ledger', 'audit', 'outbox', 'webhooks')"
        " AND format('%I.%I', schemaname, tablename) <> ALL ($1)",
        OF_OTHERS,
    ):
        rows = api.sql(
            f"SELECT count(*) AS n FROM {table['name']} t"
            " WHERE t::text LIKE '%' || $1 || '%' OR t::text LIKE '%' || $2 || '%'",
            user.email,
            name,
        )
        if rows[0]["n"]:
            found.append(table["name"])
    answers = api.sql(
        "SELECT FROM ledger.idempotency_keys WHERE principal_id = $1 AND answer <> ''"
        " UNION ALL SELECT FROM ledger.withdrawals w JOIN ledger.accounts a ON a.id = w.account_id"
        " WHERE a.user_id = $1 AND w.destination::text <> '{}'"
        " UNION ALL SELECT FROM identity.sessions WHERE user_id = $1"
        "   AND (ended_at IS NULL OR device IS NOT NULL OR address IS NOT NULL)"
        " UNION ALL SELECT FROM identity.api_keys WHERE user_id = $1 AND revoked_at IS NULL"
        " UNION ALL SELECT FROM webhooks.endpoints WHERE user_id = $1 AND deleted_at IS NULL"
        " UNION ALL SELECT FROM outbox.events e JOIN ledger.accounts a ON a.id = e.account_id"
        " WHERE a.user_id = $1"
        " UNION ALL SELECT FROM ledger.schedules s JOIN ledger.accounts a ON a.id = s.account_id"
        " WHERE a.user_id = $1 AND s.status <> 'ended'",
        user.uuid,
    )
    return found + ["answers"] * len(answers)


@pytest.mark.contract("12.5.2")
def test_what_is_open_stands_in_the_way(api: Api) -> None:
    alice, bob = api.user(100), api.user(100)
    answer = problem(close(alice), 409, "account_not_closable")
    assert answer["open"] == {"balance": 100, "holds": 0, "withdrawals": 0, "approvals": 0}
    pending = withdrawal(alice, 100, new("w"))
    held = bob.post("/holds", new("h"), receiver_id=alice.account_id, amount=5).json()
    answer = problem(close(alice), 409, "account_not_closable")
    assert answer["open"] == {"balance": 100, "holds": 1, "withdrawals": 1, "approvals": 0}
    assert alice.get("/auth/me").json()["email"] == alice.email
    assert alice.post(f"/holds/{held['id']}/void", new("v")).status == 200
    assert alice.post(f"/withdrawals/{pending['id']}/cancel", new("c")).status == 200
    empty(alice, bob)
    assert close(alice).status == 204


@pytest.mark.contract("12.5.2")
def test_a_pending_approval_stands_in_the_way(api: Api, alice: User) -> None:
    boss = operator(api)
    pending_approval(api, boss, alice)
    answer = problem(close(alice), 409, "account_not_closable")
    assert answer["open"]["approvals"] == 1


@pytest.mark.contract("12.5.2")
def test_a_wrong_password_or_a_frozen_account_closes_nothing(api: Api, alice: User) -> None:
    problem(close(alice, WRONG), 401, "invalid_credentials")
    api.set_status(alice, "frozen")
    problem(close(alice), 403, "account_frozen")
    api.set_status(alice, "active")
    assert alice.get("/auth/me").status == 200
    secret = key_of(alice, scopes=["account:read"])["secret"]
    by_key = api.client(access_token=secret).request(
        "POST", "/api/v1/accounts/close", json={"password": PASSWORD}
    )
    problem(by_key, 403, "forbidden")


@pytest.mark.contract("12.5.1")
def test_an_operator_who_leaves_is_none_any_more(api: Api) -> None:
    boss = operator(api)
    assert close(boss).status == 204
    (row,) = api.sql("SELECT role FROM identity.users WHERE id = $1", boss.uuid)
    assert row["role"] == "user"
    (audit,) = api.sql(
        "SELECT actor_id FROM audit.log WHERE subject_id = $1 AND action = 'role.changed'"
        " ORDER BY id DESC LIMIT 1",
        boss.uuid,
    )
    assert audit["actor_id"] == boss.uuid
    api.verify()


@pytest.mark.contract("12.5.3")
def test_payers_do_not_find_it_and_refunds_are_refused(api: Api, alice: User) -> None:
    bob, boss = api.user(100), operator(api)
    sent = bob.send(alice, 50, new("t")).json()
    paid = alice.send(bob, 50, new("t")).json()
    assert close(alice).status == 204
    problem(bob.send(alice, 1, new("t")), 404, "receiver_not_found")
    by_mail = bob.post("/transactions", new("m"), receiver_email=alice.email, amount=1)
    problem(by_mail, 404, "receiver_not_found")
    hold = bob.post("/holds", new("h"), receiver_id=alice.account_id, amount=1)
    problem(hold, 404, "receiver_not_found")
    dry = bob.client.request(
        "POST",
        "/api/v1/transactions",
        json={"receiver_id": alice.account_id, "amount": 1},
        params={"dry_run": "true"},
    )
    assert dry.json()["outcome"] == "receiver_not_found"
    plan = {"receiver_id": alice.account_id, "amount": 1, "start_at": "2030-01-01T00:00:00Z"}
    problem(bob.post("/schedules", new("s"), **plan), 404, "receiver_not_found")
    refund = bob.post(f"/transactions/{paid['id']}/refunds", new("r"))
    problem(refund, 422, "receiver_unavailable")
    batch = bob.post(
        "/transactions/batch",
        new("b"),
        mode="independent",
        transactions=[{"receiver_id": alice.account_id, "amount": 1},
                      {"receiver_id": boss.account_id, "amount": 1}],
    ).json()["data"]  # fmt: skip
    assert [each["status"] for each in batch] == ["failed", "completed"]
    deposited = boss.post(
        "/operator/deposits", new("d"), account_id=alice.account_id, amount=1, reference=new("d")
    )
    problem(deposited, 404, "receiver_not_found")
    freeze = boss.post(f"/operator/accounts/{alice.account_id}/unfreeze", reason="r")
    problem(freeze, 404, "not_found")
    path = f"/api/v1/operator/accounts/{alice.account_id}/limits"
    problem(boss.client.request("PATCH", path, json={"single": 5}), 404, "not_found")
    ending = boss.post(f"/operator/users/{alice.user_id}/end_sessions", reason="r")
    problem(ending, 404, "not_found")
    assert bob.get(f"/transactions/{sent['id']}").json()["receiver_id"] == alice.account_id
    api.verify()


@pytest.mark.contract("12.5.4")
def test_the_address_is_free_after_90_days(api: Api, alice: User) -> None:
    assert close(alice).status == 204
    repeated = {"email": alice.email, "password": PASSWORD}
    problem(
        api.client().request("POST", "/api/v1/auth/register", json=repeated), 409, "email_taken"
    )
    statement = "UPDATE identity.closed_emails SET free_at = free_at - interval '90 days'"
    api.owner(lambda database: database.execute(statement))
    made = api.client().request("POST", "/api/v1/auth/register", json=repeated)
    assert made.status == 201
    assert made.json()["account"]["id"] != alice.account_id


@pytest.mark.contract("12.5.5")
def test_the_export_has_all_that_the_routes_show(api: Api) -> None:
    world = make_world(api, operator(api))
    alice = world.owner
    for _ in range(3):
        assert alice.send(world.other, 1, new("t")).status == 201
    answer = alice.get("/auth/export")
    assert answer.status == 200
    assert set(answer.json()) == set(Export.__struct_fields__)
    msgspec.json.decode(answer.body, type=Export)
    body = answer.json()
    assert body["user"]["email"] == alice.email
    for name, path in (
        ("holds", "/holds"), ("withdrawals", "/withdrawals"), ("schedules", "/schedules"),
        ("transactions", "/transactions"), ("entries", "/accounts/entries"),
        ("payment_requests", "/payment_requests"), ("api_keys", "/api_keys"),
        ("webhook_endpoints", "/webhook_endpoints"), ("sessions", "/auth/sessions"),
    ):  # fmt: skip
        assert body[name] == alice.get(path, limit=100).json()["data"], name
        assert body[name], name


@pytest.mark.contract("12.5.5")
def test_a_long_history_is_exported_in_pages(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    batch = [{"receiver_id": bob.account_id, "amount": 1}] * 250
    sent = alice.post("/transactions/batch", new("b"), mode="atomic", transactions=batch)
    assert sent.status == 201
    body = alice.get("/auth/export").json()
    versions = [entry["version"] for entry in body["entries"]]
    assert versions == list(range(251, 0, -1))
    assert len({each["id"] for each in body["transactions"]}) == 251


@pytest.mark.contract("12.5.1", "12.5.2")
def test_closing_needs_the_code_of_a_second_factor_and_erases_it(api: Api) -> None:
    person = guarded(api)
    user = person.user
    problem(close(user), 401, "second_factor_required")
    wrong = user.post("/accounts/close", password=PASSWORD, code=wrong_code(person.secret))
    problem(wrong, 401, "second_factor_invalid")
    assert user.post("/accounts/close", password=PASSWORD, code=person.code()).status == 204
    for table in ("identity.second_factors", "identity.recovery_codes", "mail.messages"):
        rows = api.sql(f"SELECT count(*) AS n FROM {table} WHERE user_id = $1", user.uuid)
        assert rows[0]["n"] == 0, table
    api.verify()


@pytest.mark.contract("12.5.1")
def test_what_waits_while_an_account_closes_leaves_nothing_behind(api: Api) -> None:
    """Keys, names and secrets that are asked for in the same moment, and further closings."""
    for _ in range(4):
        user = api.user()
        calls: list[tuple[str, str, dict[str, object]]] = [
            ("POST", "/accounts/close", {"password": PASSWORD}),
            ("POST", "/api_keys", {"name": "k", "scopes": ["account:read"], "password": PASSWORD}),
            ("PATCH", "/auth/me", {"name": "Later"}),
            ("POST", "/auth/second_factor", {"password": PASSWORD}),
            ("POST", "/auth/password", {"current_password": PASSWORD, "new_password": "n" * 20}),
        ] * 3
        with ThreadPoolExecutor(len(calls)) as threads:
            sent = [
                threads.submit(user.client.request, method, f"/api/v1{path}", json=body)
                for method, path, body in calls
            ]
        statuses = [each.result().status for each in sent]
        assert max(statuses) < 500, statuses
        if close(user).status == 204 or 204 in statuses[::5]:
            (row,) = api.sql(
                "SELECT name, (SELECT count(*) FROM identity.api_keys k WHERE k.user_id = u.id"
                " AND k.revoked_at IS NULL) AS keys, (SELECT count(*) FROM identity.second_factors"
                " f WHERE f.user_id = u.id) AS factors FROM identity.users u WHERE id = $1",
                user.uuid,
            )
            assert tuple(row) == (None, 0, 0)
    api.verify()
