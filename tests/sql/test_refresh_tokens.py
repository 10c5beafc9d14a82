"""A refresh token has one successor; its use after that revokes the session, for good."""

import asyncio
import time

import pytest

from finpay import ids
from finpay.errors import Code
from finpay.identity import refresh_tokens
from finpay.identity.errors import refresh_token_reused
from finpay.identity.models import RefreshTokenReuse, Tokens
from finpay.identity.refresh_tokens import hash_of
from finpay.identity.sessions import REPEAT_S
from tests.sql.identity_fixtures import (
    ACCESS_TTL_S,
    REFRESH_TTL_S,
    People,
    fresh_origin,
    refusal,
)

DAY_S = 86_400
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="finpay"'}


async def test_refresh_returns_a_new_pair_for_the_same_session(people: People) -> None:
    person, origin = await people.register(), fresh_origin()
    fresh = await people.identity.sessions.refresh(person.refresh_token, origin)
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


@pytest.mark.contract("1.6.2")
async def test_token_has_the_same_answer_until_its_successor_was_used(people: People) -> None:
    """However long the client was offline with a response that it never got."""
    person = await people.register()
    first = await people.refresh(person.refresh_token)
    await people.age(person, REFRESH_TTL_S - 60)
    second = await people.refresh(person.refresh_token)
    assert second.refresh_token == first.refresh_token
    assert second.access_token != first.access_token
    assert await people.use(second)
    await people.refresh(second.refresh_token)


@pytest.mark.contract("1.6.2")
@pytest.mark.parametrize("use", ["access token", "refresh token"])
async def test_token_is_answered_60_s_longer_than_the_first_use(people: People, use: str) -> None:
    """And its use then revokes the session. Later uses do not prolong the 60 s."""
    person, other = await people.register(), fresh_origin()
    second = await people.login(person)
    fresh = await people.refresh(person.refresh_token)
    for _ in range(2):
        await (people.use(fresh) if use == "access token" else people.refresh(fresh.refresh_token))
        await people.age(person, (REPEAT_S - 2) / 2)
        repeated = await people.refresh(person.refresh_token)
        assert repeated.refresh_token == fresh.refresh_token
    await people.age(person, 3)
    assert await people.identity.sessions.refresh(person.refresh_token, other) == RefreshTokenReuse(
        person.id, person.principal.session_id
    )
    assert not await people.is_active(person)
    assert not await people.use(fresh)
    assert await people.is_active(second), "only its own session"
    lost = await refusal(people.identity.sessions.refresh(fresh.refresh_token, fresh_origin()))
    assert lost.code is Code.REFRESH_TOKEN_INVALID
    assert await people.audit(other) == [("session.revoked", None, person.principal.session_id)]
    ((number, kind, data),) = (await people.events(person))[2:]
    assert (number, kind) == (3, "session.revoked")
    assert ids.encode("ses", person.principal.session_id) in data
    assert "refresh_token_reused" in data


@pytest.mark.contract("1.6.2")
async def test_older_access_tokens_do_not_count_as_a_use(people: People) -> None:
    person = await people.register()
    fresh = await people.refresh(person.refresh_token)
    for _ in range(2):
        assert await people.is_active(person)
        await people.age(person, REPEAT_S + 1)
        assert (await people.refresh(person.refresh_token)).refresh_token == fresh.refresh_token


@pytest.mark.contract("1.6.2")
async def test_repeated_exchange_does_not_prolong(people: People) -> None:
    person = await people.register()
    fresh = await people.refresh(person.refresh_token)
    expires = "SELECT expires_at FROM identity.refresh_tokens WHERE hash = $1"
    before = await people.one(expires, hash_of(fresh.refresh_token))
    await people.refresh(person.refresh_token)
    assert await people.one(expires, hash_of(fresh.refresh_token)) == before


