"""A running stack with users: what every section measures on."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import results, wrk
from benchmarks.rounds import Round, measure
from benchmarks.stack import BenchStack, Tuning, running_stack
from benchmarks.users import User, make_users, write_users
from benchmarks.wrk import Load

FIRST_LOAD: Final = Load("transfers", 32, 3)  # opens connections and plans statements


@dataclass(frozen=True, slots=True)
class Bench:
    """`file` has the users for wrk; `seconds` is the length of a round."""

    stack: BenchStack
    tuning: Tuning
    users: Sequence[User]
    file: Path
    seconds: float

    def measure(self, load: Load) -> Round:
        return measure(self.stack, self.file, len(self.users), load)

    def round(self, workload: str, connections: int, **more: Any) -> Round:
        """One measured round, printed."""
        done = self.measure(Load(workload, connections, self.seconds, **more))
        results.print_round(done)
        return done

    def checkpoint(self) -> None:
        """So that the next round does not pay for the pages of the one before."""
        self.stack.postgres.sql("CHECKPOINT")


@contextmanager
def bench(tuning: Tuning, users: int, seconds: float) -> Iterator[Bench]:
    """Servers, users and a first load that is not counted."""
    with running_stack(tuning) as stack:
        created = asyncio.run(make_users(stack.database_url, users))
        file = write_users(created, stack.folder / "users")
        wrk.run(stack.url, file, FIRST_LOAD)
        results.print_head()
        yield Bench(stack, tuning, created, file, seconds)
