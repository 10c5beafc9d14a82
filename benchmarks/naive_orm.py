"""The naive API with the usual frameworks: FastAPI, pydantic, SQLAlchemy's ORM.

The same tables, the same requests, one transaction of the same four kinds of statements. The
difference to benchmarks/naive.py is the cost of the frameworks.

Runs as `uvicorn benchmarks.naive_orm:app` with DATABASE_URL set.
"""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, ForeignKey, Identity, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from finpay.identity.access_tokens import ALGORITHM, AUDIENCE, ISSUER
from finpay.settings import DEVELOPMENT_SECRET

POOL_SIZE: Final = 16  # as benchmarks/naive.py


class Base(DeclarativeBase):
    """The tables of naive.sql."""


class Account(Base):
    """A balance."""

    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    public_id: Mapped[str]
    balance: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]


class Transaction(Base):
    """A completed transfer."""

    __tablename__ = "transactions"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    sender_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    receiver_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    status: Mapped[str]
    description: Mapped[str | None]
    idempotency_key: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Entry(Base):
    """One side of a transaction."""

    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    transaction_id: Mapped[UUID] = mapped_column(ForeignKey("transactions.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    balance_after: Mapped[int] = mapped_column(BigInteger)


class Send(BaseModel):
    """The body of a request."""

    receiver_id: str
    amount: int = Field(ge=1, le=2**53 - 1)
    description: str | None = Field(None, max_length=500)
    metadata: dict[str, str] = {}


class Sent(BaseModel):
    """The body of an answer."""

    id: str
    object: str = "transaction"
    type: str = "transfer"
    status: str
    direction: str = "sent"
    amount: int
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    balance_after: int
    failure_code: str | None = None
    created_at: datetime


app = FastAPI()
_engine = create_async_engine(
    os.environ.get("DATABASE_URL", "postgresql://localhost/naive").replace(
        "postgresql:", "postgresql+asyncpg:"
    ),
    pool_size=POOL_SIZE,
    max_overflow=0,
)
_sessions = async_sessionmaker(_engine, expire_on_commit=False)


async def caller(authorization: Annotated[str, Header()]) -> str:
    """The account of the token."""
    try:
        claims: dict[str, Any] = jwt.decode(
            authorization.removeprefix("Bearer "),
            DEVELOPMENT_SECRET,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
        )
    except jwt.InvalidTokenError:
        raise HTTPException(401) from None
    return str(claims["acc"])


async def session() -> AsyncIterator[AsyncSession]:
    """One session, with one connection, per request."""
    async with _sessions() as opened:
        yield opened


@app.post("/api/v1/transactions", status_code=201)
async def send(
    body: Send,
    sender_id: Annotated[str, Depends(caller)],
    work: Annotated[AsyncSession, Depends(session)],
    x_idempotency_key: Annotated[str, Header(max_length=255)],
) -> Sent:
    """One transfer."""
    found = await work.scalars(
        select(Account)
        .where(Account.public_id.in_([sender_id, body.receiver_id]))
        .order_by(Account.id)
        .with_for_update()
    )
    accounts = {account.public_id: account for account in found}
    if len(accounts) != 2:
        raise HTTPException(404)
    sender, receiver = accounts[sender_id], accounts[body.receiver_id]
    if sender.balance < body.amount:
        raise HTTPException(402)
    sender.balance -= body.amount
    receiver.balance += body.amount
    made = Transaction(
        sender_id=sender.id,
        receiver_id=receiver.id,
        amount=body.amount,
        currency=sender.currency,
        status="completed",
        description=body.description,
        idempotency_key=x_idempotency_key,
    )
    work.add(made)
    try:
        await work.flush()
    except IntegrityError:
        raise HTTPException(409) from None
    work.add_all([_entry(sender, made, -body.amount), _entry(receiver, made, body.amount)])
    await work.commit()
    return Sent(
        id=str(made.id),
        status=made.status,
        amount=made.amount,
        currency=made.currency,
        sender_id=sender_id,
        receiver_id=body.receiver_id,
        description=made.description,
        metadata=body.metadata,
        balance_after=sender.balance,
        created_at=made.created_at,
    )


def _entry(account: Account, made: Transaction, amount: int) -> Entry:
    """The account's side of the transaction."""
    return Entry(
        account_id=account.id,
        transaction_id=made.id,
        amount=amount,
        balance_after=account.balance,
    )


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """Ready as soon as it answers."""
    return {"status": "ok"}
