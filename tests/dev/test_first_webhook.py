"""docs/webhooks.md, "the first webhook in five minutes": run as it stands there."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.servers import Run

from finpay.dev.child_process import free_port
from finpay.dev.data_dir import remove_data_dir

ROOT: Final = Path(__file__).parents[2]
LIMIT_S: Final = 60
BLOCK: Final = re.compile(r"```sh\n(.*?)```", re.DOTALL)

Terminal = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def terminal(run: Run) -> Iterator[Terminal]:
    """Call it with a command line: it runs in a folder of its own, as in a terminal."""
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
        timer = threading.Timer(LIMIT_S, process.kill)  # whoever reads from it, reads an end
        timer.start()
        opened.append((process, timer))
        return process

    yield enter
    for process, timer in reversed(opened):
        timer.cancel()
        process.terminate()
        process.communicate(timeout=LIMIT_S)
    remove_data_dir(folder / ".finpay")


def said(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first line that has it. AssertionError with all that was said if none does."""
    assert process.stdout is not None
    lines = ""
    for line in process.stdout:
        lines += line
        match = re.search(pattern, line)
        if match is not None:
            return match
    raise AssertionError(f"nothing like {pattern!r} in: {lines}")


def test_it_takes_no_more_than_the_page_says(terminal: Terminal) -> None:
    api, hook = free_port(), free_port()
    page = (ROOT / "docs" / "webhooks.md").read_text("utf-8")
    walk = page.partition("## A receiver\n")[0]
    for shown, here in (
        ("make dev", "finpay dev"),
        (".venv/bin/", ""),
        ("examples/receivers/", f"{ROOT}/examples/receivers/"),
        ("3000", str(api)),
        ("9000", str(hook)),
        ("finpay ", f"{sys.executable} -m finpay "),
        ("flask ", f"{sys.executable} -u -m flask "),
    ):
        walk = walk.replace(shown, here)
    start, listen, receive, trigger, endpoint, ping = BLOCK.findall(walk)
    receiver_line = receive.splitlines()[1]

    said(terminal(start.strip(), PORT=str(api)), "Ctrl-C stops everything")
    listening = terminal(listen.strip())
    secret = said(listening, r"(whsec_\S+)")[1]
    said(listening, "Waiting for events")
    receiver = terminal(receiver_line, WEBHOOK_SECRET=secret)
    said(receiver, "Running on")
    terminal(trigger.strip(), PORT=str(api)).wait(LIMIT_S)
    said(listening, r"transaction\.completed +evt_\w{26}  → 204 in \d+ ms")
    said(receiver, r"^transaction\.completed txn_")

    disable = trigger.strip().replace("transaction.completed", "webhook_endpoint.disabled")
    terminal(disable, PORT=str(api)).wait(LIMIT_S)
    said(receiver, r"^webhook_endpoint\.disabled whe_")

    made = said(terminal(endpoint), r'"id":"(whe_\w+)".*"secret":"(whsec_[^"]+)"')
    receiver.terminate()
    receiver.wait(LIMIT_S)
    receiver = terminal(receiver_line, WEBHOOK_SECRET=made[2])
    said(receiver, "Running on")
    login = endpoint.partition("ENDPOINT=")[0]
    pinging = terminal(f"""{login}ENDPOINT='{{"id":"{made[1]}"}}'\n{ping}""")
    said(receiver, r"^webhook_endpoint\.ping ")
    said(pinging, r'"event_type":"webhook_endpoint\.ping","status":"delivered"')
    terminal(trigger.strip(), PORT=str(api)).wait(LIMIT_S)
    said(receiver, r"^transaction\.completed txn_")
