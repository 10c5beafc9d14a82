"""`finpay operator`: roles, who may write them, and the sessions that end with a change."""

import asyncio
import json

import asyncpg
import pytest

from finpay.db.pool import Database
from finpay.errors import Code
from finpay.identity import leaving
from finpay.identity.access_tokens import Role
from finpay.identity.roles import RoleChange, set_role
from finpay.ledger.verify import verify
from tests.sql.finpay_command import Finpay
from tests.sql.identity_fixtures import People, Person, fresh_origin, refusal


async def change(people: People, url: str, person: Person, role: Role) -> RoleChange:
    owner = Database(url, size=1, role="finpay_owner")
    try:
        return await set_role(owner, person.email, role)
    finally:
        await owner.close()


@pytest.mark.contract("1.6.10")
async def test_a_change_of_role_ends_all_sessions(people: People, database_url: str) -> None:
    person = await people.register()
    second = await people.login(person)
    changed = await change(people, database_url, person, "operator")
    assert (changed.role, changed.previous, len(changed.sessions)) == ("operator", "user", 2)
    assert not await people.is_active(person)
    assert not await people.is_active(second)
    repeated = await change(people, database_url, person, "operator")
    assert (repeated.previous, repeated.sessions) == ("operator", [])
    detail = await people.one(
        "SELECT detail::text FROM audit.log WHERE subject_id = $1 AND action = 'role.changed'",
        person.id,
    )
    assert json.loads(detail) == {"previous": "user", "role": "operator"}
    reasons = [event for _, _, event in await people.events(person) if "role_changed" in event]
    assert len(reasons) == 2


@pytest.mark.contract("1.6.10", "12.6.2")
async def test_a_role_is_for_a_verified_address_where_mails_are_sent(
    people: People, database_url: str
) -> None:
    """Another person may have registered it. A role is taken away in any case."""
    person = await people.register()
    settings = {"finpay.require_verified_receiver": "on"}
    owner = Database(database_url, size=1, role="finpay_owner", session_settings=settings)
    refused = await refusal(set_role(owner, person.email, "operator"))
    assert refused.code is Code.NOT_FOUND
    await change(people, database_url, person, "operator")
    assert (await set_role(owner, person.email, "user")).previous == "operator"
    await owner.execute(
        "UPDATE identity.users SET email_verified_at = clock_timestamp() WHERE id = $1", person.id
    )
    assert (await set_role(owner, person.email, "operator")).role == "operator"
    await owner.close()


@pytest.mark.contract("1.6.10", "12.5.1")
async def test_who_has_left_gets_no_role(people: People, database_url: str) -> None:
    person = await people.register()
    async with people.database.transaction() as transaction:
        await leaving.erase(transaction, person.id)
    owner = Database(database_url, size=1, role="finpay_owner")
    refused = await refusal(set_role(owner, f"{person.id}@closed.invalid", "operator"))
    assert refused.code is Code.NOT_FOUND
    await owner.close()


async def test_the_role_stands_in_the_access_token(people: People, database_url: str) -> None:
    """Of a login and of a refresh."""
    person = await people.register()
    assert person.principal.role == "user"
    for role in ("operator", "auditor", "user"):
        await change(people, database_url, person, role)
        login = await people.login(person)
        assert login.principal.role == role
        refreshed = await people.refresh(login.refresh_token)
        assert people.principal(refreshed).role == role


async def test_a_login_that_waits_for_a_revocation_gets_the_new_role(
    people: People, database_url: str
) -> None:
    person = await people.register()
    await change(people, database_url, person, "operator")
    superuser = await asyncpg.connect(database_url)
    async with superuser.transaction():
        await superuser.execute("UPDATE identity.users SET role = 'user' WHERE id = $1", person.id)
        waiting = asyncio.create_task(people.login(person))
        await people.until_blocked()
    assert (await waiting).principal.role == "user"
    await superuser.close()


@pytest.mark.contract("2.3.1")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE identity.users SET role = 'operator'",
        "INSERT INTO identity.users (id, email, password_hash, role) VALUES (NULL, '', '', '')",
        "SET ROLE finpay_operator",
        "SET ROLE finpay_owner",
        "SELECT audit.record(NULL, 'role.changed', NULL, NULL, NULL)",
    ],
)
async def test_the_app_makes_no_operators(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("SET SESSION AUTHORIZATION finpay_app")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()


@pytest.mark.contract("2.3.1")
async def test_the_operators_role_owns_nothing_and_may_do_nothing_to_tables(
    database_url: str,
) -> None:
    connection = await asyncpg.connect(database_url)
    may = await connection.fetchval(
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname IN ('identity', 'ledger', 'audit', 'outbox', 'webhooks')"
        " AND has_table_privilege('finpay_operator', c.oid, 'SELECT, INSERT, UPDATE, DELETE')"
    )
    assert may == 0
    await connection.close()


async def test_an_unknown_user_has_no_role(people: People, database_url: str) -> None:
    owner = Database(database_url, size=1, role="finpay_owner")
    refused = await refusal(set_role(owner, "nobody@example.com", "operator"))
    assert refused.code is Code.NOT_FOUND
    await owner.close()


async def test_the_commands_grant_and_revoke(people: People, database_url: str) -> None:
    person = await people.register()
    finpay = Finpay(database_url)
    for arguments, role in (
        (("grant", person.email), "operator"),
        (("grant", person.email.upper(), "--role", "auditor"), "auditor"),
        (("revoke", person.email), "user"),
    ):
        said = await asyncio.to_thread(finpay, "operator", *arguments, "--json")
        assert json.loads(said.out)["role"] == role
    for arguments in (("grant", person.email, "--role", "king"), ("grant", "no address")):
        await asyncio.to_thread(finpay, "operator", *arguments, code=2)
    await asyncio.to_thread(finpay, "operator", "grant", "nobody@example.com", code=1)


async def test_the_ledger_proves_itself_with_roles(people: People, database_url: str) -> None:
    person = await people.register()
    await change(people, database_url, person, "operator")
    await people.logout((await people.login(person)).principal, fresh_origin())
    report = await verify(people.database)
    assert report.ok, report.as_json()
