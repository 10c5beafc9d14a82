"""Which rate limits a request meets."""

from typing import Final, Literal

from finpay.gate import redis_keys
from finpay.gate.rate_limits import Tier
from finpay.settings import RateLimit, Settings

EMAIL_FACTOR: Final = 5  # attempts on one e-mail from many addresses, for one address's share


class Tiers:
    """The tiers of this deployment; one that is off is left out."""

    def __init__(self, settings: Settings) -> None:
        self._global = settings.rate_limit_global
        self._transaction = settings.rate_limit_transaction
        self._address = settings.rate_limit_auth
        auth = settings.rate_limit_auth
        self._email = auth and RateLimit(auth.count * EMAIL_FACTOR, auth.window_s)

    @property
    def max_transfers(self) -> int | None:
        """More of them in one request would never fit; None: any number does."""
        return None if self._transaction is None else self._transaction.count

    def for_user(self, user: str, *, money: bool, transfers: int) -> list[Tier]:
        """A request counts once in the global tier, and each of its transfers in theirs."""
        tiers = []
        if self._global is not None:
            tiers.append(Tier("global", redis_keys.user_limit(user, "global"), self._global))
        if money and self._transaction is not None:
            key = redis_keys.user_limit(user, "transaction")
            tiers.append(Tier("transaction", key, self._transaction, cost=transfers))
        return tiers

    def for_anonymous(
        self, address: str, tier: Literal["auth"] | None, email: str | None
    ) -> list[Tier]:
        tiers = []
        if self._global is not None:
            tiers.append(Tier("global", redis_keys.address_limit(address, "global"), self._global))
        if tier == "auth" and self._address is not None:
            key = redis_keys.address_limit(address, "auth")
            tiers.append(Tier("auth_address", key, self._address))
        if email is not None and self._email is not None:
            tiers.append(Tier("auth_email", redis_keys.email_limit(email), self._email))
        return tiers
