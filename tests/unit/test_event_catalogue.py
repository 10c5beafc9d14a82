"""The list of event types, its patterns, and the documents generated from it."""

import json
import re
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from finpay.edge.request import query_params
from finpay.outbox import event_types, schemas
from finpay.outbox.event_types import EVENT_TYPES

ID = "01h455vb4pex5vsknk084sn02q"
NOW = "2026-01-31T12:00:00.000000Z"
SUBJECTS: dict[str, dict[str, Any]] = {
    "account": {
        "id": f"acc_{ID}", "object": "account", "balance": 0, "available": 0, "held": 0,
        "currency": "ZAR", "status": "active", "version": 0, "created_at": NOW,
        "limits": {
            "single": None, "daily": None, "sent_today": 0, "resets_at": NOW, "pending": None,
        },
    },
    "hold": {
        "id": f"hld_{ID}", "object": "hold", "status": "open", "direction": "sent", "amount": 5,
        "captured_amount": 0, "remaining": 5, "currency": "ZAR", "sender_id": f"acc_{ID}",
        "receiver_id": f"acc_{ID}", "description": None, "metadata": {}, "expires_at": NOW,
        "created_at": NOW,
    },
    "payment_request": {
        "id": f"prq_{ID}", "object": "payment_request", "status": "open", "direction": "sent",
        "amount": 1, "currency": "ZAR", "requester": {"account_id": f"acc_{ID}", "name": None},
        "payer_email": "a@b.c", "description": None, "metadata": {"a": "b"}, "url": None,
        "transaction_id": None, "expires_at": NOW, "created_at": NOW,
    },
    "schedule": {
        "id": f"sch_{ID}", "object": "schedule", "status": "active", "receiver_id": f"acc_{ID}",
        "amount": 1, "currency": "ZAR", "description": None, "metadata": {"a": "b"},
        "start_at": NOW, "every": {"unit": "day", "count": 1}, "timezone": "UTC", "until": None,
        "occurrences": None, "next_at": NOW, "runs": 0, "failures_in_a_row": 0,
        "last_transaction_id": None, "last_failure_code": None, "created_at": NOW,
    },
    "session": {
        "id": f"ses_{ID}", "object": "session", "created_at": NOW, "ended_at": NOW,
        "reason": "logout",
    },
    "transaction": {
        "id": f"txn_{ID}", "object": "transaction", "type": "transfer", "status": "completed",
        "direction": "sent", "amount": 1, "currency": "ZAR", "sender_id": f"acc_{ID}",
        "receiver_id": f"acc_{ID}", "description": None, "metadata": {"a": "b"},
        "balance_after": 0, "available_after": 0, "failure_code": None, "refunded_amount": 0,
        "origin": None, "scheduled_for": None, "created_at": NOW,
    },
    "user": {
        "id": f"usr_{ID}", "object": "user", "email": "a@b.c", "name": None,
        "email_verified": False, "created_at": NOW,
    },
    "webhook_endpoint": {
        "id": f"whe_{ID}", "object": "webhook_endpoint", "url": "https://a.b/c",
        "description": None, "event_types": ["*"], "enabled": False, "disabled_reason": "gone",
        "created_at": NOW,
    },
    "withdrawal": {
        "id": f"wdr_{ID}", "object": "withdrawal", "status": "pending", "amount": 5,
        "currency": "ZAR", "destination": {}, "description": None, "reference": None,
        "reason": None, "transaction_id": None, "created_at": NOW,
    },
}  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    "hold.captured": {"status": "captured", "captured_amount": 3, "remaining": 0},
    "hold.expired": {"status": "expired", "remaining": 0},
    "hold.voided": {"status": "voided", "remaining": 0},
    **{
        f"payment_request.{status}": {"status": status}
        for status in ("canceled", "declined", "expired")
    },
    "payment_request.paid": {"status": "paid", "transaction_id": f"txn_{ID}"},
    "schedule.ended": {"status": "ended", "next_at": None},
    "schedule.failed": {"last_failure_code": "insufficient_funds"},
    "schedule.paused": {"status": "paused", "next_at": None},
    "transaction.failed": {"status": "failed", "failure_code": "insufficient_funds"},
    "transaction.refunded": {"status": "reversed", "refunded_amount": 1},
    "withdrawal.canceled": {"status": "canceled"},
    "withdrawal.completed": {"status": "completed", "transaction_id": f"txn_{ID}"},
    "withdrawal.rejected": {"status": "rejected", "reason": "The account is closed."},
}
PREVIOUS: dict[str, dict[str, Any]] = {
    "account.updated": {"status": "frozen"},
    "hold.captured": {"captured_amount": 0, "remaining": 5},
    "hold.expired": {"status": "open", "remaining": 5},
    "hold.voided": {"status": "open", "remaining": 5},
    **{
        f"payment_request.{status}": {"status": "open"}
        for status in ("canceled", "declined", "expired")
    },
    "payment_request.paid": {"status": "open", "transaction_id": None},
    "schedule.ended": {"status": "active", "next_at": NOW},
    "schedule.failed": {
        "runs": 0, "failures_in_a_row": 0, "last_failure_code": None, "last_transaction_id": None,
        "next_at": NOW,
    },
    "schedule.paused": {"status": "active", "next_at": NOW},
    "schedule.resumed": {"status": "paused", "next_at": None, "failures_in_a_row": 3},
    "session.revoked": {"ended_at": None, "reason": None},
    "transaction.refunded": {"refunded_amount": 0, "status": "completed"},
    "webhook_endpoint.disabled": {"enabled": True, "disabled_reason": None},
    "withdrawal.canceled": {"status": "pending"},
    "withdrawal.completed": {"status": "pending", "reference": None, "transaction_id": None},
    "withdrawal.rejected": {"status": "pending", "reason": None},
}  # fmt: skip


