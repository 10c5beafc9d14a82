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
from tests.sql.ledger_fixtures import OPERATION_REPLY, REFUSALS, REPLY

APP_ACTIONS: Final = (
    "account.created",
    "login.failed",
    "password.changed",
    "session.created",
    "user.registered",
    "webhook_endpoint.created",
)
APP_EVENTS: Final = ("account.created", "session.revoked", "user.registered")
_BATCHES: Final = frozenset({"independent", "atomic"})
_PLAIN: Final = frozenset({"transfer", *_BATCHES})
_WITH_TARGET: Final = frozenset({"capture", "void", "refund", "cancel", "pay"})
_MODES: Final = (
    *("transfer", "transfer", "independent", "atomic", "hold", "hold", "withdrawal"),
    *sorted(_WITH_TARGET),
)
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
    made: list[UUID] = field(default_factory=lambda: [UUID(int=1)])  # by calls before


def transfers(rng: random.Random, world: World) -> list[Value]:
    """Arguments of ledger.post_transfers: up to four requests."""
    all_accounts = [*world.accounts, *world.system_accounts]
    accounts = sorted(rng.sample(all_accounts, rng.randint(1, min(6, len(all_accounts)))))
    modes = [rng.choice(_MODES) for _ in range(rng.randint(1, 4))]
    sizes = [rng.randint(1, 3) if mode in _BATCHES else 1 for mode in modes]
    of_items = [mode for mode, size in zip(modes, sizes, strict=True) for _ in range(size)]
    named = rng.random() < 0.3
    senders = [n for n, one in enumerate(accounts, 1) if one not in world.system_accounts] or [1]
    made = [ids.new_uuid() for _ in of_items]
    targets: list[Value] = [
        rng.choice(world.requests if mode == "pay" else world.made)
        if mode in _WITH_TARGET
        else None
        for mode in modes
    ]
    world.made.extend(made)
    del world.made[:-20]
    received = [mode in _BATCHES or mode in {"transfer", "hold"} for mode in of_items]
    return [
        list(accounts),
        [rng.choice(senders) for _ in modes],
        [_key(rng, world) for _ in modes],
        [rng.choice([b"fingerprint", b"another"]) for _ in modes],
        ["req_hostile" for _ in modes],
        [rng.choice([None, "192.0.2.1"]) for _ in modes],
        list(modes),
        list(sizes),
        targets if {*modes} - _PLAIN else None,
        [rng.choice([60, 600]) for _ in modes],
        [rng.choice([None, True, False]) for _ in modes],
        None,
        None,
        list(made),
        [rng.randint(1, len(accounts)) if each and not named else None for each in received],
        [rng.choice(world.emails) if each else None for each in received] if named else None,
        [_amount(rng, mode) for mode in of_items],
        [rng.choice([None, *_CURRENCIES]) for _ in of_items],
        [rng.choice([None, "rent"]) for _ in of_items],
        [rng.choice(["{}", '{"k":"v"}']) for _ in of_items],
        [rng.choice([REPLY, OPERATION_REPLY]) for _ in of_items],
        list(REFUSALS),
        rng.choice([None, "https://pay.example"]),
    ]


def _amount(rng: random.Random, mode: str) -> int | None:
    if mode in {"void", "cancel", "pay"}:
        return None
    amounts = [1, 2, 50, 10**6, 2**53 - 1]
    return rng.choice([None, *amounts] if mode in _WITH_TARGET else amounts)


def _key(rng: random.Random, world: World) -> str:
    if not world.keys or rng.random() < 0.8:
        world.keys.append(str(ids.new_uuid()))
    return rng.choice(world.keys[-5:])


def open_account(rng: random.Random, world: World) -> list[Value]:
    """A newcomer's account, at most times; its user leaves the list when it is opened."""
    user = rng.choice(world.newcomers) if world.newcomers else ids.new_uuid()
    limits = [rng.choice([None, 500, 10**9]) for _ in range(2)]
    return [ids.new_uuid(), user, rng.choice(_CURRENCIES), *limits]


def verify_slice(rng: random.Random, _: World) -> list[Value]:
    return [rng.choice([0, 1, 3_600]), rng.choice([0, 60, 3_600]), rng.choice([1, 7, 10_000])]


def expire_holds(rng: random.Random, world: World) -> list[Value]:
    rows = range(rng.randint(1, 3))
    return [[rng.choice(world.accounts) for _ in rows], [rng.choice(world.made) for _ in rows]]


def list_due_holds(rng: random.Random, world: World) -> list[Value]:
    after = f"(now,{rng.choice(world.accounts)},{ids.new_uuid()})"
    return [rng.choice([1, 1_000]), rng.choice([None, after])]


def change_limits(rng: random.Random, world: World) -> list[Value]:
    limits = [rng.choice([None, 1, 10**6]), rng.choice([None, 1, 10**6])]
    owner = rng.choice(world.owners)
    return [owner, True, limits[0], rng.choice([True, False]), limits[1], "req_hostile", None]


def apply_pending_limits(rng: random.Random, _: World) -> list[Value]:
    return [rng.choice([1, 100])]


def dry_run(rng: random.Random, world: World) -> list[Value]:
    mode = rng.choice(["transfer", "hold", "refund"])
    amount = rng.choice([1, 500, 10**9])
    receiver = rng.choice([*world.accounts, ids.new_uuid()])
    target = ids.new_uuid() if mode == "refund" else None
    conditions = [rng.choice([None, 0, 7]) for _ in range(2)]
    return [mode, rng.choice(world.accounts), amount, "ZAR", receiver, None, target, *conditions]


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
    "ledger.apply_pending_limits": apply_pending_limits,
    "ledger.change_limits": change_limits,
    "ledger.dry_run": dry_run,
    "ledger.expire_holds": expire_holds,
    "ledger.list_due_holds": list_due_holds,
    "ledger.open_account": open_account,
    "ledger.post_transfers": transfers,
    "ledger.verify_slice": verify_slice,
    "outbox.prune": prune,
    "outbox.record": event,
    "outbox.record_events": events,
}
