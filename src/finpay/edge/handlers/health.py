"""Handlers of /health, /livez and /readyz. They read what the health monitor last found."""

from importlib.metadata import version
from typing import Literal

from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services

State = Literal["ok", "down"]


async def retrieve(services: Services, _: Context) -> Response:
    """200 while money can move, else 503 with the same body."""
    health = services.health
    status: Literal["ok", "degraded", "down"] = "down"
    if health.postgres_ok:
        status = "ok" if health.redis_ok else "degraded"
    checks = responses.HealthChecks(_state(health.postgres_ok), _state(health.redis_ok))
    body = responses.Health(status, version("finpay"), checks)
    return Response(200 if health.postgres_ok else 503, responses.encode(body))


async def livez(_: Services, __: Context) -> Response:
    return Response(200, b'{"status":"ok"}')


async def readyz(services: Services, _: Context) -> Response:
    health = services.health
    checks = responses.ReadinessChecks(
        _state(health.postgres_ok), _state(health.redis_ok), health.integrity
    )
    if health.draining or not health.postgres_ok:
        return Response(503, responses.encode(responses.Readiness("down", checks)))
    status: Literal["ok", "warn"] = "ok" if health.redis_ok else "warn"
    return Response(200, responses.encode(responses.Readiness(status, checks)))


def _state(ok: bool) -> State:  # noqa: FBT001  the one argument
    return "ok" if ok else "down"
