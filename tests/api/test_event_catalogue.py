"""Every event of a scenario with all operations is of a known type and valid by its schema."""

import json
import re
from typing import Any, Final

import jsonschema_rs
import pytest

from finpay.ledger import holds
from finpay.ledger import operator_commands as commands
from finpay.outbox import schemas
from finpay.outbox.event_types import EVENT_TYPES
from tests.api.assertions import ID
from tests.api.test_holds import make_hold, post
from tests.api_process import PASSWORD, Api, User
from tests.backdating import end_hold

# In tests/delivery, as a worker disables the endpoint, and in the file for requests and schedules.
ELSEWHERE: Final = {
    "webhook_endpoint.disabled",
    *(name for name in EVENT_TYPES if name.startswith(("payment_request.", "schedule."))),
}
VALIDATORS: Final = {
    kind: jsonschema_rs.validator_for(schemas.schema(kind), validate_formats=True)
    for kind in EVENT_TYPES
}


@pytest.fixture(scope="module")
def caused(api: Api) -> list[Any]:
    """The events of two users who used every operation that records one."""
    alice, bob = api.user(1_000, name="Alice"), api.user(currency="ZAR")
    assert alice.send(bob, 10, "sent", metadata={"table": "4"}, description="Lunch").status == 201
    assert alice.send(bob, 10**9, "failed").status == 402
    assert alice.send(alice, 1, "refused").status == 422
    item = {"receiver_id": bob.account_id, "amount": 1}
    batch = {"mode": "independent", "transactions": [item, {**item, "amount": 10**9}, item]}
    answer = alice.client.request(
        "POST", "/api/v1/transactions/batch", json=batch, headers={"X-Idempotency-Key": "batch"}
    )
    assert answer.status in {200, 201}, answer.body
    _hold_and_refund(api, alice, bob)
    _withdraw(api, alice)
    for status in ("frozen", "active"):
        api.set_status(bob, status)
    _log_out(api, alice)
    _reuse(api, alice)
    api.client().login(alice.email, PASSWORD)
    alice.client.change_password(PASSWORD, f"{PASSWORD} staple")
    return [event for user in (alice, bob) for event in _all(user)]


@pytest.mark.contract("6.1.1")
def test_each_event_is_valid_by_the_schema_of_its_type(caused: list[Any]) -> None:
    for event in caused:
        VALIDATORS[event["type"]].validate(event)


def test_no_event_has_a_member_that_its_schema_does_not_name(caused: list[Any]) -> None:
    """Schemas allow further members, so that receivers accept newer events."""
    strict = {kind: _strict(schemas.schema(kind)) for kind in EVENT_TYPES}
    for event in caused:
        jsonschema_rs.validator_for(strict[event["type"]]).validate(event)


def test_every_type_was_caused(caused: list[Any]) -> None:
    assert {event["type"] for event in caused} == EVENT_TYPES.keys() - ELSEWHERE


def test_no_event_is_valid_by_the_schema_of_another_type(caused: list[Any]) -> None:
    for event in caused:
        assert [kind for kind in EVENT_TYPES if VALIDATORS[kind].is_valid(event)] == [event["type"]]
        unknown = event | {"type": "transaction.unknown"}
        assert not any(validator.is_valid(unknown) for validator in VALIDATORS.values())


def test_a_revoked_session_event_has_its_reason_and_actor(caused: list[Any]) -> None:
    ended = [event for event in caused if event["type"] == "session.revoked"]
    by_reason = {event["data"]["object"]["reason"]: event for event in ended}
    assert by_reason.keys() == {"logout", "refresh_token_reused", "password_changed"}
    for reason, event in by_reason.items():
        known = reason != "refresh_token_reused"  # the holder of an old token is unknown
        assert (event["actor"] is not None, event["request"] is not None) == (known, known)
        assert event["data"]["object"]["ended_at"] > event["data"]["object"]["created_at"]


def test_each_transaction_of_a_batch_has_its_event_with_the_key_of_the_batch(
    caused: list[Any],
) -> None:
    own = [event for event in caused if (event["request"] or {}).get("idempotency_key") == "batch"]
    assert [event["type"] for event in own] == [
        "transaction.completed",
        "transaction.failed",
        "transaction.completed",
    ]
    assert len({event["request"]["id"] for event in own}) == 1
    assert len({event["data"]["object"]["id"] for event in own}) == 3


def test_ids_are_those_of_the_contract(caused: list[Any]) -> None:
    text = json.dumps(caused)
    assert len({event["id"] for event in caused}) == len(caused)
    for prefix in ("evt", "txn", "acc", "usr", "ses", "req"):
        assert f'"{prefix}_' in text
    assert not [
        value
        for value in text.split('"')
        if value[:4] in {"evt_", "txn_", "acc_", "usr_", "ses_"} and not _is_id(value)
    ]


def _is_id(text: str) -> bool:
    return re.fullmatch(f"[a-z]{{3}}_{ID}", text) is not None


def _hold_and_refund(api: Api, payer: User, receiver: User) -> None:
    captured, voided, expired = [make_hold(payer, receiver, 5)["id"] for _ in range(3)]
    assert post(receiver, f"/holds/{captured}/capture", amount=2).status == 201
    assert post(receiver, f"/holds/{voided}/void").status == 200
    paid = payer.send(receiver, 6, "to-refund").json()["id"]
    assert post(receiver, f"/transactions/{paid}/refunds", amount=2).status == 201
    assert post(receiver, f"/transactions/{paid}/refunds").status == 201
    end_hold(api.database_url, expired)
    api.owner(lambda database: holds.expire(database, lambda: None))


def _withdraw(api: Api, user: User) -> None:
    """One is canceled by its owner, an operator completes another and rejects the third."""
    made = [
        post(user, "/withdrawals", amount=1, destination={"bank": "B"}).json()["id"]
        for _ in range(3)
    ]
    assert post(user, f"/withdrawals/{made[0]}/cancel").status == 200
    api.owner(lambda database: commands.complete_withdrawal(database, made[1], made[1], key="c"))
    api.owner(lambda database: commands.reject_withdrawal(database, made[2], "closed", key="r"))


def _all(user: User) -> list[Any]:
    answer = user.get("/events", after_sequence=0, limit=100)
    assert answer.status == 200, answer.body
    members = answer.json()
    assert members["has_more"] is False
    return list(members["data"])


def _log_out(api: Api, user: User) -> None:
    client = api.client()
    client.login(user.email, PASSWORD)
    client.logout()


def _reuse(api: Api, user: User) -> None:
    """An old refresh token, long after its successor was used."""
    client = api.client()
    old = client.login(user.email, PASSWORD).refresh_token
    client.refresh()
    client.me()
    api.sql(
        "UPDATE identity.refresh_tokens t SET successor_used_at = t.created_at - interval '1 hour' "
        "FROM identity.sessions s WHERE s.id = t.session_id AND s.user_id = $1 "
        "AND t.successor_used_at IS NOT NULL",
        user.uuid,
    )
    answer = api.client().request("POST", "/api/v1/auth/refresh", json={"refresh_token": old})
    assert answer.status == 401


def _strict(schema: Any) -> Any:
    """The same schema, but without additional members."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _strict(part) for name, part in schema.items()}
    if "properties" in schema and schema.get("type") == "object":
        made["additionalProperties"] = False
    return made
