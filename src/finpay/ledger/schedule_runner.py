"""Runs schedules that are due: in commit batches, each occurrence exactly once.

Any number of workers may run. A lease keeps them away from each other's schedules, and the
function that posts the runs decides under the accounts' locks, so neither a kill nor an expired
lease runs an occurrence twice.
"""

from collections.abc import Sequence
from typing import Final

from finpay.db.pool import Conflict, Database
from finpay.ledger import schedules
from finpay.ledger.schedules import DueRun

RUNS_AT_ONCE: Final = 250  # in one commit: more gain little and keep locks longer


async def run_due(database: Database, refusals: Sequence[str]) -> int:
    """Runs what is due, also the occurrences that were missed, in order. Returns their number."""
    total = 0
    while runs := await schedules.lease(database, RUNS_AT_ONCE):
        total += await _run(database, runs, refusals)
    return total


async def _run(database: Database, runs: Sequence[DueRun], refusals: Sequence[str]) -> int:
    """A batch that meets a locked account is taken apart. What can't be run alone waits for the end
    of its lease."""
    try:
        return await schedules.run(database, runs, refusals)
    except Conflict:
        if len(runs) == 1:
            return 0
    middle = len(runs) // 2
    done = await _run(database, runs[:middle], refusals)
    return done + await _run(database, runs[middle:], refusals)
