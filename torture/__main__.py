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

_MAX_SEED: Final = 10**6  # short enough to be read aloud

_Seed = Annotated[
    int | None, typer.Option(min=0, help="Replays a run's faults. Without it, a new one.")
]
_Minutes = Annotated[float, typer.Option(min=0.1, help="How long faults come.")]
_Every = Annotated[int, typer.Option(min=100, help="Mean milliseconds between two faults.")]
_Only = Annotated[
    list[str] | None, typer.Option("--only", help="This kind of fault alone; may be repeated.")
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
    """Break servers of its own under load, and prove that nothing was lost.

    Starts PostgreSQL, Valkey, the API twice and the worker, on free ports and in a temporary
    folder; kills, stops and cuts them; then compares all that clients were told with the ledger.
    Nothing else is touched, and what DATABASE_URL and REDIS_URL name is not used.

    Exit code 0: all twelve counts are zero, and it serves as before. 1: not. 2: it could not run.
    """
    from finpay.dev.child_process import DevError
    from torture.fault_plan import Fault
    from torture.run import Options, run

    if settings().production:
        raise DevError(
            "the fault harness breaks servers: it does not run with FINPAY_ENV=production"
        )
    unknown = sorted(set(only or ()) - set(Fault))
    if unknown:
        raise DevError(f"{unknown[0]} is no fault; there are {', '.join(Fault)}")
    chosen = secrets.randbelow(_MAX_SEED) if seed is None else seed
    print(f"Seed {chosen}", file=sys.stderr, flush=True)
    faults = tuple(Fault(name) for name in only) if only else tuple(Fault)
    try:
        report = run(Options(chosen, minutes, every_ms, faults), say=_clocked(time.monotonic()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        warn("Interrupted. All that was started has been stopped.")
        raise typer.Exit(COULD_NOT_RUN) from None
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("\n".join(report.lines()))
    raise typer.Exit(0 if report.ok else REFUSED)


def _clocked(began_s: float) -> Callable[[str], None]:
    def say(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} s  {text}", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    try:
        _app(prog_name="python -m torture")
    except Exception as error:  # noqa: BLE001  a traceback would exit with 1, which means "no"
        fail(error)
