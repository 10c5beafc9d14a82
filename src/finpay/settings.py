"""Settings, read from the environment once and never changed. docs/settings.md has each name.

An unknown `FINPAY_*` name or an invalid value is an error at start, so that a misspelt limit does
not silently become the default.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from finpay.money import parse_amounts
from finpay.setting_values import check_origin, normalise_database_url, parts, root_url, url

CurrencyAmounts = tuple[tuple[str, int], ...]

DEVELOPMENT_SECRET: Final = "finpay-development-secret-never-in-production"  # noqa: S105
MIN_SECRET_BYTES: Final = 32  # RFC 7518 §3.2: an HS256 key is at least as long as its hash

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
    operator_url: str | None = Field(None, alias="FINPAY_DATABASE_OPERATOR_URL", repr=False)
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
    rate_limit_operator: RateLimit | None = Field(
        RateLimit(1000, 60), alias="FINPAY_RATE_LIMIT_OPERATOR"
    )
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
    limit_single: CurrencyAmounts = Field((), alias="FINPAY_LIMIT_SINGLE")
    limit_daily: CurrencyAmounts = Field((), alias="FINPAY_LIMIT_DAILY")
    approval_above: CurrencyAmounts = Field((), alias="FINPAY_APPROVAL_ABOVE")
    worker_port: int = Field(0, alias="FINPAY_WORKER_PORT", ge=0, le=65535)
    smtp_url: str | None = Field(None, alias="FINPAY_SMTP_URL", repr=False)
    mail_from: str | None = Field(None, alias="FINPAY_MAIL_FROM")
    require_verified_email: bool = Field(False, alias="FINPAY_REQUIRE_VERIFIED_EMAIL")
    breached_passwords: str | None = Field(None, alias="FINPAY_BREACHED_PASSWORDS")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", alias="FINPAY_LOG_LEVEL"
    )

    @field_validator(
        "rate_limit_global",
        "rate_limit_auth",
        "rate_limit_key",
        "rate_limit_operator",
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

    @field_validator("limit_single", "limit_daily", "approval_above", mode="before")
    @classmethod
    def _amounts(cls, value: Any) -> Any:
        return parse_amounts(value) if isinstance(value, str) else value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _trusted_proxies(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.isascii() and value.isdigit():
            return int(value)
        return tuple(ip_network(part) for part in parts(value))

    @field_validator(
        "cors_origins",
        "webhook_retry_schedule_s",
        "webhook_allowed_networks",
        "webhook_ports",
        mode="before",
    )
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return tuple(parts(value)) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _browser_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            check_origin(origin)
        return value

    @field_validator("database_url", "owner_url_setting", "operator_url")
    @classmethod
    def _postgresql_url(cls, value: str) -> str:
        return normalise_database_url(url(value, "postgresql", "postgres"))

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str | None) -> str | None:
        return None if value is None else root_url(value)

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str) -> str:
        return url(value, "redis", "rediss", "unix")

    @field_validator("smtp_url")
    @classmethod
    def _smtp_url(cls, value: str) -> str:
        return url(value, "smtp", "smtps")

    @model_validator(mode="after")
    def _mails_need_a_sender_and_links(self) -> Self:
        if self.smtp_url and not (self.mail_from and self.public_url):
            raise ValueError("FINPAY_SMTP_URL needs FINPAY_MAIL_FROM and FINPAY_PUBLIC_URL")
        return self

    @field_validator("jwt_secret")
    @classmethod
    def _jwt_secret(cls, value: str) -> str:
        secrets = parts(value)
        if not secrets or min(len(secret.encode()) for secret in secrets) < MIN_SECRET_BYTES:
            raise ValueError(f"each secret needs at least {MIN_SECRET_BYTES} bytes")
        return value

    @model_validator(mode="after")
    def _production_needs_its_own_secret(self) -> Self:
        if self.production and DEVELOPMENT_SECRET in self.jwt_secrets:
            raise ValueError("FINPAY_JWT_SECRET has to be set in production")
        return self

    def limits_of(self, currency: str) -> tuple[int | None, int | None]:
        """The limits of a new account: of one payment, and of a day. None: no limit."""
        return dict(self.limit_single).get(currency), dict(self.limit_daily).get(currency)

    @property
    def production(self) -> bool:
        return self.env == "production"

    @property
    def session_settings(self) -> dict[str, str]:
        """What the functions of the ledger read from the connections of the app."""
        settings = {
            "finpay.require_verified_sender": self.require_verified_email,
            "finpay.require_verified_receiver": self.smtp_url is not None,
        }
        return {name: "on" for name, is_on in settings.items() if is_on}

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
        return tuple(parts(self.jwt_secret))


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
