"""Access tokens: JSON Web Tokens that say who calls, for a quarter of an hour at most.

They are typed `at+jwt` (RFC 9068) and signed with HS256; nothing in a token chooses how it is
checked (RFC 8725). A token proves who its session belongs to, not that the session still lives:
that is the gate's question.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any, Final
from uuid import UUID

import jwt

from finpay import ids
from finpay.identity.errors import unauthenticated

ISSUER: Final = "finpay"
AUDIENCE: Final = "finpay-api"
ALGORITHM: Final = "HS256"
TYPE: Final = "at+jwt"

# Two machines of ours, each up to ten minutes off: what one makes now seems to come from the
# other's future. Only we can sign, so believing it lets nobody in. A token's end gets no such
# grace: it is never accepted longer than it says, by the clock of whoever looks.
CLOCK_SKEW_S: Final = 1_200
MAX_CACHED: Final = 10_000  # some 11 MB; more users than one process serves in a token's lifetime
MAX_TOKEN_LENGTH: Final = 1_024  # ours have under 400; hostile JSON is not even parsed

_REQUIRED: Final = ("iss", "aud", "sub", "acc", "sid", "iat", "exp", "jti")
_HEADER: Final[Mapping[str, Any]] = {"alg": ALGORITHM, "typ": TYPE}
# Decoders skip padding and the last bits of a signature, so a changed token would still be good.
_SPELLING: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `user`, `account` and `session` are the public forms of the ids.

    `expires_at` is in seconds since 1970.
    """

    user_id: UUID
    account_id: UUID
    session_id: UUID
    user: str
    account: str
    session: str
    expires_at: int


class Signer:
    """Makes access tokens that last `ttl_s` seconds, and checks them.

    The first of `secrets` signs and all verify, so that a new one can be brought in before the
    old one is taken away. What was verified once is remembered until it expires. `now` is always
    in seconds since 1970.
    """

    def __init__(self, secrets: Sequence[str], ttl_s: int) -> None:
        self.ttl_s = ttl_s
        self._keys = [secret.encode() for secret in secrets]
        self._verified: OrderedDict[str, Principal] = OrderedDict()

    def issue(self, user_id: UUID, account_id: UUID, session_id: UUID, now: float) -> str:
        """A token for one session of one user."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": ids.encode("usr", user_id),
            "acc": ids.encode("acc", account_id),
            "sid": ids.encode("ses", session_id),
            "iat": int(now),
            "exp": int(now) + self.ttl_s,
            "jti": token_urlsafe(12),  # two tokens of one second differ
        }
        return jwt.encode(claims, self._keys[0], ALGORITHM, headers={"typ": TYPE})

    def verify(self, token: str, now: float) -> Principal:
        """Whose token it is. FinPayError `unauthenticated` if it is not one of ours, or expired."""
        principal = self._verified.get(token)
        if principal is not None and now < principal.expires_at:
            return principal
        try:
            principal = _principal(self._claims(token), now)
        except (jwt.InvalidTokenError, ValueError):
            raise unauthenticated(
                "The access token is not one that FinPay issued. Log in to get one."
            ) from None
        if now >= principal.expires_at:
            self._verified.pop(token, None)
            raise unauthenticated("The access token has expired. Refresh it, or log in again.")
        self._remember(token, principal)
        return principal

    def _remember(self, token: str, principal: Principal) -> None:
        if len(self._verified) >= MAX_CACHED:
            self._verified.popitem(last=False)  # the one known longest
        self._verified[token] = principal

    def _claims(self, token: str) -> Mapping[str, Any]:
        """The claims of a token that one of our keys signed."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise ValueError("longer than any token of ours")
        if _SPELLING.fullmatch(token) is None:
            raise ValueError("not spelled as we spell tokens")
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
            # Times are compared here: the library would read the clock itself.
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
        },
    )
    # Nothing of ours has another member, and a kid or jku is never followed.
    if decoded["header"] != _HEADER:
        raise ValueError("not an access token")
    claims: Mapping[str, Any] = decoded["payload"]
    return claims


def _principal(claims: Mapping[str, Any], now: float) -> Principal:
    for name in ("iat", "exp", "nbf"):
        if type(claims.get(name, 0)) is not int:
            raise ValueError(f"{name} is no number of seconds")
    if max(claims["iat"], claims.get("nbf", 0)) > now + CLOCK_SKEW_S:
        raise ValueError("not valid yet")
    return Principal(
        user_id=_uuid("usr", claims["sub"]),
        account_id=_uuid("acc", claims["acc"]),
        session_id=_uuid("ses", claims["sid"]),
        user=claims["sub"],
        account=claims["acc"],
        session=claims["sid"],
        expires_at=claims["exp"],
    )


def _uuid(prefix: ids.Prefix, claim: object) -> UUID:
    if not isinstance(claim, str):
        raise ValueError(f"no {prefix}_ id")  # noqa: TRY004  bad input, as everything here
    return ids.decode(prefix, claim)
