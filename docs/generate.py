"""Generates pages of docs/ from the code. `make docs` writes them, a test compares them."""

import json
import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from finpay.errors import ERROR_SPECS
from finpay.outbox import event_types, schemas
from finpay.settings import RateLimit, Settings

HERE: Final = Path(__file__).parent

_MEANINGS: Final = {
    "FINPAY_ENV": "`development` or `production`. Production refuses unsafe settings.",
    "DATABASE_URL": "PostgreSQL for the app: a login that may `SET ROLE finpay_app`. Parameters "
    "that only other drivers know, such as `channel_binding` or `schema`, are ignored.",
    "FINPAY_DATABASE_OWNER_URL": "PostgreSQL for migrations and operator commands: a login that "
    "may `SET ROLE finpay_owner`. Without it, `DATABASE_URL`.",
    "FINPAY_DATABASE_OPERATOR_URL": "PostgreSQL for the routes of operators: a login that may "
    "`SET ROLE finpay_operator`. Without it those that move money or change accounts are 404.",
    "REDIS_URL": "Redis 7 or Valkey 8+; `rediss://` for TLS.",
    "HOST": "The address to listen on: 127.0.0.1 in development, 0.0.0.0 in production.",
    "PORT": "The port to listen on.",
    "FINPAY_JWT_SECRET": "At least 32 bytes; required in production. Several, separated by "
    "commas: the first signs, all verify.",
    "FINPAY_WORKERS": "Processes of `finpay serve`.",
    "FINPAY_ACCESS_TOKEN_TTL": "Seconds that an access token is valid.",
    "FINPAY_LIMIT_SINGLE": "The largest payment of a new account, per currency in minor units: "
    "`ZAR:5000000,USD:300000`. Its owner may lower it, an operator may change it.",
    "FINPAY_LIMIT_DAILY": "What a new account may send in a day (UTC), written as the one above.",
    "FINPAY_APPROVAL_ABOVE": "Deposits, completed withdrawals and operators' refunds above this "
    "amount need a second operator; written as the limits. Commands of the CLI never do.",
    "FINPAY_REFRESH_TOKEN_TTL": "Seconds that a refresh token is valid.",
    "FINPAY_RATE_LIMIT_GLOBAL": "`count/seconds` or `off`: all of /api but health, per user, per "
    "address without a token.",
    "FINPAY_SMTP_URL": "Mail server: `smtp://user:password@host:587`, or smtps://. Without: "
    "development writes mails to .finpay/mail, production sends none.",
    "FINPAY_MAIL_FROM": "Sender of mails. Needed with FINPAY_SMTP_URL.",
    "FINPAY_REQUIRE_VERIFIED_EMAIL": "`true`: only users with a verified e-mail address can move "
    "money.",
    "FINPAY_BREACHED_PASSWORDS": "File of passwords that are refused: sorted prefixes of SHA-1 "
    "hashes in upper-case hexadecimal, all of one length, one per line.",
    "FINPAY_RATE_LIMIT_KEY": "Requests of an API key, each transfer counted, per key.",
    "FINPAY_RATE_LIMIT_OPERATOR": "`count/seconds` or `off`: /operator, per operator or auditor.",
    "FINPAY_RATE_LIMIT_PAGES": "`count/seconds` or `off`: /docs and /openapi.json, per address.",
    "FINPAY_RATE_LIMIT_AUTH": "`count/seconds` or `off`: login, register and refresh, per "
    "address; five times as many per e-mail.",
    "FINPAY_RATE_LIMIT_TRANSACTION": "`count/seconds` or `off`: POSTs that move money, per user.",
    "FINPAY_IDEMPOTENCY_TTL": "Seconds that Redis keeps a stored answer. PostgreSQL keeps it for "
    "ever.",
    "FINPAY_TRUSTED_PROXIES": "CIDRs, separated by commas, or the number of proxies in front: "
    "their X-Forwarded-For is trusted.",
    "FINPAY_CORS_ORIGINS": "Origins whose pages may call the API, separated by commas, as browsers "
    "send them: `https://shop.example`, without a slash or a path.",
    "FINPAY_METRICS_TOKEN": "Bearer token of /metrics. In production /metrics is 404 without it.",
    "FINPAY_WEBHOOK_RETRY_SCHEDULE": "Seconds between the attempts of a delivery, separated by "
    "commas; each is varied by up to 20 %. After the last one the delivery is `failed`.",
    "FINPAY_WEBHOOK_ALLOWED_CIDRS": "Private networks that webhooks may reach, on any port, for "
    "development and tests. `finpay dev` opens loopback unless this is set.",
    "FINPAY_WEBHOOK_PORTS": "Allowed ports of webhook endpoints, separated by commas. In "
    "development also 80.",
    "FINPAY_WEBHOOK_TIMEOUT": "Seconds for one whole attempt: name resolution, connection, TLS, "
    "answer.",
    "FINPAY_WEBHOOK_CONCURRENCY": "Concurrent attempts of one endpoint, over all workers.",
    "FINPAY_WEBHOOK_DISABLE_AFTER": "Seconds without a success until an endpoint is disabled.",
    "FINPAY_EVENT_RETENTION": "Seconds that events, deliveries and attempts are kept; undelivered "
    "ones are kept longer. At least a day.",
    "FINPAY_INTEGRITY_INTERVAL": "Seconds between two runs of the continuous verification of the "
    "ledger by `finpay worker`; `0`: off.",
    "FINPAY_WORKER_PORT": "Port on which `finpay worker` answers /metrics, /livez and /readyz; "
    "`0`: none.",
    "FINPAY_WEBHOOK_SECRET_OVERLAP": "Seconds that a replaced webhook secret still signs in "
    "addition to the new one, unless the rotation sets a time.",
    "FINPAY_PUBLIC_URL": "Where people reach this service: links of mails and payment requests "
    "begin with it. Without it they have no link and no QR code.",
    "FINPAY_LOG_LEVEL": "`debug`, `info`, `warning` or `error`.",
}


