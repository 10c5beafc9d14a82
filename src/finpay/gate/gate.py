"""Admission before the handler, completion after it: one Redis round trip each.

While Redis is unavailable, or its keys belong to other data than PostgreSQL has, sessions are read
from PostgreSQL, limits are counted per process, keys are decided by the ledger, and reads are not
cached.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal
from uuid import UUID

from msgspec import Struct, structs

from finpay.gate import redis_keys
from finpay.gate.known_database import KnownDatabase
from finpay.gate.rate_limits import LimitState, LocalLimits, Tier, parse_report, tier_arguments
from finpay.gate.redis_client import Argument, RedisClient, RedisUnavailable
from finpay.gate.used_up_windows import UsedUpWindows
from finpay.settings import Settings

Mode = Literal["count_only", "idempotent_write", "cached_read"]
DecisionKind = Literal[
    "admitted",
    "cache_hit",
    "replayed",
    "key_reused",
    "in_progress",
    "limited",
    "revoked",
    "unknown",
]


class Admission(Struct, frozen=True):
    """What the gate has to know of one request with a token.

    `user` and `session` are public ids, `generation` is that of the access token in its session.
    An API key stands for a session that has no generations: None.
    `token` is unique to this request: it owns the claim and the write marker. `key` and
    `fingerprint` belong to mode idempotent_write, `variant` to cached_read.
    """

    user: str
    session: str
    session_id: UUID
    user_id: UUID
    generation: int | None
    mode: Mode
    tiers: Sequence[Tier]
    token: str
    key: str = ""
    fingerprint: bytes = b""
    variant: str = ""


class Decision(Struct, frozen=True):
    """The gate's answer.

    `payload` is the stored response of a replay or the cached one of a hit. `generation` is what
    `store_read` has to show; None: this read must not be stored. `degraded`: decided without Redis.
    """

    kind: DecisionKind
    limits: tuple[LimitState, ...] = ()
    payload: bytes = b""
    generation: str | None = None
    degraded: bool = False


class Completion(Struct, frozen=True):
    """What a write leaves in Redis.

    `answer` (fingerprint, status, body) replaces the claim; None releases it. `receivers` are the
    other users whose accounts changed. With an unknown outcome the write marker stays.
    """

    answer: tuple[bytes, int, bytes] | None = None
    receivers: Sequence[str] = ()
    outcome_known: bool = True


class Gate:
    """One per process. `confirm` reads PostgreSQL, and records the first use there."""

    def __init__(
        self,
        settings: Settings,
        confirm: Callable[[UUID, UUID, int | None], Awaitable[bool]],
    ) -> None:
        self._redis = RedisClient(settings.redis_url, _script_constants(settings))
        self.known_database = KnownDatabase(self._redis)
        self._local = LocalLimits(settings.workers)
        self._used_up = UsedUpWindows()
        self._confirm = confirm
        self._tombstone_ttl_ms = settings.access_token_ttl_s * 1000

    async def start(self) -> None:
        await self._redis.start()

    async def close(self) -> None:
        await self._redis.close()

    async def ping(self) -> None:
        """Notices that Redis is unavailable while no request uses it."""
        await self._redis.ping()

    @property
    def redis_down(self) -> bool:
        return self._redis.is_open

    async def admit(self, admission: Admission) -> Decision:
        """May the request go on? Without a marker of its generation: one read in PostgreSQL."""
        decision = await self._admit(admission, session_confirmed=False)
        if decision.kind != "unknown":
            return decision
        if not await self._confirm(admission.session_id, admission.user_id, admission.generation):
            return Decision("revoked", degraded=decision.degraded)
        if not decision.degraded:
            decision = await self._admit(admission, session_confirmed=True)
        if decision.kind == "unknown":  # without Redis, or lost between the two calls
            decision = self._admit_locally(admission.tiers)
        return decision

    async def admit_anonymous(self, tiers: Sequence[Tier]) -> Decision:
        """Admission of a route without a token: rate limits only."""
        return self._recent_refusal(tiers) or self._remembered(await self.count(tiers))

    async def peek(self, tiers: Sequence[Tier]) -> Decision:
        """As admit_anonymous for tiers of cost 1, but the request is not counted."""
        refusal = self._recent_refusal(tiers)
        if refusal is not None:
            return refusal
        seen = await self.count([structs.replace(tier, cost=0) for tier in tiers])
        limits = tuple(
            structs.replace(state, tier=tier)
            for state, tier in zip(seen.limits, tiers, strict=True)
        )
        return self._remembered(structs.replace(seen, limits=limits))

    async def charge(self, tier: Tier, cost: int) -> Decision:
        """Counts an admitted request once more in a tier, at what it turned out to cost."""
        return await self.count([structs.replace(tier, cost=cost)])

    async def count(self, tiers: Sequence[Tier]) -> Decision:
        """Counts a request in all tiers or in none: one round trip."""
        keys = [tier.key for tier in tiers]
        exempt = 0
        if tiers and tiers[-1].exempt_key:
            exempt = len(tiers)
            keys.append(tiers[-1].exempt_key)
        try:
            kind, report = await self._redis.call(
                "admit_anonymous", keys, [exempt, *tier_arguments(tiers)]
            )
        except RedisUnavailable:
            return self._admit_locally(tiers)
        return Decision(kind.decode(), parse_report(tiers, report))

    async def complete(self, admission: Admission, completion: Completion) -> None:
        """Stores or releases the claim, removes the write marker, invalidates caches."""
        stored = b""
        if completion.answer is not None:
            fingerprint, status, body = completion.answer
            if len(body) <= redis_keys.MAX_RESPONSE_BYTES:
                stored = fingerprint + str(status).encode() + body
        keys = [
            redis_keys.idempotency_key(admission.user, admission.key),
            redis_keys.cache(admission.user),
            *map(redis_keys.cache, completion.receivers),
        ]
        arguments: list[Argument] = [admission.token, stored, int(completion.outcome_known)]
        try:
            await self._redis.call("complete", keys, arguments)
        except RedisUnavailable:  # another process may know the data, and use the caches
            await self._redis.end_generation(keys[1:], admission.token + "+")

    async def is_claimed(self, user: str, key: str) -> bool:
        """Whether a request with this key is in progress. Without Redis: not that we know."""
        try:
            claimed: int = await self._redis.call(
                "is_claimed", [redis_keys.idempotency_key(user, key)], []
            )
        except RedisUnavailable:
            return False
        return bool(claimed)

    async def store_read(
        self, admission: Admission, generation: str, sequence: int, payload: bytes
    ) -> None:
        """Offers a read to the cache; it is stored only if nothing was written meanwhile."""
        if len(payload) > redis_keys.MAX_VARIANT_BYTES:
            return
        arguments: list[Argument] = [admission.variant, generation, sequence, payload]
        with suppress(RedisUnavailable):
            await self._redis.call("store_read", [redis_keys.cache(admission.user)], arguments)

    async def end_sessions(self, user: str, sessions: Sequence[str]) -> None:
        """Tombstones, after the commit and before the response: they outlive every access token."""
        markers = [redis_keys.session_marker(user, session) for session in sessions]
        await self._redis.set_durably(markers, "revoked", self._tombstone_ttl_ms)

    async def forget_failed_logins(self, tiers: Sequence[Tier]) -> None:
        """After a login: the tier of the e-mail starts anew, the address is known from now on."""
        for tier in tiers:
            if tier.exempt_key:
                self._local.reset(tier.key)
                await self._redis.delete_and_set(
                    tier.key, tier.exempt_key, redis_keys.KNOWN_ADDRESS_TTL_MS
                )

    async def _admit(self, admission: Admission, *, session_confirmed: bool) -> Decision:
        keys = [
            redis_keys.session_marker(admission.user, admission.session),
            redis_keys.idempotency_key(admission.user, admission.key),
            redis_keys.cache(admission.user),
            *(tier.key for tier in admission.tiers),
        ]
        is_read = admission.mode == "cached_read"
        arguments: list[Argument] = [
            admission.mode,
            int(session_confirmed),
            admission.generation or 0,
            admission.token,
            admission.variant if is_read else admission.fingerprint,
            *tier_arguments(admission.tiers),
        ]
        try:
            kind, report, *rest = await self._redis.call("admit", keys, arguments)
        except RedisUnavailable:
            return Decision("unknown", degraded=True)
        kind = kind.decode()
        limits = parse_report(admission.tiers, report) if report else ()
        if kind == "admitted":
            generation = rest[0].decode()
            return Decision(kind, limits, generation=None if generation == "-" else generation)
        return Decision(kind, limits, payload=rest[0] if rest else b"")

    def _recent_refusal(self, tiers: Sequence[Tier]) -> Decision | None:
        states = self._used_up.find(tiers)
        return None if states is None else Decision("limited", states)

    def _remembered(self, decision: Decision) -> Decision:
        if decision.kind == "limited" and not decision.degraded:
            self._used_up.add(decision.limits)
        return decision

    def _admit_locally(self, tiers: Sequence[Tier]) -> Decision:
        fits, limits = self._local.count(tiers, time.monotonic())
        return Decision("admitted" if fits else "limited", limits, degraded=True)


def _script_constants(settings: Settings) -> dict[str, int]:
    """The numbers that gate.lua is compiled with."""
    return {
        "SESSION_MARKER_TTL_MS": redis_keys.SESSION_MARKER_TTL_MS,
        "CLAIM_TTL_MS": redis_keys.CLAIM_TTL_MS,
        "RESPONSE_TTL_MS": settings.idempotency_ttl_s * 1000,
        "WRITE_MARKER_TTL_MS": redis_keys.WRITE_MARKER_TTL_MS,
        "CACHE_HASH_TTL_MS": redis_keys.CACHE_HASH_TTL_MS,
        "VARIANT_TTL_MS": redis_keys.VARIANT_TTL_MS,
        "MAX_VARIANTS": redis_keys.MAX_VARIANTS,
    }
