"""The running API: is it ready, which version is it, and how many processes does it have,
and did a worker find the ledger in order?
"""

import asyncio
from importlib.metadata import version
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from finpay.doctor.checks import CheckResult, failed, ok, warning
from finpay.settings import Settings

TIMEOUT_S: Final = 2.0  # health responses never wait for a dependency
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where a wildcard is reached


async def check(settings: Settings, *, expected: bool) -> list[CheckResult]:
    """Asks the API on HOST and PORT. None has to run, unless it is `expected`."""
    url = _url(settings)
    token = {"Authorization": f"Bearer {settings.metrics_token}"} if settings.metrics_token else {}
    try:
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False) as client:
            ready, health, metrics = await asyncio.gather(
                client.get("/readyz"),
                client.get("/api/v1/health"),
                client.get("/metrics", headers=token),
            )
            checks, running = dict(ready.json()["checks"]), str(health.json()["version"])
    except httpx.HTTPError as error:
        return [_absent(url, error, expected=expected)]
    except (ValueError, LookupError, TypeError):
        return [warning("api", f"{url} is not a FinPay API", "Set PORT to the port of the API.")]
    return [
        _ready(url, ready.status_code, checks),
        _version(running),
        _processes(metrics),
        _ledger(checks.get("integrity")),
    ]


def _url(settings: Settings) -> str:
    host = _LOOPBACK.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _absent(url: str, error: httpx.HTTPError, *, expected: bool) -> CheckResult:
    if not isinstance(error, httpx.ConnectError):
        return failed("api", f"{url} does not answer: {error!r}", "Its log has the reason.")
    if expected:
        return warning("api", f"no API answers at {url}", "Set PORT to the one of `finpay dev`.")
    return ok("api", f"no API answers at {url}, so none was checked")


def _ready(url: str, status: int, checks: dict[str, str]) -> CheckResult:
    down = [name for name, state in checks.items() if state == "down"]
    if status != httpx.codes.OK:
        reason = f"{', '.join(down)} down" if down else "it is shutting down"
        return failed("api", f"{url} is not ready: {reason}", "Its log has the reason.")
    if down:
        return warning("api", f"{url} is ready, without {', '.join(down)}", "See the checks below.")
    return ok("api", f"{url} is ready")


def _version(running: str) -> CheckResult:
    own = version("finpay")
    if running == own:
        return ok("api version", f"{running}, like this command")
    return warning(
        "api version",
        f"the API is {running}, this command is {own}",
        "Run the command of the API's release, or restart the API with this one.",
    )


def _processes(metrics: httpx.Response) -> CheckResult:
    if metrics.status_code != httpx.codes.OK:
        return ok("api processes", "not known: /metrics needs the FINPAY_METRICS_TOKEN of the API")
    counts = {
        sample.labels["role"]: int(sample.value)
        for family in text_string_to_metric_families(metrics.text)
        for sample in family.samples
        if sample.name == "finpay_processes"
    }
    shown = ", ".join(f"{count} {role}" for role, count in sorted(counts.items()))
    return ok("api processes", shown or "not known: this API does not count them")


def _ledger(status: str | None) -> CheckResult:
    match status:
        case "ok":
            return ok("ledger", "the continuous check finds no violation")
        case "failed":
            advice = "Run `finpay ledger verify`, which names each one."
            return failed("ledger", "the continuous check found violations", advice)
        case _:
            advice = "Run `finpay worker`, with FINPAY_INTEGRITY_INTERVAL above 0."
            return warning("ledger", "no worker has checked the ledger recently", advice)
