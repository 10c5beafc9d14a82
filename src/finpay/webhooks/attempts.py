"""Records attempts in batches, and decides what follows a failure.

The delivery is retried later, or failed at the end of the schedule. The endpoint is disabled after
a 410 or after days of failures, with an event for the owner's other endpoints.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from finpay import ids
from finpay.concurrency.micro_batcher import MicroBatcher
from finpay.db import queries
from finpay.db.pool import Database, Transaction, Unavailable
from finpay.errors import cause_of
from finpay.telemetry import logs, metrics
from finpay.webhooks import endpoints, retry_policy
from finpay.webhooks.leasing import Lease
from finpay.webhooks.messages import Attempt, CancelReason

MAX_BATCH: Final = 500  # rows per statement; more gain nothing
MAX_QUEUED: Final = 4_000  # never reached: a worker has fewer leases
RETRY_PAUSE_S: Final = 0.5  # between writes while PostgreSQL is unavailable

_LOG: Final = logs.get()
_SQL: Final = queries.load("finpay.webhooks")
_Outcome = Literal["delivered", "scheduled", "failed"]


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """The settings about failures: the retry schedule, and when an endpoint is disabled."""

    schedule_s: Sequence[int]
    disable_after_s: int


@dataclass(frozen=True, slots=True)
class _Result:
    lease: Lease
    attempt: Attempt
    outcome: _Outcome
    wait_s: float


class AttemptRecorder:
    """Writes the results of the worker that has the leases."""

    def __init__(self, database: Database, worker_id: UUID, policy: FailurePolicy) -> None:
        self._database = database
        self._worker_id = worker_id
        self._policy = policy
        self._batches: MicroBatcher[_Result, None] = MicroBatcher(
            self._write, max_in_flight=1, max_batch=MAX_BATCH, max_queued=MAX_QUEUED
        )

    async def record(self, lease: Lease, attempt: Attempt) -> None:
        """Returns when it is committed, however long PostgreSQL is unavailable."""
        result = self._result(lease, attempt)
        metrics.DELIVERIES.labels(attempt.error or "delivered").inc()
        metrics.ATTEMPT_DURATION.observe(attempt.duration_s)
        while True:
            try:
                return await self._batches.submit(result)
            except Unavailable:
                await asyncio.sleep(RETRY_PAUSE_S)

    async def cancel(self, lease: Lease, reason: CancelReason) -> None:
        """Cancels a delivery whose event can't be sent. An unreadable event leaves an attempt."""
        if reason == "event_missing":
            await self._database.execute(_SQL.cancel_delivery, lease.id)
            return
        metrics.DELIVERIES.labels(reason).inc()
        await self._database.execute(_SQL.cancel_unreadable_event, lease.id, reason)

    def _result(self, lease: Lease, attempt: Attempt) -> _Result:
        if attempt.error is None:
            return _Result(lease, attempt, "delivered", 0)
        wait_s = retry_policy.next_wait_s(
            self._policy.schedule_s, lease.retry_index, attempt.retry_after
        )
        if wait_s is None or attempt.error == "gone":
            return _Result(lease, attempt, "failed", 0)
        return _Result(lease, attempt, "scheduled", wait_s)

    async def _write(self, results: Sequence[_Result]) -> Sequence[Unavailable | None]:
        """Together, or each alone where one of them can't be written."""
        try:
            await self._write_together(results)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  a row that PostgreSQL refuses
            if len(results) > 1:
                return [await self._write_alone(result) for result in results]
            await self._set_aside(results[0].lease, error)
        return [None] * len(results)

    async def _write_alone(self, result: _Result) -> Unavailable | None:
        try:
            await self._write([result])
        except Unavailable as error:
            return error
        return None

    async def _set_aside(self, lease: Lease, error: Exception) -> None:
        """Cancels a delivery whose attempt can't be recorded: it would be retried for ever."""
        _LOG.error("attempt_not_recorded", delivery=ids.encode("whd", lease.id), reason=repr(error))
        metrics.DELIVERIES.labels("not_recorded").inc()
        await self._database.execute(_SQL.cancel_delivery, lease.id)

    async def _write_together(self, results: Sequence[_Result]) -> None:
        failures = _failures_in_row(results)
        async with self._database.transaction() as transaction:
            await transaction.execute(_SQL.record_attempts, self._worker_id, *_columns(results))
            to_disable = await self._record_health(transaction, failures)
        gone = {result.lease.endpoint_id for result in results if result.attempt.error == "gone"}
        for endpoint_id in gone | to_disable:
            try:
                await self._disable(endpoint_id, "gone" if endpoint_id in gone else "failing")
            except Unavailable as error:
                # The attempts are committed, so raising would record them twice. The next failure
                # disables the endpoint.
                endpoint, reason = ids.encode("whe", endpoint_id), cause_of(error)
                _LOG.warning("webhook_endpoint_not_disabled", endpoint=endpoint, reason=reason)

    async def _record_health(
        self, transaction: Transaction, failures: dict[UUID, int]
    ) -> set[UUID]:
        """Returns the endpoints that failed for so long that they are to be disabled."""
        if not failures:
            return set()
        rows = await transaction.fetch(
            _SQL.record_health,
            list(failures),
            list(failures.values()),
            self._policy.disable_after_s,
        )
        return {row["id"] for row in rows if row["to_disable"]}

    async def _disable(self, endpoint_id: UUID, reason: Literal["gone", "failing"]) -> None:
        """With an audit row and an event. Does nothing if the endpoint is disabled already."""
        async with self._database.transaction() as transaction:
            # A sequence of the account must not be assigned twice after a power cut.
            await transaction.execute("SET LOCAL synchronous_commit = on")
            row = await transaction.fetch_one(_SQL.disable_endpoint, endpoint_id, reason)
            if row is None:
                return
            detail = {"reason": reason, "first_failing_at": row["first_failing_at"]}
            await transaction.execute(
                _SQL.record_disabled,
                row["user_id"],
                endpoint_id,
                _json(endpoints.event_resource(row)),
                _json({"enabled": True, "disabled_reason": None}),
                _json(detail),
            )
        _LOG.warning(
            "webhook_endpoint_disabled", endpoint=ids.encode("whe", endpoint_id), reason=reason
        )


def _failures_in_row(results: Sequence[_Result]) -> dict[UUID, int]:
    """Failures per endpoint, 0 after a success. Endpoints that succeed as before are left out."""
    counts: Counter[UUID] = Counter()
    succeeded = set()
    for result in results:
        endpoint = result.lease.endpoint_id
        if result.attempt.error is not None:
            counts[endpoint] += 1
        else:
            succeeded.add(endpoint)
            if result.lease.failing:
                counts[endpoint] += 0
    return {key: 0 if key in succeeded else count for key, count in counts.items()}


def _columns(results: Sequence[_Result]) -> tuple[list[Any], ...]:
    """The parameters of the query `record_attempts`, from $2 on."""
    attempts = [result.attempt for result in results]
    return (
        [result.lease.id for result in results],
        [result.outcome for result in results],
        [result.wait_s for result in results],
        [attempt.duration_s for attempt in attempts],
        [round(attempt.duration_s * 1_000) for attempt in attempts],
        [attempt.http_status for attempt in attempts],
        [attempt.error for attempt in attempts],
        [attempt.answer for attempt in attempts],
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
