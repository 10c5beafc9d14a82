"""Refresh tokens rotate, with a grace for those who meant no harm; an ended session stays ended."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from finpay import ids
from finpay.errors import Code, FinPayError
from finpay.identity.errors import refresh_token_reused
from finpay.identity.models import RefreshTokenReuse, Tokens
from finpay.identity.origin import RequestOrigin
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


async def test_a_refresh_gives_a_new_pair_for_the_same_session(people: People) -> None:
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


async def test_refresh_tokens_of_every_origin_last_as_long_as_the_settings_say(
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


async def test_within_the_grace_an_old_token_gives_a_working_pair(people: People) -> None:
    person = await people.register()
    first = await people.refresh(person.refresh_token)
    await backdate(people, person.refresh_token, GRACE_S - 5)
    second = await people.refresh(person.refresh_token)
    for tokens in (first, second):
        await people.refresh(tokens.refresh_token)
    assert await people.lives(person)


async def test_after_the_grace_an_old_token_ends_its_session(people: People) -> None:
    person, other = await people.register(), fresh_origin()
    second = await people.login(person)
    fresh = await people.refresh(person.refresh_token)
    await backdate(people, person.refresh_token, GRACE_S + 1)
    assert await people.identity.refresh(person.refresh_token, other) == RefreshTokenReuse(
        person.id, person.principal.session_id
    )
    assert not await people.lives(person)
    assert await people.lives(second), "only its own session"
    lost = await refusal(people.identity.refresh(fresh.refresh_token, fresh_origin()))
    assert lost.code is Code.REFRESH_TOKEN_INVALID
    assert await people.audit(other) == [("session.revoked", None, person.principal.session_id)]
    ((number, kind, data),) = (await people.events(person))[2:]
    assert (number, kind) == (3, "session.revoked")
    assert ids.encode("ses", person.principal.session_id) in data
    assert "refresh_token_reused" in data


async def test_a_second_reuse_is_told_again_but_ends_nothing_twice(people: People) -> None:
    """The first to notice may have died before it told the gate."""
    person, again = await people.register(), fresh_origin()
    await people.refresh(person.refresh_token)
    await backdate(people, person.refresh_token, GRACE_S + 1)
    first = await people.identity.refresh(person.refresh_token, fresh_origin())
    ended_at = await ended(people, person)
    assert await people.identity.refresh(person.refresh_token, again) == first
    assert isinstance(first, RefreshTokenReuse)
    assert await ended(people, person) == ended_at
    assert await people.audit(again) == []
    assert len(await people.events(person)) == 3


async def test_using_the_grace_does_not_prolong_it(people: People) -> None:
    person = await people.register()
    await people.refresh(person.refresh_token)
    await backdate(people, person.refresh_token, GRACE_S - 10)
    await people.refresh(person.refresh_token)
    await backdate(people, person.refresh_token, 11)
    outcome = await people.identity.refresh(person.refresh_token, fresh_origin())
    assert isinstance(outcome, RefreshTokenReuse)


@pytest.mark.parametrize("token", ["", "x", "é\x00", "\ud800", "x" * 512])
async def test_an_unknown_token_is_invalid(people: People, token: str) -> None:
    refused = await refusal(people.identity.refresh(token, fresh_origin()))
    assert refused.code is Code.REFRESH_TOKEN_INVALID
    assert refused.headers == CHALLENGE


async def test_the_refusal_of_a_reused_token_says_how_to_log_in() -> None:
    assert refresh_token_reused().code is Code.REFRESH_TOKEN_REUSED
    assert refresh_token_reused().headers == CHALLENGE


@pytest.mark.parametrize("rotated", [False, True])
async def test_an_expired_token_is_invalid_and_harmless(people: People, *, rotated: bool) -> None:
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
    assert await people.lives(person)


async def test_ten_tabs_may_refresh_at_once(people: People) -> None:
    person = await people.register()
    for _ in range(5):
        pairs = await asyncio.gather(*(people.refresh(person.refresh_token) for _ in range(10)))
        assert len({pair.refresh_token for pair in pairs}) == 10
        assert len({pair.access_token for pair in pairs}) == 10
        await asyncio.gather(*(people.refresh(pair.refresh_token) for pair in pairs))
    assert await people.lives(person)


async def test_a_refresh_that_waits_for_another_sees_what_it_did(people: People) -> None:
    """As if the first took longer than the grace: judged before the lock, it would pass."""
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
    assert not await people.lives(person)


async def test_a_refresh_that_waits_for_a_logout_is_refused(people: People) -> None:
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


async def test_whatever_a_logout_races_with_the_session_is_over(people: People) -> None:
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


async def test_a_logout_ends_one_session_and_is_told_once(people: People) -> None:
    person, origin = await people.register(), fresh_origin()
    second = await people.login(person)
    await people.identity.logout(person.principal, origin)
    ended_at = await ended(people, person)
    assert not await people.lives(person)
    assert await people.lives(second)
    await people.identity.logout(person.principal, fresh_origin())
    assert await ended(people, person) == ended_at
    session_id = person.principal.session_id
    assert await people.audit(origin) == [("session.revoked", person.id, session_id)]
    ((number, kind, data),) = (await people.events(person))[2:]
    assert (number, kind) == (3, "session.revoked")
    assert ids.encode("ses", session_id) in data
    refused = await refusal(people.identity.refresh(person.refresh_token, fresh_origin()))
    assert refused.code is Code.REFRESH_TOKEN_INVALID


async def test_a_session_belongs_to_one_user(people: People) -> None:
    person, stranger = await people.register(), await people.register()
    session_id = person.principal.session_id
    assert await people.identity.is_session_active(session_id, person.id)
    assert not await people.identity.is_session_active(session_id, stranger.id)
    assert not await people.identity.is_session_active(ids.new_uuid(), person.id)
    mixed = people.signer.issue(stranger.id, stranger.logged_in.account.id, session_id, 0)
    principal = people.signer.verify(mixed, 0)
    await people.identity.logout(principal, fresh_origin())
    assert await people.lives(person)


async def test_what_fails_halfway_leaves_nothing_behind(people: People) -> None:
    """PostgreSQL takes no NUL, so it is the audit row, the last of each call, that fails."""
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
    assert all([await people.lives(login) for login in (person, second, rotated)])
    never_rotated = "SELECT rotated_at FROM identity.refresh_tokens WHERE hash = $1"
    assert await people.one(never_rotated, hash_of(second.refresh_token)) is None
    await people.login(person)


async def test_nobody_waits_in_a_circle(people: People) -> None:
    """Logouts, refreshes and password changes of one user, all at once: no deadlock, no 500."""
    person = await people.register()
    for turn in range(4):
        logins = await asyncio.gather(
            *(people.login(person, f"{PASSWORD} {turn}" if turn else PASSWORD) for _ in range(6))
        )
        calls = [
            people.identity.change_password(
                logins[0].principal,
                f"{PASSWORD} {turn}" if turn else PASSWORD,
                f"{PASSWORD} {turn + 1}",
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
        assert [await people.lives(login) for login in logins] == [True] + [False] * 5


async def backdate(people: People, token: str, by_s: int) -> None:
    """As if the token had been rotated so many seconds earlier."""
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
