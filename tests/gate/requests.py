"""Requests to the gate: callers, their admissions, and a stand-in for PostgreSQL's sessions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final
from uuid import UUID

import msgspec

from finpay import ids, settings
from finpay.db.data_state import DataState
from finpay.gate import redis_keys
from finpay.gate.gate import Admission, Decision, Gate, Mode
from finpay.gate.rate_limits import Tier
from finpay.settings import RateLimit

DATA: Final = DataState("cluster.database.table.timeline", 1_000)
FINGERPRINT: Final = b"sixteen bytes: 1"
OTHER_FINGERPRINT: Final = b"sixteen bytes: 2"
_NUMBERS: Final = count(1)


@dataclass
class Sessions:
    """Stands for PostgreSQL: knows which sessions have ended, and counts the queries.

    `before_result` runs after the state was read and before the result is returned.
    """

    ended: set[UUID] = field(default_factory=set)
    queries: int = 0
    generations: list[int | None] = field(default_factory=list)
    before_result: Callable[[], Awaitable[None]] | None = None

    async def is_active(self, session_id: UUID, _user_id: UUID, generation: int | None) -> bool:
        self.queries += 1
        self.generations.append(generation)
        active = session_id not in self.ended
        if self.before_result is not None:
            await self.before_result()
        return active


async def give_data(gate: Gate, state: DataState) -> bool:
    """As a health check does that finds this state. False without Redis."""
    known = await gate.known_database.read()
    return await gate.known_database.check(known, state) or await gate.known_database.adopt(state)


@asynccontextmanager
async def open_gate(
    redis_url: str,
    sessions: Sessions | None = None,
    data: DataState | None = DATA,
    **environment: str,
) -> AsyncIterator[Gate]:
    """A gate as the composition root builds it, which knows `data`."""
    read = settings.read({"REDIS_URL": redis_url, **environment})
    gate = Gate(read, (sessions or Sessions()).is_active)
    await gate.start()
    if data is not None:
        await give_data(gate, data)
    try:
        yield gate
    finally:
        await gate.close()


@dataclass
class Caller:
    """A user with one session, which has no marker in Redis yet."""

    user_id: UUID = field(default_factory=ids.new_uuid)
    session_id: UUID = field(default_factory=ids.new_uuid)

    @property
    def user(self) -> str:
        return ids.encode("usr", self.user_id)

    @property
    def session(self) -> str:
        return ids.encode("ses", self.session_id)

    @property
    def marker(self) -> str:
        return redis_keys.session_marker(self.user, self.session)

    @property
    def cache(self) -> str:
        return redis_keys.cache(self.user)

    def tier(self, name: str, limit: int, window_s: int = 900) -> Tier:
        return Tier(name, redis_keys.user_limit(self.user, name), RateLimit(limit, window_s))

    def email_tier(self, limit: int) -> Tier:
        """The tier of a login: it exempts an address from which this user logged in before."""
        known = redis_keys.known_address(self.user, "192.0.2.1")
        return msgspec.structs.replace(self.tier("auth_email", limit), exempt_key=known)

    def admission(
        self, mode: Mode = "count_only", tiers: Sequence[Tier] = (), **more: Any
    ) -> Admission:
        """One request, with a new token unless `token` is given."""
        return Admission(
            user=self.user,
            session=self.session,
            session_id=self.session_id,
            user_id=self.user_id,
            mode=mode,
            tiers=tiers,
            **{"token": f"token-{next(_NUMBERS)}", "generation": 0, **more},
        )

    def read(self, variant: str = "/accounts?") -> Admission:
        return self.admission("cached_read", variant=variant)

    def write(self, key: str = "k", fingerprint: bytes = FINGERPRINT) -> Admission:
        return self.admission("idempotent_write", key=key, fingerprint=fingerprint)


def left(decision: Decision) -> dict[str, int]:
    return {budget.tier.name: budget.remaining for budget in decision.limits}


async def until(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.01)
