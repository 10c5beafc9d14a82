"""The posting function called from Python without HTTP: what the ledger alone could do.

As many calls in flight as the API processes have together, batches of a given size, the same items
that the edge would make.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from benchmarks.users import User
from finpay import ids
from finpay.db.pool import Database
from finpay.edge.schemas.problems import refusal_templates
from finpay.edge.schemas.responses import transfer_template
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import Transfer, post

ADDRESS: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Direct:
    """`transfers` completed in `seconds`, in batches of `batch` with `flights` at once."""

    batch: int
    flights: int
    seconds: float
    transfers: int

    @property
    def per_second(self) -> float:
        return self.transfers / self.seconds


async def call(
    database_url: str, people: Sequence[User], *, batch: float, flights: int, seconds: float
) -> Direct:
    """Posts for so long. A fractional `batch` is the mean of two sizes next to each other."""
    # Batches take turns on the same accounts, and nobody here takes one apart that had to wait.
    database = Database(database_url, size=flights)
    until_s = time.monotonic() + seconds
    started_s = time.monotonic()
    loops = [_loop(database, people, batch, until_s, n) for n in range(flights)]
    transfers = sum(await asyncio.gather(*loops))
    elapsed_s = time.monotonic() - started_s
    await database.close()
    return Direct(round(batch), flights, elapsed_s, transfers)


async def _loop(
    database: Database, people: Sequence[User], batch: float, until_s: float, seed: int
) -> int:
    chance = random.Random(seed)
    refusals = refusal_templates()
    completed = 0
    while time.monotonic() < until_s:
        size = max(1, int(batch) + (chance.random() < batch - int(batch)))
        items = [_item(*chance.sample(people, 2)) for _ in range(size)]
        posted = await post(database, items, refusals)
        completed += sum(one.outcome is Outcome.COMPLETED for one in posted)
    return completed


def _item(sender: User, receiver: User) -> Transfer:
    transaction_id = ids.new_uuid()
    key = f"direct-{transaction_id}"
    return Transfer(
        id=transaction_id,
        sender_id=sender.account_id,
        receiver_id=receiver.account_id,
        receiver_email=None,
        amount=1,
        currency=None,
        description=None,
        metadata="{}",
        key=key,
        fingerprint=blake2b(key.encode(), digest_size=16).digest(),
        request_id=ids.encode("req", transaction_id),
        address=ADDRESS,
        reply=transfer_template(
            transaction_id, 1, ids.encode("acc", sender.account_id), None, b"{}"
        ),
    )
