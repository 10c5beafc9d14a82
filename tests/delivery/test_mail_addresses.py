"""To whom mails go, and that one which can't be sent stops no other."""

from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller

from finpay.mail import sender
from tests.delivery.mailbox import Mailbox, forget, sender_of
from tests.sql.identity_fixtures import PASSWORD, People, fresh_origin


@pytest.fixture
def smtp(mailbox: Mailbox, free_tcp_port: int) -> Iterator[Controller]:
    """A server that takes ASCII alone, as many do."""
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=free_tcp_port, enable_SMTPUTF8=False
    )
    controller.start()
    yield controller
    controller.stop()


@pytest.mark.contract("1.6.12")
@pytest.mark.parametrize(
    ("email", "sent_to"),
    [("x@bücher.example", "x@xn--bcher-kva.example"), ("a.b+c'd@example.com",) * 2],
)
async def test_a_mail_goes_to_the_ascii_form_of_a_domain(
    people: People, smtp: Controller, mailbox: Mailbox, email: str, sent_to: str
) -> None:
    await people.identity.register(email, PASSWORD, None, "ZAR", fresh_origin())
    await forget(people, email)
    worker = sender_of(people.database, FINPAY_SMTP_URL=f"smtp://127.0.0.1:{smtp.port}")
    assert await worker.send_due() == 1
    assert mailbox.receivers == [sent_to]


@pytest.mark.contract("1.6.12")
async def test_a_mail_that_can_not_be_sent_stops_no_other(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its error: a library may fail at an address."""
    first, second = await people.register(), await people.register()
    received: list[str] = []

    async def send(mail: EmailMessage) -> None:
        if mail["To"] == first.email:
            raise ValueError("no address")
        received.append(mail["To"])

    monkeypatch.setattr(sender, "_write_to_folder", send)
    for person in (first, second):
        await forget(people, person.email)
    assert await sender_of(people.database).send_due() == 1
    assert received == [second.email]
    waits = "SELECT next_attempt_at > clock_timestamp() FROM mail.messages WHERE user_id = $1"
    assert await people.one(waits, first.id)
