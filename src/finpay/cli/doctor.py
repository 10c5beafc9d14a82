"""`finpay doctor`: finds wrong settings and servers before they cause an incident."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import typer

from finpay.cli.context import REFUSED, AsJson, dev_environment, hints, run, settings, warn

if TYPE_CHECKING:
    from finpay.doctor import CheckResult

_LABELS: Final[Mapping[str, str]] = {"ok": "ok", "warning": "WARN", "failed": "FAILED"}


def doctor(*, as_json: AsJson = False) -> None:
    """Check settings, the running API, PostgreSQL and Redis.

    The settings are those of this shell, as a server started from it would read them. Without
    DATABASE_URL the servers of a running `finpay dev` in this folder are checked.

    Exit code 0: no check failed, warnings are possible. 1: a check failed. Each warning and each
    failure comes with advice.
    """
    dev = dev_environment()
    environ = dict(os.environ)
    if dev and not environ.get("DATABASE_URL"):
        environ = dev | {name: value for name, value in environ.items() if value}
        warn("DATABASE_URL is not set: checking the servers of `finpay dev`, from .finpay/env.")
    results = _results(environ, dev, as_json=as_json)
    failures = sum(result.state == "failed" for result in results)
    if as_json:
        checks = [asdict(result) for result in results]
        print(json.dumps({"ok": not failures, "checks": checks}, indent=2, ensure_ascii=False))
    else:
        warnings = sum(result.state == "warning" for result in results)
        print(f"{len(results)} checks: {failures} failed, {warnings} warnings.")
        for hint in hints() if failures and not dev else ():
            warn(hint)
    raise typer.Exit(REFUSED if failures else 0)


def _results(
    environ: Mapping[str, str], dev: Mapping[str, str], *, as_json: bool
) -> list["CheckResult"]:
    """The results of all checks, each printed as it is known. An invalid setting is one too."""
    from finpay.doctor import CheckResult, run_checks
    from finpay.settings import SettingsError

    try:
        read = settings(environ)
    except SettingsError as error:
        invalid = CheckResult("settings", "failed", str(error), "docs/settings.md lists them all.")
        _show(invalid, as_json=as_json)
        return [invalid]
    dev_stack = bool(dev) and not read.production and dev.items() <= environ.items()

    async def collect() -> list[CheckResult]:
        results = []
        async for result in run_checks(read, dev_stack=dev_stack):
            _show(result, as_json=as_json)
            results.append(result)
        return results

    return run(collect())


def _show(result: "CheckResult", *, as_json: bool) -> None:
    if as_json:
        return
    print(f"{_LABELS[result.state]:<8}{result.name:<22}{result.detail}", flush=True)
    if result.advice:
        print(f"{'':<30}→ {result.advice}", flush=True)
