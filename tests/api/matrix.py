"""What the authorisation matrix asks of each route: resources of one user, and requests to them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from finpay import ids
from finpay.edge.router import API, Route
from tests.api.operators import withdrawal
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
            "POST /api_keys": {"name": "k", "scopes": ["account:read"], "password": PASSWORD},
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
            "PATCH /operator/accounts/{id}/limits": {"single": 10**6},
        }  # fmt: skip
        return bodies.get(name)


def make_world(api: Api, operator: User) -> World:
    """A user who has one of everything, and is a party of it where there are two."""
    owner, other = api.user(10_000), api.user(10_000)
    world = World(api, owner, other)
    received = other.send(owner, 100, _key()).json()["id"]
    holds = [_made(other, "/holds", receiver_id=owner.account_id, amount=10) for _ in range(3)]
    withdrawals = [withdrawal(owner, 1, _key())["id"] for _ in range(4)]
    asked = [_made(owner, "/payment_requests", amount=1, payer_email=other.email)] * 1
    to_pay = [_made(other, "/payment_requests", amount=1, payer_email=owner.email)
              for _ in range(2)]  # fmt: skip
    start = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    plan = {"receiver_id": other.account_id, "amount": 1, "start_at": start}
    schedules = [_made(owner, "/schedules", **plan) for _ in range(3)]
    assert owner.post(f"/schedules/{schedules[1]}/pause").status == 200
    endpoint = _made(owner, "/webhook_endpoints", **ENDPOINT)
    doomed = _made(owner, "/webhook_endpoints", **ENDPOINT)
    ping = owner.post(f"/webhook_endpoints/{endpoint}/test").json()["id"]
    event = owner.get("/events").json()["data"][0]["id"]
    session = owner.get("/auth/sessions").json()["data"][0]["id"]
    approvals = [_pending(api, operator, owner) for _ in range(2)]
    world.ids = {
        "DELETE /auth/sessions/{id}": session,
        "DELETE /api_keys/{id}": key_of(owner, scopes=["account:read"])["id"],
        "GET /transactions/{id}": received,
        "POST /transactions/{id}/refunds": received,
        "GET /holds/{id}": holds[0],
        "POST /holds/{id}/capture": holds[0],
        "POST /holds/{id}/void": holds[1],
        "GET /withdrawals/{id}": withdrawals[0],
        "POST /withdrawals/{id}/cancel": withdrawals[0],
        "GET /payment_requests/{id}": asked[0],
        "GET /payment_requests/{id}/qr": asked[0],
        "POST /payment_requests/{id}/pay": to_pay[0],
        "POST /payment_requests/{id}/cancel": asked[0],
        "POST /payment_requests/{id}/decline": to_pay[1],
        "GET /schedules/{id}": schedules[0],
        "POST /schedules/{id}/pause": schedules[0],
        "POST /schedules/{id}/resume": schedules[1],
        "POST /schedules/{id}/cancel": schedules[2],
        "GET /events/{id}": event,
        "GET /webhook_endpoints/{id}": endpoint,
        "PATCH /webhook_endpoints/{id}": endpoint,
        "DELETE /webhook_endpoints/{id}": doomed,
        "POST /webhook_endpoints/{id}/rotate_secret": endpoint,
        "GET /webhook_endpoints/{id}/deliveries": endpoint,
        "POST /webhook_endpoints/{id}/test": endpoint,
        "POST /webhook_endpoints/{id}/replay": endpoint,
        "GET /deliveries/{id}": ping,
        "POST /deliveries/{id}/retry": ping,
        "GET /operator/users/{id}": owner.user_id,
        "POST /operator/users/{id}/end_sessions": other.user_id,
        **{f"GET /operator/accounts/{{id}}{each}": owner.account_id
           for each in ("", "/entries", "/holds", "/freezes")},
        "POST /operator/accounts/{id}/freeze": other.account_id,
        "POST /operator/accounts/{id}/unfreeze": other.account_id,
        "PATCH /operator/accounts/{id}/limits": other.account_id,
        "GET /operator/transactions/{id}": received,
        "POST /operator/transactions/{id}/refunds": received,
        "GET /operator/withdrawals/{id}": withdrawals[1],
        "POST /operator/withdrawals/{id}/complete": withdrawals[1],
        "POST /operator/withdrawals/{id}/reject": withdrawals[2],
        "POST /operator/holds/{id}/void": holds[2],
        "GET /operator/approvals/{id}": approvals[0],
        "POST /operator/approvals/{id}/approve": approvals[0],
        "POST /operator/approvals/{id}/reject": approvals[1],
    }  # fmt: skip
    return world


def _made(user: User, path: str, **body: Any) -> str:
    answer = user.post(path, _key(), **body)
    assert answer.status == 201, answer.body
    made: str = answer.json()["id"]
    return made


def _pending(api: Api, operator: User, account: User) -> str:
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
