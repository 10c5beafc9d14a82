"""Registration, login and password change: atomic, audited, without revealing who is registered."""

import asyncio
import hashlib
from dataclasses import asdict

import pytest
from argon2 import extract_parameters

from finpay import ids
from finpay.db.pool import UniqueViolation
from finpay.errors import Code, FinPayError
from finpay.identity.models import LoggedIn
from tests.sql.identity_fixtures import (
    ACCESS_TTL_S,
    PASSWORD,
    People,
    fresh_email,
    fresh_origin,
    refusal,
)

NEW_PASSWORD = "a better horse battery"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="finpay"'}


async def test_registration_creates_a_user_an_account_and_a_session(people: People) -> None:
    email = fresh_email()
    logged_in = await people.identity.register(email, PASSWORD, "Ann", "JPY", fresh_origin())
    user, account = logged_in.user, logged_in.account
    assert (user.email, user.name) == (email, "Ann")
    assert (account.balance, account.held, account.version) == (0, 0, 0)
    assert (account.currency, account.status) == ("JPY", "active")
    assert user.created_at.utcoffset() is not None
    assert await people.identity.me(user.id) == user
    principal = people.principal(logged_in.tokens)
    assert (principal.user_id, principal.account_id) == (user.id, account.id)
    assert await people.identity.sessions.confirm(principal.session_id, user.id, 0)
    assert logged_in.tokens.expires_in_s == ACCESS_TTL_S
    owner = await people.one("SELECT user_id FROM ledger.accounts WHERE id = $1", account.id)
    assert owner == user.id


async def test_password_and_refresh_token_are_stored_as_hashes(people: People) -> None:
    person = await people.register()
    used = extract_parameters(
        await people.one("SELECT password_hash FROM identity.users WHERE id = $1", person.id)
    )
    assert (used.memory_cost, used.time_cost) == (19_456, 2)
    assert len(person.refresh_token) == 43
    stored = await people.one(
        "SELECT hash FROM identity.refresh_tokens WHERE session_id = $1",
        person.principal.session_id,
    )
    assert stored == hashlib.sha256(person.refresh_token.encode()).digest()


async def test_registration_is_audited_and_its_events_store_no_personal_data(
    people: People,
) -> None:
    origin, email = fresh_origin(), fresh_email()
    person = people.person(await people.identity.register(email, PASSWORD, "Zaphod", "ZAR", origin))
    account_id = person.logged_in.account.id
    assert await people.audit(origin) == [
        ("user.registered", person.id, person.id),
        ("account.created", person.id, account_id),
        ("session.created", person.id, person.principal.session_id),
    ]
    first, second = await people.events(person)
    assert first[:2] == (1, "user.registered")
    assert second[:2] == (2, "account.created")
    assert ids.encode("usr", person.id) in first[2]
    assert ids.encode("acc", account_id) in second[2]
    assert "ZAR" in second[2]
    stored = first[2] + second[2]
    assert email not in stored
    assert "Zaphod" not in stored


async def test_registration_with_a_taken_email_writes_nothing(people: People) -> None:
    person, origin = await people.register(), fresh_origin()
    before = await people.rows()
    hashed = people.hasher.hashed
    refused = await refusal(
        people.identity.register(person.email, NEW_PASSWORD, None, "ZAR", origin)
    )
    assert refused.code is Code.EMAIL_TAKEN
    assert people.hasher.hashed == hashed + 1, "the same work as for a free one"
    assert await people.rows() == before
    assert await people.audit(origin) == []
    await people.login(person)


async def test_parallel_registrations_of_one_email_have_one_success(people: People) -> None:
    email = fresh_email()
    results = await asyncio.gather(
        *(
            people.identity.register(email, PASSWORD, None, "ZAR", fresh_origin())
            for _ in range(20)
        ),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, FinPayError)]
    assert [error.code for error in refused] == [Code.EMAIL_TAKEN] * 19
    (winner,) = [result for result in results if isinstance(result, LoggedIn)]
    assert (await people.login(people.person(winner))).id == winner.user.id


