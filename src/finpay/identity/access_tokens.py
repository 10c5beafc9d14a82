"""Access tokens: JSON Web Tokens that name the user, account and session of a request.

They are typed `at+jwt` (RFC 9068) and signed with HS256; nothing in a token chooses how it is
verified (RFC 8725). A token does not prove that its session is active: the gate checks that.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any, Final, Literal, cast, get_args
from uuid import UUID

import jwt

from finpay import ids
from finpay.identity.errors import unauthenticated

ISSUER: Final = "finpay"
AUDIENCE: Final = "finpay-api"
ALGORITHM: Final = "HS256"
TYPE: Final = "at+jwt"

# Two of our hosts, each up to ten minutes off: a token of one seems to be issued in the future of
# the other. Accepting it is safe, because only we can sign. Expiry has no such tolerance: a token
# is never accepted after `exp`, by the clock of the verifying host.
CLOCK_SKEW_S: Final = 1_200
MAX_CACHED: Final = 10_000  # about 11 MB; more users than a process serves in a token's lifetime
MAX_TOKEN_LENGTH: Final = 1_024  # ours have fewer than 400; longer ones are not parsed

_REQUIRED: Final = ("iss", "aud", "sub", "acc", "sid", "gen", "role", "factor", "iat", "exp", "jti")
_HEADER: Final[Mapping[str, Any]] = {"alg": ALGORITHM, "typ": TYPE}
# Decoders ignore padding and the last bits of a signature, so a changed text could still verify.
_CANONICAL: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII)


Role = Literal["user", "operator", "auditor"]


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller. `user`, `account` and `session` are the public forms of the ids.

    `generation` is that of the refresh token issued with the access token. `expires_at` is in
    seconds since 1970. With an API key `session` is the key, which has no generation but `scopes`.
    `factor`: the user of the session showed a code of the second factor.
    """

    user_id: UUID
    account_id: UUID
    session_id: UUID
    user: str
    account: str
    session: str
    generation: int | None
    expires_at: int
    scopes: frozenset[str] | None = None
    role: Role = "user"
    factor: bool = False


class Signer:
    """Issues access tokens that expire after `ttl_s` seconds, and verifies them.

    The first of `secrets` signs and all verify, so that secrets can be rotated. Verified tokens are
    cached until they expire. `now` is always in seconds since 1970.
    """

    def __init__(self, secrets: Sequence[str], ttl_s: int) -> None:
        self.ttl_s = ttl_s
        self._keys = [secret.encode() for secret in secrets]
        self._verified: OrderedDict[str, Principal] = OrderedDict()

    def issue(
        self,
        user_id: UUID,
        account_id: UUID,
        session_id: UUID,
        now: float,
        *,
        generation: int = 0,
        role: Role = "user",
        factor: bool = False,
        ttl_s: int | None = None,
    ) -> str:
        """A token for one session of one user. It expires after `ttl_s` if its session does."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": ids.encode("usr", user_id),
            "acc": ids.encode("acc", account_id),
            "sid": ids.encode("ses", session_id),
            "gen": generation,
            "role": role,
            "factor": factor,
            "iat": int(now),
            "exp": int(now) + (self.ttl_s if ttl_s is None else ttl_s),
            "jti": token_urlsafe(12),  # two tokens of one second differ
        }
        return jwt.encode(claims, self._keys[0], ALGORITHM, headers={"typ": TYPE})

    def verify(self, token: str, now: float) -> Principal:
        """The principal of a token. FinPayError `unauthenticated` if it is invalid or expired."""
        principal = self._verified.get(token)
        if principal is not None and now < principal.expires_at:
            return principal
        try:
            principal = _principal(self._claims(token), now)
        except (jwt.InvalidTokenError, ValueError):
            raise unauthenticated(
                "The access token was not issued by this service. Log in to get one."
            ) from None
        if now >= principal.expires_at:
            self._verified.pop(token, None)
            raise unauthenticated(
                "The access token has expired. Exchange the refresh token, or log in again."
            )
        self._cache(token, principal)
        return principal

    def _cache(self, token: str, principal: Principal) -> None:
        if len(self._verified) >= MAX_CACHED:
            self._verified.popitem(last=False)  # the oldest
        self._verified[token] = principal

    def _claims(self, token: str) -> Mapping[str, Any]:
        """The claims of a token that is signed with one of the keys."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise ValueError("too long")
        if _CANONICAL.fullmatch(token) is None:
            raise ValueError("not in canonical form")
        for key in self._keys[:-1]:
            try:
                return _decode(token, key)
            except jwt.InvalidSignatureError:
                continue
        return _decode(token, self._keys[-1])


def _decode(token: str, key: bytes) -> Mapping[str, Any]:
    decoded = jwt.decode_complete(
        token,
        key,
        algorithms=[ALGORITHM],
        audience=AUDIENCE,
        issuer=ISSUER,
        options={
            "require": list(_REQUIRED),
            "strict_aud": True,
            # Compared in `verify` with `now`: the library reads the clock itself.
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
        },
    )
    # Our tokens have no other members; a kid or jku is never followed.
    if decoded["header"] != _HEADER:
        raise ValueError("not an access token")
    claims: Mapping[str, Any] = decoded["payload"]
    return claims


def _principal(claims: Mapping[str, Any], now: float) -> Principal:
    for name in ("iat", "exp", "nbf", "gen"):
        if type(claims.get(name, 0)) is not int:
            raise ValueError(f"{name} is not an integer")
    if max(claims["iat"], claims.get("nbf", 0)) > now + CLOCK_SKEW_S:
        raise ValueError("not valid yet")
    return Principal(
        user_id=_uuid("usr", claims["sub"]),
        account_id=_uuid("acc", claims["acc"]),
        session_id=_uuid("ses", claims["sid"]),
        user=claims["sub"],
        account=claims["acc"],
        session=claims["sid"],
        generation=claims["gen"],
        role=_role(claims["role"]),
        factor=_flag(claims["factor"]),
        expires_at=claims["exp"],
    )


def _role(claim: object) -> Role:
    for role in get_args(Role):
        if claim == role:
            return cast("Role", role)
    raise ValueError("not a role")


def _flag(claim: object) -> bool:
    if not isinstance(claim, bool):
        raise ValueError("factor is not a boolean")  # noqa: TRY004  bad input, like the rest
    return claim


def _uuid(prefix: ids.Prefix, claim: object) -> UUID:
    if not isinstance(claim, str):
        raise ValueError(f"not a {prefix}_ id")  # noqa: TRY004  bad input, like the rest
    return ids.decode(prefix, claim)
