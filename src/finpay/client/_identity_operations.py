"""The operations on the user's sessions and API keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypedDict

from finpay.client._identity_models import (
    ActiveSession,
    ApiKey,
)
from finpay.client._models import (
    Page,
)
from finpay.client._operations import Operation, checked, json_body, parameter, query

_API_KEYS: Final = "/api/v1/api_keys"
_SESSIONS: Final = "/api/v1/auth/sessions"
_NOTHING: Final = type(None)


class ApiKeyOptions(TypedDict, total=False):
    """`allowed_cidrs`: networks from which the key works. Neither: for ever, from everywhere."""

    expires_at: datetime | None
    allowed_cidrs: Sequence[str] | None


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