@pytest.mark.contract("1.6.2")
async def test_session_ends_90_days_after_its_login(people: People) -> None:
    """Refreshed every day. The last access token ends with the session."""
    person = await people.register()
    tokens = person.logged_in.tokens
    for _ in range(5):
        await people.age(person, 17.9 * DAY_S)
        await people.database.execute(
            "UPDATE identity.refresh_tokens SET expires_at = 'infinity' WHERE session_id = $1",
            person.principal.session_id,
        )
        tokens = await people.refresh(tokens.refresh_token)
        assert tokens.expires_in_s == ACCESS_TTL_S
    await people.age(person, 0.5 * DAY_S - 100)
    tokens = await people.refresh(tokens.refresh_token)
    assert 90 < tokens.expires_in_s <= 100
    expires_at = people.principal(tokens).expires_at
    assert expires_at - time.time() <= 100
    assert await people.use(tokens)
    await people.age(person, 101)
    assert not await people.use(tokens)
    lost = await refusal(people.identity.sessions.refresh(tokens.refresh_token, fresh_origin()))
    assert lost.code is Code.REFRESH_TOKEN_INVALID
    assert len(await people.events(person)) == 2, "it was not revoked"


async def test_second_reuse_is_reported_and_revokes_nothing_twice(people: People) -> None:
    """The process that detected the first one may have exited before it wrote the tombstone."""
    person, second = await people.register(), fresh_origin()
    await people.exchange_and_use(person)
    first = await people.identity.sessions.refresh(person.refresh_token, fresh_origin())
    ended_at = await people.ended_at(person)
    assert await people.identity.sessions.refresh(person.refresh_token, second) == first
    assert isinstance(first, RefreshTokenReuse)
    assert await people.ended_at(person) == ended_at
    assert await people.audit(second) == []
    assert len(await people.events(person)) == 3


@pytest.mark.parametrize("token", ["", "x", "é\x00", "\ud800", "x" * 512])
async def test_unknown_token_is_invalid(people: People, token: str) -> None:
    refused = await refusal(people.identity.sessions.refresh(token, fresh_origin()))
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
        await people.exchange_and_use(person)
    await people.database.execute(
        "UPDATE identity.refresh_tokens SET expires_at = clock_timestamp() WHERE hash = $1",
        hash_of(person.refresh_token),
    )
    refused = await refusal(people.identity.sessions.refresh(person.refresh_token, fresh_origin()))
    assert refused.code is Code.REFRESH_TOKEN_INVALID
    assert await people.is_active(person)


async def test_concurrent_refreshes_of_one_token_get_one_successor(people: People) -> None:
    person = await people.register()
    token = person.refresh_token
    for _ in range(5):
        pairs = await asyncio.gather(*(people.refresh(token) for _ in range(10)))
        assert len({pair.refresh_token for pair in pairs}) == 1
        assert len({pair.access_token for pair in pairs}) == 10
        token = pairs[0].refresh_token
    assert await people.is_active(person)


async def test_successor_depends_on_the_key_of_the_session(people: People) -> None:
    """Who has a token alone can't derive the next one."""
    person = await people.register()
    session = person.principal.session_id
    first = await people.refresh(person.refresh_token)
    key = await people.one("SELECT refresh_key FROM identity.sessions WHERE id = $1", session)
    assert len(key) == 32
    derived = refresh_tokens.successor(key, person.refresh_token, 0)
    assert (derived.text, derived.generation) == (first.refresh_token, 1)
    other = refresh_tokens.successor(refresh_tokens.new_key(), person.refresh_token, 0)
    assert other.text != first.refresh_token
    second = await people.login(person)
    keys = "SELECT count(DISTINCT refresh_key) FROM identity.sessions WHERE id = ANY ($1)"
    assert await people.one(keys, [session, second.principal.session_id]) == 2


async def test_refresh_sees_the_use_that_it_waited_for(people: People) -> None:
    """The state is read under the lock of the session: read before, it would succeed."""
    person = await people.register()
    await people.refresh(person.refresh_token)
    async with people.database.transaction() as transaction:
        await transaction.fetch_one(
            "SELECT FROM identity.sessions WHERE id = $1 FOR NO KEY UPDATE",
            person.principal.session_id,
        )
        await transaction.execute(
            "UPDATE identity.refresh_tokens"
            " SET successor_used_at = clock_timestamp() - interval '61 s' WHERE hash = $1",
            hash_of(person.refresh_token),
        )
        waiting = asyncio.create_task(
            people.identity.sessions.refresh(person.refresh_token, fresh_origin())
        )
        await people.until_blocked()
    assert isinstance(await waiting, RefreshTokenReuse)
    assert not await people.is_active(person)