def example(kind: str) -> dict[str, Any]:
    """A valid event of this type."""
    subject = SUBJECTS[kind.partition(".")[0]] | CHANGES.get(kind, {})
    return {
        "id": f"evt_{ID}", "object": "event", "type": kind, "created_at": NOW, "sequence": 1,
        "data": {"object": subject, "previous": PREVIOUS.get(kind, {})},
        "request": {"id": "req-1", "idempotency_key": None}, "actor": f"usr_{ID}",
    }  # fmt: skip


@pytest.mark.parametrize("kind", EVENT_TYPES)
class TestSchema:
    def test_is_a_valid_json_schema(self, kind: str) -> None:
        jsonschema_rs.meta.validate(schemas.schema(kind))

    def test_accepts_a_valid_event(self, kind: str) -> None:
        validator = jsonschema_rs.validator_for(schemas.schema(kind))
        validator.validate(example(kind))
        validator.validate(example(kind) | {"request": None, "actor": None})

    def test_refuses_another_type(self, kind: str) -> None:
        validator = jsonschema_rs.validator_for(schemas.schema(kind))
        others = [other for other in EVENT_TYPES if other != kind]
        assert not any(validator.is_valid(example(other)) for other in others)
        assert not validator.is_valid(example(kind) | {"type": "transaction.unknown"})

    def test_refuses_a_missing_member(self, kind: str) -> None:
        validator = jsonschema_rs.validator_for(schemas.schema(kind))
        for path in _members(example(kind)):
            broken = json.loads(json.dumps(example(kind)))
            parent = broken
            for name in path[:-1]:
                parent = parent[name]
            del parent[path[-1]]
            assert not validator.is_valid(broken), path

    def test_refuses_an_unknown_member_of_previous(self, kind: str) -> None:
        validator = jsonschema_rs.validator_for(schemas.schema(kind))
        broken = example(kind)
        broken["data"]["previous"] = {**broken["data"]["previous"], "balance": 5}
        assert not validator.is_valid(broken)


def _members(value: dict[str, Any], *path: str) -> list[tuple[str, ...]]:
    found = [(*path, name) for name in value]
    for name, member in value.items():
        if isinstance(member, dict) and name not in {"metadata", "destination"}:
            found += _members(member, *path, name)
    return found


