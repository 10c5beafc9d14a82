"""Schemas of sessions, second factor, verified e-mails, API keys and logged requests."""

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv6Network, ip_network
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from finpay import ids
from finpay.edge.request.query_params import parse_time
from finpay.edge.schemas.fields import Password, check_name
from finpay.errors import validation_failed
from finpay.formats import Timestamp, format_timestamp
from finpay.identity import api_keys, models, request_log
from finpay.identity.api_keys import SCOPES, ApiKeySpec, Scope

Token = Annotated[str, Meta(min_length=1, max_length=512)]
Code = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=32,
        description="Six digits of the authenticator, or a recovery code. Spaces and hyphens are "
        "ignored.",
        examples=["492039"],
    ),
]

MAX_NETWORKS = 20
MAX_IPV6_PREFIX = 64  # one client has a whole /64


class ActiveSession(Struct, frozen=True):
    """A login whose tokens are valid. `device` and `address` are those of the login."""

    id: str
    object: Literal["session"]
    device: Annotated[str | None, Meta(description="User-Agent of the login.")]
    address: str | None
    created_at: Timestamp
    last_seen_at: Annotated[
        Timestamp, Meta(description="As of the last refresh: up to 15 minutes old.")
    ]
    expires_at: Annotated[Timestamp, Meta(description="90 days after the login.")]
    current: Annotated[bool, Meta(description="Whether it is the session of this request.")]


class ActiveSessionList(Struct, frozen=True):
    """One page of active sessions."""

    object: Literal["list"]
    data: list[ActiveSession]
    has_more: bool
    next_cursor: str | None


def active_session(row: models.Session, *, current: UUID) -> ActiveSession:
    return ActiveSession(
        id=ids.encode("ses", row.id),
        object="session",
        device=row.device,
        address=row.address,
        created_at=format_timestamp(row.created_at),
        last_seen_at=format_timestamp(row.seen_at),
        expires_at=format_timestamp(row.expires_at),
        current=row.id == current,
    )


class SecondFactorCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """The user's password."""

    password: Password

    def checked(self) -> "SecondFactorCreate":
        return self


class SecondFactor(Struct, frozen=True):
    """What an authenticator needs. Logins ask for no code before the first one was confirmed."""

    secret: Annotated[str, Meta(description="The secret in base 32. It is shown only here.")]
    otpauth_url: Annotated[str, Meta(description="The secret as a URL, to be shown as a QR code.")]


class SecondFactorConfirm(Struct, frozen=True, forbid_unknown_fields=True):
    """A code of the authenticator that has learned the secret."""

    code: Code

    def checked(self) -> "SecondFactorConfirm":
        return self


class RecoveryCodes(Struct, frozen=True):
    """Codes for a user who has lost the authenticator. Each works once, and is shown once."""

    recovery_codes: list[str]


class SecondFactorDisable(Struct, frozen=True, forbid_unknown_fields=True):
    """The user's password and a code."""

    password: Password
    code: Code

    def checked(self) -> "SecondFactorDisable":
        return self


class SecondFactorLogin(Struct, frozen=True, forbid_unknown_fields=True):
    """The challenge of a login with the right password, and a code."""

    challenge: Token
    code: Code

    def checked(self) -> "SecondFactorLogin":
        return self


class EmailVerify(Struct, frozen=True, forbid_unknown_fields=True):
    """The token behind # in the link of the mail."""

    token: Token

    def checked(self) -> "EmailVerify":
        return self


class ApiKeyCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """A new API key. `password` is the user's, `code` one of a second factor that is on."""

    name: Annotated[str, Meta(min_length=1, max_length=100, examples=["billing server"])]
    scopes: Annotated[
        list[Scope],
        Meta(min_length=1, max_length=len(SCOPES), examples=[["transactions:write"]]),
    ]
    password: Password
    code: Code | None = None
    expires_at: Annotated[str, Meta(max_length=64, examples=["2027-01-31T12:00:00Z"])] | None = None
    allowed_cidrs: (
        Annotated[
            list[Annotated[str, Meta(max_length=50)]],
            Meta(
                max_length=MAX_NETWORKS,
                description="Networks from which the key works; none: from every address. "
                "IPv6 networks have a prefix of at most 64 bits.",
                examples=[["203.0.113.0/24"]],
            ),
        ]
        | None
    ) = None

    def checked(self) -> "tuple[ApiKeyCreate, ApiKeySpec]":
        check_name(self.name)
        if len(set(self.scopes)) < len(self.scopes):
            raise validation_failed("Name each scope once.", pointer="#/scopes")
        networks = [_network(index, text) for index, text in enumerate(self.allowed_cidrs or ())]
        spec = ApiKeySpec(self.name, sorted(self.scopes), networks, _expiry(self.expires_at))
        return self, spec


class ApiKey(Struct, frozen=True):
    """An API key. `secret` is shown once, in the response that creates the key."""

    id: str
    object: Literal["api_key"]
    secret: str | None
    name: str
    scopes: Sequence[str]
    allowed_cidrs: Sequence[str]
    prefix: Annotated[str, Meta(description="The first characters of the secret.")]
    last_used_at: Annotated[Timestamp | None, Meta(description="Recorded once a minute.")]
    expires_at: Timestamp | None
    created_at: Timestamp


class ApiKeyList(Struct, frozen=True):
    """One page of API keys."""

    object: Literal["list"]
    data: list[ApiKey]
    has_more: bool
    next_cursor: str | None


class LoggedRequest(Struct, frozen=True):
    """A request of the user. `session_id` or `api_key_id`: what it was authenticated with."""

    id: Annotated[str, Meta(description="Its X-Request-Id.")]
    object: Literal["request"]
    method: str
    route: Annotated[str, Meta(examples=["/api/v1/transactions/{id}"])]
    status: int
    code: Annotated[str | None, Meta(description="The error code; null for a success.")]
    duration_ms: float
    session_id: str | None
    api_key_id: str | None
    created_at: Timestamp


class LoggedRequestList(Struct, frozen=True):
    """One page of requests."""

    object: Literal["list"]
    data: list[LoggedRequest]
    has_more: bool
    next_cursor: str | None


def logged_request(row: request_log.LoggedRequest) -> LoggedRequest:
    return LoggedRequest(
        id=row.request_id,
        object="request",
        method=row.method,
        route=row.route,
        status=row.status,
        code=row.code,
        duration_ms=row.duration_us / 1000,
        session_id=None if row.session_id is None else ids.encode("ses", row.session_id),
        api_key_id=None if row.api_key_id is None else ids.encode("key", row.api_key_id),
        created_at=format_timestamp(row.created_at),
    )


def api_key(row: api_keys.ApiKey, secret: str | None = None) -> ApiKey:
    return ApiKey(
        id=ids.encode("key", row.id),
        object="api_key",
        secret=secret,
        name=row.name,
        scopes=row.scopes,
        allowed_cidrs=row.allowed_cidrs,
        prefix=row.prefix,
        last_used_at=None if row.last_used_at is None else format_timestamp(row.last_used_at),
        expires_at=None if row.expires_at is None else format_timestamp(row.expires_at),
        created_at=format_timestamp(row.created_at),
    )


def _expiry(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parse_time(text)
    except ValueError as error:
        raise validation_failed(str(error), pointer="#/expires_at") from None
    if moment <= datetime.now(UTC):
        raise validation_failed("expires_at has to be in the future.", pointer="#/expires_at")
    return moment


def _network(index: int, text: str) -> str:
    pointer = f"#/allowed_cidrs/{index}"
    try:
        network = ip_network(text)
    except ValueError:
        raise validation_failed(
            "Expected a network such as 203.0.113.0/24.", pointer=pointer
        ) from None
    if isinstance(network, IPv6Network) and network.prefixlen > MAX_IPV6_PREFIX:
        raise validation_failed(
            "The prefix of an IPv6 network has at most 64 bits.", pointer=pointer
        )
    return str(network)
