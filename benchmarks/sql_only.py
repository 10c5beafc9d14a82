"""The posting function called from Python without HTTP: the speed of the ledger alone.

As many calls in flight as the API processes have together, in batches of a given size, with the
items that the API would post.
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
from finpay.edge.schemas.templates import transfer as transfer_template
from finpay.ledger.outcome import Outcome
from finpay.ledger.posting import Transfer, post

ADDRESS: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class DirectCalls:
    """`transfers` completed in `seconds`, in batches of `batch`, `in_flight` of them at once."""

    batch: int
    in_flight: int
    seconds: float
    transfers: int

    @property
    def per_second(self) -> float:
        return self.transfers / self.seconds


async def call(
    database_url: str, users: Sequence[User], *, batch: float, in_flight: int, seconds: float
) -> DirectCalls:
    """Posts for that long. A fractional `batch` is the mean of two adjacent sizes."""
    database = Database(database_url, size=in_flight)
    until_s = time.monotonic() + seconds
    started_s = time.monotonic()
    loops = [_loop(database, users, batch, until_s, n) for n in range(in_flight)]
    transfers = sum(await asyncio.gather(*loops))
    elapsed_s = time.monotonic() - started_s
    await database.close()
    return DirectCalls(round(batch), in_flight, elapsed_s, transfers)


async def _loop(
    database: Database, users: Sequence[User], batch: float, until_s: float, seed: int
) -> int:
    chance = random.Random(seed)
    refusals = refusal_templates()
    completed = 0
    while time.monotonic() < until_s:
        size = max(1, int(batch) + (chance.random() < batch - int(batch)))
        items = [new_transfer(*chance.sample(users, 2)) for _ in range(size)]
        posted = await post(database, items, refusals)
        completed += sum(one.outcome is Outcome.COMPLETED for one in posted)
    return completed


def new_transfer(sender: User, receiver: User) -> Transfer:
    """An item as the API would post it."""
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
