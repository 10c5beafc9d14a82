"""Sessions, tokens and API keys as the client reads them."""

from datetime import datetime

from msgspec import Struct

from finpay.client._models import Account, User


class Tokens(Struct, frozen=True):
    """The tokens of a session. The access token expires after `expires_in` seconds."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str

    def __repr__(self) -> str:
        """Without the tokens, so that they reach no log."""
        return f"{type(self).__name__}(expires_in={self.expires_in})"


class Login(Tokens, frozen=True):
    """The result of register and login."""

    user: User
    account: Account


class ActiveSession(Struct, frozen=True):
    """A login whose tokens are valid, `ses_…`. `current`: it is that of this client."""

    id: str
    device: str | None
    address: str | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool


class ApiKey(Struct, frozen=True):
    """A key of a server, `key_…`. `secret` is None except when the key is new."""

    id: str
    secret: str | None
    name: str
    scopes: tuple[str, ...]
    allowed_cidrs: tuple[str, ...]
    prefix: str
    last_used_at: datetime | None
    expires_at: datetime | None
    created_at: datetime

    def __repr__(self) -> str:
        """Without the secret, so that it reaches no log."""
        return f"ApiKey(id={self.id!r}, name={self.name!r}, prefix={self.prefix!r})"


class SecondFactor(Struct, frozen=True):
    """What an authenticator needs: the secret, and the same as a URL for a QR code."""

    secret: str
    otpauth_url: str

    def __repr__(self) -> str:
        """Without the secret, so that it reaches no log."""
        return "SecondFactor()"


class RecoveryCodes(Struct, frozen=True):
    """Codes for a user who has lost the authenticator. Each works once."""

    recovery_codes: list[str]

    def __repr__(self) -> str:
        """Without the codes, so that they reach no log."""
        return "RecoveryCodes()"
