"""What `finpay dev` prints: addresses, logins, and commands that work when pasted."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from finpay.dev.seed import PASSWORD, Seeded
from finpay.dev.stack import Stack

_SHOWN_LEVELS: Final = frozenset({"warning", "error", "critical"})
_HIDDEN_FIELDS: Final = frozenset({"level", "event", "time"})

_BANNER: Final = """
  {title} is ready ({took_s:.1f} s)

  API      {url}/api/v1
  Docs     {url}/docs
  Mails    {url}/dev/mail
  Logins   {logins}
  Data     {data}  (delete it to start from scratch)
  Logs     {logs}
  Servers  {env}  (load it into a shell: set -a; . {env}; set +a)

  Send ZAR 25.00 from alice to bob. Paste this into another terminal:

{curl}

  Receive alice's events as signed webhooks, and cause one:

    {finpay} webhooks listen --forward http://localhost:9000/hook
    {finpay} webhooks trigger transaction.completed

  Ctrl-C stops everything and keeps the data.
"""

# Plain sh, curl and sed. The key is new each time, so each paste is another payment.
_CURL: Final = """\
TOKEN=$(curl -sS {url}/api/v1/auth/login -H 'Content-Type: application/json' \\
  -d '{{"email":"alice@finpay.dev","password":"password123"}}' \\
  | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/') \\
&& curl -sS -w '\\n' {url}/api/v1/transactions -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' \\
  -H "X-Idempotency-Key: $(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')" \\
  -d '{{"receiver_email":"bob@finpay.dev","amount":2500,"currency":"ZAR"}}'"""


def show(url: str, users: Sequence[Seeded], stack: Stack, *, took_s: float) -> None:
    logins = [f"{user.email:<18}{PASSWORD}  {user.balance!s:>15}" for user in users]
    logs = [server.log for server in (*reversed(stack.services), *stack.databases)]
    say(
        _BANNER.format(
            title=_bold("FinPay"),
            took_s=took_s,
            url=url,
            logins="\n           ".join(logins),
            data=_shortest(stack.folder),
            logs="\n           ".join(_shortest(log) for log in logs),
            env=_shortest(stack.folder / "env"),
            curl=curl(url),
            finpay=_program(),
        )
    )


def curl(url: str) -> str:
    """The command that logs alice in and sends ZAR 25.00 to bob."""
    return _CURL.format(url=url)


def show_warnings(lines: Iterable[str]) -> None:
    """Print the warnings and errors among the log lines of a service."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            warn(line.rstrip())  # a traceback, or the last output of an interpreter
            continue
        if event.get("level") in _SHOWN_LEVELS:
            fields = (f"{k}={v}" for k, v in event.items() if k not in _HIDDEN_FIELDS)
            warn(" ".join([event["level"], str(event.get("event")), *fields]))


def say(text: str) -> None:
    print(text, flush=True)


def warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _bold(text: str) -> str:
    plain = "NO_COLOR" in os.environ or not sys.stdout.isatty()
    return text if plain else f"\033[1m{text}\033[0m"


def _program() -> str:
    """The command of this installation, relative to the current folder where that is shorter."""
    program = Path(sys.executable).with_name("finpay")
    return _shortest(program) if program.exists() else "finpay"


def _shortest(path: Path) -> str:
    return min(str(path), os.path.relpath(path), key=len)
