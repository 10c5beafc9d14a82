"""python -m benchmarks: how fast it is, on this machine, with nothing switched off.

Sections: connections, crowd, workloads, bulk, ratios, overload, start (together: all), quick, soak.
Without one, the rounds that --workloads names, for a look before and after a change.
`python -m benchmarks.growth` measures a ledger of millions;
`python -m benchmarks.report.page` writes
tables and plots from the newest results into docs.
"""

import argparse
import sys
from typing import Final

from benchmarks import results, sections, verify, wrk
from benchmarks.report import page
from benchmarks.sections import FEW, LONG, SECTIONS, Options, bench
from benchmarks.stack import BenchError, Knobs, stop_in_good_order
from finpay.dev.child_process import DevError

WORKLOADS: Final = "transfers,balance,history"


def main() -> int:
    """The exit code: 0, 1 if the ledger was not clean, 2 if it could not run."""
    options = _parsed()
    stop_in_good_order()
    knobs = Knobs(options.workers, _pairs(options.env), _pairs(options.pg))
    chosen = Options(knobs, options.seconds, options.turns, options.soak_seconds)
    try:
        wrk.check_installed()
        if not options.sections:
            return _rounds(chosen, options)
        for name in _expanded(options.sections):
            sections.run(name, chosen)
        if "quick" not in options.sections:
            page.write()
        return 0
    except (BenchError, DevError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sections", nargs="*", help=f"all, or of: {', '.join(SECTIONS)}")
    parser.add_argument("--seconds", type=float, default=8, help="per round")
    parser.add_argument("--turns", type=int, default=3, help="of ratios and overload")
    parser.add_argument("--soak-seconds", type=float, default=600)
    parser.add_argument("--workers", type=int, default=2, help="API processes")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE for the API")
    parser.add_argument("--pg", action="append", default=[], help="name=value for PostgreSQL")
    parser.add_argument("--workloads", default=WORKLOADS, help="comma separated, see load.lua")
    parser.add_argument("--connections", default="64", help="comma separated")
    parser.add_argument("--users", type=int, default=FEW)
    parser.add_argument("--bulk-size", type=int, default=500)
    options = parser.parse_args()
    if unknown := set(options.sections) - {*SECTIONS, "all"}:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    return options


def _rounds(chosen: Options, options: argparse.Namespace) -> int:
    with bench(chosen, options.users) as ready:
        for workload in options.workloads.split(","):
            for connections in options.connections.split(","):
                last = ready.round(
                    workload, int(connections), chosen.seconds, bulk_size=options.bulk_size
                )
        results.print_memory(last)
        proof = verify.prove(ready.running)
    print(f"ledger verify: {'clean' if proof.clean else proof.told}")
    return 0 if proof.clean else 1


def _expanded(names: list[str]) -> list[str]:
    if "all" in names:
        return [name for name in SECTIONS if name not in LONG]
    return names


def _pairs(given: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in given)}


if __name__ == "__main__":
    sys.exit(main())
