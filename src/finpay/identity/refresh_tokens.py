"""Refresh tokens: how one is made, and how its only successor is derived from it.

Every exchange of a token returns the same successor, so a lost response is simply requested
again, and a copied token never starts a second chain.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from secrets import token_bytes, token_urlsafe
from typing import Final

REFRESH_TOKEN_BYTES: Final = 32  # can't be guessed, so its SHA-256 needs no salt
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token and its number in its session. Only the hash is stored."""

    text: str
    generation: int

    @property
    def hash(self) -> bytes:
        """The stored hash of the token."""
        return hash_of(self.text)

    @staticmethod
    def new(generation: int = 0) -> "RefreshToken":
        """A random token: the first of a session, or one that no older token leads to."""
        return RefreshToken(token_urlsafe(REFRESH_TOKEN_BYTES), generation)


def new_key() -> bytes:
    """The key of a session. Without it no successor can be derived, even with a copy of a token."""
    return token_bytes(KEY_BYTES)


def successor(key: bytes, token: str, generation: int) -> RefreshToken:
    """The one successor of a token that is in the given generation."""
    digest = hmac.digest(key, token.encode(), "sha256")
    return RefreshToken(urlsafe_b64encode(digest).decode().rstrip("="), generation + 1)


def hash_of(token: str) -> bytes:
    """The stored hash of a refresh token. Any text has one, lone surrogates included."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
