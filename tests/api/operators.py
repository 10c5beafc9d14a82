"""Users with a role, for tests of the routes of operators."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from finpay.identity.roles import set_role
from tests.api_process import PASSWORD, Api, User

Post = Callable[..., Any]


def with_role(api: Api, user: User, role: Any) -> User:
    """The user after a new login: a change of role ends the sessions."""
    api.owner(lambda database: set_role(database, user.email, role))
    client = api.client()
    client.login(user.email, PASSWORD)
    return replace(user, client=client)


def operator(api: Api, balance: int = 0) -> User:
    return with_role(api, api.user(balance), "operator")


def auditor(api: Api) -> User:
    return with_role(api, api.user(), "auditor")


def patch(user: User, path: str, **body: Any) -> Any:
    """The raw answer of a PATCH."""
    return user.client.request("PATCH", f"/api/v1{path}", json=body)


def deposit(by: User, account: User, amount: int, key: str, **more: Any) -> Any:
    """The raw answer to a deposit, under a reference that is the key."""
    body = {"account_id": account.account_id, "amount": amount, "reference": key, **more}
    return by.post("/operator/deposits", key, **body)


def withdrawal(owner: User, amount: int, key: str) -> Any:
    """A pending withdrawal."""
    body = {"amount": amount, "destination": {"iban": "ZA1234567890"}}
    made = owner.post("/withdrawals", key, **body)
    assert made.status == 201, made.body
    return made.json()
