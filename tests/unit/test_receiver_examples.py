"""The receivers of examples/: signed requests over real HTTP."""

import json
import logging
import runpy
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import uvicorn
from werkzeug.serving import make_server

from finpay import signing

RECEIVERS: Final = Path(__file__).parents[2] / "examples" / "receivers"
NAMES: Final = ("litestar", "fastapi", "flask")
EVENT: Final = {"id": "evt_1", "type": "account.updated", "data": {"object": {"id": "acc_1"}}}


@contextmanager
def _served(name: str, app: Any) -> Iterator[str]:
    """The URL of the app on a free port, served as its docstring says."""
    if name == "flask":
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # its lines outlive the test
        flask_server = make_server("127.0.0.1", 0, app)
        thread = threading.Thread(target=flask_server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{flask_server.port}"
        flask_server.shutdown()
        thread.join()
        flask_server.server_close()
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("name", NAMES)
def test_receiver_processes_a_signed_event_once_and_answers_400_to_others(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = signing.new_secret()
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    app = runpy.run_path(str(RECEIVERS / f"{name}_receiver.py"))["app"]
    body, now = json.dumps(EVENT).encode(), int(time.time())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now),
        "webhook-signature": signing.sign([secret], "evt_1", now, body),
    }
    with (
        _served(name, app) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        answers = [http.post("/hook", content=body, headers=headers) for _ in range(2)]
        forged = http.post("/hook", content=body.replace(b"acc_1", b"acc_2"), headers=headers)
        unsigned = http.post("/hook", content=body)
    assert [answer.is_success for answer in answers] == [True, True]
    assert (forged.status_code, unsigned.status_code) == (400, 400)
    assert "none of the signatures" in forged.text
    assert "webhook-id" in unsigned.text
    assert capsys.readouterr().out.splitlines() == ["account.updated acc_1"], "processed once"


@pytest.mark.parametrize("name", NAMES)
def test_receiver_has_at_most_20_lines(name: str) -> None:
    lines = (RECEIVERS / f"{name}_receiver.py").read_text("utf-8").splitlines()
    assert len([line for line in lines if line]) <= 20
