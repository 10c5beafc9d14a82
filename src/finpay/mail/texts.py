"""The mails: plain text, and the same as HTML. No image, no tracking, no text of another user."""

from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from html import escape
from typing import Final, Literal

Kind = Literal[
    "email_verification",
    "password_reset",
    "password_changed",
    "new_device",
    "api_key_created",
    "second_factor_disabled",
    "limits_raise_requested",
    "limits_raised",
    "limits_changed",
]

_SECURITY: Final = "If that was not you, change your password now, and end all other sessions."


@dataclass(frozen=True, slots=True)
class Text:
    """Subject and paragraphs. `link` is shown on a line of its own after the first paragraph.

    The token of a link is valid for `token_ttl_s` seconds.
    """

    subject: str
    paragraphs: tuple[str, ...]
    path: str = ""
    token_ttl_s: int = 0


TEXTS: Final[dict[Kind, Text]] = {
    "password_reset": Text(
        "Reset your FinPay password",
        (
            "A new password was asked for, probably by you. Open this link within 30 minutes:",
            "It works once, and ends all sessions. If you did not ask for it, ignore this mail.",
        ),
        "/reset-password",
        1_800,
    ),
    "email_verification": Text(
        "Verify your e-mail address",
        (
            "Open this link within 24 hours to verify your e-mail address for FinPay:",
            "If you have no account at FinPay, ignore this mail: nothing happens then.",
        ),
        "/verify-email",
        86_400,
    ),
    "new_device": Text(
        "A login from a new device",
        ("A device that was not used before logged in to your FinPay account.", _SECURITY),
    ),
    "second_factor_disabled": Text(
        "Your second factor was switched off",
        ("Logins to your account no longer need a code of an authenticator.", _SECURITY),
    ),
    "limits_raise_requested": Text(
        "Higher limits were requested",
        (
            "Higher limits of your account were requested. They take effect in 24 hours.",
            _SECURITY,
        ),
    ),
    "limits_raised": Text(
        "Your limits were raised", ("The limits of your account were raised.", _SECURITY)
    ),
    "limits_changed": Text(
        "Your limits were changed",
        ("The limits of your account were changed, at once.", _SECURITY),
    ),
    "password_changed": Text(
        "Your FinPay password was changed", ("The password of your account was changed.", _SECURITY)
    ),
    "api_key_created": Text(
        "A new FinPay API key",
        ("An API key was created for your account. It can do what its scopes allow.", _SECURITY),
    ),
}


def compose(
    kind: Kind, *, message_id: str, sender: str, receiver: str, base_url: str, token: str | None
) -> EmailMessage:
    """The mail. The token stands behind # in the link, so no server and no log sees it."""
    text = TEXTS[kind]
    link = "" if token is None else f"{base_url}{text.path}#token={token}"
    lines = [text.paragraphs[0], *([link] if link else []), *text.paragraphs[1:]]
    mail = EmailMessage()
    mail["Subject"] = text.subject
    mail["From"] = sender
    mail["To"] = receiver
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2].strip('>')}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n\n".join(["Hello,", *lines, "FinPay"]) + "\n")
    html = "".join(f"<p>{_html(line, link)}</p>" for line in ["Hello,", *lines, "FinPay"])
    mail.add_alternative(f"<!doctype html><html lang=en><body>{html}</body></html>", subtype="html")
    return mail


def _html(line: str, link: str) -> str:
    return f'<a href="{escape(link)}">{escape(link)}</a>' if line == link else escape(line)