def errors() -> str:
    """One entry per code."""
    lines = [
        "# Errors",
        "",
        "Every error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, "
        "`detail`, `code`, `request_id`, `retryable`, `errors`.",
        "`code` is for programs and never changes its meaning; `detail` is for people. "
        "`type` is a path of the server that answered. [Handling errors](concepts/errors.md) has "
        "an example.",
    ]
    for code, spec in ERROR_SPECS.items():
        retryable = "yes, with the same idempotency key" if spec.retryable else "no"
        lines += [
            "",
            f"## {code}",
            "",
            f"HTTP {spec.status} · retryable: {retryable}",
            "",
            f"{spec.title} {spec.advice}",
        ]
    return "\n".join(lines) + "\n"


def settings() -> str:
    """One row per environment variable."""
    lines = [
        "# Settings",
        "",
        "Settings are environment variables, read once at start. An unknown `FINPAY_*` name or a "
        "bad value is an error with exit code 2.",
        "",
        "| name | default | meaning |",
        "|---|---|---|",
    ]
    for field in Settings.model_fields.values():
        name = str(field.alias)
        lines.append(f"| `{name}` | {_default(field.default)} | {_MEANINGS[name]} |")
    return "\n".join(lines) + "\n"


def events() -> str:
    """One entry per type of event."""
    lines = [
        "# Event types",
        "",
        "Generated from the code: the list is closed. "
        "What all events have in common is in [README.md](README.md).",
        "",
        "| type | `data.object` | schema |",
        "|---|---|---|",
    ]
    for name, kind in event_types.EVENT_TYPES.items():
        link = f"[schemas/{name}.json](schemas/{name}.json)"
        lines.append(f"| [`{name}`](#{name.replace('.', '')}) | {_noun(kind)} | {link} |")
    for name, kind in event_types.EVENT_TYPES.items():
        members = ", ".join(f"`{member}`" for member in kind.subject.__struct_fields__)
        changed = ", ".join(f"`{member}`" for member in kind.previous) or "nothing"
        lines += ["", f"## {name}", "", kind.description, "", f"`data.object`: {members}."]
        lines += ["", f"`data.previous`: {changed}."]
    return "\n".join(lines) + "\n"


def _noun(kind: event_types.EventType) -> str:
    return kind.subject.__name__.replace("Webhook", "webhook ").lower()


def _json(document: Callable[[], object]) -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _default(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, RateLimit):
        return f"`{value.count}/{value.window_s}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{value}`"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "errors.md": errors,
    "settings.md": settings,
    "sdk.md": runpy.run_path(str(HERE / "sdk_reference.py"))["page"],
    "events/types.md": events,
    "events/asyncapi.json": partial(_json, schemas.asyncapi),
    **{
        f"events/schemas/{name}.json": partial(_json, partial(schemas.schema, name))
        for name in event_types.EVENT_TYPES
    },
}

if __name__ == "__main__":
    for page, render in PAGES.items():
        (HERE / page).write_text(render(), "utf-8")
