"""docs/webhooks.md, "the first webhook in five minutes", executed."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from finpay.dev.child_process import free_port
from finpay.dev.data_dir import remove_data_dir
from tests.servers import Run

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 60
BLOCK: Final = re.compile(r"```sh\n(.*?)```", re.DOTALL)

Terminal = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def terminal(run: Run) -> Iterator[Terminal]:
    """Call it with a command: it runs in the test's folder, as in a terminal."""
    folder = Path(run.folder, f"first-webhook-{os.getpid()}")
    folder.mkdir()
    opened: list[tuple[subprocess.Popen[str], threading.Timer]] = []

    def enter(line: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["bash", "-euc", f"exec {line}" if "\n" not in line else line],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        timer = threading.Timer(LIMIT_S, process.kill)  # ends a test that waits for its output
        timer.start()
        opened.append((process, timer))
        return process

    yield enter
    for process, timer in reversed(opened):
        timer.cancel()
        process.terminate()
        process.communicate(timeout=LIMIT_S)
    remove_data_dir(folder / ".finpay")


def output_of(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first line of output that matches. AssertionError, with all output, if none does."""
    assert process.stdout is not None
    lines = ""
    for line in process.stdout:
        lines += line
        match = re.search(pattern, line)
        if match is not None:
            return match
    raise AssertionError(f"no line matches {pattern!r} in: {lines}")


def test_commands_of_the_page_deliver_a_webhook(terminal: Terminal) -> None:
    api, hook = free_port(), free_port()
    page = (ROOT / "docs" / "webhooks.md").read_text("utf-8")
    steps = page.partition("## A receiver\n")[0]
    for shown, here in (
        ("make dev", "finpay dev"),
        (".venv/bin/", ""),
        ("examples/receivers/", f"{ROOT}/examples/receivers/"),
        ("3000", str(api)),
        ("9000", str(hook)),
        ("finpay ", f"{sys.executable} -m finpay "),
        ("flask ", f"{sys.executable} -u -m flask "),
    ):
        steps = steps.replace(shown, here)
    start, listen, receive, trigger, endpoint, ping = BLOCK.findall(steps)
    receiver_line = receive.splitlines()[1]

    output_of(terminal(start.strip(), PORT=str(api)), "Ctrl-C stops everything")
    listening = terminal(listen.strip())
    secret = output_of(listening, r"(whsec_\S+)")[1]
    output_of(listening, "Waiting for events")
    receiver = terminal(receiver_line, WEBHOOK_SECRET=secret)
    output_of(receiver, "Running on")
    terminal(trigger.strip()).wait(LIMIT_S)
    output_of(listening, r"transaction\.completed +evt_\w{26}  → 204 in \d+ ms")
    output_of(receiver, r"^transaction\.completed txn_")

    disable = trigger.strip().replace("transaction.completed", "webhook_endpoint.disabled")
    terminal(disable).wait(LIMIT_S)
    output_of(receiver, r"^webhook_endpoint\.disabled whe_")

    made = output_of(terminal(endpoint), r'"id":"(whe_\w+)".*"secret":"(whsec_[^"]+)"')
    receiver.terminate()
    receiver.wait(LIMIT_S)
    receiver = terminal(receiver_line, WEBHOOK_SECRET=made[2])
    output_of(receiver, "Running on")
    login = endpoint.partition("ENDPOINT=")[0]
    pinging = terminal(f"""{login}ENDPOINT='{{"id":"{made[1]}"}}'\n{ping}""")
    output_of(receiver, r"^webhook_endpoint\.ping ")
    output_of(pinging, r'"event_type":"webhook_endpoint\.ping","status":"delivered"')
    terminal(trigger.strip(), PORT=str(api)).wait(LIMIT_S)
    output_of(receiver, r"^transaction\.completed txn_")
