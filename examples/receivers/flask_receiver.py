"""FinPay's webhooks on Flask.

WEBHOOK_SECRET=whsec_… flask --app flask_receiver run --port 9000
"""

import os

from flask import Flask, request

from finpay.client import webhooks

SECRET = os.environ["WEBHOOK_SECRET"]
app = Flask(__name__)
done: set[str] = set()  # in your database in earnest: an event may come twice


@app.post("/hook")
def hook() -> tuple[str, int]:
    try:
        event = webhooks.verify(request.get_data(), request.headers, SECRET)
    except webhooks.InvalidSignature as why:
        return str(why), 400
    if event.id not in done:
        print(event.type, event.data["object"]["id"])
        done.add(event.id)
    return "", 204
