"""The errors of this package. Each 401 names the accepted scheme (RFC 9110 §11.6.1).

None reveals whether an e-mail address is registered, except at registration, which has to.
"""

from collections.abc import Mapping
from typing import Final

from finpay.errors import Code, FinPayError

_SCHEME: Final = 'Bearer realm="finpay"'
# RFC 6750 §3.1: a token was sent and is not valid.
_BAD_TOKEN: Final = f'{_SCHEME}, error="invalid_token"'


def unauthenticated(detail: str) -> FinPayError:
    """401: the access token of the request is not valid."""
    return _unauthorized(Code.UNAUTHENTICATED, detail, _BAD_TOKEN)


def session_ended() -> FinPayError:
    """401: the access token is of a session that was revoked or is too old."""
    return unauthenticated("This session has ended. Log in again.")


def invalid_credentials() -> FinPayError:
    """401 at login: the same for an unknown e-mail address and a wrong password."""
    return _unauthorized(
        Code.INVALID_CREDENTIALS,
        "The e-mail address or the password is wrong. Check both, or register.",
    )


def wrong_current_password() -> FinPayError:
    """401 at password change."""
    return _unauthorized(
        Code.INVALID_CREDENTIALS,
        "The current password is wrong. The password was not changed.",
    )


def wrong_password() -> FinPayError:
    """401 where a user in a session has to give the password again."""
    return _unauthorized(Code.INVALID_CREDENTIALS, "The password is wrong. Nothing was done.")


def refresh_token_invalid() -> FinPayError:
    """401: unknown or expired, or its session has ended."""
    return _unauthorized(
        Code.REFRESH_TOKEN_INVALID,
        "The refresh token is unknown or expired, or its session has ended. Log in again.",
    )


def refresh_token_reused() -> FinPayError:
    """401: the refresh token was used before, so there may be a copy of it."""
    return _unauthorized(
        Code.REFRESH_TOKEN_REUSED,
        "The refresh token was used before, so it may have been copied. Its session has ended. "
        "Log in again.",
    )


def token_invalid() -> FinPayError:
    """401: the token of a link in a mail."""
    return _unauthorized(
        Code.TOKEN_INVALID,
        "The link is unknown, too old, not the newest, or was used before. Ask for another mail.",
    )


def second_factor_required(challenge: str | None = None) -> FinPayError:
    """401: the password is right, and a code is needed too. `challenge` is that of a login."""
    if challenge is None:
        return _unauthorized(
            Code.SECOND_FACTOR_REQUIRED,
            "Send a code of your authenticator app, or a recovery code, as the field `code`.",
        )
    return _unauthorized(
        Code.SECOND_FACTOR_REQUIRED,
        "Send the challenge with a code of your authenticator, or with a recovery code.",
        extensions={"challenge": challenge},
    )


def second_factor_invalid() -> FinPayError:
    """401: a wrong code, or one that was used before."""
    return _unauthorized(
        Code.SECOND_FACTOR_INVALID,
        "The code is wrong or was used before. Wait for the next one of your authenticator.",
    )


def challenge_invalid() -> FinPayError:
    """401 at the second step of a login."""
    return _unauthorized(
        Code.CHALLENGE_INVALID,
        "The challenge is unknown, older than 5 minutes, used, or had too many wrong codes. "
        "Log in again.",
    )


def email_taken() -> FinPayError:
    """409 at registration."""
    return FinPayError(
        Code.EMAIL_TAKEN,
        "A user with this e-mail address exists. Log in, or register another address.",
    )


def _unauthorized(
    code: Code,
    detail: str,
    scheme: str = _SCHEME,
    extensions: Mapping[str, object] | None = None,
) -> FinPayError:
    return FinPayError(
        code, detail, headers={"WWW-Authenticate": scheme}, extensions=extensions or {}
    )
