"""The refusals of this package. Each 401 says which scheme would be accepted (RFC 9110 §11.6.1).

None tells whether an e-mail is known, save that of registration, which can't help it.
"""

from typing import Final

from finpay.errors import Code, FinPayError

_CHALLENGE: Final = 'Bearer realm="finpay"'
# RFC 6750 §3.1, for a token that was given and is no good.
_BAD_TOKEN: Final = f'{_CHALLENGE}, error="invalid_token"'


def unauthenticated(detail: str) -> FinPayError:
    """401: the access token that was given is not valid now."""
    return _refusal(Code.UNAUTHENTICATED, detail, _BAD_TOKEN)


def invalid_credentials() -> FinPayError:
    """401 at login: for an unknown e-mail and for a wrong password alike."""
    return _refusal(
        Code.INVALID_CREDENTIALS,
        "No user has this e-mail with this password. Check the spelling of both, or register.",
    )


def wrong_current_password() -> FinPayError:
    """401 at password change."""
    return _refusal(
        Code.INVALID_CREDENTIALS,
        "The current password is not right, so it was not changed. Check its spelling.",
    )


def refresh_token_invalid() -> FinPayError:
    """401: unknown or expired, or its session has ended."""
    return _refusal(
        Code.REFRESH_TOKEN_INVALID,
        "The refresh token is unknown or expired, or its session has ended. Log in again.",
    )


def refresh_token_reused() -> FinPayError:
    """401: it was exchanged before; somebody may have a copy."""
    return _refusal(
        Code.REFRESH_TOKEN_REUSED,
        "The refresh token was exchanged before. In case somebody copied it, its session has "
        "ended. Log in again.",
    )


def email_taken() -> FinPayError:
    """409 at registration."""
    return FinPayError(
        Code.EMAIL_TAKEN,
        "A user with this e-mail exists. Log in instead, or register another e-mail.",
    )


def _refusal(code: Code, detail: str, challenge: str = _CHALLENGE) -> FinPayError:
    return FinPayError(code, detail, headers={"WWW-Authenticate": challenge})
