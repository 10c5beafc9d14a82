"""Admit before the handler, settle after: one Redis round trip each.

Whatever Redis can't answer is answered without it: sessions from PostgreSQL, limits per process,
idempotency by the ledger, reads uncached.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from finpay.gate import redis_keys
from finpay.gate.decision import Decision
from finpay.gate.rate_limits import LocalLimits, Tier, parse_report
from finpay.gate.redis_client import RedisClient, RedisUnavailable, read_script
from finpay.settings import Settings

Mode = Literal["count", "key", "read"]

_ADMIT: Final = read_script("admit")
_ADMIT_STRANGER: Final = read_script("admit_anonymous")
_SETTLE: Final = read_script("complete")
_FILL: Final = read_script("store_read")
_SCRIPTS: Final = (_ADMIT, _ADMIT_STRANGER, _SETTLE, _FILL)


class Admission(Struct, frozen=True):
    """What the gate has to know of one request with a token.

    `user` and `session` are public ids. `token` is unique to this request: it owns the claim and
    the mark. `key` and `fingerprint` belong to mode "key", `variant` to mode "read".
    """

    user: str
    session: str
    session_id: UUID
    user_id: UUID
    mode: Mode
    tiers: Sequence[Tier]
    token: str
    key: str = ""
    fingerprint: bytes = b""
    variant: str = ""


class Completion(Struct, frozen=True):
    """What a money POST leaves behind.

    `answer` None releases the claim; otherwise it is stored under `fingerprint`. `receivers` are
    the other users whose accounts it changed. An unknown outcome keeps the mark (`known` False).
    """

    answer: tuple[bytes, int, bytes] | None = None  # fingerprint, status, body
    receivers: Sequence[str] = ()
    known: bool = True


class Gate:
    """One per process. `is_session_active` asks PostgreSQL."""

    def __init__(
        self,
        settings: Settings,
        is_session_active: Callable[[UUID, UUID], Awaitable[bool]],
    ) -> None:
        self._channel = RedisClient(settings.redis_url, _SCRIPTS)
        self._local = LocalLimits(settings.workers)
        self._session_lives = is_session_active
        self._answer_ms = settings.idempotency_ttl_s * 1000
        self._tombstone_ms = settings.access_token_ttl_s * 1000

    async def start(self) -> None:
        await self._channel.start()

    async def close(self) -> None:
        await self._channel.close()

    async def ping(self) -> None:
        """Notices that Redis left while nobody asked it anything."""
        await self._channel.ping()

    @property
    def redis_down(self) -> bool:
        return self._channel.open

    async def admit(self, passage: Admission) -> Decision:
        """May the request go on? A cold session costs one read in PostgreSQL and a second call."""
        verdict = await self._admit(passage, proven=False)
        if verdict.kind == "unknown":
            if not await self._session_lives(passage.session_id, passage.user_id):
                verdict = Decision("revoked")
            elif verdict.degraded:
                verdict = self._admit_locally(passage.tiers)
            else:
                verdict = await self._admit(passage, proven=True)
                if verdict.kind == "unknown":  # Redis left between the two calls
                    verdict = self._admit_locally(passage.tiers)
        return verdict

    async def admit_anonymous(self, tiers: Sequence[Tier]) -> Decision:
        """The gate of a route without auth: rate limits only."""
        try:
            args = [part for tier in tiers for part in _tier_args(tier)]
            keys = [tier.key for tier in tiers]
            kind, report = await self._channel.call(_ADMIT_STRANGER, keys, args)
            verdict = Decision(kind.decode(), parse_report(tiers, report))
        except RedisUnavailable:
            verdict = self._admit_locally(tiers)
        return verdict

    async def settle(self, passage: Admission, settlement: Completion) -> None:
        """Stores or releases the claim, lifts the mark, tells the caches what is old."""
        stored = b""
        if settlement.answer is not None:
            fingerprint, status, body = settlement.answer
            if len(body) <= redis_keys.MAX_ANSWER_BYTES:
                stored = fingerprint + str(status).encode() + body
        keys = [
            redis_keys.idempotency_key(passage.user, passage.key),
            redis_keys.cache(passage.user),
            *map(redis_keys.cache, settlement.receivers),
        ]
        args: list[str | bytes | int] = [
            passage.token,
            stored,
            self._answer_ms,
            int(settlement.known),
            redis_keys.WRITE_MARKER_TTL_MS,
            redis_keys.CACHE_HASH_TTL_MS,
        ]
        with suppress(RedisUnavailable):
            await self._channel.call(_SETTLE, keys, args)

    async def fill(
        self, passage: Admission, generation: str, sequence: int, payload: bytes
    ) -> None:
        """Offers a read to the cache; stored only if nothing was written meanwhile."""
        if len(payload) > redis_keys.MAX_VARIANT_BYTES:
            return
        args: list[str | bytes | int] = [
            passage.variant,
            generation,
            sequence,
            payload,
            redis_keys.VARIANT_TTL_MS,
            redis_keys.MAX_VARIANTS,
        ]
        with suppress(RedisUnavailable):
            await self._channel.call(_FILL, [redis_keys.cache(passage.user)], args)

    async def end_sessions(self, user: str, sessions: Sequence[str]) -> None:
        """Tombstones, after the commit and before the answer: they outlive every access token."""
        markers = [redis_keys.session_marker(user, session) for session in sessions]
        await self._channel.put(markers, "ended", self._tombstone_ms)

    async def clear(self, tiers: Sequence[Tier], name: str) -> None:
        """Forgets what was counted in one of the tiers."""
        for tier in tiers:
            if tier.name == name:
                self._local.clear(tier.key)
                await self._channel.forget(tier.key)

    async def _admit(self, passage: Admission, *, proven: bool) -> Decision:
        keys = [
            redis_keys.session_marker(passage.user, passage.session),
            redis_keys.idempotency_key(passage.user, passage.key),
            redis_keys.cache(passage.user),
            *(tier.key for tier in passage.tiers),
        ]
        args: list[str | bytes | int] = [
            passage.mode,
            int(proven),
            redis_keys.SESSION_MARKER_TTL_MS,
            passage.token,
            passage.fingerprint,
            redis_keys.CLAIM_TTL_MS,
            redis_keys.WRITE_MARKER_TTL_MS,
            redis_keys.CACHE_HASH_TTL_MS,
            passage.variant,
            *(part for tier in passage.tiers for part in _tier_args(tier)),
        ]
        try:
            kind, report, *rest = await self._channel.call(_ADMIT, keys, args)
        except RedisUnavailable:
            return Decision("unknown", degraded=True)
        kind = kind.decode()
        budgets = parse_report(passage.tiers, report) if report else ()
        if kind == "admitted":
            generation = rest[0].decode()
            return Decision(
                kind,
                budgets,
                generation=None if generation == "-" else generation,
                claimed=passage.mode == "key",
            )
        return Decision(kind, budgets, payload=rest[0] if rest else b"")

    def _admit_locally(self, tiers: Sequence[Tier]) -> Decision:
        fits, budgets = self._local.count(tiers, time.monotonic())
        return Decision("admitted" if fits else "limited", budgets, degraded=True)


def _tier_args(tier: Tier) -> tuple[int, int, int]:
    return tier.limit.count, tier.limit.window_s * 1000, tier.cost
