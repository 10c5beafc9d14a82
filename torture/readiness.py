"""Asks the API processes whether they are ready, as a load balancer would."""

import asyncio
import time
from typing import Final

from torture.cluster import Rig, Service
from torture.raw_http import Line, NoAnswer

_POLL_S: Final = 0.1


async def await_ready(rig: Rig, limit_s: float) -> bool:
    """Whether every API process was ready within the limit."""
    until = time.monotonic() + limit_s
    for api in rig.apis:
        while not await _ready(api):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(_POLL_S)
    return True


async def _ready(api: Service) -> bool:
    line = Line([api.port], 0)
    try:
        return (await line.ask("GET", "/readyz", {})).status == 200
    except NoAnswer:
        return False
    finally:
        line.drop()
