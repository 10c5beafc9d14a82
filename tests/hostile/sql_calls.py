"""Plausible calls of the SQL functions that finpay_app may execute with the owner's rights.

A plausible call passes most checks, so that a call with one hostile argument gets behind the first
of them.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from finpay import ids
from tests.hostile.sql_values import Value
from tests.sql.ledger_fixtures import REFUSALS, REPLY

APP_ACTIONS: Final = (
    "account.created",
    "login.failed",
    "password.changed",
    "session.created",
    "user.registered",
    "webhook_endpoint.created",
)
APP_EVENTS: Final = ("account.created", "session.revoked", "user.registered")
_CURRENCIES: Final = ("ZAR", "ZAR", "ZAR", "USD")


@dataclass(frozen=True, slots=True)
class World:
    """What a thief of the app's login can read: whom there is, and which keys were used."""

    accounts: Sequence[UUID]  # of users
    system_accounts: Sequence[UUID]
    owners: Sequence[UUID]  # of accounts, in their order
    emails: Sequence[str]
    newcomers: list[UUID]  # users without an account
    keys: list[str] = field(default_factory=list)
    requests: list[UUID] = field(default_factory=list)
    schedules: list[tuple[UUID, UUID]] = field(default_factory=list)  # account, id


def transfers(rng: random.Random, world: World) -> list[Value]:
    """Arguments of ledger.post_transfers: up to four requests."""
    everybody = [*world.accounts, *world.system_accounts]
    accounts = sorted(rng.sample(everybody, rng.randint(1, min(6, len(everybody)))))
    modes = [rng.choice(["one", "one", "independent", "atomic"]) for _ in range(rng.randint(1, 4))]
    sizes = [1 if mode == "one" else rng.randint(1, 3) for mode in modes]
    items = range(sum(sizes))
    named = rng.random() < 0.3
    senders = [n for n, one in enumerate(accounts, 1) if one not in world.system_accounts] or [1]
    return [
        list(accounts),
        [rng.choice(senders) for _ in modes],
        [_key(rng, world) for _ in modes],
        [rng.choice([b"fingerprint", b"another"]) for _ in modes],
        ["req_hostile" for _ in modes],
        [rng.choice([None, "192.0.2.1"]) for _ in modes],
        list(modes),
        list(sizes),
        [ids.new_uuid() for _ in items],
        [None if named else rng.randint(1, len(accounts)) for _ in items],
        [rng.choice(world.emails) for _ in items] if named else None,
        [rng.choice([1, 2, 50, 10**6, 2**53 - 1]) for _ in items],
        [rng.choice([None, *_CURRENCIES]) for _ in items],
        [rng.choice([None, "rent"]) for _ in items],
        [rng.choice(["{}", '{"k":"v"}']) for _ in items],
        [REPLY for _ in items],
        list(REFUSALS),
    ]


def _key(rng: random.Random, world: World) -> str:
    if not world.keys or rng.random() < 0.8:
        world.keys.append(str(ids.new_uuid()))
    return rng.choice(world.keys[-5:])


def open_account(rng: random.Random, world: World) -> list[Value]:
    """A newcomer's account, at most times; its user leaves the list when it is opened."""
    user = rng.choice(world.newcomers) if world.newcomers else ids.new_uuid()
    return [ids.new_uuid(), user, rng.choice(_CURRENCIES)]


def verify_slice(rng: random.Random, _: World) -> list[Value]:
    return [rng.choice([0, 1, 3_600]), rng.choice([0, 60, 3_600]), rng.choice([1, 7, 10_000])]


def audit_record(rng: random.Random, world: World) -> list[Value]:
    owner = rng.choice(world.owners)
    subject = rng.choice([None, owner, rng.choice(world.accounts)])
    return [owner, rng.choice(APP_ACTIONS), subject, "req_hostile", "192.0.2.1", '{"a":"b"}']


def audit_record_each(rng: random.Random, world: World) -> list[Value]:
    actor, action, subject, *rest = audit_record(rng, world)
    return [actor, action, [subject] * rng.randint(1, 3), *rest]


def event(rng: random.Random, world: World) -> list[Value]:
    """Arguments of outbox.record."""
    owner = rng.choice(world.owners)
    return [owner, rng.choice(APP_EVENTS), '{"a":1}', rng.choice([owner, None]), None, None]


def events(rng: random.Random, world: World) -> list[Value]:
    """Arguments of outbox.record_events."""
    user, kind, document, *rest = event(rng, world)
    return [user, kind, [document] * rng.randint(1, 3), *rest]


def prune(rng: random.Random, world: World) -> list[Value]:
    after = rng.choice([UUID(int=0), rng.choice(world.accounts)])
    return [after, rng.choice([-(2**31), 0, 86_400, 2**31 - 1]), 100, 100]


CALLS: Final[dict[str, Callable[[random.Random, World], list[Value]]]] = {
    "audit.record": audit_record,
    "audit.record_each": audit_record_each,
    "ledger.open_account": open_account,
    "ledger.post_transfers": transfers,
    "ledger.verify_slice": verify_slice,
    "outbox.prune": prune,
    "outbox.record": event,
    "outbox.record_events": events,
}
