"""Handlers of /dev/mail: the mails that development catches. Production has no such routes.

They hold links that log a person in, so they are shown to this machine alone: the connection comes
from the loopback interface, through no proxy, and names a loopback host (a page of another site
can't, even if it makes its own name point here).
"""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html import escape
from pathlib import Path
from typing import Final
from uuid import UUID

from finpay.edge.handlers.docs import HTML, page
from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.mail.sender import DEV_FOLDER

MAX_SHOWN: Final = 100


async def list_(_: Services, context: Context) -> Response:
    """Newest first."""
    _check_local(context)
    files = sorted(DEV_FOLDER.glob("*.eml"), key=lambda file: file.stat().st_mtime, reverse=True)
    rows = "".join(_row(file) for file in files[:MAX_SHOWN])
    shown = f"<table>{rows}</table>" if rows else "<p>No mail was sent yet.</p>"
    return Response(200, page("Mails", shown), HTML)


async def retrieve(_: Services, context: Context) -> Response:
    _check_local(context)
    try:
        mail = _read(DEV_FOLDER / f"{UUID(context.path_id)}.eml")
    except (ValueError, OSError):
        raise FinPayError(Code.NOT_FOUND, "There is no such mail.") from None
    body = mail.get_body(("plain",))
    text = "" if body is None else str(body.get_content())
    lines = "".join(f"<p>{_linked(line)}</p>" for line in text.split("\n") if line)
    head = f"<p>To {escape(str(mail['To']))}, {escape(str(mail['Date']))}</p>"
    content = f'{head}{lines}<p><a href="/dev/mail">All mails</a></p>'
    return Response(200, page(str(mail["Subject"]), content), HTML)


def _check_local(context: Context) -> None:
    if not context.is_local:
        raise FinPayError(
            Code.NOT_FOUND, "Mails are shown only to a browser on the server's own machine."
        )


def _row(file: Path) -> str:
    mail = _read(file)
    to, subject = escape(str(mail["To"])), escape(str(mail["Subject"]))
    return f'<tr><td>{to}</td><td><a href="/dev/mail/{file.stem}">{subject}</a></td></tr>'


def _read(file: Path) -> EmailMessage:
    return message_from_bytes(file.read_bytes(), policy=default)


def _linked(line: str) -> str:
    if not line.startswith(("http://", "https://")):
        return escape(line)
    return f'<a href="{escape(line)}">{escape(line)}</a>'
