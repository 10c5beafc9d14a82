"""python -m benchmarks: the speed of FinPay on this machine, with nothing switched off.

Sections: connections, many_users, workloads, transfer_batches, ratios, overload, start (together:
all), quick, soak. Without a section, the rounds of --workloads, without writing a result.

`python -m benchmarks compare --base REF` compares two source trees in one run.
`python -m benchmarks.growth` measures a ledger of millions of transactions.
`python -m benchmarks.webhooks` measures deliveries.
`python -m benchmarks.operations` compares holds, captures and refunds with transfers, and
`benchmarks.api_keys` transfers with keys and with sessions.
`python -m benchmarks.expiry`, `.schedules` and `.statements` measure what their names say.
`python -m benchmarks.report.page` writes tables and plots of the results into docs.
"""

import argparse
import sys
from typing import Final

from benchmarks import compare, results, sections, verify, wrk
from benchmarks.bench import bench
from benchmarks.report import page
from benchmarks.sections import FEW, LONG, SECTIONS, Options
from benchmarks.stack import BenchError, Tuning, exit_on_sigterm
from finpay.dev.child_process import DevError

WORKLOADS: Final = "transfers,balance,history"


def main() -> int:
    """The exit code: 0, 1 if the ledger was not clean, 2 if it could not run."""
    if sys.argv[1:2] == ["compare"]:
        return compare.main(sys.argv[2:])
    options = _parse()
    exit_on_sigterm()
    tuning = Tuning(options.workers, _pairs(options.env), _pairs(options.pg))
    chosen = Options(tuning, options.seconds, options.repetitions, options.soak_seconds)
    try:
        wrk.check_installed()
        if not options.sections:
            return _rounds(chosen, options)
        for name in _expand(options.sections):
            sections.run(name, chosen)
        if "quick" not in options.sections:
            page.write()
        return 0
    except (BenchError, DevError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sections", nargs="*", help=f"all, or of: {', '.join(SECTIONS)}")
    parser.add_argument("--seconds", type=float, default=8, help="per round")
    parser.add_argument("--repetitions", type=int, default=3, help="of ratios and overload")
    parser.add_argument("--soak-seconds", type=float, default=600)
    parser.add_argument("--workers", type=int, default=2, help="API processes")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE for the API")
    parser.add_argument("--pg", action="append", default=[], help="name=value for PostgreSQL")
    parser.add_argument("--workloads", default=WORKLOADS, help="comma separated, see load.lua")
    parser.add_argument("--connections", default="64", help="comma separated")
    parser.add_argument("--users", type=int, default=FEW)
    parser.add_argument("--batch-size", type=int, default=500)
    options = parser.parse_args()
    if unknown := set(options.sections) - {*SECTIONS, "all"}:
        parser.error(f"unknown section: {', '.join(sorted(unknown))}")
    return options


def _rounds(chosen: Options, options: argparse.Namespace) -> int:
    with bench(chosen.tuning, options.users, chosen.seconds) as ready:
        for workload in options.workloads.split(","):
            for connections in options.connections.split(","):
                last = ready.round(workload, int(connections), batch_size=options.batch_size)
        results.print_memory(last)
        return 0 if verify.print_result(ready.stack) else 1


def _expand(names: list[str]) -> list[str]:
    if "all" in names:
        return [name for name in SECTIONS if name not in LONG]
    return names


def _pairs(given: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in given)}


if __name__ == "__main__":
    sys.exit(main())
