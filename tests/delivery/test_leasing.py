"""Claims: limits per endpoint and owner, and a cost that does not grow with the backlog."""

import json
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest

from finpay import ids
from finpay.db import queries
from finpay.webhooks import leasing
from finpay.webhooks.leasing import Capacity, ClaimResult
from tests.delivery.fixtures import OwnedEndpoint, System
from tests.delivery.receiver import Receiver

BACKLOG: Final = 50_000
LARGE: Final = 500  # rows per statement
_SQL: Final = queries.load("finpay.webhooks")


@pytest.fixture
async def backlog(system: System, receiver: Receiver) -> list[OwnedEndpoint]:
    """One endpoint with a backlog, and three with one delivery each."""
    endpoints = [await system.add_endpoint(receiver.url) for _ in range(4)]
    for one in endpoints:
        await system.add_events(one, 1)
    connection = await asyncpg.connect(system.url)
    await connection.execute(
        "INSERT INTO webhooks.deliveries (id, endpoint_id, account_id, created_at, due_at, "
        "event_type, payload) SELECT webhooks.new_id(), $1, $2, now(), now(), 'ping', "
        """'{"id":"evt_1"}' FROM generate_series(1, $3)""",
        endpoints[0].id,
        endpoints[0].holder.account_id,
        BACKLOG,
    )
    await connection.execute("ANALYZE webhooks.deliveries")
    await connection.close()
    return endpoints


async def test_endpoint_with_a_backlog_gets_its_fair_share_of_a_claim(
    system: System, backlog: list[OwnedEndpoint]
) -> None:
    worker = await _worker(system)
    result = await _claim(system, worker, _capacity(free=100))
    leased = [lease.endpoint_id for lease in result.leases]
    assert {one.id for one in backlog} == set(leased)
    assert leased.count(backlog[0].id) == 25


async def test_limit_per_endpoint_counts_all_workers(
    system: System, backlog: list[OwnedEndpoint]
) -> None:
    for _ in range(5):
        worker = await _worker(system)
        await _claim(system, worker, _capacity(max_per_endpoint=20))
    assert await system.bank.count("webhooks.deliveries", "status = 'leased'") == 20 + 3


async def test_owner_with_many_endpoints_gets_its_share_of_the_worker(
    system: System, backlog: list[OwnedEndpoint], receiver: Receiver
) -> None:
    owner = backlog[0].holder
    for _ in range(3):
        endpoint = await system.add_endpoint(receiver.url, holder=owner)
        await system.add_events(endpoint, 40)
    worker = await _worker(system)
    in_flight = {owner.user_id: 10}
    result = await _claim(system, worker, _capacity(max_per_owner=30, in_flight=in_flight))
    leased = Counter(lease.endpoint_id for lease in result.leases)
    assert leased.total() == 20 + 3
    own = [leased[key] for key in leased.keys() - {one.id for one in backlog[1:]}]
    assert sorted(own) == [5, 5, 5, 5]
    assert result.more


async def test_owner_at_the_limit_leaves_the_others_their_leases(
    system: System, backlog: list[OwnedEndpoint]
) -> None:
    worker = await _worker(system)
    in_flight = {backlog[0].holder.user_id: 64}
    result = await _claim(system, worker, _capacity(in_flight=in_flight))
    assert {lease.endpoint_id for lease in result.leases} == {one.id for one in backlog[1:]}


async def test_endpoint_without_a_lease_is_first_in_the_next_claim(
    system: System, backlog: list[OwnedEndpoint]
) -> None:
    worker = await _worker(system)
    after, seen = leasing.FIRST, []
    for _ in range(4):
        result = await _claim(system, worker, _capacity(free=1), after)
        seen += [lease.endpoint_id for lease in result.leases]
        after = result.after
    assert set(seen) == {one.id for one in backlog}


async def test_failing_endpoint_gets_few_leases(
    system: System, backlog: list[OwnedEndpoint]
) -> None:
    await system.bank.app.execute(
        "UPDATE webhooks.endpoints SET failures_in_row = 10 WHERE id = $1", backlog[0].id
    )
    worker = await _worker(system)
    result = await _claim(system, worker, _capacity())
    leased = [lease.endpoint_id for lease in result.leases]
    assert leased.count(backlog[0].id) == leasing.FAILING_LIMIT


async def test_claim_does_not_read_the_backlog(
    system: System, backlog: list[OwnedEndpoint]
) -> None:
    connection = await asyncpg.connect(system.url)
    await connection.execute("SET plan_cache_mode = force_custom_plan")
    ready = [one.id for one in backlog]
    worker = await _worker(system)
    rows = await connection.fetch("SELECT id FROM webhooks.deliveries LIMIT $1", LARGE)
    some = [row["id"] for row in rows]
    for query, args in (
        (_SQL.list_ready_endpoints, (leasing.FIRST, leasing.ENDPOINTS_PER_CLAIM)),
        (_SQL.lease_deliveries, (ready, [64] * 4, worker, 512, [128] * 4)),
        (_SQL.record_attempts, (worker, *_columns(some))),
        (_SQL.cancel_deliveries, (ready[:1], LARGE)),
        (_SQL.enqueue_due_retries, (LARGE,)),
        (_SQL.reclaim_leases, (1,)),
        (_SQL.get_oldest_unfinished_age, ()),
    ):
        plan = await _plan(connection, query, *args)
        nodes = list(_nodes(plan))
        scanned = {n["Relation Name"] for n in nodes if n["Node Type"] == "Seq Scan"}
        assert "deliveries" not in scanned, plan
        read = sum(n["Actual Rows"] * n["Actual Loops"] for n in nodes)
        assert read < 30 * LARGE, plan
    await connection.close()


def _columns(deliveries: list[Any]) -> tuple[list[Any], ...]:
    """The parameters of record_attempts, for successful attempts."""
    count = len(deliveries)
    return (deliveries, ["delivered"] * count, [0.0] * count, [0.1] * count, [100] * count,
            [200] * count, [None] * count, ["ok"] * count)  # fmt: skip


def _capacity(
    free: int = 400,
    max_per_endpoint: int = 64,
    max_per_owner: int = 64,
    in_flight: Mapping[UUID, int] = MappingProxyType({}),
) -> Capacity:
    return Capacity(free, max_per_endpoint, max_per_owner, in_flight)


async def _claim(
    system: System, worker: UUID, capacity: Capacity, after: UUID = leasing.FIRST
) -> ClaimResult:
    return await leasing.claim(system.bank.app, worker, after=after, capacity=capacity)


async def _worker(system: System) -> Any:
    worker = ids.new_uuid()
    await system.bank.app.execute(_SQL.record_heartbeat, worker, 60.0, 1)
    return worker


async def _plan(connection: asyncpg.Connection, query: str, *args: object) -> dict[str, Any]:
    """The executed plan, with the rows that it read; rolled back."""
    attempt = connection.transaction()
    await attempt.start()
    ((explained,),) = await connection.fetch(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *args
    )
    await attempt.rollback()
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]
