"""The texts of mails: plain and HTML say the same, and neither tracks its reader."""

import re
from email.message import EmailMessage
from html import unescape
from typing import Final, get_args

import pytest

from finpay.mail import texts

BASE: Final = "https://pay.example"
LINKED: Final = {"email_verification": 86_400, "password_reset": 1_800}
KINDS: Final = get_args(texts.Kind)


def compose(kind: texts.Kind) -> EmailMessage:
    return texts.compose(
        kind,
        message_id="1",
        sender="FinPay <no-reply@pay.example>",
        receiver="alice@example.com",
        base_url=BASE,
        token="a-token" if kind in LINKED else None,
    )


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_every_kind_has_a_text() -> None:
    assert list(texts.TEXTS) == list(dict.fromkeys(texts.TEXTS))
    assert set(texts.TEXTS) == set(KINDS)


@pytest.mark.contract("12.6.4")
@pytest.mark.parametrize("kind", KINDS)
def test_plain_text_and_html_say_the_same(kind: texts.Kind) -> None:
    mail = compose(kind)
    plain, html = part(mail, "plain"), part(mail, "html")
    paragraphs = [
        unescape(re.sub("<[^>]+>", "", each)) for each in re.findall("<p>(.*?)</p>", html)
    ]
    assert plain.split("\n\n") == [*paragraphs[:-1], paragraphs[-1] + "\n"]
    assert mail["Auto-Submitted"] == "auto-generated"


@pytest.mark.contract("12.6.4")
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_tracks_and_the_only_link_is_our_own(kind: texts.Kind) -> None:
    mail = compose(kind)
    html = part(mail, "html")
    assert not re.search(r"<(img|script|style|link|iframe)|src=|https?://(?!pay\.example/)", html)
    found = re.findall(r"https?://\S+", part(mail, "plain"))
    path = texts.TEXTS[kind].path
    assert found == ([f"{BASE}{path}#token=a-token"] if kind in LINKED else [])
    assert texts.TEXTS[kind].token_ttl_s == LINKED.get(kind, 0)
