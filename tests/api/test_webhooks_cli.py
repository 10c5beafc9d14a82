"""`finpay webhooks listen` and `trigger`, as a developer of a receiver runs them."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any, Final

import pytest
import standardwebhooks

from finpay import signing
from finpay.dev.child_process import free_port
from tests.api_process import PASSWORD, Api, User

LIMIT_S: Final = 30


@dataclass
class Hook:
    """A receiver that stores its requests, on a port that stays the same while it is closed."""

    port: int = field(default_factory=free_port)
    got: Queue[tuple[dict[str, str], bytes]] = field(default_factory=Queue)
    status: int = 200
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def open(self) -> None:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.put((dict(self.headers.items()), body))
                self.send_response(hook.status)
                self.end_headers()
                self.wfile.write(b"seen\x1b[31m")

            def log_message(self, *_: Any) -> None:
                """Keeps the output of the tests clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever).start()

    def close(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@dataclass
class Listener:
    """A running `finpay webhooks listen`."""

    process: subprocess.Popen[str]
    secret: str = ""

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def event(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        members = json.loads(self.line())
        return members["event"], members["forwarded"]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **more}


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Listener]]:
    """Call it with arguments and settings; returns when the command is ready."""
    made: list[subprocess.Popen[str]] = []
    timers: list[threading.Timer] = []

    def start(*arguments: str, **settings: str) -> Listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "finpay", "webhooks", "listen", *arguments],
            env=environment(**settings),
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if "--json" in arguments else subprocess.STDOUT,
        )
        made.append(process)
        timers.append(threading.Timer(LIMIT_S, process.kill))  # ends a read that would block
        timers[-1].start()
        greetings = process.stderr if "--json" in arguments else process.stdout
        assert greetings is not None
        listener = Listener(process)
        for line in greetings:
            if line.startswith("Secret"):
                listener.secret = line.split()[1]
            if line.startswith("Waiting"):
                break
        return listener

    yield start
    for timer in timers:
        timer.cancel()
    for process in made:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def read_from(source: str, api: Api, user: User) -> tuple[list[str], dict[str, str]]:
    """Arguments and settings for each source of events."""
    if source == "database":
        return ["--email", user.email], {"DATABASE_URL": api.database_url}
    if source == "password":
        return ["--api", api.url, "--email", user.email, "--password", PASSWORD], {}
    return ["--api", api.url, "--token", user.token], {}


@pytest.mark.parametrize("source", ["database", "password", "token"])
def test_events_are_forwarded_with_the_body_and_signature_of_a_webhook(
    api: Api, hook: Hook, listen: Callable[..., Listener], source: str
) -> None:
    alice, bob = api.user(100), api.user()
    hook.open()
    arguments, settings = read_from(source, api, alice)
    begin = str(alice.get("/events", limit=1).json()["data"][0]["sequence"])
    listener = listen(
        "--json", "--forward", hook.url, "--after-sequence", begin, *arguments, **settings
    )
    for number in range(3):
        assert alice.send(bob, 1, f"{number}").status == 201
        event, forwarded = listener.event()
        assert event["type"] == "transaction.completed"
        assert event["sequence"] == int(begin) + number + 1
        assert forwarded is not None
        assert (forwarded["status"], forwarded["error"]) == (200, None)
        assert forwarded["answer"] == "seen\x1b[31m"
        headers, body = hook.got.get(timeout=LIMIT_S)
        assert standardwebhooks.Webhook(listener.secret).verify(body, headers) == event
        assert body == alice.get(f"/events/{event['id']}").body, "to the byte"
        assert {name.lower(): value for name, value in headers.items()}["webhook-id"] == event["id"]
    assert listener.end(signal.SIGINT) == 0


def test_an_unreachable_receiver_does_not_end_it_and_its_answers_are_shown(
    api: Api, hook: Hook, listen: Callable[..., Listener]
) -> None:
    alice, bob = api.user(100), api.user()
    listener = listen(
        "--forward", hook.url, "--email", alice.email, "--types", "transaction.*",
        "--after-sequence", "0", DATABASE_URL=api.database_url,
    )  # fmt: skip
    funding = listener.line()
    assert "transaction.completed" in funding, "the first of those that are asked for"
    assert "no response (ConnectError)" in funding
    hook.open()
    hook.status = 503
    assert alice.send(bob, 1, "one").status == 201
    line = listener.line()
    assert "→ 503 in " in line
    assert "seen\\x1b[31m" in line, "control sequences are escaped"
    assert listener.end(signal.SIGTERM) == 0


