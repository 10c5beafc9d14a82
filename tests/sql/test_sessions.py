"""Refresh tokens rotate with a grace; their reuse revokes the session, for good."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from finpay import ids
from finpay.errors import Code, FinPayError
from finpay.identity.errors import refresh_token_reused
from finpay.identity.models import RefreshTokenReuse, RequestOrigin, Tokens
from finpay.identity.sessions import hash_of
from tests.sql.identity_fixtures import (
    GRACE_S,
    PASSWORD,
    REFRESH_TTL_S,
    People,
    Person,
    fresh_email,
    fresh_origin,
    refusal,
)

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="finpay"'}


@pytest.fixture
async def people(database_url: str) -> AsyncIterator[People]:
    people = People(database_url)
    yield people
    await people.close()


async def test_refresh_returns_a_new_pair_for_the_same_session(people: People) -> None:
    person, origin = await people.register(), fresh_origin()
    fresh = await people.identity.refresh(person.refresh_token, origin)
    assert isinstance(fresh, Tokens)
    assert fresh.refresh_token != person.refresh_token
    assert fresh.access_token != person.logged_in.tokens.access_token
    principal = people.principal(fresh)
    assert principal.session == person.principal.session
    assert (principal.user, principal.account) == (person.principal.user, person.principal.account)
    assert (await people.refresh(fresh.refresh_token)).refresh_token != fresh.refresh_token
    assert await people.audit(origin) == [
        ("session.refreshed", person.id, person.principal.session_id)
    ]


async def test_refresh_tokens_expire_after_the_configured_time(
    people: People,
) -> None:
    registered = await people.register()
    login = await people.login(registered)
    refreshed = await people.refresh(login.refresh_token)
    for token in (registered.refresh_token, login.refresh_token, refreshed.refresh_token):
        lasts_s = await people.one(
            "SELECT extract(epoch FROM expires_at - created_at)::float8"
            " FROM identity.refresh_tokens WHERE hash = $1",
            hash_of(token),
        )
        assert lasts_s == pytest.approx(REFRESH_TTL_S, abs=0.1)


async def test_old_token_within_the_grace_returns_a_working_pair(people: People) -> None:
    person = await people.register()
    first = await people.refresh(person.refresh_token)
    await backdate(people, person.refresh_token, GRACE_S - 5)
    second = await people.refresh(person.refresh_token)
    for tokens in (first, second):
        await people.refresh(tokens.refresh_token)
    assert await people.is_active(person)


async def test_old_token_after_the_grace_revokes_its_session(people: People) -> None:
    person, other = await people.register(), fresh_origin()
    second = await people.login(person)
    fresh = await people.refresh(person.refresh_token)
    await backdate(people, person.refresh_token, GRACE_S + 1)
    assert await people.identity.refresh(person.refresh_token, other) == RefreshTokenReuse(
        person.id, person.principal.session_id
    )
    assert not await people.is_active(person)
    assert await people.is_active(second), "only its own session"
    lost = await refusal(people.identity.refresh(fresh.refresh_token, fresh_origin()))
    assert lost.code is Code.REFRESH_TOKEN_INVALID
    assert await people.audit(other) == [("session.revoked", None, person.principal.session_id)]
    ((number, kind, data),) = (await people.events(person))[2:]
    assert (number, kind) == (3, "session.revoked")
    assert ids.encode("ses", person.principal.session_id) in data
    assert "refresh_token_reused" in data


async def test_second_reuse_is_reported_and_revokes_nothing_twice(people: People) -> None:
    """The process that detected the first one may have exited before it wrote the tombstone."""
    person, second = await people.register(), fresh_origin()
    await people.refresh(person.refresh_token)
    await backdate(people, person.refresh_token, GRACE_S + 1)
    first = await people.identity.refresh(person.refresh_token, fresh_origin())
    ended_at = await ended(people, person)
    assert await people.identity.refresh(person.refresh_token, second) == first
    assert isinstance(first, RefreshTokenReuse)
    assert await ended(people, person) == ended_at
    assert await people.audit(second) == []
    assert len(await people.events(person)) == 3


async def test_use_within_the_grace_does_not_prolong_it(people: People) -> None:
    person = await people.register()
    await people.refresh(person.refresh_token)
    await backdate(people, person.refresh_token, GRACE_S - 10)
    await people.refresh(person.refresh_token)
    await backdate(people, person.refresh_token, 11)
    outcome = await people.identity.refresh(person.refresh_token, fresh_origin())
    assert isinstance(outcome, RefreshTokenReuse)


@pytest.mark.parametrize("token", ["", "x", "é\x00", "\ud800", "x" * 512])
async def test_unknown_token_is_invalid(people: People, token: str) -> None:
    refused = await refusal(people.identity.refresh(token, fresh_origin()))
    assert refused.code is Code.REFRESH_TOKEN_INVALID
    assert refused.headers == CHALLENGE


async def test_reused_token_error_has_a_challenge() -> None:
    assert refresh_token_reused().code is Code.REFRESH_TOKEN_REUSED
    assert refresh_token_reused().headers == CHALLENGE


@pytest.mark.parametrize("rotated", [False, True])
async def test_expired_token_is_invalid_and_revokes_nothing(
    people: People, *, rotated: bool
) -> None:
    person = await people.register()
    if rotated:
        await people.refresh(person.refresh_token)
        await backdate(people, person.refresh_token, GRACE_S + 1)
    await people.database.execute(
        "UPDATE identity.refresh_tokens SET expires_at = clock_timestamp() WHERE hash = $1",
        hash_of(person.refresh_token),
    )
    refused = await refusal(people.identity.refresh(person.refresh_token, fresh_origin()))
    assert refused.code is Code.REFRESH_TOKEN_INVALID
    assert await people.is_active(person)


async def test_ten_concurrent_refreshes_of_one_token_succeed(people: People) -> None:
    person = await people.register()
    for _ in range(5):
        pairs = await asyncio.gather(*(people.refresh(person.refresh_token) for _ in range(10)))
        assert len({pair.refresh_token for pair in pairs}) == 10
        assert len({pair.access_token for pair in pairs}) == 10
        await asyncio.gather(*(people.refresh(pair.refresh_token) for pair in pairs))
    assert await people.is_active(person)


async def test_refresh_sees_the_rotation_that_it_waited_for(people: People) -> None:
    """As if the first took longer than the grace: checked before the lock, it would succeed."""
    person = await people.register()
    async with people.database.transaction() as transaction:
        await transaction.execute(
            "UPDATE identity.refresh_tokens SET rotated_at = clock_timestamp() - interval '31 s'"
            " WHERE hash = $1",
            hash_of(person.refresh_token),
        )
        waiting = asyncio.create_task(people.identity.refresh(person.refresh_token, fresh_origin()))
        await people.until_blocked()
    assert isinstance(await waiting, RefreshTokenReuse)
    assert not await people.is_active(person)


async def test_refresh_that_waits_for_a_logout_is_refused(people: People) -> None:
    person = await people.register()
    async with people.database.transaction() as transaction:
        await transaction.execute(
            "UPDATE identity.sessions SET ended_at = clock_timestamp(), end_reason = 'logout'"
            " WHERE id = $1",
            person.principal.session_id,
        )
        waiting = asyncio.create_task(
            refusal(people.identity.refresh(person.refresh_token, fresh_origin()))
        )
        await people.until_blocked()
    assert (await waiting).code is Code.REFRESH_TOKEN_INVALID


async def test_session_is_revoked_when_logout_and_refresh_race(people: People) -> None:
    person = await people.register()
    for _ in range(10):
        login = await people.login(person)
        logout = people.identity.logout(login.principal, fresh_origin())
        outcome, _ = await asyncio.gather(
            people.identity.refresh(login.refresh_token, fresh_origin()),
            logout,
            return_exceptions=True,
        )
        token = outcome.refresh_token if isinstance(outcome, Tokens) else login.refresh_token
        refused = await refusal(people.identity.refresh(token, fresh_origin()))
        assert refused.code is Code.REFRESH_TOKEN_INVALID


async def test_logout_revokes_one_session_and_is_recorded_once(people: People) -> None:
    person, origin = await people.register(), fresh_origin()
    second = await people.login(person)
    await people.identity.logout(person.principal, origin)
    ended_at = await ended(people, person)
    assert not await people.is_active(person)
    assert await people.is_active(second)
    await people.identity.logout(person.principal, fresh_origin())
    assert await ended(people, person) == ended_at
    session_id = person.principal.session_id
    assert await people.audit(origin) == [("session.revoked", person.id, session_id)]
    ((number, kind, data),) = (await people.events(person))[2:]
    assert (number, kind) == (3, "session.revoked")
    assert ids.encode("ses", session_id) in data
    refused = await refusal(people.identity.refresh(person.refresh_token, fresh_origin()))
    assert refused.code is Code.REFRESH_TOKEN_INVALID


async def test_session_of_another_user_is_neither_active_nor_revoked(people: People) -> None:
    person, other = await people.register(), await people.register()
    session_id = person.principal.session_id
    assert await people.identity.is_session_active(session_id, person.id)
    assert not await people.identity.is_session_active(session_id, other.id)
    assert not await people.identity.is_session_active(ids.new_uuid(), person.id)
    mixed = people.signer.issue(other.id, other.logged_in.account.id, session_id, 0)
    principal = people.signer.verify(mixed, 0)
    await people.identity.logout(principal, fresh_origin())
    assert await people.is_active(person)


async def test_failed_call_leaves_no_rows(people: People) -> None:
    """PostgreSQL refuses NUL, so the audit row fails, which is the last write of each call."""
    person = await people.register()
    second, rotated = await people.login(person), await people.login(person)
    await people.refresh(rotated.refresh_token)
    await backdate(people, rotated.refresh_token, GRACE_S + 1)
    before = await people.rows()
    identity, broken = people.identity, RequestOrigin("\x00", None)
    for call in (
        identity.register(fresh_email(), PASSWORD, None, "ZAR", broken),
        identity.login(person.email, PASSWORD, broken),
        identity.change_password(person.principal, PASSWORD, "a better horse battery", broken),
        identity.logout(second.principal, broken),
        identity.refresh(second.refresh_token, broken),
        identity.refresh(rotated.refresh_token, broken),
    ):
        with pytest.raises(Exception, match="0x00"):
            await call
    assert await people.rows() == before
    assert all([await people.is_active(login) for login in (person, second, rotated)])
    never_rotated = "SELECT rotated_at FROM identity.refresh_tokens WHERE hash = $1"
    assert await people.one(never_rotated, hash_of(second.refresh_token)) is None
    await people.login(person)


async def test_concurrent_calls_of_one_user_do_not_deadlock(people: People) -> None:
    """Logouts, refreshes and password changes at once."""
    person = await people.register()
    for run in range(4):
        logins = await asyncio.gather(
            *(people.login(person, f"{PASSWORD} {run}" if run else PASSWORD) for _ in range(6))
        )
        calls = [
            people.identity.change_password(
                logins[0].principal,
                f"{PASSWORD} {run}" if run else PASSWORD,
                f"{PASSWORD} {run + 1}",
                fresh_origin(),
            ),
            *(people.identity.logout(login.principal, fresh_origin()) for login in logins[1:]),
            *(people.identity.refresh(login.refresh_token, fresh_origin()) for login in logins),
        ]
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, FinPayError):
                assert result.code is Code.REFRESH_TOKEN_INVALID
            else:
                assert not isinstance(result, BaseException)
        assert [await people.is_active(login) for login in logins] == [True] + [False] * 5


async def backdate(people: People, token: str, by_s: int) -> None:
    """Moves the rotation of the token `by_s` seconds into the past."""
    await people.database.execute(
        "UPDATE identity.refresh_tokens SET rotated_at = rotated_at - make_interval(secs => $2)"
        " WHERE hash = $1 AND rotated_at IS NOT NULL",
        hash_of(token),
        by_s,
    )


async def ended(people: People, person: Person) -> object:
    return await people.one(
        "SELECT ended_at FROM identity.sessions WHERE id = $1", person.principal.session_id
    )
