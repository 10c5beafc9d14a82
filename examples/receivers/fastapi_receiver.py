"""A receiver of FinPay webhooks on FastAPI.

WEBHOOK_SECRET=whsec_… uvicorn fastapi_receiver:app --port 9000
"""

import os

from fastapi import FastAPI, Request, Response

from finpay.client import webhooks

SECRET = os.environ["WEBHOOK_SECRET"]
app = FastAPI()
done: set[str] = set()  # in production your database: an event may be delivered twice


@app.post("/hook")
async def hook(request: Request) -> Response:
    try:
        event = webhooks.verify(await request.body(), request.headers, SECRET)
    except webhooks.InvalidSignature as error:
        return Response(str(error), status_code=400)
    if event.id not in done:
        print(event.type, event.data["object"]["id"])
        done.add(event.id)
    return Response(status_code=204)
