"""Password change: needs the current password, refuses weak ones, revokes other sessions."""

import asyncio

import pytest

from finpay.errors import Code, FinPayError
from finpay.identity.models import PasswordChanged
from finpay.identity.users import MAX_ATTEMPTS
from tests.sql.identity_fixtures import PASSWORD, People, fresh_origin, refusal

NEW_PASSWORD = "a better horse battery"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="finpay"'}


async def test_password_change_revokes_all_other_sessions(people: People) -> None:
    person, bystander = await people.register(), await people.register()
    second, third = await people.login(person), await people.login(person)
    logged_out = await people.login(person)
    await people.logout(logged_out.principal, fresh_origin())
    origin = fresh_origin()
    changed = await people.identity.change_password(
        second.principal, PASSWORD, NEW_PASSWORD, origin
    )
    revoked = changed.revoked
    others = {person.principal.session_id, third.principal.session_id}
    assert len(revoked) == 2
    assert set(revoked) == others
    assert [await people.is_active(login) for login in (person, second, third)] == [
        False,
        True,
        False,
    ]
    assert await people.is_active(bystander)
    assert await people.use(changed.tokens)
    await people.refresh(changed.tokens.refresh_token)
    lost = await refusal(people.identity.sessions.refresh(third.refresh_token, fresh_origin()))
    assert lost.code is Code.REFRESH_TOKEN_INVALID
    audited = await people.audit(origin)
    assert audited[-1] == ("password.changed", person.id, person.id)
    assert {row[2] for row in audited[:-1]} == others
    assert {row[:2] for row in audited[:-1]} == {("session.revoked", person.id)}
    events = await people.events(person)
    assert [event[:2] for event in events[3:]] == [(4, "session.revoked"), (5, "session.revoked")]
    assert all("password_changed" in event[2] for event in events[3:])


@pytest.mark.contract("1.2.5")
async def test_all_earlier_refresh_tokens_are_invalid_after_a_change(people: People) -> None:
    """Those of the session itself too, so a copy of one is worthless; the session stays active."""
    person = await people.register()
    tokens = [person.refresh_token]
    for _ in range(3):
        tokens.append((await people.refresh(tokens[-1])).refresh_token)
    changed = await people.identity.change_password(
        person.principal, PASSWORD, NEW_PASSWORD, fresh_origin()
    )
    for token in tokens:
        refused = await refusal(people.identity.sessions.refresh(token, fresh_origin()))
        assert refused.code is Code.REFRESH_TOKEN_INVALID
    assert await people.is_active(person)
    principal = people.principal(changed.tokens)
    assert (principal.session, principal.generation) == (person.principal.session, 4)
    await people.refresh(changed.tokens.refresh_token)


async def test_session_that_ended_meanwhile_changes_nothing(people: People) -> None:
    person = await people.register()
    await people.logout(person.principal, fresh_origin())
    refused = await refusal(
        people.identity.change_password(person.principal, PASSWORD, NEW_PASSWORD, fresh_origin())
    )
    assert refused.code is Code.UNAUTHENTICATED
    await people.login(person)


async def test_after_a_change_only_the_new_password_is_accepted(people: People) -> None:
    person = await people.register()
    await people.identity.change_password(person.principal, PASSWORD, NEW_PASSWORD, fresh_origin())
    await people.login(person, NEW_PASSWORD)
    assert (await refusal(people.login(person))).code is Code.INVALID_CREDENTIALS


@pytest.mark.parametrize("new", ["{email}", "{local}", "Zaphod Beeblebrox", PASSWORD, "finpay2026"])
async def test_weak_new_password_is_refused_before_the_current_one_is_verified(
    people: People, new: str
) -> None:
    person, origin = await people.register("Zaphod Beeblebrox"), fresh_origin()
    people.hasher.compared.clear()
    weak = new.format(email=person.email.upper(), local=person.email.partition("@")[0])
    refused = await refusal(
        people.identity.change_password(person.principal, PASSWORD, weak, origin)
    )
    assert refused.code is Code.VALIDATION_FAILED
    assert [error.pointer for error in refused.field_errors] == ["#/new_password"]
    assert people.hasher.compared == []
    assert await people.audit(origin) == []
    await people.login(person)


async def test_wrong_current_password_changes_nothing(people: People) -> None:
    person, origin = await people.register(), fresh_origin()
    second = await people.login(person)
    refused = await refusal(
        people.identity.change_password(person.principal, "a wrong guess", NEW_PASSWORD, origin)
    )
    assert refused.code is Code.INVALID_CREDENTIALS
    assert refused.headers == CHALLENGE
    assert await people.audit(origin) == [("password.change_failed", person.id, person.id)]
    assert await people.is_active(second)
    await people.login(person)


async def test_concurrent_password_changes_have_one_success(people: People) -> None:
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
    assert lost.code in (Code.INVALID_CREDENTIALS, Code.UNAUTHENTICATED)
    winner = results.index(
        next(result for result in results if isinstance(result, PasswordChanged))
    )
    assert [await people.is_active(first), await people.is_active(second)] == [
        winner == 0,
        winner == 1,
    ]
    await people.login(first, passwords[winner])


async def test_password_that_changes_at_every_attempt_is_unavailable(people: People) -> None:
    person = await people.register()

    async def change() -> None:
        await people.weaken(person)
        people.hasher.afterwards = change

    for call in (
        people.login(person),
        people.identity.change_password(person.principal, PASSWORD, NEW_PASSWORD, fresh_origin()),
    ):
        people.hasher.afterwards = change
        people.hasher.compared.clear()
        assert (await refusal(call)).code is Code.UNAVAILABLE
        assert len(people.hasher.compared) == MAX_ATTEMPTS
