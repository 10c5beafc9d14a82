"""Mails, sent to a real SMTP server; forgotten passwords, from the request to the new password."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from finpay.errors import Code
from finpay.identity.models import RequestOrigin
from finpay.identity.password_reset import MAX_MAILS_PER_HOUR, Ended
from finpay.mail import retention, sender
from finpay.mail.sender import RETRY_AFTER_S, Sender
from tests.delivery.mailbox import (
    NEW_PASSWORD,
    PUBLIC_URL,
    Mailbox,
    forget,
    parsed,
    redeem,
    sender_of,
)
from tests.sql.identity_fixtures import PASSWORD, People, fresh_email, fresh_origin, refusal


@pytest.fixture
def smtp(mailbox: Mailbox, free_tcp_port: int) -> Iterator[Controller]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_tcp_port)
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def worker(people: People, smtp: Controller) -> Sender:
    return sender_of(people.database, FINPAY_SMTP_URL=f"smtp://127.0.0.1:{smtp.port}")


async def due(people: People) -> None:
    """As if the time of the next attempt had come."""
    await people.database.execute("UPDATE mail.messages SET next_attempt_at = clock_timestamp()")


@pytest.mark.contract("1.6.11")
async def test_a_link_sets_a_new_password_and_ends_all_sessions(
    people: People, worker: Sender, mailbox: Mailbox
) -> None:
    person = await people.register()
    second = await people.login(person)
    await forget(people, person.email)
    assert await worker.send_due() == 1
    (mail,) = mailbox.mails
    assert mail["To"] == person.email
    assert mail["From"] == "FinPay <no-reply@pay.example>"
    html = mail.get_body(("html",))
    assert html is not None
    assert f'href="{PUBLIC_URL}/reset-password#token={mailbox.token()}"' in html.get_content()
    ended = await redeem(people, mailbox.token())
    assert (ended.user_id, len(ended.sessions)) == (person.id, 2)
    assert not await people.is_active(person)
    assert not await people.is_active(second)
    await people.login(person, NEW_PASSWORD)
    assert await worker.send_due() == 1
    assert mailbox.mails[-1]["Subject"] == "Your FinPay password was changed"


@pytest.mark.contract("1.6.11")
async def test_a_token_works_once_under_fifty_concurrent_tries(
    people: People, worker: Sender, mailbox: Mailbox
) -> None:
    """All have found it valid before one of them uses it: the hash comes first."""
    person = await people.register()
    await forget(people, person.email)
    await worker.send_due()
    token = mailbox.token()
    results: list[Any] = []
    for _ in range(5):  # the hasher takes no more at once
        calls = (redeem(people, token) for _ in range(10))
        results += await asyncio.gather(*calls, return_exceptions=True)
    assert len([result for result in results if isinstance(result, Ended)]) == 1
    codes = {result.code for result in results if not isinstance(result, Ended)}
    assert codes == {Code.TOKEN_INVALID}


@pytest.mark.contract("1.6.11")
async def test_expired_older_and_invented_tokens_are_invalid(
    people: People, worker: Sender, mailbox: Mailbox
) -> None:
    person = await people.register()
    for _ in range(2):
        await forget(people, person.email)
        await worker.send_due()
    older, newest = mailbox.token(-2), mailbox.token(-1)
    for token in (older, "x", "\ud800", newest + "x"):
        assert (await refusal(redeem(people, token))).code is Code.TOKEN_INVALID
    await people.database.execute(
        "UPDATE mail.tokens SET expires_at = expires_at - interval '31 minutes'"
    )
    assert (await refusal(redeem(people, newest))).code is Code.TOKEN_INVALID
    await people.login(person)


@pytest.mark.contract("1.6.11")
async def test_a_weak_password_does_not_use_up_the_token(
    people: People, worker: Sender, mailbox: Mailbox
) -> None:
    person = await people.register("Zaphod Beeblebrox")
    await forget(people, person.email)
    await worker.send_due()
    for weak in ("password123", "Zaphod Beeblebrox", person.email):
        refused = await refusal(redeem(people, mailbox.token(), weak))
        assert refused.code is Code.VALIDATION_FAILED
    await redeem(people, mailbox.token())


@pytest.mark.contract("1.6.11")
async def test_a_user_gets_three_mails_an_hour(people: People) -> None:
    person = await people.register()
    for _ in range(MAX_MAILS_PER_HOUR + 2):
        await forget(people, person.email)
    assert await people.one("SELECT count(*) FROM mail.messages") == MAX_MAILS_PER_HOUR
    await people.database.execute(
        "UPDATE mail.messages SET created_at = created_at - interval '61 minutes'"
    )
    await forget(people, person.email)
    assert await people.one("SELECT count(*) FROM mail.messages") == MAX_MAILS_PER_HOUR + 1


@pytest.mark.contract("1.6.11")
async def test_an_unknown_address_leaves_the_same_trace_and_no_mail(people: People) -> None:
    """One audit row, as for a known one: the work is the same."""
    person = await people.register()
    for email in (person.email, fresh_email()):
        before = await people.one("SELECT count(*) FROM audit.log")
        await forget(people, email)
        assert await people.one("SELECT count(*) FROM audit.log") == before + 1
    assert await people.one("SELECT count(*) FROM mail.messages") == 1


@pytest.mark.contract("1.6.12")
async def test_a_mail_is_in_the_commit_that_causes_it(
    people: People, worker: Sender, mailbox: Mailbox
) -> None:
    """PostgreSQL refuses NUL, so the audit row of the second change fails, and all with it."""
    person = await people.register()
    change = people.identity.change_password
    await change(person.principal, PASSWORD, NEW_PASSWORD, fresh_origin())
    assert await worker.send_due() == 1
    assert mailbox.mails[-1]["Subject"] == "Your FinPay password was changed"
    assert "token" not in mailbox.text()
    with pytest.raises(Exception, match="0x00"):
        await change(
            person.principal, NEW_PASSWORD, "yet another password", RequestOrigin("\x00", None)
        )
    assert await worker.send_due() == 0


@pytest.mark.contract("1.6.12")
async def test_a_refused_mail_is_retried_with_a_new_token(
    people: People, worker: Sender, mailbox: Mailbox
) -> None:
    person = await people.register()
    await forget(people, person.email)
    mailbox.answer = "451 later"
    assert await worker.send_due() == 0
    mailbox.answer = "250 OK"
    assert await worker.send_due() == 0, "not before its time"
    await due(people)
    assert await worker.send_due() == 1
    await redeem(people, mailbox.token())


@pytest.mark.contract("1.6.12")
async def test_a_mail_is_given_up_after_half_a_day(
    people: People, worker: Sender, mailbox: Mailbox
) -> None:
    person = await people.register()
    await forget(people, person.email)
    mailbox.answer = "550 no such mailbox"
    for _ in range(len(RETRY_AFTER_S) + 1):
        assert await worker.send_due() == 0
        await due(people)
    mailbox.answer = "250 OK"
    assert await worker.send_due() == 0
    assert await people.one("SELECT count(*) FROM mail.messages WHERE failed_at IS NOT NULL") == 1


async def test_old_mails_and_expired_tokens_are_deleted_though_none_is_sent(
    people: People, worker: Sender
) -> None:
    """As where FinPay has no mail server."""
    person = await people.register()
    await forget(people, person.email)
    await worker.send_due()
    for _ in range(2):
        await forget(people, person.email)
    assert await retention.prune(people.database) == 0
    age = "UPDATE mail.messages SET created_at = created_at - make_interval(days => $1)"
    await people.database.execute(age, retention.KEPT_DAYS)
    await people.database.execute("UPDATE mail.tokens SET expires_at = clock_timestamp()")
    await people.identity.email_verification.request(person.id, fresh_origin())
    assert await retention.prune(people.database) == 3
    assert await people.one("SELECT string_agg(kind, ',') FROM mail.messages") == (
        "email_verification"
    )
    assert await people.one("SELECT count(*) FROM mail.tokens") == 0


async def test_a_server_that_is_away_loses_no_mail(people: People) -> None:
    person = await people.register()
    await forget(people, person.email)
    away = sender_of(people.database, FINPAY_SMTP_URL="smtp://127.0.0.1:1")
    assert await away.send_due() == 0
    assert await people.one("SELECT count(*) FROM mail.messages WHERE sent_at IS NULL") == 1


async def test_two_workers_send_each_mail_once(
    people: People, worker: Sender, mailbox: Mailbox
) -> None:
    persons = await asyncio.gather(*(people.register() for _ in range(8)))
    for person in persons:
        await forget(people, person.email)
    for _ in range(3):
        await asyncio.gather(worker.send_due(), worker.send_due())
    assert sorted(mail["To"] for mail in mailbox.mails) == sorted(each.email for each in persons)


async def test_development_writes_mails_to_a_folder(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "DEV_FOLDER", tmp_path / "mail")
    person = await people.register()
    await forget(people, person.email)
    assert await sender_of(people.database).send_due() == 1
    (path,) = (tmp_path / "mail").iterdir()
    assert parsed(path.read_bytes())["To"] == person.email
