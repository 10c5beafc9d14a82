"""Settings, read from the environment once and never changed. docs/settings.md has each name.

An unknown `FINPAY_*` name or an invalid value is an error at start, so that a misspelt limit does
not silently become the default.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import unquote, urlsplit

import idna
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

DEVELOPMENT_SECRET: Final = "finpay-development-secret-never-in-production"  # noqa: S105
MIN_SECRET_BYTES: Final = 32  # RFC 7518 §3.2: an HS256 key is at least as long as its hash

# Parameters of database URLs that asyncpg would send to the server, which refuses them. Those of
# libpq only tune the connection, except channel_binding, which the driver can't do: use
# sslmode=verify-full to be sure of the server. Those of Prisma and node-postgres mean nothing here.
# Others stay, above all those that decide which server is trusted: hostaddr, require_auth, …
_DROPPED = (
    "channel_binding connect_timeout fallback_application_name gssdelegation gssencmode "
    "keepalives keepalives_count keepalives_idle keepalives_interval load_balance_hosts "
    "max_protocol_version min_protocol_version sslcertmode sslcompression sslsni tcp_user_timeout "
    "connection_limit pgbouncer pool_timeout schema socket_timeout statement_cache_size "
    "uselibpqcompat"
)
_DROPPED_PARAMETERS: Final = frozenset(_DROPPED.split())
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

Network = IPv4Network | IPv6Network


class SettingsError(Exception):
    """A setting is missing, unknown or invalid. The message names it; the CLI exits with 2."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`count` requests in a fixed window of `window_s` seconds."""

    count: int
    window_s: int


