"""Requests that wait for a lock while the account of their user closes leave nothing behind."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Final

import pytest

from finpay.db.pool import Database
from finpay.ledger import closing
from tests.api.test_leaving import close, left_of
from tests.api_process import PASSWORD, Api, User

_NUMBERS: Final = count(1)
ENDPOINT: Final[dict[str, Any]] = {"url": "https://example.com/hook", "event_types": ["*"]}
PLAN: Final[dict[str, Any]] = {"amount": 1, "start_at": "2030-01-01T00:00:00Z"}
NAME: Final = "Zaphod Who Leaves"
BLOCKED_LIMIT_S: Final = 5.0
LATER_S: Final = 0.8  # for the requests to reach their locks
# What the other tables of a closed account must not have. $1 is the user.
LEFT_BEHIND: Final = {
    "active sessions": "identity.sessions WHERE user_id = $1 AND ended_at IS NULL",
    "API keys": "identity.api_keys WHERE user_id = $1 AND revoked_at IS NULL",
    "second factors": "identity.second_factors WHERE user_id = $1",
    "challenges": "identity.login_challenges WHERE user_id = $1",
    "mails": "mail.messages WHERE user_id = $1",
    "tokens of mails": "mail.tokens WHERE user_id = $1",
    "endpoints": "webhooks.endpoints WHERE user_id = $1 AND (enabled OR deleted_at IS NULL)",
    "secrets": "webhooks.secrets s JOIN webhooks.endpoints e ON e.id = s.endpoint_id"
    " WHERE e.user_id = $1",
    "requests": "ledger.payment_requests r JOIN ledger.accounts a ON a.id = r.requester_id"
    " WHERE a.user_id = $1 AND r.status = 'open'",
    "schedules": "ledger.schedules s JOIN ledger.accounts a ON a.id = s.account_id"
    " WHERE a.user_id = $1 AND s.status <> 'ended'",
    "raised limits": "ledger.account_limits l JOIN ledger.accounts a ON a.id = l.account_id"
    " WHERE a.user_id = $1 AND l.effective_at IS NOT NULL",
}


def calls(user: User, other: User, endpoint: str, schedule: str) -> dict[str, tuple[Any, ...]]:
    """Method, path and body of what its user may ask for at the same time."""
    email = {"email": user.email}
    return {
        "a key": ("POST", "/api_keys", {"name": "k", "scopes": ["account:read"],
                                        "password": PASSWORD}),
        "a name": ("PATCH", "/auth/me", {"name": NAME}),
        "a second factor": ("POST", "/auth/second_factor", {"password": PASSWORD}),
        "a password": ("POST", "/auth/password", {"current_password": PASSWORD,
                                                  "new_password": "n" * 9 + "ever mind"}),
        "a session": ("POST", "/auth/login", email | {"password": PASSWORD}),
        "a mail": ("POST", "/auth/password/forgot", email),
        "another mail": ("POST", "/auth/email/verification", None),
        "an endpoint": ("POST", "/webhook_endpoints", ENDPOINT),
        "another url": ("PATCH", f"/webhook_endpoints/{endpoint}", {"enabled": True}),
        "another secret": ("POST", f"/webhook_endpoints/{endpoint}/rotate_secret", {}),
        "limits": ("PATCH", "/accounts", {"limits": {"single": None}}),
        "money": ("POST", "/payment_requests", {"amount": 1, "payer_email": other.email}),
        "a plan": ("POST", "/schedules", PLAN | {"receiver_id": other.account_id}),
        "the plan": ("POST", f"/schedules/{schedule}/resume", None),
        "a payment": ("POST", "/transactions", {"receiver_id": other.account_id, "amount": 1}),
        "a withdrawal": ("POST", "/withdrawals", {"amount": 1, "destination": {"to": "Alice"}}),
    }  # fmt: skip


async def blocked(api: Api) -> None:
    """Returns once a statement waits for a lock."""
    query = (
        "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND datname = current_database()"
    )
    async with asyncio.timeout(BLOCKED_LIMIT_S):
        while not await asyncio.to_thread(api.sql, query):
            await asyncio.sleep(0.02)


def while_it_closes(api: Api, user: User, named: dict[str, tuple[Any, ...]]) -> dict[str, int]:
    """The statuses: the closing waits for the account first, then all others for their locks."""

    def send(method: str, path: str, body: Any) -> int:
        key = {"X-Idempotency-Key": f"k-{next(_NUMBERS)}"}
        answer = user.client.request(method, f"/api/v1{path}", json=body, headers=key)
        return int(answer.status)

    async def run(database: Database) -> dict[str, int]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(len(named) + 2))
        async with database.transaction() as transaction:
            await transaction.execute(
                "SELECT FROM ledger.accounts WHERE user_id = $1 FOR NO KEY UPDATE", user.uuid
            )
            closed = asyncio.create_task(asyncio.to_thread(close, user))
            await blocked(api)
            sent = [asyncio.create_task(asyncio.to_thread(send, *each)) for each in named.values()]
            await asyncio.sleep(LATER_S)
        statuses = await asyncio.gather(*sent)
        assert (await closed).status == 204
        return dict(zip(named, statuses, strict=True))

    return api.owner(run)


@pytest.mark.contract("12.5.1")
def test_they_leave_nothing_behind(api: Api) -> None:
    user, other = api.user(name=NAME), api.user()
    endpoint = user.post("/webhook_endpoints", **ENDPOINT).json()["id"]
    schedule = user.post("/schedules", **PLAN, receiver_id=other.account_id).json()["id"]
    assert user.post(f"/schedules/{schedule}/pause").status == 200
    for single in (5, 6):  # the second one waits for a day
        limits = {"limits": {"single": single}}
        assert user.client.request("PATCH", "/api/v1/accounts", json=limits).status == 200
    statuses = while_it_closes(api, user, calls(user, other, endpoint, schedule))
    assert max(statuses.values()) < 500, statuses
    api.owner(closing.erase)
    found = {
        name: api.sql(f"SELECT count(*) AS n FROM {rows}", user.uuid)[0]["n"]
        for name, rows in LEFT_BEHIND.items()
    }
    assert {name: n for name, n in found.items() if n} == {}, statuses
    assert left_of(api, user, NAME) == []
    api.verify()
