"""The operations on the user's sessions, API keys, e-mail address and second factor."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypedDict
from urllib.parse import quote

from finpay.client._identity_models import (
    ActiveSession,
    ApiKey,
    LoggedRequest,
    Login,
    RecoveryCodes,
    SecondFactor,
)
from finpay.client._models import (
    Page,
    User,
)
from finpay.client._operations import Operation, checked, json_body, parameter, query
from finpay.client._requests import encode

_API_KEYS: Final = "/api/v1/api_keys"
_AUTH: Final = "/api/v1/auth"
_REQUESTS: Final = "/api/v1/requests"
_SESSIONS: Final = f"{_AUTH}/sessions"
_NOTHING: Final = type(None)


class ApiKeyOptions(TypedDict, total=False):
    """`allowed_cidrs`: networks from which the key works. Neither: for ever, from everywhere.

    `code` is one of the user's second factor, where that is on.
    """

    expires_at: datetime | None
    allowed_cidrs: Sequence[str] | None
    code: str | None


def sessions(limit: int | None) -> Operation[Page[ActiveSession]]:
    return Operation("GET", _SESSIONS, Page[ActiveSession], params=query({"limit": limit}))


def end_session(session_id: str) -> Operation[None]:
    """Not repeatable: the second attempt would be 404."""
    path = f"{_SESSIONS}/{checked('ses', session_id)}"
    return Operation("DELETE", path, _NOTHING, repeatable=False)


def end_other_sessions() -> Operation[None]:
    return Operation("DELETE", _SESSIONS, _NOTHING)


def create_api_key(
    name: str, scopes: Sequence[str], password: str, options: ApiKeyOptions
) -> Operation[ApiKey]:
    """Not repeatable: sent twice, it creates two."""
    expires_at = options.get("expires_at")
    members = {
        "name": name,
        "scopes": list(scopes),
        "password": password,
        "expires_at": None if expires_at is None else parameter("expires_at", expires_at),
        "allowed_cidrs": options.get("allowed_cidrs"),
        "code": options.get("code"),
    }
    return Operation("POST", _API_KEYS, ApiKey, json_body(members), repeatable=False)


def api_keys(limit: int | None) -> Operation[Page[ApiKey]]:
    return Operation("GET", _API_KEYS, Page[ApiKey], params=query({"limit": limit}))


def close_account(password: str, code: str | None) -> Operation[None]:
    """Not repeatable: the second attempt would be 401."""
    body = json_body({"password": password, "code": code})
    return Operation("POST", "/api/v1/accounts/close", _NOTHING, body, repeatable=False)


def export() -> Operation[dict[str, Any]]:
    return Operation("GET", "/api/v1/auth/export", dict[str, Any])


def delete_api_key(key_id: str) -> Operation[None]:
    """Not repeatable: the second attempt would be 404."""
    return Operation("DELETE", f"{_API_KEYS}/{checked('key', key_id)}", _NOTHING, repeatable=False)


def logged_requests(limit: int | None) -> Operation[Page[LoggedRequest]]:
    return Operation("GET", _REQUESTS, Page[LoggedRequest], params=query({"limit": limit}))


def logged_request(request_id: str) -> Operation[LoggedRequest]:
    return Operation("GET", f"{_REQUESTS}/{quote(request_id, safe='')}", LoggedRequest)


def update_me(name: str | None) -> Operation[User]:
    return Operation("PATCH", f"{_AUTH}/me", User, encode({"name": name}))


def complete_login(challenge: str, code: str) -> Operation[Login]:
    """Not repeatable: a code works once."""
    path, body = f"{_AUTH}/login/second_factor", json_body({"challenge": challenge, "code": code})
    return Operation("POST", path, Login, body, repeatable=False, authenticated=False)


def request_password_reset(email: str) -> Operation[None]:
    """Not repeatable: each may send a mail."""
    path, body = f"{_AUTH}/password/forgot", json_body({"email": email})
    return Operation("POST", path, _NOTHING, body, repeatable=False, authenticated=False)


def reset_password(token: str, new_password: str) -> Operation[None]:
    """Not repeatable: a token works once."""
    body = json_body({"token": token, "new_password": new_password})
    path = f"{_AUTH}/password/reset"
    return Operation("POST", path, _NOTHING, body, repeatable=False, authenticated=False)


def request_email_verification() -> Operation[None]:
    """Not repeatable: each may send a mail."""
    return Operation("POST", f"{_AUTH}/email/verification", _NOTHING, repeatable=False)


def verify_email(token: str) -> Operation[None]:
    """Not repeatable: a token works once."""
    path, body = f"{_AUTH}/email/verify", json_body({"token": token})
    return Operation("POST", path, _NOTHING, body, repeatable=False, authenticated=False)


def create_second_factor(password: str) -> Operation[SecondFactor]:
    """Not repeatable: the second attempt would replace the secret of the first."""
    path, body = f"{_AUTH}/second_factor", json_body({"password": password})
    return Operation("POST", path, SecondFactor, body, repeatable=False)


def confirm_second_factor(code: str) -> Operation[RecoveryCodes]:
    """Not repeatable: a code works once."""
    path, body = f"{_AUTH}/second_factor/confirm", json_body({"code": code})
    return Operation("POST", path, RecoveryCodes, body, repeatable=False)


def disable_second_factor(password: str, code: str) -> Operation[None]:
    """Not repeatable: a code works once."""
    path = f"{_AUTH}/second_factor/disable"
    body = json_body({"password": password, "code": code})
    return Operation("POST", path, _NOTHING, body, repeatable=False)
