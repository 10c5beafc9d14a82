"""Names of the keys in Redis, their times to live, and the reasons.

Keys of one user carry the hash tag `{user}`, so that the script of one request touches one slot.
"""

import hashlib
from typing import Final

DATABASE: Final = "fp:database"  # which data the others belong to: known_database.py
PROBE: Final = "fp:probe"
SESSION_MARKER_TTL_MS: Final = 60_000  # bounds how late a revoked session is noticed without Redis
CLAIM_TTL_MS: Final = 10_000  # after a crash a key stays "in progress" no longer than this
WRITE_MARKER_TTL_MS: Final = 30_000  # no statement can commit later than this after its API exited
VARIANT_TTL_MS: Final = 10_000  # changes by other users are visible within this time
CACHE_HASH_TTL_MS: Final = 60_000  # longer than every marker and variant in it
KNOWN_ADDRESS_TTL_MS: Final = 30 * 24 * 60 * 60 * 1000
MAX_VARIANT_BYTES: Final = 64 * 1024  # a page of 100; larger responses are not cached
MAX_RESPONSE_BYTES: Final = 64 * 1024  # larger ones, of transfer batches, replay from PostgreSQL
MAX_VARIANTS: Final = 16  # per user: bounds the memory that one user can occupy


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
    return f"fp:{{{_hash(email)}}}:limit:auth_email"


def known_address(email: str, address: str) -> str:
    """Exists for KNOWN_ADDRESS_TTL_MS after a login with this e-mail from this address."""
    return f"fp:{{{_hash(email)}}}:known:{address}"


def _hash(email: str) -> str:
    """The hash of an e-mail address, so that Redis stores no address."""
    return hashlib.blake2b(email.encode(), digest_size=16).hexdigest()
