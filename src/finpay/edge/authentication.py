"""Who sends a request: the principal of an access token or of an API key."""

import time
from typing import Final

from finpay.edge.access_log import RequestRecord
from finpay.edge.rate_limiting import rate_limited
from finpay.edge.request.model import Request
from finpay.edge.router import Route
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.gate.gate import Decision
from finpay.gate.rate_limits import Tiers, exhausted
from finpay.identity import api_keys
from finpay.identity.access_tokens import Principal
from finpay.identity.errors import unauthenticated

DRY_RUN_SCOPE: Final = "transactions:write"  # whatever is tried
_UNKNOWN_KEY: Final = "The API key is unknown or was deleted. Create one at POST /api_keys."


class Authenticator:
    """Reads the bearer of a request. A process looks up each API key once."""

    def __init__(self, services: Services, tiers: Tiers) -> None:
        self._signer = services.identity.signer
        self._keys = services.identity.api_keys
        self._gate = services.gate
        self._tiers = tiers

    async def principal(self, request: Request, record: RequestRecord) -> Principal:
        """FinPayError `unauthenticated` without a valid token or key."""
        token = _bearer(request)
        if not token.startswith(api_keys.PREFIX):
            return self._signer.verify(token, time.time())
        known = self._keys.remembered(token) or await self._look_up(token, request, record)
        return known.check(request.client_ip)

    async def _look_up(
        self, token: str, request: Request, record: RequestRecord
    ) -> api_keys.KnownKey:
        """An unknown key counts as a login does: that bounds guesses, and reads of PostgreSQL."""
        if not api_keys.is_well_formed(token):
            raise unauthenticated("This is not an API key: its checksum is wrong.")
        tiers = self._tiers.for_unknown_key(request.client_ip)
        seen = await self._gate.peek(tiers)
        if seen.kind == "limited":
            record.decision = seen
            raise_for(seen)
        known = await self._keys.look_up(token)
        if known is None:
            record.decision = await self._gate.admit_anonymous(tiers)
            raise unauthenticated(_UNKNOWN_KEY)
        return known


def authorise(
    principal: Principal, route: Route, *, second_factor: bool = False, dry_run: bool = False
) -> FinPayError | None:
    """Why this caller may not use this route: an API key lacks a scope or is no session; a user
    lacks a role, or the second factor that a role needs with `second_factor`."""
    if principal.scopes is None:
        return _role_refusal(principal, route, second_factor=second_factor)
    scope = DRY_RUN_SCOPE if dry_run else route.scope
    if scope == "any" or scope in principal.scopes:
        return None
    if scope is None:
        return FinPayError(
            Code.FORBIDDEN, "An API key can't be used here. Log in, and use the access token."
        )
    return FinPayError(
        Code.INSUFFICIENT_SCOPE,
        f"The API key lacks the scope {scope}.",
        extensions={"scope": scope},
    )


def is_operating(principal: Principal, route: Route) -> bool:
    """Whether an operator or auditor uses a route of theirs, which has a rate limit of its own."""
    return bool(route.roles) and principal.scopes is None and principal.role != "user"


def _role_refusal(principal: Principal, route: Route, *, second_factor: bool) -> FinPayError | None:
    if not route.roles:
        return None
    if principal.role not in route.roles:
        return FinPayError(Code.FORBIDDEN, f"This needs the role {' or '.join(route.roles)}.")
    if second_factor and not principal.factor:
        return FinPayError(
            Code.FORBIDDEN,
            "Operators log in with a second factor. Set one up, and log in again.",
        )
    return None


def raise_for(decision: Decision) -> None:
    """Raises what ends a request at the gate: 401 or 429."""
    if decision.kind == "revoked":
        raise unauthenticated("This session or API key has ended. Log in again.")
    if decision.kind == "limited":
        raise rate_limited(exhausted(decision.limits))


def _bearer(request: Request) -> str:
    """The token of the Authorization header. 401 if there is none."""
    token = request.bearer
    if not token:
        raise FinPayError(
            Code.UNAUTHENTICATED,
            "Log in, and send the access token as Authorization: Bearer ….",
            headers={"WWW-Authenticate": 'Bearer realm="finpay"'},
        )
    return token
