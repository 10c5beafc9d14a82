"""The result of one check, and what to do about it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warning", "failed"]

# Names of this machine in a URL: a connection to them needs no TLS.
_LOCAL_HOSTS = frozenset({"", "localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`name` is stable, for programs. `advice` is empty if the state is ok."""

    name: str
    state: State
    detail: str
    advice: str = ""


def ok(name: str, detail: str) -> CheckResult:
    return CheckResult(name, "ok", detail)


def warning(name: str, detail: str, advice: str) -> CheckResult:
    return CheckResult(name, "warning", detail, advice)


def failed(name: str, detail: str, advice: str) -> CheckResult:
    return CheckResult(name, "failed", detail, advice)


def production_error(name: str, detail: str, advice: str, *, production: bool) -> CheckResult:
    """Failed in production, a warning in development."""
    return (failed if production else warning)(name, detail, advice)


def is_local_host(host: str) -> bool:
    return host in _LOCAL_HOSTS or host.startswith("/")
