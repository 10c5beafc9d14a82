"""A session ends once and for good, whatever happens at the same moment."""

import asyncio

import pytest

from finpay import ids
from finpay.errors import Code, FinPayError
from finpay.identity.models import RequestOrigin, Tokens
from tests.sql.identity_fixtures import (
    PASSWORD,
    People,
    fresh_email,
    fresh_origin,
    refusal,
)

DAY_S = 86_400
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="finpay"'}


async def test_refresh_that_waits_for_a_logout_is_refused(people: People) -> None:
    person = await people.register()
    async with people.database.transaction() as transaction:
        await transaction.execute(
            "UPDATE identity.sessions SET ended_at = clock_timestamp(), end_reason = 'logout'"
            " WHERE id = $1",
            person.principal.session_id,
        )
        waiting = asyncio.create_task(
            refusal(people.identity.sessions.refresh(person.refresh_token, fresh_origin()))
        )
        await people.until_blocked()
    assert (await waiting).code is Code.REFRESH_TOKEN_INVALID


async def test_session_is_revoked_when_logout_and_refresh_race(people: People) -> None:
    person = await people.register()
    for _ in range(10):
        login = await people.login(person)
        logout = people.logout(login.principal, fresh_origin())
        outcome, _ = await asyncio.gather(
            people.identity.sessions.refresh(login.refresh_token, fresh_origin()),
            logout,
            return_exceptions=True,
        )
        token = outcome.refresh_token if isinstance(outcome, Tokens) else login.refresh_token
        refused = await refusal(people.identity.sessions.refresh(token, fresh_origin()))
        assert refused.code is Code.REFRESH_TOKEN_INVALID


async def test_logout_revokes_one_session_and_is_recorded_once(people: People) -> None:
    person, origin = await people.register(), fresh_origin()
    second = await people.login(person)
    await people.logout(person.principal, origin)
    ended_at = await people.ended_at(person)
    assert not await people.is_active(person)
    assert await people.is_active(second)
    await people.logout(person.principal, fresh_origin())
    assert await people.ended_at(person) == ended_at
    session_id = person.principal.session_id
    assert await people.audit(origin) == [("session.revoked", person.id, session_id)]
    ((number, kind, data),) = (await people.events(person))[2:]
    assert (number, kind) == (3, "session.revoked")
    assert ids.encode("ses", session_id) in data
    refused = await refusal(people.identity.sessions.refresh(person.refresh_token, fresh_origin()))
    assert refused.code is Code.REFRESH_TOKEN_INVALID


async def test_session_of_another_user_is_neither_active_nor_revoked(people: People) -> None:
    person, other = await people.register(), await people.register()
    session_id = person.principal.session_id
    assert await people.identity.sessions.confirm(session_id, person.id, 0)
    assert not await people.identity.sessions.confirm(session_id, other.id, 0)
    assert not await people.identity.sessions.confirm(ids.new_uuid(), person.id, 0)
    mixed = people.signer.issue(other.id, other.logged_in.account.id, session_id, 0)
    principal = people.signer.verify(mixed, 0)
    await people.logout(principal, fresh_origin())
    assert await people.is_active(person)


@pytest.mark.contract("1.6.2")
async def test_session_whose_time_is_over_is_not_active(people: People) -> None:
    """Whatever its access tokens say."""
    person = await people.register()
    assert await people.is_active(person)
    await people.database.execute(
        "UPDATE identity.sessions SET expires_at = clock_timestamp() WHERE id = $1",
        person.principal.session_id,
    )
    assert not await people.is_active(person)


async def test_failed_call_leaves_no_rows(people: People) -> None:
    """PostgreSQL refuses NUL, so the audit row fails, which is the last write of each call."""
    person = await people.register()
    second, rotated = await people.login(person), await people.login(person)
    await people.exchange_and_use(rotated)
    before = await people.rows()
    identity, broken = people.identity, RequestOrigin("\x00", None)
    for call in (
        identity.register(fresh_email(), PASSWORD, None, "ZAR", broken),
        identity.login(person.email, PASSWORD, broken),
        identity.change_password(person.principal, PASSWORD, "a better horse battery", broken),
        people.logout(second.principal, broken),
        identity.sessions.refresh(second.refresh_token, broken),
        identity.sessions.refresh(rotated.refresh_token, broken),
    ):
        with pytest.raises(Exception, match="0x00"):
            await call
    assert await people.rows() == before
    assert all([await people.is_active(login) for login in (person, second, rotated)])
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
            *(people.logout(login.principal, fresh_origin()) for login in logins[1:]),
            *(
                people.identity.sessions.refresh(login.refresh_token, fresh_origin())
                for login in logins
            ),
        ]
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, FinPayError):
                assert result.code is Code.REFRESH_TOKEN_INVALID
            else:
                assert not isinstance(result, BaseException)
        assert [await people.is_active(login) for login in logins] == [True] + [False] * 5
