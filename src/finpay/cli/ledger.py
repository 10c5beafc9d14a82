"""`finpay ledger`: verification of all money."""

import json
from typing import TYPE_CHECKING

import typer

from finpay.cli.context import REFUSED, STYLE, AsJson, open_database, run, settings

if TYPE_CHECKING:
    from finpay.ledger.verify import Check

group = typer.Typer(**STYLE, help="Verify the ledger.")


@group.command()
def verify(*, as_json: AsJson = False) -> None:
    """Check every rule of the ledger on live data.

    Balances, entries, totals per currency, idempotency keys, events and the audit log are compared
    in one snapshot. Payments are not blocked.

    Exit code 0: all rules hold. 1: violations; up to 100 of each check are printed. 2: it
    could not run.
    """
    from finpay.ledger import verify as verification

    async def check() -> verification.Report:
        async with open_database(settings().database_url, "finpay_app") as database:
            progress = (lambda _: None) if as_json else _show
            return await verification.verify(database, progress=progress)

    report = run(check())
    if as_json:
        print(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        print(f"{sum(check.ok for check in report.checks)} of {len(report.checks)} checks hold.")
    raise typer.Exit(0 if report.ok else REFUSED)


def _show(check: "Check") -> None:
    count = "" if check.ok else f"  {check.count} violations"
    print(f"{'ok' if check.ok else 'FAILED':<8}{check.name}{count}", flush=True)
    for violation in check.violations:
        print(f"        {violation}")
