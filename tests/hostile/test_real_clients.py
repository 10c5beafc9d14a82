"""JDK, Node, Go and curl with their own HTTP clients: register, log in, send money, retry it."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from tests.api_process import PASSWORD, Api
from tests.hostile.reverse_proxies import PROXIES, running_proxy
from tests.support.programs import find_program

PROGRAMS: Final = Path(__file__).with_name("programs")
LIMIT_S: Final = 120.0  # compilers on a busy machine
BALANCE: Final = 1_000

_NUMBERS: Final = count(1)


def java(folder: Path) -> Sequence[str | Path]:
    return [find_program("java", "default-jdk-headless"), PROGRAMS / "Client.java"]


def node(folder: Path) -> Sequence[str | Path]:
    return [find_program("node", "nodejs"), PROGRAMS / "client.mjs"]


def go(folder: Path) -> Sequence[str | Path]:
    built = folder / "client"
    run([find_program("go", "golang-go"), "build", "-o", built, PROGRAMS / "client.go"], folder)
    return [built]


def curl(folder: Path) -> Sequence[str | Path]:
    find_program("curl", "curl")
    return ["sh", PROGRAMS / "client.sh"]


CLIENTS: Final[dict[str, Callable[[Path], Sequence[str | Path]]]] = {
    "java": java,
    "node": node,
    "go": go,
    "curl": curl,
}


def run(command: Sequence[str | Path], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3_000:]
    return done.stdout


@pytest.fixture(scope="module", params=CLIENTS)
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Sequence[str | Path]:
    """The command, built once."""
    return CLIENTS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(params=["directly", *PROXIES])
def url(request: pytest.FixtureRequest, api: Api, tmp_path: Path) -> Iterator[str]:
    """Where the client sends: to the API, or to a proxy in front of it."""
    if request.param == "directly":
        yield api.url
        return
    with running_proxy(request.param, api.url, tmp_path) as proxy:
        yield proxy


@pytest.mark.fault("H1", "H2")
def test_client_sends_money_once_with_one_key(
    client: Sequence[str | Path], url: str, api: Api, tmp_path: Path
) -> None:
    alice = api.user(BALANCE)
    name = f"client-{next(_NUMBERS)}-{url.rpartition(':')[2]}"
    output = run([*client, url, alice.email, PASSWORD, f"{name}@example.com", name], tmp_path)
    first, sent, second, repeated, balance = output.split()
    assert (first, second) == ("201", "201")
    assert sent == repeated
    assert sent.startswith("txn_")
    assert int(balance) == alice.balance == BALANCE - 5
