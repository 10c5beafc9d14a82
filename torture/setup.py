"""Before the first fault: eight users with money and webhook endpoints, and two operators."""

import json
from collections.abc import Sequence
from typing import Any, Final

from finpay.db.pool import Database
from finpay.dev.child_process import DevError
from finpay.identity.roles import set_role
from finpay.ledger import administration
from torture.http_client import Client
from torture.workload import Wallet

WALLETS: Final = 8
OPERATORS: Final = 2  # what one asks for the other may approve
BALANCE: Final = 100_000  # minor units each
TOTAL: Final = WALLETS * BALANCE

SUBSCRIBED: Final = [
    "transaction.*", "hold.*", "withdrawal.*", "payment_request.*", "schedule.*"
]  # fmt: skip


class NotReady(DevError):
    """The API failed before the first fault."""


async def register(ports: Sequence[int]) -> tuple[Wallet, ...]:
    """Registers the users, logged in, without money."""
    client = Client(ports)
    emails = [f"wallet-{number}@example.com" for number in range(WALLETS)]
    wallets = [await _enter(client, "register", email) for email in emails]
    client.reset()
    return tuple(wallets)


async def register_operators(database: Database, ports: Sequence[int]) -> tuple[Wallet, ...]:
    """Registers the operators, logged in again: a new role ends the sessions."""
    client = Client(ports)
    operators = []
    for number in range(OPERATORS):
        email = f"operator-{number}@example.com"
        await _enter(client, "register", email)
        await set_role(database, email, "operator")
        operators.append(await _enter(client, "login", email))
    client.reset()
    return tuple(operators)


async def subscribe(ports: Sequence[int], wallet: Wallet, url: str) -> None:
    """Subscribes `url` to the transactions and operations of the wallet."""
    client = Client(ports)
    body = {"url": url, "event_types": SUBSCRIBED}
    await _post(client, "/api/v1/webhook_endpoints", body, wallet.token)
    client.reset()


async def fund(database: Database, wallets: Sequence[Wallet]) -> None:
    for number, wallet in enumerate(wallets):
        await administration.fund(database, wallet.account, BALANCE, f"torture-{number}")


async def _enter(client: Client, route: str, email: str) -> Wallet:
    """The user after register or login."""
    body = {"email": email, "password": "correct horse battery"}
    entered = await _post(client, f"/api/v1/auth/{route}", body)
    return Wallet(entered["account"]["id"], entered["access_token"], email)


async def _post(client: Client, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = await client.request("POST", path, headers, json.dumps(body).encode())
    if response.status not in {200, 201}:
        raise NotReady(f"POST {path}: {response.status} {response.body[:200]!r}")
    return response.json()
