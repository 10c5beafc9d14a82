"""How long things live in Redis, and why. Names of keys.

Keys of one user carry the hash tag `{user}`, so that the gate's script touches one slot.
"""

import hashlib
from typing import Final

SESSION_MARKER_TTL_MS: Final = (
    60_000  # a session ended while Redis was away is refused within a minute
)
CLAIM_TTL_MS: Final = 10_000  # a crash leaves a key "in progress" no longer than this
WRITE_MARKER_TTL_MS: Final = (
    30_000  # longer than any statement can still commit after its caller died
)
VARIANT_TTL_MS: Final = 10_000  # others' writes show within this time
CACHE_HASH_TTL_MS: Final = 60_000  # outlives every mark and variant in it
MAX_VARIANT_BYTES: Final = 64 * 1024  # a page of 100; more would hold up all others
MAX_ANSWER_BYTES: Final = 64 * 1024  # a bulk's; bigger ones are replayed from PostgreSQL
MAX_VARIANTS: Final = 16  # per user: bounds what one user can make us keep


def session_marker(user: str, session: str) -> str:
    return f"fp:{{{user}}}:session:{session}"


def idempotency_key(user: str, key: str) -> str:
    return f"fp:{{{user}}}:key:{key}"


def cache(user: str) -> str:
    return f"fp:{{{user}}}:cache"


def user_limit(user: str, tier: str) -> str:
    return f"fp:{{{user}}}:limit:{tier}"


def address_limit(address: str, tier: str) -> str:
    return f"fp:{{{address}}}:limit:{tier}"


def email_limit(email: str) -> str:
    """Hashed: Redis needs to recognise an address, not to know it."""
    return f"fp:{{{hashlib.blake2b(email.encode(), digest_size=16).hexdigest()}}}:limit:auth_email"
