"""Plausible calls of the functions of payment requests and schedules, for test_sql_functions.py."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from finpay import ids
from tests.hostile.sql_calls import World
from tests.hostile.sql_values import Value
from tests.sql.ledger_fixtures import REFUSALS, Bank, Holder
from tests.sql.schedule_fixtures import ask, plan


async def add_requests(bank: Bank, world: World, holders: list[Holder]) -> None:
    """Some of each, so that calls find something."""
    for n, holder in enumerate(holders):
        for payer in (None, holders[n - 1]):
            world.requests.append(await ask(bank, holder, payer, amount=3))
        if n:
            scheduled = await plan(bank, holder, holders[n - 1], amount=1, due_days=30.5)
            world.schedules.append((holder.account_id, scheduled))


def create_payment_requests(rng: random.Random, world: World) -> list[Value]:
    number = rng.randint(1, 3)
    return [
        _origin(rng, world, rng.choice([True, False])),
        [rng.choice([1, 50, 2**53 - 1]) for _ in range(number)],
        [f"{email}" for email in rng.sample(list(world.emails), number)],
        rng.choice([None, "ZAR"]), rng.choice([None, "rent"]), "{}", 60, True,
        rng.choice([None, "https://pay.example"]), ["{}", "{}"],
    ]  # fmt: skip


def end_payment_request(rng: random.Random, world: World) -> list[Value]:
    status = rng.choice(["canceled", "declined"])
    return [_origin(rng, world, keyed=False), rng.choice(world.requests), status, None]


def expire_payment_requests(rng: random.Random, _: World) -> list[Value]:
    return [rng.choice([1, 100]), None]


def create_schedule(rng: random.Random, world: World) -> list[Value]:
    start_at = datetime.now(UTC) + timedelta(days=rng.randint(1, 900))
    return [
        _origin(rng, world, rng.choice([True, False])), rng.choice(world.accounts), None,
        rng.choice([1, 2**53 - 1]), None, None, "{}",
        start_at.isoformat(), rng.choice([1, 365]), rng.choice(["day", "week", "month"]),
        rng.choice(["UTC", "Africa/Johannesburg", "CET"]), None, rng.choice([None, 1]),
        ["{}"] * 4,
    ]  # fmt: skip


def change_schedule(rng: random.Random, world: World) -> list[Value]:
    _, schedule = rng.choice(world.schedules)
    command = rng.choice(["pause", "resume", "resume", "cancel"])
    return [_origin(rng, world, keyed=False), schedule, command]


def lease_schedules(rng: random.Random, _: World) -> list[Value]:
    return [rng.choice([1, 10]), 1]


def run_schedules(rng: random.Random, world: World) -> list[Value]:
    chosen = rng.sample(world.schedules, rng.randint(1, 3))
    return [
        [account for account, _ in chosen],
        [schedule for _, schedule in chosen],
        [rng.randint(0, 3) for _ in chosen],
        [ids.new_uuid() for _ in chosen],
        list(REFUSALS),
    ]


def close_account(rng: random.Random, world: World) -> list[Value]:
    return [_origin(rng, world, keyed=False), None]


def erase_closed_account(rng: random.Random, _: World) -> list[Value]:
    return [rng.choice([1, 100, 10_000])]


def _origin(rng: random.Random, world: World, keyed: bool) -> str:  # noqa: FBT001
    """A ledger.change_origin as PostgreSQL writes it."""
    key = f'{ids.new_uuid()},"\\\\x01"' if keyed else ","
    return f"({rng.choice(world.owners)},req_hostile,192.0.2.1,{key})"


CALLS: Final[dict[str, Callable[[random.Random, World], list[Value]]]] = {
    "ledger.change_schedule": change_schedule,
    "ledger.close_account": close_account,
    "ledger.erase_closed_account": erase_closed_account,
    "ledger.create_payment_requests": create_payment_requests,
    "ledger.create_schedule": create_schedule,
    "ledger.end_payment_request": end_payment_request,
    "ledger.expire_payment_requests": expire_payment_requests,
    "ledger.lease_schedules": lease_schedules,
    "ledger.run_schedules": run_schedules,
}
