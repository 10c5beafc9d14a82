"""The certificate of a receiver: checked for its name, at the address that was checked."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme

from finpay import ids, settings, signing
from finpay.webhooks.messages import Message
from finpay.webhooks.sender import Sender
from finpay.webhooks.ssrf.url_policy import UrlPolicy
from tests.delivery.names import FixedNames
from tests.delivery.receiver import OK


async def test_tls_verifies_the_name_not_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The connection goes to the checked address, with the name in SNI."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example.com").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ours.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "theirs.pem"))
    seen: list[str | None] = []
    context.sni_callback = lambda _, name, __: seen.append(name)

    read = settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8"})
    for trusted, host, error in (
        ("ours", "hooks.example.com", None),
        ("ours", "other.example.com", "tls_failed"),
        ("theirs", "hooks.example.com", "tls_failed"),
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / f"{trusted}.pem"))
        sender = Sender(UrlPolicy.of(read), 5, FixedNames("127.0.0.1"))
        with _tls_server(context) as port:
            url = f"https://{host}:{port}/"
            attempt = await sender.send(
                Message(ids.new_uuid(), ids.new_uuid(), url, "evt_1", b"{}", [signing.new_secret()])
            )
            await sender.close()
            await asyncio.sleep(0)  # so that it is closed for the other side, too
        assert attempt.error == error, host
    assert seen[0] == "hooks.example.com"


@contextmanager
def _tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """The port of a server that answers one connection."""

    def answer() -> None:
        connection, _ = listening.accept()
        with (
            connection,
            suppress(OSError),
            context.wrap_socket(connection, server_side=True) as tls,
        ):
            tls.recv(65_536)
            tls.sendall(OK)
            tls.recv(1)  # until the client closes

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
    thread.join(10)
