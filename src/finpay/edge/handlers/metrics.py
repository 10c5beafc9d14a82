"""Handler of /metrics."""

import asyncio
import hmac

from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.telemetry import metrics


async def retrieve(services: Services, context: Context) -> Response:
    """Open in development; in production only with FINPAY_METRICS_TOKEN, and 404 without one."""
    token = services.settings.metrics_token
    if token is None and services.settings.production:
        raise FinPayError(Code.NOT_FOUND, "Set FINPAY_METRICS_TOKEN to open this page.")
    if token is not None and not hmac.compare_digest(context.bearer.encode(), token.encode()):
        raise FinPayError(
            Code.UNAUTHENTICATED,
            "Send FINPAY_METRICS_TOKEN as a Bearer token.",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    # 20 ms for the files of each process: in a thread, so that the event loop goes on.
    text = await asyncio.to_thread(metrics.exposition, services.metrics_folder)
    return Response(200, text, b"text/plain; version=0.0.4; charset=utf-8")
