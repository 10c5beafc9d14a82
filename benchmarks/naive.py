"""The same API in the usual way: one transaction per transfer, four statements.

Starlette, uvicorn, asyncpg with a pool, PyJWT; the schema is in naive.sql. It takes the requests
that the benchmark sends to FinPay and answers in the same format. It lacks revocable sessions,
stored answers, an audit log, events, rate limits, strict bodies, and batching on hot accounts. It
is durable, locks in order, and is idempotent by a unique key.

Runs as `uvicorn benchmarks.naive:app` with DATABASE_URL set.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from finpay.db.queries import Queries
from finpay.identity.access_tokens import ALGORITHM, AUDIENCE, ISSUER
from finpay.settings import DEVELOPMENT_SECRET

SQL: Final = Queries(Path(__file__).with_name("naive.sql").read_text("utf-8"), "naive.sql")
POOL_SIZE: Final = 16  # per process: two processes have as many as the 32 clients


async def send(request: Request) -> JSONResponse:
    """POST /api/v1/transactions"""
    try:
        claims = jwt.decode(
            request.headers["authorization"].removeprefix("Bearer "),
            DEVELOPMENT_SECRET,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
        )
    except (KeyError, jwt.InvalidTokenError):
        return JSONResponse({"code": "unauthenticated"}, 401)
    body = await request.json()
    key = request.headers.get("x-idempotency-key")
    if not key or not isinstance(body.get("amount"), int) or body["amount"] < 1:
        return JSONResponse({"code": "validation_failed"}, 422)
    pool: asyncpg.Pool = request.app.state.pool
    async with pool.acquire() as connection:
        try:
            async with connection.transaction():
                return await _transfer(connection, claims["acc"], body, key)
        except asyncpg.UniqueViolationError:
            row = await connection.fetchrow(SQL.get_transaction_by_key, claims["acc"], key)
            return JSONResponse(json.loads(json.dumps(dict(row), default=str)), 201)


async def _transfer(
    connection: asyncpg.Connection, sender: str, body: dict[str, Any], key: str
) -> JSONResponse:
    receiver, amount = body["receiver_id"], body["amount"]
    rows = await connection.fetch(SQL.lock_accounts, sender, receiver)
    accounts = {row["public_id"]: row for row in rows}
    if len(accounts) != 2:
        return JSONResponse({"code": "receiver_not_found"}, 404)
    source, target = accounts[sender], accounts[receiver]
    if source["balance"] < amount:
        return JSONResponse({"code": "insufficient_funds"}, 402)
    left = source["balance"] - amount
    await connection.execute(SQL.move_amount, source["id"], target["id"], amount)
    description = body.get("description")
    currency = source["currency"]
    made = await connection.fetchrow(
        SQL.create_transaction, source["id"], target["id"], amount, currency, description, key
    )
    sides = source["id"], target["id"], made["id"], amount, left, target["balance"] + amount
    await connection.execute(SQL.create_entries, *sides)
    answer = {
        "id": str(made["id"]),
        "object": "transaction",
        "type": "transfer",
        "status": "completed",
        "direction": "sent",
        "amount": amount,
        "currency": currency,
        "sender_id": sender,
        "receiver_id": receiver,
        "description": description,
        "metadata": body.get("metadata") or {},
        "balance_after": left,
        "failure_code": None,
        "created_at": made["created_at"].isoformat(),
    }
    return JSONResponse(answer, 201)


async def ready(_: Request) -> JSONResponse:
    """GET /readyz"""
    return JSONResponse({"status": "ok"})


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    url = os.environ["DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=POOL_SIZE, max_size=POOL_SIZE) as pool:
        app.state.pool = pool
        yield


app = Starlette(
    routes=[
        Route("/api/v1/transactions", send, methods=["POST"]),
        Route("/readyz", ready),
    ],
    lifespan=_lifespan,
)
