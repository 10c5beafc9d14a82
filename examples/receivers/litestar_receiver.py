"""A receiver of FinPay webhooks on Litestar.

WEBHOOK_SECRET=whsec_… uvicorn litestar_receiver:app --port 9000
"""

import os
from typing import Any

from litestar import Litestar, Request, Response, post

from finpay.client import webhooks

SECRET = os.environ["WEBHOOK_SECRET"]
done: set[str] = set()  # in production your database: an event may be delivered twice


@post("/hook")
async def hook(request: Request[Any, Any, Any]) -> Response[str]:
    try:
        event = webhooks.verify(await request.body(), request.headers, SECRET)
    except webhooks.InvalidSignature as error:
        return Response(str(error), status_code=400)
    if event.id not in done:
        print(event.type, event.data["object"]["id"])
        done.add(event.id)
    return Response("", status_code=200)


app = Litestar([hook])
