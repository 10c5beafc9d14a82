"""Passwords that are known from breaches: a local file of hash prefixes, searched on the disk.

Each line is the beginning of a SHA-1 in upper-case hexadecimal, all of one length, sorted: the
lists of haveibeenpwned.com have this order. The operator chooses how many characters to keep: a
shorter prefix makes a smaller file, and refuses more passwords that were in no breach.
"""

import hashlib
import mmap
import re
from pathlib import Path
from typing import Final

from finpay.errors import validation_failed
from finpay.settings import SettingsError

MIN_PREFIX: Final = 10  # of the 40 characters: 40 bits
_LINE: Final = re.compile(rb"[0-9A-F]{%d,40}\n" % MIN_PREFIX)


class BreachedPasswords:
    """Without a file there are none.

    SettingsError if the file can't be read, or its first line is not such a prefix.
    """

    def __init__(self, path: str | None) -> None:
        self._lines: mmap.mmap | bytes = b"" if path is None else _map(Path(path))
        first = _LINE.match(self._lines)
        self._width = 0 if first is None else len(first[0])
        if path is not None and (not self._width or len(self._lines) % self._width):
            raise SettingsError(
                "FINPAY_BREACHED_PASSWORDS: expected lines of equal length, each the first "
                f"{MIN_PREFIX} to 40 characters of a SHA-1 in upper-case hexadecimal"
            )

    def check(self, password: str, pointer: str) -> None:
        """FinPayError `validation_failed` if the password is among them."""
        if self.has(password):
            raise validation_failed(
                "This password is known from a breach of another service. Choose another.",
                pointer=pointer,
            )

    def has(self, password: str) -> bool:
        """Whether the file has a prefix of the password's SHA-1."""
        if not self._width:
            return False
        hashed = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False)
        prefix = hashed.hexdigest().upper().encode()[: self._width - 1]
        low, high = 0, len(self._lines) // self._width
        while low < high:
            middle = (low + high) // 2
            if self._line(middle) < prefix:
                low = middle + 1
            else:
                high = middle
        return self._line(low) == prefix

    def _line(self, number: int) -> bytes:
        start = number * self._width
        return self._lines[start : start + self._width - 1]


def _map(path: Path) -> mmap.mmap | bytes:
    """The file, of which only the searched pages are read."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: the file is empty
        raise SettingsError(f"FINPAY_BREACHED_PASSWORDS: can't read {path} ({error})") from error
