"""Rate limits: which tiers a request counts in, what is left of them, and their headers.

The headers are those of draft-ietf-httpapi-ratelimit-headers.
"""

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil
from typing import Final, Literal

from msgspec import Struct

from finpay.gate import redis_keys
from finpay.identity.access_tokens import Principal
from finpay.settings import RateLimit, Settings

EMAIL_FACTOR: Final = 5  # failed logins of one e-mail from many addresses, per limit of one address
MAX_LOCAL_WINDOWS: Final = 100_000  # about 20 MB; the oldest window is dropped first


class Tier(Struct, frozen=True):
    """One limit that a request counts in: its public name, its key in Redis, the request's cost.

    It does not refuse while `exempt_key` exists. At most the last tier of a request has one.
    """

    name: str
    key: str
    limit: RateLimit
    cost: int = 1
    exempt_key: str = ""


class LimitState(Struct, frozen=True):
    """What is left of a tier after this request, and the seconds until its window ends."""

    tier: Tier
    remaining: int
    reset_s: int


class Tiers:
    """The tiers of this deployment; one that is off is left out."""

    def __init__(self, settings: Settings) -> None:
        self._global = settings.rate_limit_global
        self._transaction = settings.rate_limit_transaction
        self._address = settings.rate_limit_auth
        self._pages = settings.rate_limit_pages
        self._key = settings.rate_limit_key
        self._operator = settings.rate_limit_operator
        auth = settings.rate_limit_auth
        self._email = auth and RateLimit(auth.count * EMAIL_FACTOR, auth.window_s)

    def max_transfers(self, *, api_key: bool) -> int | None:
        """Transfers of one request beyond this never fit; None: there is no limit."""
        limit = self._key if api_key else self._transaction
        return None if limit is None else limit.count

    def for_user(self, user: str, *, money: bool, transfers: int) -> list[Tier]:
        """A request counts once in the global tier; its transfers count in theirs."""
        tiers = []
        if self._global is not None:
            tiers.append(Tier("global", redis_keys.user_limit(user, "global"), self._global))
        if money and self._transaction is not None:
            key = redis_keys.user_limit(user, "transaction")
            tiers.append(Tier("transaction", key, self._transaction, cost=transfers))
        return tiers

    def for_principal(self, principal: Principal, *, money: bool, transfers: int) -> list[Tier]:
        """An API key has one window of its own, in which each transfer counts."""
        if principal.scopes is None:
            return self.for_user(principal.user, money=money, transfers=transfers)
        if self._key is None:
            return []
        key = redis_keys.user_limit(principal.user, principal.session)
        return [Tier("key", key, self._key, cost=transfers if money else 1)]

    def for_operator(self, user: str) -> list[Tier]:
        """Operators and auditors have a window of their own for their routes."""
        if self._operator is None:
            return []
        return [Tier("operator", redis_keys.user_limit(user, "operator"), self._operator)]

    def for_unknown_key(self, address: str) -> list[Tier]:
        """An API key that this process has not seen."""
        if self._address is None:
            return []
        return [Tier("auth_address", redis_keys.address_limit(address, "auth"), self._address)]

    def for_page(self, address: str) -> list[Tier]:
        if self._pages is None:
            return []
        return [Tier("pages", redis_keys.address_limit(address, "pages"), self._pages)]

    def for_email(self, email: str, address: str) -> list[Tier]:
        """Failed logins with an e-mail. A known address is not stopped by those from elsewhere."""
        if self._email is None:
            return []
        known = redis_keys.known_address(email, address)
        return [Tier("auth_email", redis_keys.email_limit(email), self._email, exempt_key=known)]

    def for_anonymous(
        self, address: str, tier: Literal["auth", "login"] | None, email: str | None
    ) -> list[Tier]:
        tiers = []
        if self._global is not None:
            key = redis_keys.address_limit(address, "global")
            tiers.append(Tier("global", key, self._global))
        if tier is not None and self._address is not None:
            key = redis_keys.address_limit(address, "auth")
            tiers.append(Tier("auth_address", key, self._address))
        if tier == "login" and email is not None:
            tiers += self.for_email(email, address)
        return tiers


def tier_arguments(tiers: Sequence[Tier]) -> list[int]:
    """Limit, window in milliseconds and cost of each tier, as gate.lua reads them."""
    return [
        number
        for tier in tiers
        for number in (tier.limit.count, tier.limit.window_s * 1000, tier.cost)
    ]


def parse_report(tiers: Sequence[Tier], report: Sequence[int]) -> tuple[LimitState, ...]:
    """From a report of gate.lua: (left, milliseconds) for each tier in turn."""
    return tuple(
        LimitState(tier, left, max(1, ceil(ms / 1000)))
        for tier, left, ms in zip(tiers, report[::2], report[1::2], strict=True)
    )


def format_headers(states: Sequence[LimitState]) -> tuple[str, str]:
    """The values of RateLimit-Policy and RateLimit."""
    policy = ", ".join(
        f'"{state.tier.name}";q={state.tier.limit.count};w={state.tier.limit.window_s}'
        for state in states
    )
    left = ", ".join(
        f'"{state.tier.name}";r={state.remaining};t={state.reset_s}' for state in states
    )
    return policy, left


def exhausted(states: Sequence[LimitState]) -> LimitState:
    """The tier that refused: of those with too little left, the one whose window ends last."""
    short = [state for state in states if state.remaining < state.tier.cost]
    return max(short, key=lambda state: state.reset_s)


class LocalLimits:
    """The same fixed windows, counted in this process alone while Redis is unavailable.

    Each process gets its share of the limit, so that all together stay near it.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._windows: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def count(self, tiers: Sequence[Tier], now_s: float) -> tuple[bool, tuple[LimitState, ...]]:
        """Counts in all tiers or in none. Returns whether it was counted, and what is left."""
        windows = [self._window(tier, now_s) for tier in tiers]
        shares = [max(1, tier.limit.count // self._workers) for tier in tiers]
        fits = all(
            used + max(tier.cost, 1) <= share
            for tier, share, (used, _) in zip(tiers, shares, windows, strict=True)
        )
        states = []
        for tier, share, (used, ends_s) in zip(tiers, shares, windows, strict=True):
            after = used + tier.cost if fits else used
            if fits and tier.cost:
                self._windows[tier.key] = (after, ends_s)
                if not used:  # a new window is the youngest, even under an old key
                    self._windows.move_to_end(tier.key)
            states.append(LimitState(tier, max(0, share - after), max(1, ceil(ends_s - now_s))))
        while len(self._windows) > MAX_LOCAL_WINDOWS:
            self._windows.popitem(last=False)
        return fits, tuple(states)

    def reset(self, key: str) -> None:
        self._windows.pop(key, None)

    def _window(self, tier: Tier, now_s: float) -> tuple[int, float]:
        used, ends_s = self._windows.get(tier.key, (0, 0.0))
        return (used, ends_s) if ends_s > now_s else (0, now_s + tier.limit.window_s)
