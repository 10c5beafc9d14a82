"""Query parameters of the routes of operators."""

import re
from typing import Final
from uuid import UUID

from finpay import ids
from finpay.edge.request import pagination
from finpay.edge.request.pagination import CursorCodec
from finpay.edge.request.query_params import Cursor, Parameter
from finpay.identity import emails
from finpay.money import is_currency
from finpay.statements import periods

_ACTION: Final = re.compile(r"[a-z_]{1,40}\.[a-z_]{1,40}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,300}")


def _user_id(text: str) -> UUID:
    return ids.decode("usr", text)


def _any_id(text: str) -> UUID:
    """Of whatever kind: the log names users, accounts, transactions and more."""
    for prefix in ids.PREFIXES:
        if text.startswith(f"{prefix}_"):
            return ids.decode(prefix, text)
    raise ValueError("Expected an id such as acc_… or txn_….")


def _action(text: str) -> str:
    if _ACTION.fullmatch(text) is None:
        raise ValueError("Expected an action such as account.updated.")
    return text


def _request_id(text: str) -> str:
    if _REQUEST_ID.fullmatch(text) is None:
        raise ValueError("Expected the id of a request such as req_….")
    return text


def _currency(text: str) -> str:
    if not is_currency(text):
        raise ValueError("Expected a currency of ISO 4217 such as ZAR.")
    return text


def _cursor(codec: CursorCodec) -> Cursor:
    return Cursor(codec, {"type": "string", "description": "next_cursor of the page before."})


EMAIL: Final = Parameter(
    emails.normalise, {"type": "string", "maxLength": 320, "description": "The whole address."}
)
USER_ID: Final = Parameter(
    _user_id, {"type": "string", "pattern": "^usr_[0-7][0-9a-hjkmnp-tv-z]{25}$"}
)
SUBJECT_ID: Final = Parameter(
    _any_id,
    {
        "type": "string",
        "pattern": f"^({'|'.join(sorted(ids.PREFIXES))})_[0-7][0-9a-hjkmnp-tv-z]{{25}}$",
    },
)
ACTION: Final = Parameter(_action, {"type": "string", "pattern": "^[a-z_]{1,40}[.][a-z_]{1,40}$"})
REQUEST_ID: Final = Parameter(
    _request_id, {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,300}$"}
)
CURRENCY: Final = Parameter(_currency, {"type": "string", "pattern": "^[A-Z]{3}$"})
DATE: Final = Parameter(
    periods.parse_date,
    {"type": "string", "format": "date", "description": "A day (UTC), not in the future."},
    required=True,
)
USERS_CURSOR: Final = _cursor(pagination.ALL_USERS)
WITHDRAWALS_CURSOR: Final = _cursor(pagination.ALL_WITHDRAWALS)
TRANSACTIONS_CURSOR: Final = _cursor(pagination.ALL_TRANSACTIONS)
APPROVALS_CURSOR: Final = _cursor(pagination.APPROVALS)
AUDIT_CURSOR: Final = _cursor(pagination.AUDIT)
STATUS_CHANGES_CURSOR: Final = _cursor(pagination.STATUS_CHANGES)