class Settings(BaseModel):
    """All settings. Units are in the names."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    env: Literal["development", "production"] = Field("development", alias="FINPAY_ENV")
    database_url: str = Field(
        "postgresql://localhost:5432/finpay", alias="DATABASE_URL", repr=False
    )
    owner_url_setting: str | None = Field(None, alias="FINPAY_DATABASE_OWNER_URL", repr=False)
    redis_url: str = Field("redis://localhost:6379/0", alias="REDIS_URL", repr=False)
    host_setting: str | None = Field(None, alias="HOST")
    port: int = Field(3000, alias="PORT", ge=0, le=65535)
    jwt_secret: str = Field(DEVELOPMENT_SECRET, alias="FINPAY_JWT_SECRET", repr=False)
    workers: int = Field(2, alias="FINPAY_WORKERS", ge=1, le=256)
    access_token_ttl_s: int = Field(900, alias="FINPAY_ACCESS_TOKEN_TTL", ge=1)
    refresh_token_ttl_s: int = Field(2_592_000, alias="FINPAY_REFRESH_TOKEN_TTL", ge=1)
    rate_limit_global: RateLimit | None = Field(
        RateLimit(100, 900), alias="FINPAY_RATE_LIMIT_GLOBAL"
    )
    rate_limit_auth: RateLimit | None = Field(RateLimit(10, 900), alias="FINPAY_RATE_LIMIT_AUTH")
    rate_limit_key: RateLimit | None = Field(RateLimit(1000, 60), alias="FINPAY_RATE_LIMIT_KEY")
    rate_limit_pages: RateLimit | None = Field(RateLimit(600, 900), alias="FINPAY_RATE_LIMIT_PAGES")
    rate_limit_transaction: RateLimit | None = Field(
        RateLimit(20, 60), alias="FINPAY_RATE_LIMIT_TRANSACTION"
    )
    idempotency_ttl_s: int = Field(86_400, alias="FINPAY_IDEMPOTENCY_TTL", ge=1)
    trusted_proxies: tuple[Network, ...] | int = Field((), alias="FINPAY_TRUSTED_PROXIES")
    cors_origins: tuple[str, ...] = Field((), alias="FINPAY_CORS_ORIGINS")
    metrics_token: str | None = Field(None, alias="FINPAY_METRICS_TOKEN", repr=False)
    webhook_retry_schedule_s: tuple[Annotated[int, Field(ge=0, le=2_592_000)], ...] = Field(
        (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
        alias="FINPAY_WEBHOOK_RETRY_SCHEDULE",
    )
    webhook_allowed_networks: tuple[Network, ...] = Field((), alias="FINPAY_WEBHOOK_ALLOWED_CIDRS")
    webhook_ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        (443, 8443), alias="FINPAY_WEBHOOK_PORTS"
    )
    webhook_timeout_s: float = Field(20, alias="FINPAY_WEBHOOK_TIMEOUT", gt=0, le=120)
    webhook_concurrency: int = Field(64, alias="FINPAY_WEBHOOK_CONCURRENCY", ge=1, le=256)
    webhook_disable_after_s: int = Field(432_000, alias="FINPAY_WEBHOOK_DISABLE_AFTER", ge=1)
    webhook_secret_overlap_s: int = Field(
        86_400, alias="FINPAY_WEBHOOK_SECRET_OVERLAP", ge=0, le=604_800
    )
    event_retention_s: int = Field(7_776_000, alias="FINPAY_EVENT_RETENTION", ge=86_400)
    integrity_interval_s: int = Field(60, alias="FINPAY_INTEGRITY_INTERVAL", ge=0, le=86_400)
    public_url: str | None = Field(None, alias="FINPAY_PUBLIC_URL")
    worker_port: int = Field(0, alias="FINPAY_WORKER_PORT", ge=0, le=65535)
    smtp_url: str | None = Field(None, alias="FINPAY_SMTP_URL", repr=False)
    mail_from: str | None = Field(None, alias="FINPAY_MAIL_FROM")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", alias="FINPAY_LOG_LEVEL"
    )

    @field_validator(
        "rate_limit_global",
        "rate_limit_auth",
        "rate_limit_key",
        "rate_limit_pages",
        "rate_limit_transaction",
        mode="before",
    )
    @classmethod
    def _rate_limit(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value == "off":
            return None
        match = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", value)
        if match is None:
            raise ValueError("expected count/seconds such as 100/900, or off")
        return RateLimit(int(match[1]), int(match[2]))

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _trusted_proxies(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.isascii() and value.isdigit():
            return int(value)
        return tuple(ip_network(part) for part in _parts(value))

    @field_validator(
        "cors_origins",
        "webhook_retry_schedule_s",
        "webhook_allowed_networks",
        "webhook_ports",
        mode="before",
    )
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return tuple(_parts(value)) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _browser_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            _check_origin(origin)
        return value

    @field_validator("database_url", "owner_url_setting")
    @classmethod
    def _postgresql_url(cls, value: str) -> str:
        return normalise_database_url(_url(value, "postgresql", "postgres"))

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str | None) -> str | None:
        return None if value is None else _root_url(value)

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str) -> str:
        return _url(value, "redis", "rediss", "unix")

    @field_validator("smtp_url")
    @classmethod
    def _smtp_url(cls, value: str) -> str:
        return _url(value, "smtp", "smtps")

    @model_validator(mode="after")
    def _mails_need_a_sender_and_links(self) -> Self:
        if self.smtp_url and not (self.mail_from and self.public_url):
            raise ValueError("FINPAY_SMTP_URL needs FINPAY_MAIL_FROM and FINPAY_PUBLIC_URL")
        return self

    @field_validator("jwt_secret")
    @classmethod
    def _jwt_secret(cls, value: str) -> str:
        secrets = _parts(value)
        if not secrets or min(len(secret.encode()) for secret in secrets) < MIN_SECRET_BYTES:
            raise ValueError(f"each secret needs at least {MIN_SECRET_BYTES} bytes")
        return value

    @model_validator(mode="after")
    def _production_needs_its_own_secret(self) -> Self:
        if self.production and DEVELOPMENT_SECRET in self.jwt_secrets:
            raise ValueError("FINPAY_JWT_SECRET has to be set in production")
        return self

    @property
    def production(self) -> bool:
        return self.env == "production"

    @property
    def host(self) -> str:
        return self.host_setting or ("0.0.0.0" if self.production else "127.0.0.1")  # noqa: S104

    @property
    def owner_url(self) -> str:
        """The URL of migrations and operator commands; without its setting, the app's."""
        return self.owner_url_setting or self.database_url

    @property
    def jwt_secrets(self) -> tuple[str, ...]:
        """The first one signs, all verify."""
        return tuple(_parts(self.jwt_secret))


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of an environment. SettingsError names the first invalid or unknown one."""
    known = {str(field.alias) for field in Settings.model_fields.values()}
    unknown = sorted(name for name in environ if name.startswith("FINPAY_") and name not in known)
    if unknown:
        raise SettingsError(f"{unknown[0]} is not a setting of FinPay; see docs/settings.md")
    given = {name: environ[name] for name in known if environ.get(name)}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name}: {reason}".removeprefix(": ")) from None


def normalise_database_url(url: str) -> str:
    """The URL without parameters that other drivers have and ours refuses."""
    base, mark, query = url.partition("?")
    kept = [
        part
        for part in query.split("&")
        if unquote(part.partition("=")[0]) not in _DROPPED_PARAMETERS and part
    ]
    return base + (mark + "&".join(kept) if kept else "")


def _check_origin(origin: str) -> None:
    """ValueError unless a browser may send this text as the header Origin (RFC 6454 §6.2)."""
    if origin in ("*", "null"):
        raise ValueError(
            f"{origin} would allow any page; list origins such as https://shop.example"
        )
    try:
        sent = _origin_as_sent(origin)
    except ValueError:
        sent = ""
    if not sent:
        raise ValueError("expected origins such as https://shop.example or http://localhost:5173")
    if origin != sent:
        raise ValueError(f"no browser sends this form of an origin; write {sent}")


def _origin_as_sent(url: str) -> str:
    """The origin of a URL as browsers write it. Empty or a ValueError if it has none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not parts.scheme or not host:
        return ""
    if ":" in host:
        host = f"[{ip_address(host)}]"
    elif not host.isascii():
        host = idna.encode(host, uts46=True).decode()
    elif not re.fullmatch(r"[a-z0-9._-]+", host):
        return ""
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _url(value: str, *schemes: str) -> str:
    """Checks the scheme only; the drivers check the rest."""
    if value.partition("://")[0] not in schemes:
        raise ValueError(f"expected a URL that begins with {schemes[0]}://")
    return value


def _root_url(value: str) -> str:
    """Without a slash at its end. ValueError unless a path can be added to it."""
    parts = urlsplit(_url(value, "https", "http"))
    if not parts.hostname or parts.username or parts.query or parts.fragment or len(value) > 1024:
        raise ValueError("expected a URL such as https://pay.example.com, without a query")
    return value.rstrip("/")


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]
