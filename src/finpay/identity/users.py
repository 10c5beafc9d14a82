"""Users: registration, login and password change.

Passwords are hashed before a transaction begins, so no lock is held during argon2. The write is
then conditional on the hash that was verified.
"""

import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database, Executor, Record, UniqueViolation
from finpay.errors import FinPayError, unavailable, validation_failed
from finpay.identity import errors, password_reset, passwords
from finpay.identity.access_tokens import Principal, Signer
from finpay.identity.api_keys import ApiKeys
from finpay.identity.breached_passwords import BreachedPasswords
from finpay.identity.email_verification import EmailVerification
from finpay.identity.models import (
    Account,
    LoggedIn,
    PasswordChanged,
    RequestOrigin,
    User,
)
from finpay.identity.password_reset import PasswordReset
from finpay.identity.passwords import Hasher
from finpay.identity.refresh_tokens import RefreshToken, new_key
from finpay.identity.second_factor import Challenge, SecondFactor
from finpay.identity.sessions import Sessions

# Between verification and write another login may rehash the password, which happens once, or the
# password may be changed, which takes longer than one attempt.
MAX_ATTEMPTS: Final = 3

_SQL: Final = queries.load("finpay.identity")
_USER_COLUMNS: Final = len(User.__slots__)
_ACCOUNT_COLUMNS: Final = len(Account.__slots__)