class TestPatterns:
    def test_are_types_groups_and_star(self) -> None:
        assert event_types.matching("transaction.failed") == ("transaction.failed",)
        assert event_types.matching("transaction.*") == (
            "transaction.completed",
            "transaction.failed",
            "transaction.refunded",
        )
        assert event_types.matching("*") == tuple(EVENT_TYPES)
        for pattern in event_types.patterns():
            assert event_types.matching(pattern)
        assert event_types.patterns()[0] == "*"
        assert set(EVENT_TYPES) < set(event_types.patterns())

    @pytest.mark.parametrize(
        "text",
        ["", ".", ".*", "**", "*.*", "transaction", "transaction.", "transaction*", "trans*",
         "transaction.c*", "transaction.*.*", "*.completed", "transaction.reversed", "Account.*",
         "account.* ", "payment.*", "transaction.completed,account.updated"],
    )  # fmt: skip
    def test_without_a_match_are_refused_with_the_list_of_patterns(self, text: str) -> None:
        with pytest.raises(ValueError, match=re.escape("account.*, account.created")) as caught:
            query_params.EVENT_TYPE.parse(text)
        assert all(kind in str(caught.value) for kind in EVENT_TYPES)

    def test_star_matches_all_types(self) -> None:
        assert query_params.EVENT_TYPE.parse("*") is None


def test_types_are_named_group_dot_participle_in_alphabetical_order() -> None:
    assert list(EVENT_TYPES) == sorted(EVENT_TYPES)
    assert all(re.fullmatch(r"[a-z_]+\.[a-z]+", kind) for kind in EVENT_TYPES)
    assert EVENT_TYPES.keys() >= event_types.FREQUENT_TYPES


def test_constrained_members_of_a_type_exist_in_its_subject() -> None:
    for name, kind in EVENT_TYPES.items():
        fields = set(kind.subject.__struct_fields__)
        assert set(kind.previous) | set(kind.constraints) <= fields, name
        tag = msgspec.json.schema_components([kind.subject])[1][kind.subject.__name__]
        assert tag["properties"]["object"]["enum"] == [name.partition(".")[0]]


class TestAsyncApi:
    def test_has_a_message_for_each_type_and_no_other(self) -> None:
        document = schemas.asyncapi()
        assert document["asyncapi"] == "3.0.0"
        assert {"title", "version"} <= document["info"].keys()
        channel = document["channels"]["webhook"]
        assert channel["address"] is None, "each owner sets a URL of their own"
        assert (
            list(channel["messages"])
            == list(EVENT_TYPES)
            == list(document["components"]["messages"])
        )
        (operation,) = document["operations"].values()
        assert operation["action"] == "send"
        assert operation["channel"] == {"$ref": "#/channels/webhook"}
        assert [_resolved(document, message) for message in operation["messages"]] == [
            {"$ref": f"#/components/messages/{kind}"} for kind in EVENT_TYPES
        ]

    @pytest.mark.parametrize("kind", EVENT_TYPES)
    def test_describes_payloads_as_the_schemas_do(self, kind: str) -> None:
        document = schemas.asyncapi()
        message = document["components"]["messages"][kind]
        assert message["name"] == kind
        assert message["headers"]["required"] == [
            "webhook-id", "webhook-timestamp", "webhook-signature",
        ]  # fmt: skip
        whole = message["payload"] | {"components": document["components"]}
        # Draft 7 is what readers of AsyncAPI have to know.
        validator = jsonschema_rs.Draft7Validator(whole)
        validator.validate(example(kind))
        assert not any(validator.is_valid(example(other)) for other in EVENT_TYPES if other != kind)

    def test_has_no_dangling_reference(self) -> None:
        document = schemas.asyncapi()
        references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
        assert len(references) > len(EVENT_TYPES)
        for reference in references:
            assert _resolved(document, {"$ref": reference})


def _resolved(document: dict[str, Any], reference: dict[str, str]) -> Any:
    found: Any = document
    for step in reference["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found
