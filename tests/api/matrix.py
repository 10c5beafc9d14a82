"""What the authorisation matrix asks of each route: resources of one user, and requests to them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from finpay import ids
from finpay.edge.router import API, Route
from tests.api.operators import withdrawal
from tests.api.second_factors import guarded
from tests.api.test_api_keys import key_of
from tests.api_process import PASSWORD, Api, User

_NUMBERS: Final = count(1)
ENDPOINT: Final = {"url": "https://example.com/hook", "event_types": ["transaction.*"]}


def name_of(route: Route) -> str:
    return f"{route.method} {route.path.removeprefix(API)}"


@dataclass
class World:
    """One user's resources, before anything is asked. `ids` are those in paths, by route."""

    api: Api
    owner: User
    other: User
    ids: dict[str, str] = field(default_factory=dict)

    def ask(self, user: User, route: Route, **more: Any) -> Any:
        """The raw answer to a valid request."""
        name = name_of(route)
        path = route.path.replace("{id}", self.ids.get(name, "x"))
        body = self.body(name)
        headers = {"X-Idempotency-Key": f"matrix-{next(_NUMBERS)}"} if route.needs_key else {}
        return user.client.request(route.method, path, json=body, headers=headers, **more)

    def body(self, name: str) -> dict[str, Any] | None:
        """A valid body."""
        to_other = {"receiver_id": self.other.account_id, "amount": 1}
        reason, reference = {"reason": "r"}, f"matrix-{next(_NUMBERS)}"
        start = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        bodies: dict[str, dict[str, Any]] = {
            "POST /auth/password": {"current_password": PASSWORD, "new_password": PASSWORD},
            "PATCH /auth/me": {"name": "Owner"},
            "POST /auth/second_factor": {"password": PASSWORD},
            "POST /auth/second_factor/confirm": {"code": "wrong"},
            "POST /auth/second_factor/disable": {"password": PASSWORD, "code": "wrong"},
            "POST /api_keys": {"name": "k", "scopes": ["account:read"], "password": PASSWORD},
            "POST /accounts/close": {"password": PASSWORD},
            "PATCH /accounts": {"limits": {"single": 10**6}},
            "POST /transactions": to_other,
            "POST /transactions/batch": {"mode": "atomic", "transactions": [to_other]},
            "POST /holds": to_other,
            "POST /withdrawals": {"amount": 1, "destination": {"iban": "ZA1"}},
            "POST /payment_requests": {"amount": 1},
            "POST /payment_requests/split": {
                "amount": 2, "payer_emails": [self.other.email, "nobody@example.com"],
            },
            "POST /schedules": {**to_other, "start_at": start},
            "POST /webhook_endpoints": ENDPOINT,
            "PATCH /webhook_endpoints/{id}": {"enabled": True},
            "POST /webhook_endpoints/{id}/replay": {"since": "2026-01-01T00:00:00Z"},
            "POST /operator/deposits": {
                "account_id": self.owner.account_id, "amount": 1, "reference": reference,
            },
            "POST /operator/withdrawals/{id}/complete": {"reference": reference},
            "POST /operator/withdrawals/{id}/reject": reason,
            "POST /operator/accounts/{id}/freeze": reason,
            "POST /operator/accounts/{id}/unfreeze": reason,
            "POST /operator/users/{id}/end_sessions": reason,
            "POST /operator/users/{id}/reset_second_factor": reason,
            "PATCH /operator/accounts/{id}/limits": {"single": 10**6},
        }  # fmt: skip
        return bodies.get(name)


def make_world(api: Api, operator: User) -> World:
    """A user who has one of everything, and is a party of it where there are two."""
    owner, other = api.user(10_000), api.user(10_000)
    world = World(api, owner, other)
    assert owner.post("/auth/second_factor", password=PASSWORD).status == 200
    world.ids = {
        "DELETE /auth/sessions/{id}": owner.get("/auth/sessions").json()["data"][0]["id"],
        "GET /requests/{id}": owner.get("/accounts").headers["x-request-id"],
        "DELETE /api_keys/{id}": key_of(owner, scopes=["account:read"])["id"],
        "GET /events/{id}": owner.get("/events").json()["data"][0]["id"],
        **_of_money(owner, other),
        **_of_requests(owner, other),
        **_of_webhooks(owner),
        **_of_operators(world, operator),
    }
    return world


def _of_money(owner: User, other: User) -> dict[str, str]:
    received = other.send(owner, 100, _key()).json()["id"]
    holds = [_made(other, "/holds", receiver_id=owner.account_id, amount=10) for _ in range(2)]
    pending = withdrawal(owner, 1, _key())["id"]
    return {
        "GET /transactions/{id}": received,
        "POST /transactions/{id}/refunds": received,
        "GET /holds/{id}": holds[0],
        "POST /holds/{id}/capture": holds[0],
        "POST /holds/{id}/void": holds[1],
        "GET /withdrawals/{id}": pending,
        "POST /withdrawals/{id}/cancel": pending,
    }


