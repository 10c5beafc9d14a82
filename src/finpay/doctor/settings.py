"""What can be said of the settings without a server."""

import os
from collections.abc import Iterator
from typing import Final

from finpay.doctor.checks import CheckResult, ok, production_error, warning
from finpay.settings import DEVELOPMENT_SECRET, Settings

MAX_WORKERS_PER_CORE: Final = 2  # each worker can fill a core; more only share it


def check(settings: Settings) -> Iterator[CheckResult]:
    """One finding per thing that a deployment gets wrong."""
    yield _environment(settings)
    yield _secret(settings)
    yield _logins(settings)
    yield _proxies(settings)
    yield _limits(settings)
    yield _metrics(settings)
    yield _workers(settings)
    yield _webhook_networks(settings)


def _environment(settings: Settings) -> CheckResult:
    if settings.production:
        return ok("environment", "production")
    return warning("environment", "development", "Set FINPAY_ENV=production where money is real.")


def _secret(settings: Settings) -> CheckResult:
    if DEVELOPMENT_SECRET in settings.jwt_secrets:
        return warning(
            "secret",
            "FINPAY_JWT_SECRET is the published development secret",
            "Set one of your own, e.g. from `openssl rand -base64 48`.",
        )
    count = len(settings.jwt_secrets)
    return ok("secret", "one secret" if count == 1 else f"{count} secrets, the first signs")


def _logins(settings: Settings) -> CheckResult:
    if settings.owner_url_setting and settings.owner_url_setting != settings.database_url:
        return ok("logins", "one login for the app, one for the owner")
    return warning(
        "logins",
        "the app logs in with the owner's URL",
        "It guards against mistakes, not against thieves: give DATABASE_URL a login of its own "
        "that is a member of finpay_app only, and FINPAY_DATABASE_OWNER_URL the owner's.",
    )


def _proxies(settings: Settings) -> CheckResult:
    if settings.trusted_proxies:
        return ok("proxies", "X-Forwarded-For is believed behind FINPAY_TRUSTED_PROXIES")
    if not settings.production:
        return ok("proxies", "clients connect directly")
    return warning(
        "proxies",
        "FINPAY_TRUSTED_PROXIES is not set",
        "Behind a proxy all clients share one address, and with it one limit: set the number of "
        "proxies in front, or their networks. Right as it is only if nothing stands in front.",
    )


def _limits(settings: Settings) -> CheckResult:
    tiers = {
        "GLOBAL": settings.rate_limit_global,
        "AUTH": settings.rate_limit_auth,
        "TRANSACTION": settings.rate_limit_transaction,
    }
    off = [f"FINPAY_RATE_LIMIT_{name}" for name, limit in tiers.items() if limit is None]
    if not off:
        return ok("limits", "all tiers are on")
    return production_error(
        "limits",
        f"{', '.join(off)} off",
        "Without limits passwords can be guessed as fast as the machine allows.",
        production=settings.production and settings.rate_limit_auth is None,
    )


def _metrics(settings: Settings) -> CheckResult:
    if settings.metrics_token or not settings.production:
        return ok("metrics", "/metrics can be read")
    return warning(
        "metrics",
        "no /metrics",
        "Set FINPAY_METRICS_TOKEN, and let Prometheus send it as a Bearer token.",
    )


def _workers(settings: Settings) -> CheckResult:
    cores = os.cpu_count() or 1
    detail = f"FINPAY_WORKERS={settings.workers} on {cores} cores"
    if settings.workers <= cores * MAX_WORKERS_PER_CORE:
        return ok("workers", detail)
    return warning("workers", detail, "More workers than cores only make each batch smaller.")


def _webhook_networks(settings: Settings) -> CheckResult:
    networks = settings.webhook_allowed_networks
    if not networks:
        return ok("webhook networks", "webhooks reach public addresses only")
    return production_error(
        "webhook networks",
        f"webhooks may reach {', '.join(map(str, networks))}",
        "Unset FINPAY_WEBHOOK_ALLOWED_CIDRS: a user's endpoint could reach your own network.",
        production=settings.production,
    )
