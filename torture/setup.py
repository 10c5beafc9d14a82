"""Before the first fault: eight users with money, through the API and the operator's command."""

import json
from collections.abc import Sequence
from typing import Any, Final

from finpay.db.pool import Database
from finpay.dev.child_process import DevError
from finpay.ledger import administration
from torture.raw_http import Line
from torture.workload import Wallet

WALLETS: Final = 8
BALANCE: Final = 100_000  # minor units each
TOTAL: Final = WALLETS * BALANCE


class NotReady(DevError):
    """The API did not do what has to work before there is anything to break."""


async def register(ports: Sequence[int]) -> tuple[Wallet, ...]:
    """The users, logged in, without money yet."""
    line = Line(ports, 0)
    wallets = []
    for number in range(WALLETS):
        email = f"wallet-{number}@example.com"
        body = {"email": email, "password": "correct horse battery"}
        made = await _post(line, "/api/v1/auth/register", body)
        wallets.append(Wallet(made["account"]["id"], made["access_token"], email))
    line.drop()
    return tuple(wallets)


async def listen(ports: Sequence[int], wallet: Wallet, url: str) -> None:
    """Wants all events about transactions at `url`."""
    line = Line(ports, 0)
    body = {"url": url, "event_types": ["transaction.*"]}
    await _post(line, "/api/v1/webhook_endpoints", body, wallet.token)
    line.drop()


async def fund(database: Database, wallets: Sequence[Wallet]) -> None:
    for number, wallet in enumerate(wallets):
        await administration.fund(database, wallet.account, BALANCE, f"torture-{number}")


async def _post(line: Line, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await line.ask("POST", path, headers, json.dumps(body).encode())
    if answer.status != 201:
        raise NotReady(f"POST {path}: {answer.status} {answer.body[:200]!r}")
    return answer.json()
