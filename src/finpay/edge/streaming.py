"""Response bodies that are sent piece by piece while they are made: statements."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from finpay.edge.request.model import Receive, Request, Send
from finpay.edge.response import Response
from finpay.errors import Code, FinPayError
from finpay.telemetry import logs

# A stream holds two pages of rows while its reader is slow: 3 MB.
MAX_STREAMS: Final = 64  # of a process
MAX_STREAMS_PER_USER: Final = 4

_LOG: Final = logs.get()


async def started(stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same stream, its first part made: a failure before it is still an error response."""
    first = await anext(stream)
    return _joined(first, stream)


async def send_stream(response: Response, request: Request, route: str, send: Send) -> None:
    """Sends the parts of the body, each when the one before was taken.

    A stream that fails ends without its last chunk: the status was sent before, and only a missing
    end shows that the body is not whole. When the client has gone the stream is closed.
    """
    assert response.stream is not None  # noqa: S101  the caller looked
    gone = asyncio.create_task(_disconnect(request.receive))
    try:
        async with aclosing(response.stream) as parts:
            async for part in parts:
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": part, "more_body": True})
    except Exception as error:  # noqa: BLE001  logged here; the server closes the connection
        response.code = error.code if isinstance(error, FinPayError) else Code.INTERNAL_ERROR
        _LOG.exception("stream_failed", request_id=request.id, route=route)
        return
    finally:
        gone.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _joined(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest) as parts:
        yield first
        async for part in parts:
            yield part


async def _disconnect(receive: Receive) -> None:
    """Returns when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
