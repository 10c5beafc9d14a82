"""/dev/mail: the mails that development catches, shown to the machine of the server alone."""

import uuid
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from finpay.edge.request.model import Request
from finpay.mail import texts
from finpay.mail.sender import DEV_FOLDER
from tests.api_process import Api

LINK: Final = "http://127.0.0.1:3000/reset-password#token=abc_-9"
PRODUCTION: Final = {
    "FINPAY_ENV": "production",
    "FINPAY_JWT_SECRET": "a-secret-of-our-own-that-is-long-enough",
}


@pytest.fixture
def caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a mail in the folder of an API that is started after this."""
    monkeypatch.chdir(tmp_path)
    DEV_FOLDER.mkdir(parents=True)
    message_id = str(uuid.uuid4())
    (DEV_FOLDER / f"{message_id}.eml").write_bytes(mail(message_id).as_bytes())
    return message_id


def mail(message_id: str) -> EmailMessage:
    return texts.compose(
        "password_reset",
        message_id=message_id,
        sender="finpay@localhost",
        receiver="alice@finpay.dev",
        base_url="http://127.0.0.1:3000",
        token="abc_-9",
    )


def ask(api: Api, path: str, **headers: str) -> Any:
    return httpx.get(f"{api.url}{path}", headers=headers, trust_env=False)


@pytest.mark.contract("12.6.5")
def test_mails_are_listed_and_shown(caught: str, serve: Callable[..., Api]) -> None:
    api = serve()
    listed = ask(api, "/dev/mail")
    assert listed.status_code == 200
    assert "text/html" in listed.headers["Content-Type"]
    assert f'<a href="/dev/mail/{caught}">Reset your FinPay password</a>' in listed.text
    shown = ask(api, f"/dev/mail/{caught}")
    assert f'<a href="{LINK}">{LINK}</a>' in shown.text
    assert "style-src 'self'" in shown.headers["Content-Security-Policy"]
    for other in (str(uuid.uuid4()), "x", "..%2f..%2fenv", f"{caught}.eml"):
        assert ask(api, f"/dev/mail/{other}").status_code == 404


@pytest.mark.contract("12.6.5")
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "[x"},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
        {"Via": "1.1 proxy"},
    ],
    ids=str,
)
def test_another_machine_or_site_sees_none(
    caught: str, serve: Callable[..., Api], headers: dict[str, str]
) -> None:
    """Another site may make its own name point to 127.0.0.1, but its name is in Host."""
    api = serve()
    assert ask(api, f"/dev/mail/{caught}", Host="localhost").status_code == 200
    for path in ("/dev/mail", f"/dev/mail/{caught}"):
        answer = ask(api, path, **headers)
        assert answer.status_code in {400, 404}
        assert "Reset" not in answer.text


@pytest.mark.contract("12.6.5")
@pytest.mark.parametrize(
    ("peer", "is_local"),
    [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("", False)],
)
def test_the_connection_comes_from_the_loopback_interface(peer: str, *, is_local: bool) -> None:
    async def receive() -> Any:
        raise AssertionError

    head = {"method": "GET", "path": "/dev/mail", "query_string": b"", "client": (peer, 1)}
    request = Request({**head, "headers": [(b"host", b"127.0.0.1:3000")]}, receive)
    assert request.is_local is is_local


@pytest.mark.contract("12.6.5")
def test_production_has_no_such_page(caught: str, serve: Callable[..., Api]) -> None:
    api = serve(**PRODUCTION)
    for path in ("/dev/mail", f"/dev/mail/{caught}"):
        assert ask(api, path).json()["detail"].startswith("Unknown path")
