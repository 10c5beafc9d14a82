"""`finpay doctor`: what an incident would find, before it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import typer

from finpay.cli.context import REFUSED, AsJson, hints, run, settings, warn

if TYPE_CHECKING:
    from finpay.doctor import CheckResult

_SHOWN: Final[Mapping[str, str]] = {"ok": "ok", "warning": "WARN", "failed": "FAILED"}


def doctor(*, as_json: AsJson = False) -> None:
    """Check settings, PostgreSQL, Redis, rights, durability, clocks and migrations.

    Exit code 0: nothing failed (warnings may be shown). 1: something did, with an advice.
    """
    findings = _findings(as_json=as_json)
    failures = sum(finding.state == "failed" for finding in findings)
    if as_json:
        checks = [asdict(finding) for finding in findings]
        print(json.dumps({"ok": not failures, "checks": checks}, indent=2, ensure_ascii=False))
    else:
        warnings = sum(finding.state == "warning" for finding in findings)
        print(f"{len(findings)} checks, {failures} failed, {warnings} warnings.")
        for hint in hints() if failures else ():
            warn(hint)
    raise typer.Exit(REFUSED if failures else 0)


def _findings(*, as_json: bool) -> list["CheckResult"]:
    """A bad setting is a finding too: it is the first thing that a deployment gets wrong."""
    from finpay.doctor import CheckResult, run_checks
    from finpay.settings import SettingsError

    try:
        read = settings()
    except SettingsError as error:
        bad = CheckResult("settings", "failed", str(error), "docs/settings.md has them all.")
        _show(bad, as_json=as_json)
        return [bad]

    async def collect() -> list[CheckResult]:
        findings = []
        async for finding in run_checks(read):
            _show(finding, as_json=as_json)
            findings.append(finding)
        return findings

    return run(collect())


def _show(finding: "CheckResult", *, as_json: bool) -> None:
    if as_json:
        return
    print(f"{_SHOWN[finding.state]:<8}{finding.name:<22}{finding.detail}", flush=True)
    if finding.advice:
        print(f"{'':<30}→ {finding.advice}", flush=True)
