"""Webhook endpoints: their URL, event types and signing secrets.

Every change is one transaction with its audit row. A secret is returned twice, when an endpoint is
added and when its secret is rotated; it is never logged and is not in audit rows or events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from finpay import ids, signing
from finpay.db import queries
from finpay.db.pool import Database, Executor, Record, Transaction
from finpay.formats import format_timestamp
from finpay.identity import user_lock
from finpay.identity.models import RequestOrigin
from finpay.outbox.resources import WebhookEndpoint

MAX_PER_USER: Final = 16  # each costs a row per event; one receiver can fan out further
MAX_SECRETS: Final = 4  # that sign at once: each is another signature in every delivery

_SQL: Final = queries.load("finpay.webhooks", "endpoints.sql")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint, without its secret.

    No attempt has succeeded since `first_failing_at`; None: the last one did. Until `overlap_until`
    an older secret signs too.
    """

    id: UUID
    url: str
    description: str | None
    event_types: Sequence[str]
    enabled: bool
    disabled_reason: Literal["owner", "gone", "failing"] | None
    disabled_at: datetime | None
    first_failing_at: datetime | None
    created_at: datetime
    updated_at: datetime
    overlap_until: datetime | None


@dataclass(frozen=True, slots=True)
class Owner:
    """The user, the account and the request that acts for them."""

    user_id: UUID
    account_id: UUID
    origin: RequestOrigin


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """A new endpoint: its URL was checked, its event types are known."""

    url: str
    description: str | None
    event_types: Sequence[str]
    enabled: bool


async def create(
    database: Database, owner: Owner, spec: EndpointSpec
) -> tuple[Endpoint, str] | None:
    """The new endpoint and its secret; None if the owner has MAX_PER_USER already."""
    endpoint_id, secret = ids.new_uuid(), signing.new_secret()
    async with database.transaction() as transaction:
        await user_lock.require(transaction, owner.user_id)
        row = await transaction.fetch_one(
            _SQL.insert_endpoint,
            endpoint_id,
            owner.user_id,
            owner.account_id,
            spec.url,
            spec.description,
            spec.event_types,
            spec.enabled,
            MAX_PER_USER,
        )
        if row is None:
            return None
        await transaction.execute(_SQL.insert_secret, endpoint_id, secret)
        await _record(transaction, owner, "created", endpoint_id, {"enabled": spec.enabled})
        return await _read(transaction, owner, endpoint_id), secret


async def list_(
    database: Database, user_id: UUID, *, before: UUID | None, limit: int
) -> list[Endpoint]:
    """The user's endpoints, newest first, at most `limit`, all before an id."""
    rows = await database.fetch(_SQL.list_endpoints, user_id, before, limit, None)
    return [Endpoint(*row) for row in rows]


async def get(database: Database, user_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """One of the user's endpoints; None for other users' endpoints."""
    row = await database.fetch_one(_SQL.list_endpoints, user_id, None, 1, endpoint_id)
    return None if row is None else Endpoint(*row)


async def update(
    database: Database, owner: Owner, endpoint_id: UUID, members: Mapping[str, Any]
) -> Endpoint | None:
    """Sets the given members: url, description, event_types, enabled. None if it does not exist.

    Enabling resets the count of failures. `enabled` changes nothing if it has that value already.
    """
    async with database.transaction() as transaction:
        locked = await transaction.fetch_one(_SQL.lock_endpoint, endpoint_id, owner.user_id)
        if locked is None:
            return None
        contents = {name: value for name, value in members.items() if name != "enabled"}
        if contents:
            await transaction.execute(
                _SQL.update_endpoint,
                endpoint_id,
                list(contents),
                members.get("url"),
                members.get("description"),
                members.get("event_types"),
            )
        if "enabled" in members:
            query = _SQL.enable_endpoint if members["enabled"] else _SQL.disable_endpoint
            await transaction.execute(query, endpoint_id)
        if members:
            detail = {"changed": sorted(members), "enabled": members.get("enabled")}
            await _record(transaction, owner, "updated", endpoint_id, detail)
        return await _read(transaction, owner, endpoint_id)


async def delete(database: Database, owner: Owner, endpoint_id: UUID) -> bool:
    """Ends all deliveries to it and deletes its secrets. False if it does not exist."""
    async with database.transaction() as transaction:
        locked = await transaction.fetch_one(_SQL.lock_endpoint, endpoint_id, owner.user_id)
        if locked is None:
            return False
        await transaction.execute(_SQL.delete_endpoint, endpoint_id)
        await transaction.execute(_SQL.delete_secrets, endpoint_id)
        await _record(transaction, owner, "deleted", endpoint_id, {})
    return True


async def delete_all(transaction: Executor, user_id: UUID) -> None:
    """All of a user, with their secrets and what they answered."""
    await transaction.execute(_SQL.delete_endpoints_of_user, user_id)
    await transaction.execute(_SQL.delete_secrets_of_user, user_id)
    await transaction.execute(_SQL.delete_answers_of_user, user_id)


async def rotate_secret(
    database: Database, owner: Owner, endpoint_id: UUID, *, overlap_s: int
) -> tuple[Endpoint, str] | None:
    """A new secret; older ones sign for `overlap_s` more seconds. None if it does not exist."""
    secret = signing.new_secret()
    async with database.transaction() as transaction:
        locked = await transaction.fetch_one(_SQL.lock_endpoint, endpoint_id, owner.user_id)
        if locked is None:
            return None
        await transaction.execute(_SQL.retire_secrets, endpoint_id, overlap_s)
        await transaction.execute(_SQL.insert_secret, endpoint_id, secret)
        await transaction.execute(_SQL.delete_surplus_secrets, endpoint_id, MAX_SECRETS)
        await _record(transaction, owner, "secret_rotated", endpoint_id, {"overlap_s": overlap_s})
        return await _read(transaction, owner, endpoint_id), secret


async def _read(transaction: Transaction, owner: Owner, endpoint_id: UUID) -> Endpoint:
    row = await transaction.fetch_one(_SQL.list_endpoints, owner.user_id, None, 1, endpoint_id)
    assert row is not None  # noqa: S101  the caller has locked it
    return Endpoint(*row)


async def _record(
    transaction: Transaction,
    owner: Owner,
    action: str,
    endpoint_id: UUID,
    detail: Mapping[str, Any],
) -> None:
    """The audit row, without the secrets and without the URL, which may contain one."""
    await transaction.execute(
        _SQL.record_audit,
        owner.user_id,
        f"webhook_endpoint.{action}",
        endpoint_id,
        owner.origin.request_id,
        owner.origin.address,
        msgspec.json.encode(detail).decode(),
    )


def event_resource(row: Record) -> WebhookEndpoint:
    """An endpoint in events: without its secret and its failures."""
    return WebhookEndpoint(
        id=ids.encode("whe", row["id"]),
        object="webhook_endpoint",
        url=row["url"],
        description=row["description"],
        event_types=row["event_types"],
        enabled=row["enabled"],
        disabled_reason=row["disabled_reason"],
        created_at=format_timestamp(row["created_at"]),
    )
