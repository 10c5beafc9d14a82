"""The second factor in PostgreSQL: races with logins, failures that are kept, events."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pyotp
import pytest

from finpay.errors import Code, FinPayError
from finpay.identity import cleanup, second_factor
from finpay.identity.second_factor import CHALLENGE_TTL_S, MAX_FAILURES
from tests.sql.identity_fixtures import PASSWORD, People, Person, fresh_origin, refusal


@pytest.fixture
async def people(fresh_database: Callable[[], str]) -> AsyncIterator[People]:
    people = People(fresh_database())
    yield people
    await people.close()


async def enable(people: People, person: Person) -> tuple[str, list[str]]:
    """The secret and the recovery codes."""
    factor = people.identity.second_factor
    secret = (await factor.enrol(person.id, person.email)).secret
    code = pyotp.TOTP(secret).now()
    codes, _ = await factor.confirm(person.principal, code, fresh_origin())
    return secret, codes


async def challenge_of(people: People, person: Person) -> str:
    refused = await refusal(people.identity.login(person.email, PASSWORD, fresh_origin()))
    assert refused.code is Code.SECOND_FACTOR_REQUIRED
    challenge: str = refused.extensions["challenge"]
    return challenge


async def complete(people: People, challenge: str, code: str) -> Person:
    found = await people.identity.second_factor.find_challenge(challenge)
    return people.person(await people.identity.complete_login(found, code, fresh_origin()))


@pytest.mark.contract("12.7.2")
async def test_a_login_during_the_confirmation_needs_a_code(people: People) -> None:
    """The password was verified before, the session would be opened after it."""
    person = await people.register()

    async def confirm() -> None:
        await enable(people, person)

    people.hasher.afterwards = confirm
    await challenge_of(people, person)
    sessions = "SELECT count(*) FROM identity.sessions WHERE user_id = $1"
    assert await people.one(sessions, person.id) == 1


@pytest.mark.contract("12.7.4")
async def test_a_challenge_ends_when_the_second_factor_does(people: People) -> None:
    person = await people.register()
    _, codes = await enable(people, person)
    challenge = await challenge_of(people, person)
    await people.identity.second_factor.disable(person.id, codes[0], fresh_origin())
    assert (await refusal(complete(people, challenge, codes[1]))).code is Code.CHALLENGE_INVALID
    assert (await people.login(person)).principal.factor is False


@pytest.mark.contract("12.7.4")
async def test_the_factor_stands_in_the_token_as_long_as_the_session(people: People) -> None:
    person = await people.register()
    _, codes = await enable(people, person)
    completed = await complete(people, await challenge_of(people, person), codes[0])
    assert (completed.principal.factor, completed.principal.role) == (True, "user")
    refreshed = await people.refresh(completed.refresh_token)
    assert people.principal(refreshed).factor is True
    changed = await people.identity.change_password(
        completed.principal, PASSWORD, "a better horse battery", fresh_origin()
    )
    assert people.principal(changed.tokens).factor is True


@pytest.mark.contract("12.7.2", "12.7.8")
async def test_a_wrong_code_is_kept_and_recorded(people: People) -> None:
    person = await people.register()
    await enable(people, person)
    challenge = await challenge_of(people, person)
    refused = await refusal(complete(people, challenge, "no such code"))
    assert refused.code is Code.SECOND_FACTOR_INVALID
    assert await people.one("SELECT failures FROM identity.login_challenges") == 1
    audited = "SELECT count(*) FROM audit.log WHERE action = 'second_factor.failed'"
    assert await people.one(audited) == 1


@pytest.mark.contract("12.7.2")
async def test_a_challenge_takes_five_wrong_codes_however_many_come_at_once(
    people: People,
) -> None:
    """All of them have found it valid before one of them counts."""
    person = await people.register()
    await enable(people, person)
    challenge = await people.identity.second_factor.find_challenge(
        await challenge_of(people, person)
    )
    calls = (
        refusal(people.identity.complete_login(challenge, "wrong", fresh_origin()))
        for _ in range(12)
    )
    codes = [error.code for error in await asyncio.gather(*calls)]
    assert codes.count(Code.SECOND_FACTOR_INVALID) == MAX_FAILURES
    assert codes.count(Code.CHALLENGE_INVALID) == 12 - MAX_FAILURES


@pytest.mark.contract("12.7.3")
async def test_of_fifty_with_one_recovery_code_one_uses_it(people: People) -> None:
    """On every route that takes one: a login, a key, the end of the second factor."""
    person = await people.register()
    _, recovery = await enable(people, person)
    factor = people.identity.second_factor
    challenges = [
        await factor.find_challenge(await challenge_of(people, person)) for _ in range(25)
    ]
    code = recovery[0]
    logins = [people.identity.complete_login(c, code, fresh_origin()) for c in challenges]
    others = [factor.require(person.id, code, fresh_origin()) for _ in range(25)]
    results = await asyncio.gather(*logins, *others, return_exceptions=True)
    refused = [result for result in results if isinstance(result, FinPayError)]
    assert len(refused) == 49
    assert {error.code for error in refused} == {Code.SECOND_FACTOR_INVALID}


@pytest.mark.contract("12.7.3")
async def test_of_fifty_with_one_code_one_uses_it(people: People) -> None:
    person = await people.register()
    secret, _ = await enable(people, person)
    code = pyotp.TOTP(secret).at(time.time() + 30)
    require = people.identity.second_factor.require
    calls = (require(person.id, code, fresh_origin()) for _ in range(50))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert len([result for result in results if result is None]) == 1
    refused = {result.code for result in results if isinstance(result, FinPayError)}
    assert refused == {Code.SECOND_FACTOR_INVALID}


@pytest.mark.contract("12.7.4")
async def test_the_end_of_sessions_is_an_event_with_its_reason(people: People) -> None:
    person = await people.register()
    other = await people.login(person)
    _, codes = await enable(people, person)
    assert not await people.is_active(other)
    await people.identity.second_factor.disable(person.id, codes[0], fresh_origin())
    assert not await people.is_active(person)
    rows = await people.database.fetch(
        "SELECT data ->> 'reason' AS reason FROM outbox.events WHERE type = 'session.revoked'"
    )
    assert [row["reason"] for row in rows] == ["second_factor_changed"] * 2


async def test_another_than_the_user_can_take_it_away(people: People) -> None:
    """As an operator does, whose name is in the audit log alone."""
    person, boss = await people.register(), await people.register()
    _, codes = await enable(people, person)
    async with people.database.transaction() as transaction:
        ended = await second_factor.remove(transaction, person.id, fresh_origin(), actor_id=boss.id)
    assert ended == [person.principal.session_id]
    assert (await people.login(person)).principal.factor is False
    assert await people.one("SELECT count(*) FROM identity.recovery_codes") == 0
    assert len(codes) == 10


async def test_expired_challenges_are_deleted(people: People) -> None:
    person = await people.register()
    await enable(people, person)
    for _ in range(2):
        await challenge_of(people, person)
        await people.database.execute(
            "UPDATE identity.login_challenges SET expires_at = expires_at"
            f" - interval '{CHALLENGE_TTL_S - 60} seconds'"
        )
    await people.database.execute(
        "UPDATE identity.login_challenges SET expires_at = expires_at - interval '120 seconds'"
        " WHERE expires_at = (SELECT min(expires_at) FROM identity.login_challenges)"
    )
    await cleanup.prune(people.database, access_ttl_s=900)
    assert await people.one("SELECT count(*) FROM identity.login_challenges") == 1
