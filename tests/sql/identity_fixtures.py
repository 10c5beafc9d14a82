"""Registered users for tests, and queries for the rows that they left in the database."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from argon2 import PasswordHasher

from finpay import ids
from finpay.db.pool import Database
from finpay.errors import FinPayError
from finpay.identity.access_tokens import Principal, Signer
from finpay.identity.models import LoggedIn, RequestOrigin, Tokens
from finpay.identity.passwords import Hasher, Verified
from finpay.identity.sessions import REPEAT_S
from finpay.identity.users import Identity

PASSWORD: Final = "correct horse battery"
ADDRESS: Final = "192.0.2.7"
ACCESS_TTL_S: Final = 900
REFRESH_TTL_S: Final = 3_600
BLOCKED_LIMIT_S: Final = 5.0  # until a statement waits for a lock


@dataclass(frozen=True, slots=True)
class Person:
    """A user with one of their sessions."""

    logged_in: LoggedIn
    principal: Principal

    @property
    def email(self) -> str:
        return self.logged_in.user.email

    @property
    def id(self) -> UUID:
        return self.logged_in.user.id

    @property
    def refresh_token(self) -> str:
        return self.logged_in.tokens.refresh_token


class CountingHasher(Hasher):
    """Records the verified hashes, and runs `afterwards` once after the next verification."""

    def __init__(self) -> None:
        super().__init__()
        self.compared: list[str | None] = []
        self.hashed = 0
        self.afterwards: Callable[[], Awaitable[object]] | None = None

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return await super().hash(password)

    async def verify(self, password_hash: str | None, password: str) -> Verified:
        self.compared.append(password_hash)
        verified = await super().verify(password_hash, password)
        act, self.afterwards = self.afterwards, None
        if act is not None:
            await act()
        return verified


class People:
    """Identity on a real database, with the rights of finpay_app."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, size=16)
        self.hasher = CountingHasher()
        self.signer = Signer(["s" * 32], ACCESS_TTL_S)
        self.identity = Identity(
            self.database,
            self.hasher,
            self.signer,
            refresh_ttl_s=REFRESH_TTL_S,
        )

    async def close(self) -> None:
        self.identity.close()
        await self.database.close()

    async def register(self, name: str | None = None) -> Person:
        logged_in = await self.identity.register(
            fresh_email(), PASSWORD, name, "ZAR", fresh_origin()
        )
        return self.person(logged_in)

    async def login(self, person: Person, password: str = PASSWORD) -> Person:
        return self.person(await self.identity.login(person.email, password, fresh_origin()))

    def person(self, logged_in: LoggedIn) -> Person:
        return Person(logged_in, self.principal(logged_in.tokens))

    def principal(self, tokens: Tokens) -> Principal:
        return self.signer.verify(tokens.access_token, time.time())

    async def refresh(self, token: str) -> Tokens:
        outcome = await self.identity.sessions.refresh(token, fresh_origin())
        assert isinstance(outcome, Tokens)
        return outcome

    async def logout(self, principal: Principal, origin: RequestOrigin) -> None:
        await self.identity.sessions.revoke(
            principal.session_id, principal.user_id, "logout", origin
        )

    async def is_active(self, person: Person) -> bool:
        principal = person.principal
        return await self.identity.confirm(principal.session_id, person.id, principal.generation)

    async def use(self, tokens: Tokens) -> bool:
        """As the gate does for an access token whose generation has no marker."""
        principal = self.principal(tokens)
        return await self.identity.confirm(
            principal.session_id, principal.user_id, principal.generation
        )

    async def age(self, person: Person, by_s: float) -> None:
        """As if everything of the person's session had happened `by_s` seconds earlier."""
        for table, key, columns in (
            ("sessions", "id", ("created_at", "expires_at", "ended_at")),
            ("refresh_tokens", "session_id", ("created_at", "expires_at", "successor_used_at")),
        ):
            moved = ", ".join(f"{name} = {name} - make_interval(secs => $2)" for name in columns)
            await self.database.execute(
                f"UPDATE identity.{table} SET {moved} WHERE {key} = $1",
                person.principal.session_id,
                by_s,
            )

    async def exchange_and_use(self, person: Person) -> None:
        """So long ago that another exchange of the session's first refresh token is reuse."""
        await self.use(await self.refresh(person.refresh_token))
        await self.age(person, REPEAT_S + 1)

    async def ended_at(self, person: Person) -> object:
        return await self.one(
            "SELECT ended_at FROM identity.sessions WHERE id = $1", person.principal.session_id
        )

    async def one(self, query: str, *args: object) -> Any:
        """The single value of the single row."""
        (row,) = await self.database.fetch(query, *args)
        (value,) = row
        return value

    async def audit(self, origin: RequestOrigin) -> list[tuple[str, UUID | None, UUID | None]]:
        """(action, actor, subject) of the audit rows of one request, in order."""
        rows = await self.database.fetch(
            "SELECT action, actor_id, subject_id, address FROM audit.log"
            " WHERE request_id = $1 ORDER BY id",
            origin.request_id,
        )
        assert {row["address"] for row in rows} <= {ADDRESS}
        return [(row["action"], row["actor_id"], row["subject_id"]) for row in rows]

    async def events(self, person: Person) -> list[tuple[int, str, str]]:
        """(sequence, type, data) of the events of the person's account."""
        rows = await self.database.fetch(
            "SELECT e.sequence, e.type, e.data::text FROM outbox.events e"
            " JOIN ledger.accounts a ON a.id = e.account_id"
            " WHERE a.user_id = $1 ORDER BY e.sequence",
            person.id,
        )
        return [tuple(row) for row in rows]

    async def weaken(self, person: Person) -> None:
        """Stores a hash with the parameters of an older version."""
        old = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
        await self.database.execute(
            "UPDATE identity.users SET password_hash = $2 WHERE id = $1", person.id, old
        )

    async def rows(self) -> list[int]:
        """The number of rows in each table that identity writes."""
        tables = (
            "identity.users",
            "identity.sessions",
            "identity.refresh_tokens",
            "ledger.accounts",
            "outbox.events",
            "audit.log",
        )
        return [await self.one(f"SELECT count(*) FROM {table}") for table in tables]

    async def until_blocked(self) -> None:
        """Returns once a statement in this database waits for a lock."""
        query = (
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND datname = current_database()"
        )
        async with asyncio.timeout(BLOCKED_LIMIT_S):
            while not await self.one(query):
                await asyncio.sleep(0.01)


async def refusal(call: Awaitable[object]) -> FinPayError:
    """The FinPayError that the call raises; the test fails without one."""
    try:
        answer = await call
    except FinPayError as error:
        return error
    raise AssertionError(f"not refused: {answer!r}")


def fresh_email() -> str:
    return f"{ids.new_uuid()}@example.com"


def fresh_origin() -> RequestOrigin:
    return RequestOrigin(ids.encode("req", ids.new_uuid()), ADDRESS)
