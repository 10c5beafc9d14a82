"""Before the first fault: eight users with money and webhook endpoints."""

import json
from collections.abc import Sequence
from typing import Any, Final

from finpay.db.pool import Database
from finpay.dev.child_process import DevError
from finpay.ledger import administration
from torture.http_client import Client
from torture.workload import Wallet

WALLETS: Final = 8
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
    wallets = []
    for number in range(WALLETS):
        email = f"wallet-{number}@example.com"
        body = {"email": email, "password": "correct horse battery"}
        login = await _post(client, "/api/v1/auth/register", body)
        wallets.append(Wallet(login["account"]["id"], login["access_token"], email))
    client.reset()
    return tuple(wallets)


async def subscribe(ports: Sequence[int], wallet: Wallet, url: str) -> None:
    """Subscribes `url` to the transactions and operations of the wallet."""
    client = Client(ports)
    body = {"url": url, "event_types": SUBSCRIBED}
    await _post(client, "/api/v1/webhook_endpoints", body, wallet.token)
    client.reset()


async def fund(database: Database, wallets: Sequence[Wallet]) -> None:
    for number, wallet in enumerate(wallets):
        await administration.fund(database, wallet.account, BALANCE, f"torture-{number}")


async def _post(client: Client, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = await client.request("POST", path, headers, json.dumps(body).encode())
    if response.status != 201:
        raise NotReady(f"POST {path}: {response.status} {response.body[:200]!r}")
    return response.json()
