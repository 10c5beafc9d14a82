"""A claim costs the same whatever waits: a long queue is stepped over, not read."""

import json
from typing import Any, Final

import asyncpg
import pytest

from finpay import ids
from finpay.db import queries
from finpay.webhooks import leasing
from tests.delivery.fixtures import Hooked, Scene
from tests.delivery.receiver import Receiver

BACKLOG: Final = 50_000
LARGE: Final = 500  # rows that one statement is about
_SQL: Final = queries.load("finpay.webhooks")


@pytest.fixture
async def crowded(scene: Scene, receiver: Receiver) -> list[Hooked]:
    """One endpoint with a backlog, and three with one delivery each."""
    hooked = [await scene.hook(receiver.url) for _ in range(4)]
    for one in hooked:
        await scene.events(one, 1)
    connection = await asyncpg.connect(scene.url)
    await connection.execute(
        "INSERT INTO webhooks.deliveries (id, endpoint_id, account_id, created_at, due_at, "
        "event_type, payload) SELECT webhooks.new_id(), $1, $2, now(), now(), 'ping', "
        """'{"id":"evt_1"}' FROM generate_series(1, $3)""",
        hooked[0].endpoint_id,
        hooked[0].holder.account_id,
        BACKLOG,
    )
    await connection.execute("ANALYZE webhooks.deliveries")
    await connection.close()
    return hooked


async def test_the_backlog_of_one_leaves_room_for_the_others(
    scene: Scene, crowded: list[Hooked]
) -> None:
    worker = await _worker(scene)
    turn = await leasing.claim(scene.bank.app, worker, after=leasing.FIRST, places=100, bound=64)
    taken = [lease.endpoint_id for lease in turn.leases]
    assert {one.endpoint_id for one in crowded} == set(taken)
    assert taken.count(crowded[0].endpoint_id) == 25  # its share of the places


async def test_the_bound_counts_all_workers(scene: Scene, crowded: list[Hooked]) -> None:
    for _ in range(5):
        worker = await _worker(scene)
        await leasing.claim(scene.bank.app, worker, after=leasing.FIRST, places=400, bound=20)
    assert await scene.bank.count("webhooks.deliveries", "status = 'leased'") == 20 + 3


async def test_those_who_did_not_get_a_place_are_next(scene: Scene, crowded: list[Hooked]) -> None:
    worker = await _worker(scene)
    after, seen = leasing.FIRST, []
    for _ in range(4):
        turn = await leasing.claim(scene.bank.app, worker, after=after, places=1, bound=64)
        seen += [lease.endpoint_id for lease in turn.leases]
        after = turn.after
    assert set(seen) == {one.endpoint_id for one in crowded}


async def test_one_that_keeps_failing_gets_few_places(scene: Scene, crowded: list[Hooked]) -> None:
    await scene.bank.app.execute(
        "UPDATE webhooks.endpoints SET failures_in_row = 10 WHERE id = $1", crowded[0].endpoint_id
    )
    worker = await _worker(scene)
    turn = await leasing.claim(scene.bank.app, worker, after=leasing.FIRST, places=400, bound=64)
    taken = [lease.endpoint_id for lease in turn.leases]
    assert taken.count(crowded[0].endpoint_id) == leasing.FAILING_PLACES


async def test_a_claim_reads_no_queue_to_its_end(scene: Scene, crowded: list[Hooked]) -> None:
    connection = await asyncpg.connect(scene.url)
    await connection.execute("SET plan_cache_mode = force_custom_plan")
    ready = [one.endpoint_id for one in crowded]
    worker = await _worker(scene)
    rows = await connection.fetch("SELECT id FROM webhooks.deliveries LIMIT $1", LARGE)
    some = [row["id"] for row in rows]
    for query, args in (
        (_SQL.list_ready_endpoints, (leasing.FIRST, leasing.ENDPOINTS_PER_TURN)),
        (_SQL.lease_deliveries, (ready, [64] * 4, worker, 512, 128)),
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
    """As many deliveries that went well."""
    count = len(deliveries)
    return (deliveries, ["delivered"] * count, [0.0] * count, [0.1] * count, [100] * count,
            [200] * count, [None] * count, ["ok"] * count)  # fmt: skip


async def _worker(scene: Scene) -> Any:
    worker = ids.new_uuid()
    await scene.bank.app.execute(_SQL.record_heartbeat, worker, 60.0, 1)
    return worker


async def _plan(connection: asyncpg.Connection, query: str, *args: object) -> dict[str, Any]:
    """What PostgreSQL did, with the rows that it really read; rolled back."""
    attempt = connection.transaction()
    await attempt.start()
    ((told,),) = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *args)
    await attempt.rollback()
    plan: dict[str, Any] = json.loads(told)[0]["Plan"]
    return plan


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]
