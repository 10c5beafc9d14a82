"""Registering, logging in, changing a password: all or nothing, and nothing given away."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import asdict

import pytest
from argon2 import PasswordHasher, extract_parameters

from finpay import ids
from finpay.db.pool import UniqueViolation
from finpay.errors import Code, FinPayError
from finpay.identity.models import LoggedIn
from finpay.identity.users import MAX_ATTEMPTS
from tests.sql.identity_fixtures import (
    ACCESS_TTL_S,
    PASSWORD,
    People,
    Person,
    fresh_email,
    fresh_origin,
    refusal,
)

NEW_PASSWORD = "a better horse battery"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="finpay"'}


@pytest.fixture
async def people(database_url: str) -> AsyncIterator[People]:
    people = People(database_url)
    yield people
    await people.close()


async def test_registering_makes_a_user_with_an_account_and_a_session(people: People) -> None:
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
    assert await people.identity.is_session_active(principal.session_id, user.id)
    assert logged_in.tokens.expires_in_s == ACCESS_TTL_S
    owner = await people.one("SELECT user_id FROM ledger.accounts WHERE id = $1", account.id)
    assert owner == user.id


async def test_neither_password_nor_refresh_token_is_kept(people: People) -> None:
    person = await people.register()
    told = extract_parameters(
        await people.one("SELECT password_hash FROM identity.users WHERE id = $1", person.id)
    )
    assert (told.memory_cost, told.time_cost) == (19_456, 2)
    assert len(person.refresh_token) == 43
    kept = await people.one(
        "SELECT hash FROM identity.refresh_tokens WHERE session_id = $1",
        person.principal.session_id,
    )
    assert kept == hashlib.sha256(person.refresh_token.encode()).digest()


async def test_registering_is_audited_and_told_without_who_it_was(people: People) -> None:
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
    told = first[2] + second[2]
    assert email not in told
    assert "Zaphod" not in told


async def test_a_taken_email_leaves_nothing_behind(people: People) -> None:
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


async def test_of_parallel_registrations_of_one_email_one_succeeds(people: People) -> None:
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


async def test_a_fault_other_than_the_email_is_not_called_email_taken(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await people.register()
    with pytest.raises(Exception, match="accounts_currency"):
        await people.identity.register(fresh_email(), PASSWORD, None, "zar", fresh_origin())
    email, origin = fresh_email(), fresh_origin()
    monkeypatch.setattr(ids, "new_uuid", lambda: person.id)
    with pytest.raises(UniqueViolation, match="users_pkey"):
        await people.identity.register(email, PASSWORD, None, "ZAR", origin)


async def test_a_login_is_a_session_of_its_own(people: People) -> None:
    first, origin = await people.register("Ann"), fresh_origin()
    second = people.person(await people.identity.login(first.email, PASSWORD, origin))
    assert second.logged_in.user == first.logged_in.user
    assert second.logged_in.account == first.logged_in.account
    assert second.principal.session_id != first.principal.session_id
    assert await people.lives(first)
    assert await people.lives(second)
    await people.refresh(second.refresh_token)
    session_id = second.principal.session_id
    assert await people.audit(origin) == [("session.created", first.id, session_id)]
    assert len(await people.events(first)) == 2, "a login is no event"


async def test_a_stranger_learns_nothing_from_a_refused_login(people: People) -> None:
    person = await people.register()
    wrong, unknown = fresh_origin(), fresh_origin()
    people.hasher.compared.clear()
    first = await refusal(people.identity.login(person.email, "a wrong guess", wrong))
    second = await refusal(people.identity.login(fresh_email(), "a wrong guess", unknown))
    assert asdict(first) == asdict(second)
    assert first.code is Code.INVALID_CREDENTIALS
    assert first.headers == CHALLENGE
    assert people.hasher.compared[0] is not None
    assert people.hasher.compared[1:] == [None], "nobody's password was compared all the same"
    assert await people.audit(wrong) == [("login.failed", None, person.id)]
    assert await people.audit(unknown) == [("login.failed", None, None)]
    count = await people.one("SELECT count(*) FROM identity.sessions WHERE user_id = $1", person.id)
    assert count == 1


async def test_a_login_renews_a_hash_of_old_parameters(people: People) -> None:
    person = await people.register()
    await weaken(people, person)
    hashed = people.hasher.hashed
    await people.login(person)
    stored = await people.one("SELECT password_hash FROM identity.users WHERE id = $1", person.id)
    assert extract_parameters(stored).memory_cost == 19_456
    assert people.hasher.hashed == hashed + 1
    await people.login(person)
    assert people.hasher.hashed == hashed + 1, "once is enough"


async def test_parallel_logins_may_all_meet_an_old_hash(people: People) -> None:
    person = await people.register()
    await weaken(people, person)
    logins = await asyncio.gather(*(people.login(person) for _ in range(6)))
    assert len({login.principal.session_id for login in logins}) == 6


async def test_a_login_that_a_password_change_overtakes_is_refused(people: People) -> None:
    """The old password was right when it was compared; no session may come of it."""
    person = await people.register()

    async def change() -> None:
        await people.identity.change_password(
            person.principal, PASSWORD, NEW_PASSWORD, fresh_origin()
        )

    people.hasher.afterwards = change
    refused = await refusal(people.login(person))
    assert refused.code is Code.INVALID_CREDENTIALS
    living = await people.one(
        "SELECT count(*) FROM identity.sessions WHERE user_id = $1 AND ended_at IS NULL", person.id
    )
    assert living == 1


async def test_a_login_waits_for_a_password_change_that_is_being_made(people: People) -> None:
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


async def test_a_new_password_ends_all_other_sessions(people: People) -> None:
    person, bystander = await people.register(), await people.register()
    second, third = await people.login(person), await people.login(person)
    third_ended = await people.login(person)
    await people.identity.logout(third_ended.principal, fresh_origin())
    origin = fresh_origin()
    ended = await people.identity.change_password(second.principal, PASSWORD, NEW_PASSWORD, origin)
    others = {person.principal.session_id, third.principal.session_id}
    assert len(ended) == 2
    assert set(ended) == others
    assert [await people.lives(login) for login in (person, second, third)] == [False, True, False]
    assert await people.lives(bystander)
    await people.refresh(second.refresh_token)
    lost = await refusal(people.identity.refresh(third.refresh_token, fresh_origin()))
    assert lost.code is Code.REFRESH_TOKEN_INVALID
    audited = await people.audit(origin)
    assert audited[-1] == ("password.changed", person.id, person.id)
    assert {row[2] for row in audited[:-1]} == others
    assert {row[:2] for row in audited[:-1]} == {("session.revoked", person.id)}
    told = await people.events(person)
    assert [event[:2] for event in told[3:]] == [(4, "session.revoked"), (5, "session.revoked")]
    assert all("password_changed" in event[2] for event in told[3:])


async def test_only_the_new_password_logs_in(people: People) -> None:
    person = await people.register()
    await people.identity.change_password(person.principal, PASSWORD, NEW_PASSWORD, fresh_origin())
    await people.login(person, NEW_PASSWORD)
    assert (await refusal(people.login(person))).code is Code.INVALID_CREDENTIALS


async def test_a_wrong_current_password_changes_nothing(people: People) -> None:
    person, origin = await people.register(), fresh_origin()
    second = await people.login(person)
    refused = await refusal(
        people.identity.change_password(person.principal, "a wrong guess", NEW_PASSWORD, origin)
    )
    assert refused.code is Code.INVALID_CREDENTIALS
    assert refused.headers == CHALLENGE
    assert await people.audit(origin) == [("password.change_failed", person.id, person.id)]
    assert await people.lives(second)
    await people.login(person)


async def test_of_two_password_changes_at_once_one_wins(people: People) -> None:
    first = await people.register()
    second = await people.login(first)
    passwords = ["first wins, it seems", "second wins, it seems"]
    results = await asyncio.gather(
        *(
            people.identity.change_password(login.principal, PASSWORD, new, fresh_origin())
            for login, new in zip((first, second), passwords, strict=True)
        ),
        return_exceptions=True,
    )
    (lost,) = [result for result in results if isinstance(result, FinPayError)]
    assert lost.code is Code.INVALID_CREDENTIALS
    winner = results.index(next(result for result in results if isinstance(result, list)))
    assert [await people.lives(first), await people.lives(second)] == [winner == 0, winner == 1]
    await people.login(first, passwords[winner])


async def test_a_password_that_never_stands_still_is_a_503(people: People) -> None:
    person = await people.register()

    async def change() -> None:
        await weaken(people, person)
        people.hasher.afterwards = change

    for call in (
        people.login(person),
        people.identity.change_password(person.principal, PASSWORD, PASSWORD, fresh_origin()),
    ):
        people.hasher.afterwards = change
        people.hasher.compared.clear()
        assert (await refusal(call)).code is Code.UNAVAILABLE
        assert len(people.hasher.compared) == MAX_ATTEMPTS


async def test_a_user_who_is_gone_is_not_authenticated(people: People) -> None:
    refused = await refusal(people.identity.me(ids.new_uuid()))
    assert refused.code is Code.UNAUTHENTICATED
    assert "WWW-Authenticate" in refused.headers


async def weaken(people: People, person: Person) -> None:
    """The hash as an older version would have made it."""
    old = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    await people.database.execute(
        "UPDATE identity.users SET password_hash = $2 WHERE id = $1", person.id, old
    )
