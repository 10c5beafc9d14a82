"""The second factor of a login: time-based codes (RFC 6238), and recovery codes.

A code is compared here, and used up in PostgreSQL: of concurrent requests with one code, one gets
it. Wrong codes are committed before they are answered.
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from secrets import token_bytes, token_urlsafe
from typing import Final
from uuid import UUID

import msgspec
import pyotp

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Executor
from finpay.errors import validation_failed
from finpay.identity import errors, password_reset, user_lock
from finpay.identity.access_tokens import Principal
from finpay.identity.models import RequestOrigin
from finpay.identity.sessions import revoke_all, revoke_others

ISSUER: Final = "FinPay"
STEP_S: Final = 30
TOLERATED_STEPS: Final = 1  # before and after: clocks differ, and a code takes time to type
RECOVERY_CODES: Final = 10
RECOVERY_BYTES: Final = 15  # 120 random bits, so that a plain hash is enough; 24 characters
CHALLENGE_TTL_S: Final = 300
MAX_FAILURES: Final = 5  # of one challenge

_SQL: Final = queries.load("finpay.identity", "second_factor.sql")
_TIMED: Final = re.compile(r"[0-9]{6}")
_IGNORED: Final = re.compile(r"[\s-]")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A secret that the user's authenticator has to learn."""

    secret: str
    otpauth_url: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """A login that waits for a code."""

    hash: bytes
    user_id: UUID
    email: str


