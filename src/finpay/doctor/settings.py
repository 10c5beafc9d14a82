"""Checks of the settings that need no server."""

import os
from collections.abc import Iterator
from typing import Final

from finpay.doctor.checks import CheckResult, ok, production_error, warning
from finpay.settings import DEVELOPMENT_SECRET, Settings

MAX_WORKERS_PER_CORE: Final = 2  # one worker can use a whole core


def check(settings: Settings, *, dev_stack: bool) -> Iterator[CheckResult]:
    """One result for each setting that deployments often get wrong."""
    yield _environment(settings, dev_stack=dev_stack)
    yield _secret(settings, dev_stack=dev_stack)
    yield _logins(settings)
    yield _proxies(settings)
    yield _limits(settings)
    yield _metrics(settings)
    yield _workers(settings)
    yield _webhook_networks(settings)


def _environment(settings: Settings, *, dev_stack: bool) -> CheckResult:
    if settings.production or dev_stack:
        return ok("environment", settings.env)
    return warning("environment", "development", "Set FINPAY_ENV=production where money is real.")


def _secret(settings: Settings, *, dev_stack: bool) -> CheckResult:
    if DEVELOPMENT_SECRET in settings.jwt_secrets:
        detail = "FINPAY_JWT_SECRET is the published development secret"
        if dev_stack:
            return ok("secret", detail)
        advice = "Set your own, for example the output of `openssl rand -base64 48`."
        return warning("secret", detail, advice)
    count = len(settings.jwt_secrets)
    return ok("secret", "one secret" if count == 1 else f"{count} secrets, the first one signs")


def _logins(settings: Settings) -> CheckResult:
    if settings.owner_url_setting and settings.owner_url_setting != settings.database_url:
        return ok("logins", "the app and the owner have different URLs")
    return warning(
        "logins",
        "the app logs in with the owner's URL",
        "Stolen credentials of the app would have all rights: set DATABASE_URL to a login that is "
        "a member of finpay_app only, and FINPAY_DATABASE_OWNER_URL to the owner's.",
    )


def _proxies(settings: Settings) -> CheckResult:
    if settings.trusted_proxies:
        return ok("proxies", "X-Forwarded-For of FINPAY_TRUSTED_PROXIES is trusted")
    if not settings.production:
        return ok("proxies", "clients connect directly")
    return warning(
        "proxies",
        "FINPAY_TRUSTED_PROXIES is not set",
        "Behind a proxy all clients would share its address, and so one rate limit. Set it to the "
        "number of proxies or to their networks. Without a proxy, leave it unset.",
    )


def _limits(settings: Settings) -> CheckResult:
    tiers = {
        "GLOBAL": settings.rate_limit_global,
        "AUTH": settings.rate_limit_auth,
        "OPERATOR": settings.rate_limit_operator,
        "PAGES": settings.rate_limit_pages,
        "TRANSACTION": settings.rate_limit_transaction,
    }
    off = [f"FINPAY_RATE_LIMIT_{name}" for name, limit in tiers.items() if limit is None]
    if not off:
        return ok("limits", "all rate limits are on")
    return production_error(
        "limits",
        f"{', '.join(off)} off",
        "Without limits passwords can be guessed at the full speed of the machine.",
        production=settings.production and settings.rate_limit_auth is None,
    )


def _metrics(settings: Settings) -> CheckResult:
    if settings.metrics_token or not settings.production:
        return ok("metrics", "/metrics is on")
    return warning(
        "metrics",
        "/metrics is off",
        "Set FINPAY_METRICS_TOKEN, and configure Prometheus to send it as a Bearer token.",
    )


def _workers(settings: Settings) -> CheckResult:
    cores = os.cpu_count() or 1
    detail = f"FINPAY_WORKERS={settings.workers} on {cores} cores"
    if settings.workers <= cores * MAX_WORKERS_PER_CORE:
        return ok("workers", detail)
    return warning("workers", detail, "More workers than cores make each commit batch smaller.")


def _webhook_networks(settings: Settings) -> CheckResult:
    networks = settings.webhook_allowed_networks
    if not networks:
        return ok("webhook networks", "webhooks are sent to public addresses only")
    return production_error(
        "webhook networks",
        f"webhooks may be sent to {', '.join(map(str, networks))}",
        "Unset FINPAY_WEBHOOK_ALLOWED_CIDRS: users could send requests into your own network.",
        production=settings.production,
    )
