"""One delivery attempt: sign the event, POST it, name the result for the endpoint's owner."""

import asyncio
import time
from typing import Final

from finpay import ids, signing
from finpay.telemetry import logs
from finpay.webhooks.messages import Attempt, Error, Message
from finpay.webhooks.ssrf import url_policy
from finpay.webhooks.ssrf.name_resolver import NameResolver
from finpay.webhooks.ssrf.url_policy import UrlPolicy

_LOG: Final = logs.get()


class Sender:
    """Sends messages over one HttpClient. Made inside a running event loop."""

    def __init__(
        self, policy: UrlPolicy, timeout_s: float, names: NameResolver | None = None
    ) -> None:
        from finpay.webhooks.http_client import HttpClient  # 0.3 s and 12 MB: only in workers

        self._policy = policy
        self._timeout_s = timeout_s
        self._client = HttpClient(policy, names or NameResolver())

    async def send(self, message: Message) -> Attempt:
        """One attempt within its time limit. A receiver can't make it raise.

        The status decides, however the body ends.
        """
        from finpay.webhooks import http_client

        started_s = time.perf_counter()
        response = http_client.Response()
        error: Error | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                target = url_policy.parse(message.url, self._policy)
                headers = _headers(message)
                await self._client.post(target, message.owner_id, headers, message.body, response)
        except Exception as failure:  # noqa: BLE001  the other deliveries go on
            error = http_client.name_error(failure)
            if error == "internal_error":
                _LOG.exception(
                    "delivery_attempt_error", endpoint=ids.encode("whe", message.endpoint_id)
                )
        duration_s = time.perf_counter() - started_s
        if response.status is None:
            return Attempt(duration_s, error=error)
        return Attempt(
            duration_s,
            response.status,
            _error_of_status(response.status),
            _as_text(response.body),
            response.retry_after,
        )

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.close()


def _headers(message: Message) -> dict[str, str]:
    timestamp = int(time.time())
    return {
        "User-Agent": "FinPay-Webhooks/1",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signing.sign(message.secrets, message.id, timestamp, message.body),
    }


def _error_of_status(status: int) -> Error | None:
    """Only 2xx is a success. Redirects are not followed: they may lead to a refused address."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return "redirect"
    return "gone" if status == 410 else "bad_status"


def _as_text(body: bytes | bytearray) -> str | None:
    """UTF-8 for PostgreSQL: NUL and malformed bytes become replacement characters."""
    return body.decode("utf-8", "replace").replace("\0", "�") or None