class SecondFactor:
    """The second factors of all users. `clock` is in seconds since 1970."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def enrol(self, user_id: UUID, email: str) -> Enrolment:
        """A new secret, without effect before `confirm`."""
        secret = pyotp.random_base32()
        async with self._database.transaction() as transaction:
            await user_lock.require(transaction, user_id)
            row = await transaction.fetch_one(_SQL.insert_second_factor, user_id, secret)
        if row is None:
            raise validation_failed("The second factor is on. Disable it first.")
        url = pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=ISSUER)
        return Enrolment(secret, url)

    async def confirm(
        self, principal: Principal, code: str, origin: RequestOrigin
    ) -> tuple[list[str], list[UUID]]:
        """Switches it on: the recovery codes, and the other sessions, which have ended."""
        user_id = principal.user_id
        codes = [_new_recovery_code() for _ in range(RECOVERY_CODES)]
        ended: list[UUID] = []
        async with self._database.transaction() as transaction:
            await user_lock.require(transaction, user_id)
            factor = await transaction.fetch_one(_SQL.get_second_factor, user_id)
            if factor is None or factor["confirmed"]:
                raise validation_failed("There is no second factor to confirm. Set one up first.")
            is_right = await self._use(transaction, user_id, code)
            if is_right:
                ended = await revoke_others(transaction, principal, "second_factor_changed", origin)
                hashes = [_hash(each) for each in codes]
                session_id = principal.session_id
                where = (origin.request_id, origin.address)
                await transaction.execute(
                    _SQL.enable_second_factor, user_id, hashes, session_id, *where
                )
        if not is_right:
            raise await self._refusal(user_id, origin)
        return codes, ended

    async def disable(self, user_id: UUID, code: str, origin: RequestOrigin) -> list[UUID]:
        """Switches it off: the sessions of the user, which have all ended."""
        ended: list[UUID] = []
        async with self._database.transaction() as transaction:
            user = await user_lock.lock(transaction, user_id)
            if user is None or not user["second_factor"]:
                raise validation_failed("The second factor is off.")
            is_right = await self._use(transaction, user_id, code)
            if is_right:
                ended = await remove(transaction, user_id, origin, actor_id=user_id)
        if not is_right:
            raise await self._refusal(user_id, origin)
        return ended

    async def reset(
        self, user_id: UUID, operator_id: UUID, reason: str, origin: RequestOrigin
    ) -> list[UUID] | None:
        """As `disable`, by an operator without a code. None if there is no such user."""
        async with self._database.transaction() as transaction:
            await user_lock.require_operator(transaction, operator_id)
            user = await user_lock.lock(transaction, user_id)
            if user is None:
                return None
            if not user["second_factor"]:
                raise validation_failed("The second factor is off.")
            detail = {"reason": reason}
            return await remove(transaction, user_id, origin, actor_id=operator_id, detail=detail)

    async def require(self, user_id: UUID, code: str | None, origin: RequestOrigin) -> None:
        """A code from a user who has a second factor, for what a session alone may not do.

        FinPayError `second_factor_required` or `second_factor_invalid`.
        """
        async with self._database.transaction() as transaction:
            user = await user_lock.lock(transaction, user_id)
            if user is None or not user["second_factor"]:
                return
            if code is None:
                raise errors.second_factor_required()
            is_right = await self._use(transaction, user_id, code)
        if not is_right:
            raise await self._refusal(user_id, origin)

    async def new_challenge(self, user_id: UUID, password_hash: str) -> str | None:
        """For a login with the right password. None: password or factor have changed meanwhile."""
        token = token_urlsafe(32)
        row = await self._database.fetch_one(
            _SQL.insert_challenge, _hash_of(token), user_id, password_hash, CHALLENGE_TTL_S
        )
        return None if row is None else token

    async def find_challenge(self, token: str) -> Challenge:
        """FinPayError `challenge_invalid` if it is unknown, expired, used or had 5 failures."""
        token_hash = _hash_of(token)
        row = await self._database.fetch_one(_SQL.get_challenge, token_hash, MAX_FAILURES)
        if row is None:
            raise errors.challenge_invalid()
        return Challenge(token_hash, row["user_id"], row["email"])

    async def redeem(self, transaction: Executor, challenge: Challenge, code: str) -> str | None:
        """Uses up a challenge and a code: the password hash of the user.

        None for a wrong code, which the caller commits and answers. FinPayError
        `challenge_invalid` if another request was faster.
        """
        user = await user_lock.lock(transaction, challenge.user_id)
        locked = await transaction.fetch_one(_SQL.lock_challenge, challenge.hash, MAX_FAILURES)
        if user is None or locked is None:
            raise errors.challenge_invalid()
        if not await self._use(transaction, challenge.user_id, code):
            await transaction.execute(_SQL.record_challenge_failure, challenge.hash)
            return None
        await transaction.execute(_SQL.delete_challenge, challenge.hash)
        password_hash: str = user["password_hash"]
        return password_hash

    async def _refusal(self, user_id: UUID, origin: RequestOrigin) -> Exception:
        await self.record_failure(user_id, origin)
        return errors.second_factor_invalid()

    async def record_failure(self, user_id: UUID, origin: RequestOrigin) -> None:
        """Writes a wrong code into the audit log, in a commit of its own."""
        await self._database.execute(
            _SQL.record_failed_code, user_id, origin.request_id, origin.address
        )

    async def _use(self, transaction: Executor, user_id: UUID, code: str) -> bool:
        """Whether the code is right and was not used before; it is used up now."""
        code = _IGNORED.sub("", code).upper()
        if _TIMED.fullmatch(code) is None:
            query, argument = _SQL.set_recovery_code_used, _hash(code)
            return await transaction.fetch_one(query, user_id, argument) is not None
        factor = await transaction.fetch_one(_SQL.get_second_factor, user_id)
        step = None if factor is None else matching_step(factor["secret"], code, self._clock())
        if step is None:
            return False
        return await transaction.fetch_one(_SQL.set_step_used, user_id, step) is not None


async def remove(
    transaction: Executor,
    user_id: UUID,
    origin: RequestOrigin,
    *,
    actor_id: UUID,
    detail: Mapping[str, str] | None = None,
) -> list[UUID]:
    """Takes away a user's second factor and ends all sessions, whose tokens say that there is one.

    The caller has locked the user. `actor_id` is the user or an operator.
    """
    await transaction.execute(
        _SQL.disable_second_factor,
        user_id,
        actor_id,
        origin.request_id,
        origin.address,
        ids.new_uuid(),
        None if detail is None else msgspec.json.encode(detail).decode(),
    )
    await password_reset.void_tokens(transaction, user_id)
    # Events name no other user; an operator is in the audit row above.
    actor = user_id if actor_id == user_id else None
    return await revoke_all(transaction, user_id, "second_factor_changed", origin, actor_id=actor)


def matching_step(secret: str, code: str, now: float) -> int | None:
    """The newest time step near `now` that has this code. Compares all, in constant time."""
    totp = pyotp.TOTP(secret, interval=STEP_S)
    current = int(now) // STEP_S
    found = None
    for step in range(current - TOLERATED_STEPS, current + TOLERATED_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step), code):
            found = step
    return found


def _new_recovery_code() -> str:
    """Six groups of four characters of base 32."""
    text = base64.b32encode(token_bytes(RECOVERY_BYTES)).decode()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _hash(recovery_code: str) -> bytes:
    return _hash_of(_IGNORED.sub("", recovery_code))


def _hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
