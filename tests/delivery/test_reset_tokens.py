"""What ends the token of a forgotten password, and what ends with a user who leaves."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import pyotp
import pytest

from finpay.errors import Code
from finpay.identity import leaving, second_factor, user_lock
from finpay.identity.email_verification import MAX_MAILS_PER_HOUR
from finpay.mail import sender
from finpay.mail.sender import Sender
from tests.delivery.mailbox import NEW_PASSWORD, Mailbox, forget, redeem, sender_of
from tests.sql.identity_fixtures import PASSWORD, People, Person, fresh_origin, refusal

AT_ONCE: Final = 12

Change = Callable[[People, Person, str], Awaitable[object]]


@pytest.fixture
def worker(people: People, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Sender:
    async def keep(mail: object) -> None:
        mailbox.mails.append(mail)  # type: ignore[arg-type]

    monkeypatch.setattr(sender, "_write_to_folder", keep)
    return sender_of(people.database)


async def guarded(people: People, person: Person) -> str:
    """Switches the second factor on, and returns a recovery code."""
    factor = people.identity.second_factor
    enrolment = await factor.enrol(person.id, person.email)
    code = pyotp.TOTP(enrolment.secret).now()
    codes, _ = await factor.confirm(person.principal, code, fresh_origin())
    return codes[0]


async def change_password(people: People, person: Person, _: str) -> object:
    return await people.identity.change_password(
        person.principal, PASSWORD, NEW_PASSWORD, fresh_origin()
    )


async def disable_factor(people: People, person: Person, code: str) -> object:
    return await people.identity.second_factor.disable(person.id, code, fresh_origin())


async def reset_factor(people: People, person: Person, _: str) -> object:
    operator = await people.register()
    async with people.database.transaction() as transaction:
        await user_lock.require(transaction, person.id)
        return await second_factor.remove(
            transaction, person.id, fresh_origin(), actor_id=operator.id
        )


async def leave(people: People, person: Person, _: str) -> object:
    async with people.database.transaction() as transaction:
        return await leaving.erase(transaction, person.id)


CHANGES: Final[dict[str, Change]] = {
    "a new password": change_password,
    "the second factor is switched off": disable_factor,
    "an operator resets the second factor": reset_factor,
    "the user leaves": leave,
}


@pytest.mark.contract("1.6.11")
@pytest.mark.parametrize("name", CHANGES)
async def test_it_ends_the_token_of_a_mail_that_was_sent(
    people: People, worker: Sender, mailbox: Mailbox, name: str
) -> None:
    person = await people.register()
    code = await guarded(people, person)
    await forget(people, person.email)
    await worker.send_due()
    await CHANGES[name](people, person, code)
    assert (await refusal(redeem(people, mailbox.token()))).code is Code.TOKEN_INVALID


@pytest.mark.contract("1.6.11")
@pytest.mark.parametrize("name", CHANGES)
async def test_it_ends_a_mail_that_waits_to_be_sent(
    people: People, worker: Sender, mailbox: Mailbox, name: str
) -> None:
    person = await people.register()
    code = await guarded(people, person)
    await forget(people, person.email)
    await CHANGES[name](people, person, code)
    await worker.send_due()
    assert "Reset your FinPay password" not in [mail["Subject"] for mail in mailbox.mails]
    assert await tokens_of(people, person.id) == 0


@pytest.mark.contract("1.6.11")
@pytest.mark.parametrize("name", CHANGES)
async def test_it_ends_a_mail_that_a_worker_is_about_to_send(
    people: People, worker: Sender, mailbox: Mailbox, name: str
) -> None:
    """The worker leases the mail and makes its token meanwhile."""
    person = await people.register()
    code = await guarded(people, person)
    await forget(people, person.email)
    await asyncio.gather(worker.send_due(), CHANGES[name](people, person, code))
    assert await tokens_of(people, person.id) == 0
    links = [n for n, mail in enumerate(mailbox.mails) if "Reset" in mail["Subject"]]
    for number in links:
        refused = await refusal(redeem(people, mailbox.token(number)))
        assert refused.code is Code.TOKEN_INVALID


@pytest.mark.contract("1.6.11")
async def test_a_link_and_a_worker_that_replaces_it_do_not_deadlock(
    people: People, worker: Sender, mailbox: Mailbox
) -> None:
    """The worker has locked the next mail, and then deletes the token of the link."""
    person = await people.register()
    await forget(people, person.email)
    await worker.send_due()
    await forget(people, person.email)
    async with people.database.transaction() as transaction:
        await transaction.execute(
            "SELECT FROM mail.messages WHERE user_id = $1 AND sent_at IS NULL FOR NO KEY UPDATE",
            person.id,
        )
        used = asyncio.create_task(refusal(redeem(people, mailbox.token())))
        await people.until_blocked()
        await transaction.execute("DELETE FROM mail.tokens WHERE user_id = $1", person.id)
    assert (await used).code is Code.TOKEN_INVALID


@pytest.mark.contract("1.6.11")
async def test_a_link_and_the_end_of_a_session_do_not_deadlock(
    people: People, worker: Sender, mailbox: Mailbox
) -> None:
    """A logout has locked its session, and then the account for its event."""
    person = await people.register()
    await forget(people, person.email)
    await worker.send_due()
    async with people.database.transaction() as transaction:
        await transaction.execute(
            "SELECT FROM identity.sessions WHERE user_id = $1 FOR NO KEY UPDATE", person.id
        )
        used = asyncio.create_task(redeem(people, mailbox.token()))
        await people.until_blocked()
        await transaction.execute(
            "SELECT outbox.record($1, 'session.revoked', '{}', NULL, NULL)", person.id
        )
    assert (await used).user_id == person.id


async def tokens_of(people: People, user_id: UUID) -> int:
    count: int = await people.one(
        "SELECT count(*) FROM mail.tokens WHERE user_id = $1 AND used_at IS NULL", user_id
    )
    return count


@pytest.mark.contract("1.6.11", "12.6.1")
@pytest.mark.parametrize("kind", ["password_reset", "email_verification"])
async def test_requests_at_once_send_three_mails_an_hour(people: People, kind: str) -> None:
    person = await people.register()
    verification = people.identity.email_verification
    calls = [
        forget(people, person.email)
        if kind == "password_reset"
        else verification.request(person.id, fresh_origin())
        for _ in range(AT_ONCE)
    ]
    await asyncio.gather(*calls)
    count = await people.one("SELECT count(*) FROM mail.messages WHERE kind = $1", kind)
    assert count == MAX_MAILS_PER_HOUR
