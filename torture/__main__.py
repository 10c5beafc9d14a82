"""`python -m torture`: the fault harness."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Callable
from typing import Annotated, Final

import typer

from finpay.cli.context import COULD_NOT_RUN, REFUSED, STYLE, AsJson, fail, settings, warn

_MAX_SEED: Final = 10**6  # six digits are easy to pass on

_Seed = Annotated[
    int | None, typer.Option(min=0, help="Repeat the faults of a run. Without it, a new seed.")
]
_Minutes = Annotated[float, typer.Option(min=0.1, help="Duration of the faults.")]
_Every = Annotated[int, typer.Option(min=100, help="Mean milliseconds between two faults.")]
_Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="Only this kind of fault; may be given several times."),
]


_app = typer.Typer(**STYLE)


@_app.command()
def torture(
    *,
    seed: _Seed = None,
    minutes: _Minutes = 1.0,
    every_ms: _Every = 1_200,
    only: _Only = None,
    as_json: AsJson = False,
) -> None:
    """Inject faults into a FinPay under load, and check that nothing was lost.

    Starts PostgreSQL, Valkey, two APIs and a worker on free ports and in a temporary folder; kills
    and pauses them and cuts their connections; then compares all answers with the ledger. The
    servers of DATABASE_URL and REDIS_URL are not used.

    Exit code 0: all twelve counts are zero and the service is as before. 1: not. 2: it could not
    run.
    """
    from finpay.dev.child_process import DevError
    from torture.fault_plan import Fault
    from torture.run import Options, run

    if settings().production:
        raise DevError("the fault harness does not run with FINPAY_ENV=production")
    unknown = sorted(set(only or ()) - set(Fault))
    if unknown:
        raise DevError(f"unknown fault {unknown[0]}; the faults are {', '.join(Fault)}")
    chosen = secrets.randbelow(_MAX_SEED) if seed is None else seed
    print(f"Seed {chosen}", file=sys.stderr, flush=True)
    faults = tuple(Fault(name) for name in only) if only else tuple(Fault)
    try:
        report = run(
            Options(chosen, minutes, every_ms, faults), progress=_with_clock(time.monotonic())
        )
    except (KeyboardInterrupt, asyncio.CancelledError):
        warn("Interrupted. All processes were stopped.")
        raise typer.Exit(COULD_NOT_RUN) from None
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("\n".join(report.lines()))
    raise typer.Exit(0 if report.ok else REFUSED)


def _with_clock(began_s: float) -> Callable[[str], None]:
    def progress(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} s  {text}", file=sys.stderr, flush=True)

    return progress


if __name__ == "__main__":
    try:
        _app(prog_name="python -m torture")
    except Exception as error:  # noqa: BLE001  a traceback would exit with 1, which means "no"
        fail(error)
