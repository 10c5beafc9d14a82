"""What `finpay dev` says: where everything is, who may log in, and one command that sends money."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_DEFAULT_URL: Final = "http://127.0.0.1:3000"  # where the commands look without being told
_SHOWN_LEVELS: Final = frozenset({"warning", "error", "critical"})

_BANNER: Final = """
  {title}  is ready  ({took_s:.1f} s)

  API      {url}/api/v1
  Docs     {url}/docs
  Log      {log}

  Logins   alice@finpay.dev  password123  ZAR 10,000.00
           bob@finpay.dev    password123  ZAR  5,000.00

  Send ZAR 25.00 from alice to bob: paste this into another terminal.

{curl}

  Webhooks: the first in five minutes is in docs/webhooks.md. Each event of alice's, signed, to a
  receiver of yours; and one to begin with:

    {finpay} webhooks listen --forward http://localhost:9000/hook
    {finpay} webhooks trigger transaction.completed{api}

  Ctrl-C stops everything. The data stays for the next start.
"""

# Plain sh, curl and sed. The key is fresh each time, so each paste is a new payment.
_CURL: Final = """\
TOKEN=$(curl -sS {url}/api/v1/auth/login -H 'Content-Type: application/json' \\
  -d '{{"email":"alice@finpay.dev","password":"password123"}}' \\
  | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/') \\
&& curl -sS -w '\\n' {url}/api/v1/transactions -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' \\
  -H "X-Idempotency-Key: $(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')" \\
  -d '{{"receiver_email":"bob@finpay.dev","amount":2500,"currency":"ZAR"}}'"""


def show(url: str, *, took_s: float, log: Path) -> None:
    say(
        _BANNER.format(
            title=_bold("FinPay"),
            took_s=took_s,
            url=url,
            log=_shortest(log),
            curl=curl(url),
            finpay=_program(),
            api="" if url == _DEFAULT_URL else f" --api {url}",
        )
    )


def curl(url: str) -> str:
    """The command that logs alice in and sends ZAR 25.00 to bob."""
    return _CURL.format(url=url)


def show_warnings(lines: Iterable[str]) -> None:
    """Pass on those of the API's log lines that somebody should see."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            warn(line.rstrip())  # not ours: a traceback, or the last words of an interpreter
            continue
        if event.get("level") in _SHOWN_LEVELS:
            warn(line.rstrip())


def say(text: str) -> None:
    print(text, flush=True)


def warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _bold(text: str) -> str:
    plain = "NO_COLOR" in os.environ or not sys.stdout.isatty()
    return text if plain else f"\033[1m{text}\033[0m"


def _program() -> str:
    """How to call this FinPay from here."""
    beside = Path(sys.executable).with_name("finpay")
    return min(str(beside), _shortest(beside), key=len) if beside.exists() else "finpay"


def _shortest(path: Path) -> str:
    return os.path.relpath(path)
