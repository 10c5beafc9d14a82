"""Writes docs/errors.md and docs/settings.md from the code. `make docs`; a test compares."""

from pathlib import Path
from typing import Final

from finpay.errors import KINDS
from finpay.settings import RateLimit, Settings

HERE: Final = Path(__file__).parent

_MEANINGS: Final = {
    "FINPAY_ENV": "`development` or `production`. Production refuses unsafe settings.",
    "DATABASE_URL": "PostgreSQL for the app: a login that may `SET ROLE finpay_app`.",
    "FINPAY_DATABASE_OWNER_URL": "PostgreSQL for migrations and operator commands: a login that "
    "may `SET ROLE finpay_owner`. Without it, `DATABASE_URL`.",
    "REDIS_URL": "Redis 7 or Valkey 8+; `rediss://` for TLS.",
    "HOST": "The address to listen on: 127.0.0.1 in development, 0.0.0.0 in production.",
    "PORT": "The port to listen on.",
    "FINPAY_JWT_SECRET": "At least 32 bytes; required in production. Several, separated by "
    "commas: the first signs, all verify.",
    "FINPAY_WORKERS": "Processes of `finpay serve`.",
    "FINPAY_ACCESS_TOKEN_TTL": "Seconds that an access token lives.",
    "FINPAY_REFRESH_TOKEN_TTL": "Seconds that a refresh token lives.",
    "FINPAY_REFRESH_GRACE": "Seconds that a rotated refresh token still works.",
    "FINPAY_RATE_LIMIT_GLOBAL": "`count/seconds` or `off`: all of /api but health, per user, per "
    "address without a token.",
    "FINPAY_RATE_LIMIT_AUTH": "`count/seconds` or `off`: login and register, per address; five "
    "times as many per e-mail.",
    "FINPAY_RATE_LIMIT_TRANSACTION": "`count/seconds` or `off`: POSTs that move money, per user.",
    "FINPAY_IDEMPOTENCY_TTL": "Seconds that Redis keeps an answer. PostgreSQL keeps it for ever.",
    "FINPAY_TRUSTED_PROXIES": "CIDRs, separated by commas, or how many proxies stand in front: "
    "whose X-Forwarded-For is believed.",
    "FINPAY_CORS_ORIGINS": "Origins, separated by commas, whose pages may call the API.",
    "FINPAY_METRICS_TOKEN": "Bearer token of /metrics. In production there is no /metrics "
    "without it.",
    "FINPAY_WEBHOOK_RETRY_SCHEDULE": "Seconds between attempts, separated by commas. Checked now, "
    "used when webhooks come.",
    "FINPAY_WEBHOOK_ALLOWED_CIDRS": "Private networks that webhooks may reach, for development "
    "and tests. Checked now, used when webhooks come.",
    "FINPAY_LOG_LEVEL": "`debug`, `info`, `warning` or `error`.",
}


def errors() -> str:
    """One entry per code."""
    lines = [
        "# Errors",
        "",
        "Every refusal is `application/problem+json` (RFC 9457): `type`, `title`, `status`, "
        "`detail`, `code`, `request_id`, `retryable`, `errors`.",
        "`code` is for programs and never changes its meaning, `detail` is for people. "
        "`type` is a page of the server that answered.",
    ]
    for code, kind in KINDS.items():
        again = "yes, with the same idempotency key" if kind.retryable else "no"
        lines += [
            "",
            f"## {code}",
            "",
            f"HTTP {kind.status} · retryable: {again}",
            "",
            f"{kind.title} {kind.advice}",
        ]
    return "\n".join(lines) + "\n"


def settings() -> str:
    """One row per environment variable."""
    lines = [
        "# Settings",
        "",
        "Read from the environment once, at start. An unknown `FINPAY_*` name or a bad value is "
        "refused with exit code 2.",
        "",
        "| name | default | meaning |",
        "|---|---|---|",
    ]
    for field in Settings.model_fields.values():
        name = str(field.alias)
        lines.append(f"| `{name}` | {_default(field.default)} | {_MEANINGS[name]} |")
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, RateLimit):
        return f"`{value.count}/{value.window_s}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{value}`"


PAGES: Final = {"errors.md": errors, "settings.md": settings}

if __name__ == "__main__":
    for page, render in PAGES.items():
        (HERE / page).write_text(render(), "utf-8")
