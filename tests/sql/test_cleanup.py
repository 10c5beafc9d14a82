"""Expired refresh tokens are deleted, and no others."""

from collections.abc import AsyncIterator, Callable

import pytest

from finpay.identity import cleanup
from finpay.identity.refresh_tokens import hash_of
from finpay.ledger.verify import verify
from tests.sql.identity_fixtures import ACCESS_TTL_S, People, Person, refusal


@pytest.fixture
async def people(fresh_database: Callable[[], str]) -> AsyncIterator[People]:
    """In a database of its own, because deleted rows are counted."""
    people = People(fresh_database())
    yield people
    await people.close()


async def prune(people: People, chunks: int = 100) -> int:
    return await cleanup.prune(people.database, access_ttl_s=ACCESS_TTL_S, chunks=chunks)


async def expire(people: People, token: str, ago_s: int) -> None:
    await people.one(
        "UPDATE identity.refresh_tokens SET expires_at = clock_timestamp() - make_interval(secs => "
        "$2) WHERE hash = $1 RETURNING hash",
        hash_of(token),
        ago_s,
    )


async def left(people: People, person: Person) -> tuple[int, int]:
    """The number of refresh tokens of the session, and of sessions."""
    session = person.principal.session_id
    tokens = "SELECT count(*) FROM identity.refresh_tokens WHERE session_id = $1"
    sessions = "SELECT count(*) FROM identity.sessions WHERE id = $1"
    return (await people.one(tokens, session), await people.one(sessions, session))


async def test_expired_token_is_deleted_and_refused_as_before(people: People) -> None:
    person = await people.register()
    await expire(people, person.refresh_token, ACCESS_TTL_S + 1)
    before = await refusal(people.refresh(person.refresh_token))
    assert await prune(people) == 1
    assert await left(people, person) == (0, 1), "the audit log refers to the session"
    assert (await refusal(people.refresh(person.refresh_token))).code is before.code
    report = await verify(people.database)
    assert report.ok, report.as_json()


async def test_token_that_may_still_be_used_is_kept(people: People) -> None:
    refreshed, fresh = await people.register(), await people.register()
    new = await people.refresh(refreshed.refresh_token)
    await expire(people, refreshed.refresh_token, ACCESS_TTL_S + 1)
    await expire(
        people, fresh.refresh_token, ACCESS_TTL_S - 30
    )  # an access token may still be valid
    await prune(people)
    assert await left(people, refreshed) == (1, 1)
    assert await left(people, fresh) == (1, 1)
    await people.refresh(new.refresh_token)


async def test_call_deletes_at_most_its_chunks(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "CHUNK", 2)
    await prune(people)
    for _ in range(5):
        await expire(people, (await people.register()).refresh_token, ACCESS_TTL_S + 1)
    assert [await prune(people, chunks=1) for _ in range(4)] == [2, 2, 1, 0]
