"""One thing that was looked at, and what to do about it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warning", "failed"]

# Names of this machine, in a URL: what never leaves it needs no TLS.
_OWN_HOSTS = frozenset({"", "localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`name` is stable, for programs; `advice` is empty when all is well."""

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
    """What a laptop may do and production must not."""
    return (failed if production else warning)(name, detail, advice)


def is_own_host(host: str) -> bool:
    return host in _OWN_HOSTS or host.startswith("/")
