"""API keys: what a server of the user sends instead of an access token.

A key is `fpk_`, 40 random characters and a checksum of 6, so that scanners find one in a text and a
mistyped one costs no look-up. Only its SHA-256 is stored. Everything that a request needs of a key
is final, so a process remembers it; that the key is not revoked is known from the gate's marker, as
for sessions.
"""

import hashlib
import re
import string
import time
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from secrets import choice
from typing import Final, Literal, get_args
from uuid import UUID

import msgspec

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Executor, Record
from finpay.identity import user_lock
from finpay.identity.access_tokens import Principal
from finpay.identity.errors import unauthenticated
from finpay.identity.models import RequestOrigin

Scope = Literal[
    "account:read",
    "transactions:read",
    "transactions:write",
    "holds:write",
    "withdrawals:write",
    "requests:write",
    "schedules:write",
    "webhooks:write",
    "events:read",
]
Network = IPv4Network | IPv6Network

SCOPES: Final = get_args(Scope)
PREFIX: Final = "fpk_"
RANDOM_LENGTH: Final = 40  # 238 bits
CHECKSUM_LENGTH: Final = 6
SHOWN_LENGTH: Final = (
    12  # of the secret, in lists: 48 bits, which identify a key among those of a user
)
MAX_PER_USER: Final = 50
MAX_CACHED: Final = 10_000

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE: Final = re.compile(
    f"{PREFIX}([0-9A-Za-z]{{{RANDOM_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)
_SQL: Final = queries.load("finpay.identity", "api_keys.sql")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret. Columns in their order in the queries."""

    id: UUID
    prefix: str
    name: str
    scopes: Sequence[str]
    allowed_cidrs: Sequence[str]
    last_used_at: datetime | None
    expires_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKeySpec:
    """What the user chooses of a new key."""

    name: str
    scopes: Sequence[str]
    allowed_cidrs: Sequence[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What a request needs of a key."""

    principal: Principal
    networks: tuple[Network, ...]

    def check(self, address: str) -> Principal:
        """FinPayError `unauthenticated` if the key has expired or is used from elsewhere."""
        if time.time() >= self.principal.expires_at:
            raise unauthenticated("The API key has expired. Create another one.")
        if self.networks and not _is_inside(address, self.networks):
            raise unauthenticated("The API key may not be used from this address.")
        return self.principal


class ApiKeys:
    """Look-up, creation and end of API keys. One per process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[bytes, KnownKey] = OrderedDict()

    def remembered(self, secret: str) -> KnownKey | None:
        """The key, if this process looked it up before."""
        return self._known.get(hash_of(secret))

    async def look_up(self, secret: str) -> KnownKey | None:
        """One read in PostgreSQL. None: there is no such key."""
        secret_hash = hash_of(secret)
        row = await self._database.fetch_one(_SQL.get_api_key_by_hash, secret_hash)
        if row is None:
            return None
        if len(self._known) >= MAX_CACHED:
            self._known.popitem(last=False)  # the oldest
        networks = tuple(ip_network(text) for text in row["allowed_cidrs"])
        known = self._known[secret_hash] = KnownKey(_principal(row), networks)
        return known

    async def confirm(self, key_id: UUID, user_id: UUID) -> bool:
        """Whether the key is active. One read; once a minute its use is recorded."""
        row = await self._database.fetch_one(_SQL.get_active_api_key, key_id, user_id)
        if row is not None and not row["used_recently"]:
            await self._database.execute(_SQL.record_api_key_use, key_id)
        return row is not None

    async def create(
        self, user_id: UUID, spec: ApiKeySpec, origin: RequestOrigin
    ) -> tuple[ApiKey, str] | None:
        """A new key with its secret, which nothing shows again. None: the user has too many."""
        secret, key_id = new_secret(), ids.new_uuid()
        detail = {"scopes": spec.scopes, "allowed_cidrs": spec.allowed_cidrs}
        async with self._database.transaction() as transaction:
            await user_lock.require(transaction, user_id)
            row = await transaction.fetch_one(
                _SQL.insert_api_key,
                key_id,
                user_id,
                hash_of(secret),
                secret[:SHOWN_LENGTH],
                spec.name,
                spec.scopes,
                spec.allowed_cidrs,
                spec.expires_at,
                MAX_PER_USER,
            )
            if row is None:
                return None
            await transaction.execute(
                _SQL.record_api_key_creation,
                user_id,
                key_id,
                origin.request_id,
                origin.address,
                msgspec.json.encode(detail).decode(),
                ids.new_uuid(),
            )
        return ApiKey(*row), secret

    async def list_(self, user_id: UUID, *, before: UUID | None, limit: int) -> list[ApiKey]:
        """Keys of a user that were not revoked, newest first."""
        rows = await self._database.fetch(_SQL.list_api_keys, user_id, before, limit)
        return [ApiKey(*row) for row in rows]

    async def revoke(self, key_id: UUID, user_id: UUID, origin: RequestOrigin) -> bool:
        """Whether it was an active key of this user, which is revoked now."""
        row = await self._database.fetch_one(
            _SQL.revoke_api_key, key_id, user_id, origin.request_id, origin.address
        )
        return row is not None


async def revoke_all(transaction: Executor, user_id: UUID, origin: RequestOrigin) -> list[UUID]:
    """Those of the user that were active, in the caller's transaction."""
    rows = await transaction.fetch(_SQL.revoke_api_keys, user_id, origin.request_id, origin.address)
    return [row["id"] for row in rows]


def new_secret() -> str:
    """A new key."""
    text = "".join(choice(_ALPHABET) for _ in range(RANDOM_LENGTH))
    return f"{PREFIX}{text}{_checksum(text)}"


def is_well_formed(text: str) -> bool:
    """Whether the text has the shape and the checksum of a key."""
    shape = _SHAPE.fullmatch(text)
    return shape is not None and _checksum(shape[1]) == shape[2]


def hash_of(secret: str) -> bytes:
    """The stored hash of a key. Any text has one, lone surrogates included."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _checksum(text: str) -> str:
    """The CRC-32 in base 62, as GitHub's tokens have it."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def _is_inside(address: str, networks: tuple[Network, ...]) -> bool:
    """`address` as the edge has it: an IPv6 client is its /64."""
    try:
        client = ip_network(address)
    except ValueError:  # of a socket without an address
        return False
    return any(
        client.network_address in network and client.prefixlen >= network.prefixlen
        for network in networks
    )


def _principal(row: Record) -> Principal:
    return Principal(
        user_id=row["user_id"],
        account_id=row["account_id"],
        session_id=row["id"],
        user=ids.encode("usr", row["user_id"]),
        account=ids.encode("acc", row["account_id"]),
        session=ids.encode("key", row["id"]),
        generation=None,
        expires_at=row["expires_at"],
        scopes=frozenset(row["scopes"]),
    )