def test_it_accepts_a_given_secret_and_needs_no_receiver(
    api: Api, listen: Callable[..., Listener]
) -> None:
    alice, secret = api.user(1), signing.new_secret()
    listener = listen(
        "--json", "--secret", secret, "--email", alice.email, "--after-sequence", "0",
        DATABASE_URL=api.database_url,
    )  # fmt: skip
    seen = [listener.event() for _ in range(3)]
    assert [event["type"] for event, _ in seen] == [
        "user.registered",
        "account.created",
        "transaction.completed",
    ]
    assert all(forwarded is None for _, forwarded in seen)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["listen", "--secret", "whsec_x"], 2, "--secret"),
        (["listen", "--types", "nothing.*"], 2, "transaction.completed"),
        (["listen", "--email", "nobody@example.com"], 1, "nobody@example.com"),
        (["trigger", "nothing.happened"], 2, "transaction.completed"),
    ],
)
def test_an_invalid_argument_is_one_sentence(
    api: Api, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    done = command(tmp_path, *arguments, DATABASE_URL=api.database_url)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert said in done.stderr


def command(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "finpay", "webhooks", *arguments],
        env=environment(**settings),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_a_trigger_causes_the_event(seeded: Api, tmp_path: Path) -> None:
    (tmp_path / ".finpay").mkdir()
    (tmp_path / ".finpay" / "env").write_text(f"FINPAY_DATABASE_OWNER_URL={seeded.database_url}\n")
    for event_type, caused in (
        ("transaction.completed", {"transaction.completed": 2}),
        ("transaction.failed", {"transaction.failed": 1}),
        ("session.revoked", {"session.revoked": 1}),
        ("account.updated", {"account.updated": 2}),
        ("user.registered", {"user.registered": 1, "account.created": 1}),
        ("account.created", {"user.registered": 1, "account.created": 1}),
    ):
        (before,) = seeded.sql("SELECT count(*) FROM outbox.events")
        done = command(tmp_path, "trigger", event_type, "--api", seeded.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"{event_type}  ")
        rows = seeded.sql(
            "SELECT type FROM outbox.events ORDER BY created_at OFFSET $1", before["count"]
        )
        found = [row["type"] for row in rows]
        assert {each: found.count(each) for each in found} == caused
    sessions = seeded.sql(
        "SELECT 1 FROM identity.sessions s JOIN identity.users u ON u.id = s.user_id"
        " WHERE u.email = 'alice@finpay.dev'"
    )
    assert len(sessions) == 2, "a login is kept: ten in a quarter of an hour is the limit"
    assert (tmp_path / ".finpay" / "session").stat().st_mode & 0o777 == 0o600
    assert {row["status"] for row in seeded.sql("SELECT status FROM ledger.accounts")} == {"active"}
    seeded.verify()


def test_a_refused_trigger_names_the_reason(seeded: Api, tmp_path: Path) -> None:
    arguments = ["trigger", "transaction.completed", "--api"]
    refused = command(tmp_path, *arguments, seeded.url, "--password", "not this one")
    assert (refused.returncode, "password" in refused.stderr) == (1, True)
    unreachable = command(tmp_path, *arguments, f"http://127.0.0.1:{free_port()}")
    assert (unreachable.returncode, "Is FinPay running there?" in unreachable.stderr) == (2, True)
    without_database = command(tmp_path, "trigger", "account.updated", "--api", seeded.url)
    assert (without_database.returncode, "finpay dev" in without_database.stderr) == (2, True)
    production = {"FINPAY_ENV": "production", "FINPAY_JWT_SECRET": "x" * 32}
    never = command(tmp_path, *arguments, seeded.url, **production)
    assert (never.returncode, "production" in never.stderr) == (2, True)
    rows = seeded.sql("SELECT count(*) FROM ledger.transactions WHERE type = 'transfer'")
    assert rows[0]["count"] == 0
