"""A receiver of FinPay webhooks on Flask.

WEBHOOK_SECRET=whsec_… flask --app flask_receiver run --port 9000
"""

import os

from flask import Flask, request

from finpay.client import webhooks

SECRET = os.environ["WEBHOOK_SECRET"]
app = Flask(__name__)
done: set[str] = set()  # in production your database: an event may be delivered twice


@app.post("/hook")
def hook() -> tuple[str, int]:
    try:
        event = webhooks.verify(request.get_data(), request.headers, SECRET)
    except webhooks.InvalidSignature as error:
        return str(error), 400
    if event.id not in done:
        print(event.type, event.data["object"]["id"])
        done.add(event.id)
    return "", 204
