"""python -m benchmarks.webhook_sink PORT FILE: a webhook receiver in a process of its own.

It answers 200, and on SIGTERM writes the first arrival of each webhook-id into FILE, as JSON.
"""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import uvloop

from tests.support.webhook_receiver import OK, Request, WebhookReceiver


async def receive(port: int, file: Path) -> None:
    arrived: dict[str, float] = {}

    def behave(request: Request) -> bytes:
        if "webhook-id" in request.headers:  # the readiness check has none
            arrived.setdefault(request.id, time.time())
        return OK

    receiver = WebhookReceiver(behave, port)
    await receiver.open()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    file.write_text(json.dumps(arrived))


if __name__ == "__main__":
    uvloop.run(receive(int(sys.argv[1]), Path(sys.argv[2])))
