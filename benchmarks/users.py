"""Users for the load: created by SQL, with tokens of the app's own Signer.

Registering 10 000 users over HTTP would hash 10 000 passwords first. All users here share one hash,
so a login has its usual cost; accounts are opened and funded by the ledger's own functions, so
`ledger verify` is clean afterwards.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
from argon2 import PasswordHasher

from finpay import ids
from finpay.identity.access_tokens import Signer
from finpay.identity.passwords import MEMORY_KIB, PARALLELISM, PASSES
from finpay.settings import DEVELOPMENT_SECRET

OPENING_BALANCE: Final = 10**12
PASSWORD: Final = "one password for all of the load"  # noqa: S105  of users made for the load
TOKEN_LIFETIME_S: Final = 86_400
# Each funding adds a version of the system account's row, which its transaction has to pass.
CHUNK: Final = 500

_USERS: Final = """
INSERT INTO identity.users (id, email, password_hash)
SELECT u.id, u.email, $3 FROM unnest($1::uuid[], $2::text[]) AS u (id, email)
"""
_ACCOUNTS: Final = """
SELECT count(ledger.open_account(u.account, u.id, 'ZAR'))
FROM unnest($1::uuid[], $2::uuid[]) AS u (account, id)
"""
_SESSIONS: Final = """
INSERT INTO identity.sessions (id, user_id, refresh_key)
SELECT u.session, u.id, sha256(uuid_send(u.session))
FROM unnest($1::uuid[], $2::uuid[]) AS u (session, id)
"""
_FUNDS: Final = """
SELECT count((ledger.fund(u.funding, u.account, $3, 'bench-' || u.account, 'bench')).answer)
FROM unnest($1::uuid[], $2::uuid[]) AS u (account, funding)
"""


@dataclass(frozen=True, slots=True)
class User:
    """One user with an active session. `token` is valid for a day."""

    user_id: UUID
    account_id: UUID
    session_id: UUID
    email: str
    token: str


async def make_users(database_url: str, count: int, balance: int = OPENING_BALANCE) -> list[User]:
    """Creates `count` users with accounts, sessions, and `balance` minor units each."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET ROLE finpay_owner")
    password_hash = PasswordHasher(PASSES, MEMORY_KIB, PARALLELISM).hash(PASSWORD)
    made: list[User] = []
    while len(made) < count:
        chunk = _new_users(min(CHUNK, count - len(made)))
        user_ids = [one.user_id for one in chunk]
        accounts = [one.account_id for one in chunk]
        async with connection.transaction():
            await connection.execute(_USERS, user_ids, [one.email for one in chunk], password_hash)
            await connection.execute(_ACCOUNTS, accounts, user_ids)
            await connection.execute(_SESSIONS, [one.session_id for one in chunk], user_ids)
            fundings = [ids.new_uuid() for _ in chunk]
            await connection.execute(_FUNDS, accounts, fundings, balance)
        made += chunk
    await connection.close()
    return made


def write_users(users: Sequence[User], path: Path) -> Path:
    """The file that load.lua reads: a line "token account email" for each."""
    lines = [f"{one.token} {ids.encode('acc', one.account_id)} {one.email}\n" for one in users]
    path.write_text("".join(lines))
    return path


def _new_users(count: int) -> list[User]:
    signer = Signer([DEVELOPMENT_SECRET], TOKEN_LIFETIME_S)
    now_s = time.time()
    made = []
    for _ in range(count):
        user, account, session = ids.new_uuid(), ids.new_uuid(), ids.new_uuid()
        token = signer.issue(user, account, session, now_s)
        email = f"bench-{user.hex}@example.com"
        made.append(User(user, account, session, email, token))
    return made