class Identity:
    """Users and sessions, as the edge needs them. One per process.

    The edge normalises e-mail addresses (`emails.normalise`) and checks the password of a
    registration (`passwords.weakness`), because it knows the pointers of both. `limits` are those
    of a new account in a currency: of one payment, and of a day.
    """

    def __init__(
        self,
        database: Database,
        hasher: Hasher,
        signer: Signer,
        *,
        refresh_ttl_s: int,
        limits: Callable[[str], tuple[int | None, int | None]] = lambda _: (None, None),
        breached: BreachedPasswords | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.signer = signer
        self._database = database
        self._hasher = hasher
        self.sessions = Sessions(database, signer, refresh_ttl_s=refresh_ttl_s, clock=clock)
        self.api_keys = ApiKeys(database)
        self._breached = breached or BreachedPasswords(None)
        self.password_reset = PasswordReset(database, hasher, self._breached)
        self.email_verification = EmailVerification(database)
        self.second_factor = SecondFactor(database, clock=clock)
        self._limits = limits

    async def register(
        self, email: str, password: str, name: str | None, currency: str, origin: RequestOrigin
    ) -> LoggedIn:
        """Creates a user, an account and a session, or nothing. FinPayError `email_taken`."""
        self._breached.check(password, "#/password")
        password_hash = await self._hasher.hash(password)
        user_id, account_id, session_id = ids.new_uuid(), ids.new_uuid(), ids.new_uuid()
        refresh = RefreshToken.new()
        try:
            async with self._database.transaction() as transaction:
                row = await transaction.fetch_one(
                    _SQL.register_user,
                    user_id,
                    email,
                    name,
                    password_hash,
                    session_id,
                    refresh.hash,
                    self.sessions.refresh_ttl_s,
                    account_id,
                    currency,
                    new_key(),
                    origin.user_agent,
                    origin.address,
                    *self._limits(currency),
                )
                if row is None:
                    raise errors.email_taken()
                await transaction.execute(
                    _SQL.record_registration,
                    user_id,
                    account_id,
                    session_id,
                    origin.request_id,
                    origin.address,
                )
        except UniqueViolation as violation:
            if violation.constraint != "users_email_key":
                raise
            raise errors.email_taken() from None
        return self._logged_in(row, session_id, refresh)

    async def login(self, email: str, password: str, origin: RequestOrigin) -> LoggedIn:
        """Opens a session. FinPayError `invalid_credentials`, after the same work for an unknown
        e-mail address and a wrong password, and `second_factor_required` with a challenge.
        """
        for _ in range(MAX_ATTEMPTS):
            known = await self._database.fetch_one(_SQL.get_login_by_email, email)
            verified = await self._hasher.verify(known and known["password_hash"], password)
            if known is None or not verified.ok:
                await self._record_failed_login(known and known["id"], origin)
                raise errors.invalid_credentials()
            password_hash = known["password_hash"]
            if verified.needs_rehash:
                password_hash = await self._rehash(known["id"], password_hash, password)
            if not known["second_factor"]:
                logged_in = await self._open_session(
                    self._database, known["id"], password_hash, origin
                )
                if logged_in is not None:
                    return logged_in
            elif challenge := await self.second_factor.new_challenge(known["id"], password_hash):
                raise errors.second_factor_required(challenge)
        raise _changed_meanwhile()

    async def complete_login(
        self, challenge: Challenge, code: str, origin: RequestOrigin
    ) -> LoggedIn:
        """Opens the session of a login that waited for a code.

        FinPayError `second_factor_invalid` for a wrong one, which counts, and `challenge_invalid`.
        """
        logged_in = None
        async with self._database.transaction() as transaction:
            password_hash = await self.second_factor.redeem(transaction, challenge, code)
            if password_hash is not None:
                logged_in = await self._open_session(
                    transaction, challenge.user_id, password_hash, origin, second_factor=True
                )
        if logged_in is None:
            await self.second_factor.record_failure(challenge.user_id, origin)
            raise errors.second_factor_invalid()
        return logged_in

    async def change_password(
        self, principal: Principal, current: str, new: str, origin: RequestOrigin
    ) -> PasswordChanged:
        """Revokes the user's other sessions, and the refresh tokens of this one.

        FinPayError `validation_failed` for a weak new password, `invalid_credentials` for a wrong
        current one.
        """
        for _ in range(MAX_ATTEMPTS):
            password_hash = await self._check_new_password(principal.user_id, current, new)
            if not (await self._hasher.verify(password_hash, current)).ok:
                await self._record_failed_change(principal.user_id, origin)
                raise errors.wrong_current_password()
            new_hash = await self._hasher.hash(new)
            async with self._database.transaction() as transaction:
                if await transaction.fetch_one(
                    _SQL.replace_password_hash, principal.user_id, password_hash, new_hash
                ):
                    await password_reset.void_tokens(transaction, principal.user_id)
                    changed = await self.sessions.change_password(transaction, principal, origin)
                    await transaction.execute(
                        _SQL.record_password_change,
                        principal.user_id,
                        origin.request_id,
                        origin.address,
                        ids.new_uuid(),
                    )
                    return changed
        raise _changed_meanwhile()

    async def confirm(self, session_or_key_id: UUID, user_id: UUID, generation: int | None) -> bool:
        """Whether a session, or an API key (which has no generation), is active."""
        if generation is None:
            return await self.api_keys.confirm(session_or_key_id, user_id)
        return await self.sessions.confirm(session_or_key_id, user_id, generation)

    async def check_password(self, user_id: UUID, password: str, origin: RequestOrigin) -> None:
        """FinPayError `invalid_credentials` unless it is the user's password."""
        row = await self._database.fetch_one(_SQL.get_credentials, user_id)
        if not (await self._hasher.verify(row and row["password_hash"], password)).ok:
            await self._record_failed_login(user_id, origin)
            raise errors.wrong_password()

    async def me(self, user_id: UUID) -> User:
        """The user. FinPayError `unauthenticated` if it was deleted."""
        row = await self._database.fetch_one(_SQL.get_user, user_id)
        if row is None:
            raise errors.unauthenticated("The user of this access token no longer exists.")
        return User(*row)

    async def rename(self, user_id: UUID, name: str | None, origin: RequestOrigin) -> User:
        """The user with another name, or without one."""
        row = await self._database.fetch_one(
            _SQL.update_user, user_id, name, origin.request_id, origin.address
        )
        if row is None:
            raise errors.unauthenticated("The user of this access token no longer exists.")
        return User(*row[:_USER_COLUMNS])

    def close(self) -> None:
        """Stops the threads that hash passwords."""
        self._hasher.close()

    async def _record_failed_login(self, user_id: UUID | None, origin: RequestOrigin) -> None:
        """Also for unknown users, so that the time does not reveal them."""
        await self._database.execute(
            _SQL.record_failed_login, user_id, origin.request_id, origin.address
        )

    async def _record_failed_change(self, user_id: UUID, origin: RequestOrigin) -> None:
        await self._database.execute(
            _SQL.record_failed_password_change, user_id, origin.request_id, origin.address
        )

    async def _check_new_password(self, user_id: UUID, current: str, new: str) -> str | None:
        """The stored hash, None for a deleted user. FinPayError if the new password is weak."""
        row = await self._database.fetch_one(_SQL.get_credentials, user_id)
        email, name = ("", None) if row is None else (row["email"], row["name"])
        reason = passwords.weakness(new, email=email, name=name, old=current)
        if reason is not None:
            raise validation_failed(reason, pointer="#/new_password")
        self._breached.check(new, "#/new_password")
        return None if row is None else row["password_hash"]

    async def _rehash(self, user_id: UUID, old_hash: str, password: str) -> str:
        """A hash with today's parameters. If the stored hash has changed, `_open_session` fails."""
        new_hash = await self._hasher.hash(password)
        await self._database.execute(_SQL.replace_password_hash, user_id, old_hash, new_hash)
        return new_hash

    async def _open_session(
        self,
        executor: Executor,
        user_id: UUID,
        password_hash: str,
        origin: RequestOrigin,
        *,
        second_factor: bool = False,
    ) -> LoggedIn | None:
        """None if the user's hash has changed, or whether a code is needed."""
        session_id, refresh = ids.new_uuid(), RefreshToken.new()
        row = await executor.fetch_one(
            _SQL.open_session,
            user_id,
            password_hash,
            session_id,
            refresh.hash,
            self.sessions.refresh_ttl_s,
            origin.request_id,
            origin.address,
            new_key(),
            origin.user_agent,
            second_factor,
            ids.new_uuid(),
        )
        if row is None:
            return None
        return self._logged_in(row, session_id, refresh, second_factor=second_factor)

    def _logged_in(
        self, row: Record, session_id: UUID, refresh: RefreshToken, *, second_factor: bool = False
    ) -> LoggedIn:
        """From a row with the user's columns, then the account's."""
        user = User(*row[:_USER_COLUMNS])
        account = Account(*row[_USER_COLUMNS : _USER_COLUMNS + _ACCOUNT_COLUMNS])
        tokens = self.sessions.tokens(
            user.id,
            account.id,
            session_id,
            refresh,
            role=row["role"],
            factor=second_factor,
        )
        return LoggedIn(user, account, tokens)


def _changed_meanwhile() -> FinPayError:
    return unavailable("The password was changed at the same time. Retry the request.")