async def test_other_constraint_violation_is_not_answered_as_email_taken(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await people.register()
    with pytest.raises(Exception, match="currency is not"):
        await people.identity.register(fresh_email(), PASSWORD, None, "zar", fresh_origin())
    email, origin = fresh_email(), fresh_origin()
    monkeypatch.setattr(ids, "new_uuid", lambda: person.id)
    with pytest.raises(UniqueViolation, match="users_pkey"):
        await people.identity.register(email, PASSWORD, None, "ZAR", origin)


async def test_login_opens_a_new_session(people: People) -> None:
    first, origin = await people.register("Ann"), fresh_origin()
    second = people.person(await people.identity.login(first.email, PASSWORD, origin))
    assert second.logged_in.user == first.logged_in.user
    assert second.logged_in.account == first.logged_in.account
    assert second.principal.session_id != first.principal.session_id
    assert await people.is_active(first)
    assert await people.is_active(second)
    await people.refresh(second.refresh_token)
    session_id = second.principal.session_id
    assert await people.audit(origin) == [("session.created", first.id, session_id)]
    assert len(await people.events(first)) == 2, "a login is no event"


async def test_refused_login_is_the_same_for_unknown_email_and_wrong_password(
    people: People,
) -> None:
    person = await people.register()
    wrong, unknown = fresh_origin(), fresh_origin()
    people.hasher.compared.clear()
    first = await refusal(people.identity.login(person.email, "a wrong guess", wrong))
    second = await refusal(people.identity.login(fresh_email(), "a wrong guess", unknown))
    assert asdict(first) == asdict(second)
    assert first.code is Code.INVALID_CREDENTIALS
    assert first.headers == CHALLENGE
    assert people.hasher.compared[0] is not None
    assert people.hasher.compared[1:] == [None], "the dummy hash was verified"
    assert await people.audit(wrong) == [("login.failed", None, person.id)]
    assert await people.audit(unknown) == [("login.failed", None, None)]
    count = await people.one("SELECT count(*) FROM identity.sessions WHERE user_id = $1", person.id)
    assert count == 1


async def test_login_rehashes_a_password_with_old_parameters(people: People) -> None:
    person = await people.register()
    await people.weaken(person)
    hashed = people.hasher.hashed
    await people.login(person)
    stored = await people.one("SELECT password_hash FROM identity.users WHERE id = $1", person.id)
    assert extract_parameters(stored).memory_cost == 19_456
    assert people.hasher.hashed == hashed + 1
    await people.login(person)
    assert people.hasher.hashed == hashed + 1, "once is enough"


async def test_parallel_logins_with_an_old_hash_all_succeed(people: People) -> None:
    person = await people.register()
    await people.weaken(person)
    logins = await asyncio.gather(*(people.login(person) for _ in range(6)))
    assert len({login.principal.session_id for login in logins}) == 6


async def test_login_is_refused_when_the_password_changes_after_verification(
    people: People,
) -> None:
    """The old password was right when it was verified, but opens no session."""
    person = await people.register()

    async def change() -> None:
        await people.identity.change_password(
            person.principal, PASSWORD, NEW_PASSWORD, fresh_origin()
        )

    people.hasher.afterwards = change
    refused = await refusal(people.login(person))
    assert refused.code is Code.INVALID_CREDENTIALS
    active = await people.one(
        "SELECT count(*) FROM identity.sessions WHERE user_id = $1 AND ended_at IS NULL", person.id
    )
    assert active == 1


async def test_login_waits_for_a_concurrent_password_change(people: People) -> None:
    person = await people.register()
    async with people.database.transaction() as transaction:
        await transaction.execute(
            "UPDATE identity.users SET password_hash = $2 WHERE id = $1",
            person.id,
            await people.hasher.hash(NEW_PASSWORD),
        )
        login = asyncio.create_task(refusal(people.login(person)))
        await people.until_blocked()
    assert (await login).code is Code.INVALID_CREDENTIALS


async def test_deleted_user_is_unauthenticated(people: People) -> None:
    refused = await refusal(people.identity.me(ids.new_uuid()))
    assert refused.code is Code.UNAUTHENTICATED
    assert "WWW-Authenticate" in refused.headers