def _of_requests(owner: User, other: User) -> dict[str, str]:
    asked = _made(owner, "/payment_requests", amount=1, payer_email=other.email)
    to_pay, to_decline = (
        _made(other, "/payment_requests", amount=1, payer_email=owner.email) for _ in range(2)
    )
    start = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    plan = {"receiver_id": other.account_id, "amount": 1, "start_at": start}
    active, paused, doomed = (_made(owner, "/schedules", **plan) for _ in range(3))
    assert owner.post(f"/schedules/{paused}/pause").status == 200
    return {
        "GET /payment_requests/{id}": asked,
        "GET /payment_requests/{id}/qr": asked,
        "POST /payment_requests/{id}/pay": to_pay,
        "POST /payment_requests/{id}/cancel": asked,
        "POST /payment_requests/{id}/decline": to_decline,
        "GET /schedules/{id}": active,
        "POST /schedules/{id}/pause": active,
        "POST /schedules/{id}/resume": paused,
        "POST /schedules/{id}/cancel": doomed,
    }


def _of_webhooks(owner: User) -> dict[str, str]:
    endpoint, doomed = (_made(owner, "/webhook_endpoints", **ENDPOINT) for _ in range(2))
    ping = owner.post(f"/webhook_endpoints/{endpoint}/test").json()["id"]
    return {
        "GET /webhook_endpoints/{id}": endpoint,
        "PATCH /webhook_endpoints/{id}": endpoint,
        "DELETE /webhook_endpoints/{id}": doomed,
        "POST /webhook_endpoints/{id}/rotate_secret": endpoint,
        "GET /webhook_endpoints/{id}/deliveries": endpoint,
        "POST /webhook_endpoints/{id}/test": endpoint,
        "POST /webhook_endpoints/{id}/replay": endpoint,
        "GET /deliveries/{id}": ping,
        "POST /deliveries/{id}/retry": ping,
    }


def _of_operators(world: World, operator: User) -> dict[str, str]:
    owner, other = world.owner, world.other
    received = other.send(owner, 100, _key()).json()["id"]
    hold = _made(other, "/holds", receiver_id=owner.account_id, amount=10)
    paid, rejected = (withdrawal(owner, 1, _key())["id"] for _ in range(2))
    approvals = [pending_approval(world.api, operator, owner) for _ in range(2)]
    return {
        "GET /operator/users/{id}": owner.user_id,
        "POST /operator/users/{id}/end_sessions": other.user_id,
        "POST /operator/users/{id}/reset_second_factor": guarded(world.api).user.user_id,
        "GET /operator/accounts/{id}": owner.account_id,
        "GET /operator/accounts/{id}/entries": owner.account_id,
        "GET /operator/accounts/{id}/holds": owner.account_id,
        "GET /operator/accounts/{id}/freezes": owner.account_id,
        "POST /operator/accounts/{id}/freeze": other.account_id,
        "POST /operator/accounts/{id}/unfreeze": other.account_id,
        "PATCH /operator/accounts/{id}/limits": other.account_id,
        "GET /operator/transactions/{id}": received,
        "POST /operator/transactions/{id}/refunds": received,
        "GET /operator/withdrawals/{id}": paid,
        "POST /operator/withdrawals/{id}/complete": paid,
        "POST /operator/withdrawals/{id}/reject": rejected,
        "POST /operator/holds/{id}/void": hold,
        "GET /operator/approvals/{id}": approvals[0],
        "POST /operator/approvals/{id}/approve": approvals[0],
        "POST /operator/approvals/{id}/reject": approvals[1],
    }


def _made(user: User, path: str, **body: Any) -> str:
    answer = user.post(path, _key(), **body)
    assert answer.status == 201, answer.body
    made: str = answer.json()["id"]
    return made


def pending_approval(api: Api, operator: User, account: User) -> str:
    """An approval of another operator's deposit; this API needs none, so it is written."""
    approval_id = ids.new_uuid()
    api.owner(lambda database: database.execute(
        "INSERT INTO ledger.approvals (id, requested_by, account_id, amount, created_at,"
        " expires_at, action, currency, reference) VALUES ($1, $2, $3, 5, clock_timestamp(),"
        " clock_timestamp() + interval '7 days', 'deposit', 'ZAR', $4)",
        approval_id, operator.uuid, ids.decode("acc", account.account_id), str(approval_id),
    ))  # fmt: skip
    return ids.encode("apr", approval_id)


def _key() -> str:
    return f"made-{next(_NUMBERS)}-{ids.new_uuid()}"
