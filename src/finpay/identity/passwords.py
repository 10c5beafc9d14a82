"""Password hashing with argon2id off the event loop, and the rules for new passwords.

Hashing is slow on purpose, so it runs in threads of its own, at most one per core, behind a short
queue. A request that finds the queue full is refused at once.
"""

import asyncio
import os
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from threading import Semaphore
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from finpay.errors import overloaded

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 128

# OWASP's password storage cheat sheet, argon2id: at least 19 MiB, t=2, p=1.
MEMORY_KIB: Final = 19_456
PASSES: Final = 2
PARALLELISM: Final = 1
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32

MAX_QUEUED: Final = 32  # half a second of work on two cores; a longer queue only delays a 503
MAX_OTHER_CHARACTERS: Final = 2  # than the repeated one: aaaaaaaa1, 1111111!

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether the password is right, and whether its hash has outdated parameters."""

    ok: bool
    needs_rehash: bool = False


class Hasher:
    """argon2id in threads. One per process; close it at the end.

    `cores` hashes are computed at once. FinPayError `overloaded` when MAX_QUEUED more are queued.
    """

    def __init__(self, cores: int | None = None, *, memory_kib: int = MEMORY_KIB) -> None:
        cores = cores or os.cpu_count() or 1
        self._argon2 = PasswordHasher(
            time_cost=PASSES,
            memory_cost=memory_kib,
            parallelism=PARALLELISM,
            hash_len=HASH_BYTES,
            salt_len=SALT_BYTES,
            type=Type.ID,
        )
        self._dummy_hash = _dummy_hash(memory_kib)
        self._threads = ThreadPoolExecutor(cores, thread_name_prefix="argon2")
        self._slots = Semaphore(cores + MAX_QUEUED)

    async def hash(self, password: str) -> str:
        """A new hash, with its parameters and salt in it."""
        return await self._run(self._argon2.hash, _bytes(password))

    async def verify(self, password_hash: str | None, password: str) -> Verified:
        """Whether `password` has this hash.

        Without a hash (an unknown user, or one who left) the answer is no, after the same work.
        A password longer than MAX_LENGTH is always wrong.
        """
        return await self._run(self._verify, password_hash, password)

    def close(self) -> None:
        """Cancels the queued hashes; those being computed finish within 0.1 s."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[..., Result], *args: object) -> Result:
        if not self._slots.acquire(blocking=False):
            raise overloaded("Too many passwords are being checked. Retry in a moment.")
        future: Future[Result] = self._threads.submit(work, *args)
        # Not when the caller is cancelled: the thread is busy until the hash is computed.
        future.add_done_callback(lambda _: self._slots.release())
        return await asyncio.wrap_future(future)

    def _verify(self, password_hash: str | None, password: str) -> Verified:
        if password_hash is None or len(password) > MAX_LENGTH:
            self._matches(self._dummy_hash, password[:MAX_LENGTH])
            return Verified(ok=False)
        if not self._matches(password_hash, password):
            return Verified(ok=False)
        return Verified(ok=True, needs_rehash=self._argon2.check_needs_rehash(password_hash))

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, _bytes(password))
        except VerifyMismatchError:
            return False


def weakness(
    password: str, *, email: str = "", name: str | None = None, old: str | None = None
) -> str | None:
    """Why this new password is refused, as a sentence for its user; None if it is acceptable.

    `email` as stored, `old` is the password that it replaces. Lengths are not checked here.
    """
    if old is not None and _bytes(old) == _bytes(password):
        return "The new password is the same as the old one. Choose another."
    if is_common(password):
        return "This password is one of the most common ones. Choose another."
    letters = _letters_and_digits(password)
    personal = (email, email.partition("@")[0], name or "")
    if letters and letters in map(_letters_and_digits, personal):
        return "The password is your e-mail address, the part before the @, or your name."
    if letters.strip("0123456789") == "finpay":
        return "The password is only the name of this service with digits. Choose another."
    if _other_characters(password) <= MAX_OTHER_CHARACTERS:
        return "The password is one character repeated. Use more different characters."
    return None


def is_common(password: str) -> bool:
    """Whether the password is one of the most common, in any mix of cases.

    The first call reads the list, which takes a few milliseconds.
    """
    return password.lower() in _common_passwords()


def _letters_and_digits(text: str) -> str:
    """The text without case, compatibility forms, spaces and punctuation."""
    folded = unicodedata.normalize("NFKC", text.casefold())
    return "".join(character for character in folded if character.isalnum())


def _other_characters(password: str) -> int:
    """How many characters are not the most frequent one."""
    lower = password.lower()
    return len(lower) - max(map(lower.count, set(lower)), default=0)


def _bytes(password: str) -> bytes:
    """One encoding per password (RFC 8265 §4.2.2): keyboards differ in how they send an accent.

    Lone surrogates are encoded too: the edge refuses them, and here they must not raise.
    """
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _dummy_hash(memory_kib: int) -> str:
    """Compared for unknown users, so that a login takes as long for them as for known ones.

    Otherwise the time would reveal which e-mail addresses are registered. No known password has
    this hash: salt and digest are zeros.
    """
    salt, digest = (
        b64encode(bytes(size)).decode().rstrip("=") for size in (SALT_BYTES, HASH_BYTES)
    )
    return f"$argon2id$v=19$m={memory_kib},t={PASSES},p={PARALLELISM}${salt}${digest}"


@cache
def _common_passwords() -> frozenset[str]:
    """The list of the file; its header says where it comes from."""
    text = files("finpay.identity").joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(text.partition("\n\n")[2].splitlines())
