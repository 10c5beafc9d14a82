"""Passwords: argon2id off the event loop, and the list of those that everybody tries first.

Hashing is meant to be slow, so it has threads of its own, at most one per core, and a short queue.
Beyond that a request is refused at once: waiting longer would only hide that somebody floods us.
"""

import asyncio
import os
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Semaphore
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from finpay.errors import overloaded

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 128

# OWASP's password storage cheat sheet, argon2id: at least 19 MiB, two passes, one lane.
MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32

MAX_WAITING: Final = 32  # half a second of work on two cores; longer waits only hide a flood

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether the password is right, and whether its hash should be made anew."""

    ok: bool
    needs_rehash: bool = False


class Hasher:
    """argon2id in threads. One per process; close it at the end.

    `cores` hashes are computed at once. FinPayError `overloaded` when MAX_WAITING wait already.
    """

    def __init__(self, cores: int | None = None) -> None:
        cores = cores or os.cpu_count() or 1
        self._argon2 = PasswordHasher(
            time_cost=PASSES,
            memory_cost=MEMORY_KIB,
            parallelism=LANES,
            hash_len=HASH_BYTES,
            salt_len=SALT_BYTES,
            type=Type.ID,
        )
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="argon2")
        self._places = Semaphore(cores + MAX_WAITING)

    async def hash(self, password: str) -> str:
        """A new hash, with its parameters and salt in it."""
        return await self._run(self._argon2.hash, _bytes(password))

    async def verify(self, password_hash: str | None, password: str) -> Verified:
        """Whether `password` is the one that was hashed.

        None stands for a user that does not exist: never right, after the same work. Nor is what
        is longer than any password may be.
        """
        return await self._run(self._verify, password_hash, password)

    def close(self) -> None:
        """Gives up what waits; what is being computed ends within a moment."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[..., Result], *args: object) -> Result:
        if not self._places.acquire(blocking=False):
            raise overloaded("Too many passwords are being checked. Try again in a moment.")
        future: Future[Result] = self._threads.submit(work, *args)
        # Not when the caller goes away: the thread is busy until the work is done.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)

    def _verify(self, password_hash: str | None, password: str) -> Verified:
        if password_hash is None or len(password) > MAX_LENGTH:
            self._matches(_NOBODY, password[:MAX_LENGTH])
            return Verified(ok=False)
        if not self._matches(password_hash, password):
            return Verified(ok=False)
        return Verified(ok=True, needs_rehash=self._argon2.check_needs_rehash(password_hash))

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, _bytes(password))
        except VerifyMismatchError:
            return False


def is_common(password: str) -> bool:
    """Whether the password is one of the most common, in any mix of cases.

    The first call reads the list, which takes some 20 milliseconds.
    """
    return password.lower() in _common_passwords()


def _bytes(password: str) -> bytes:
    """One spelling per password (RFC 8265 §4.2.2): keyboards differ in how they send an accent.

    A lone surrogate is refused at the edge; here it is only not allowed to be a crash.
    """
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _base64(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


# No password has this hash, or finding it would take longer than the universe has.
_NOBODY: Final = (
    f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}"
    f"${_base64(bytes(SALT_BYTES))}${_base64(bytes(HASH_BYTES))}"
)


@cache
def _common_passwords() -> frozenset[str]:
    """Of the 30 000 most frequent passwords that zxcvbn lists, those that are long enough.

    The module of lists is run alone: importing the package would rank five other lists as well,
    and keep them.
    """
    package = find_spec("zxcvbn")
    assert package is not None  # noqa: S101  a dependency
    assert package.origin is not None  # noqa: S101  and no namespace package
    lists = spec_from_file_location("lists", Path(package.origin).with_name("frequency_lists.py"))
    assert lists is not None  # noqa: S101
    assert lists.loader is not None  # noqa: S101
    module = module_from_spec(lists)
    lists.loader.exec_module(module)
    passwords: list[str] = module.FREQUENCY_LISTS["passwords"]
    return frozenset(password for password in passwords if len(password) >= MIN_LENGTH)
