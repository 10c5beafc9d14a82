"""The operations on the user's sessions."""

from typing import Final

from finpay.client._models import ActiveSession, Page
from finpay.client._operations import Operation, checked, query

_SESSIONS: Final = "/api/v1/auth/sessions"
_NOTHING: Final = type(None)


def sessions(limit: int | None) -> Operation[Page[ActiveSession]]:
    return Operation("GET", _SESSIONS, Page[ActiveSession], params=query({"limit": limit}))


def end_session(session_id: str) -> Operation[None]:
    """Not repeatable: the second attempt would be 404."""
    path = f"{_SESSIONS}/{checked('ses', session_id)}"
    return Operation("DELETE", path, _NOTHING, repeatable=False)


def end_other_sessions() -> Operation[None]:
    return Operation("DELETE", _SESSIONS, _NOTHING)
