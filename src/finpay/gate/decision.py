"""What the gate answers. The edge does the branching."""

from typing import Literal

from msgspec import Struct

from finpay.gate.rate_limits import LimitState

Kind = Literal[
    "admitted", "hit", "replayed", "reuse", "in_progress", "limited", "revoked", "unknown"
]


class Decision(Struct, frozen=True):
    """One request's passage.

    `payload` is the stored answer of a replay or the cached one of a hit. `generation` is what a
    fill has to show, None where this read must not be stored. `claimed` tells that this request
    owns its idempotency key in Redis. `degraded`: decided without Redis.
    """

    kind: Kind
    budgets: tuple[LimitState, ...] = ()
    payload: bytes = b""
    generation: str | None = None
    claimed: bool = False
    degraded: bool = False
