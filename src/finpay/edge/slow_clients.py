"""Closes connections whose client sends a request or reads a response too slowly."""

import asyncio
from typing import Final, Protocol

from finpay.edge.buffered_transport import BufferedTransport

REQUEST_TIMEOUT_S: Final = 15.0  # from the first byte to the last: 64 KiB at 4 KiB/s (slowloris)
CHECK_TIMEOUTS_S: Final = 5.0  # one timer per connection instead of one per request
MIN_DRAINED_BYTES: Final = 8 * 1024  # of a response between two checks (slow readers)


class Receiver(Protocol):
    """The protocol of a connection. `since_s`: the beginning of the request that is read, or else
    the last response."""

    @property
    def since_s(self) -> float: ...

    @property
    def is_receiving(self) -> bool: ...

    def end_slow_request(self) -> None: ...


class SlowClientTimer:
    """Of one connection, from its beginning until `cancel`."""

    def __init__(
        self, receiver: Receiver, transport: BufferedTransport, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._receiver = receiver
        self._transport = transport
        self._loop = loop
        self._sent_bytes: int | None = None  # at the last check, if any were unsent then
        self._timer = loop.call_later(CHECK_TIMEOUTS_S, self._check)

    def cancel(self) -> None:
        self._timer.cancel()

    def _check(self) -> None:
        self._timer = self._loop.call_later(CHECK_TIMEOUTS_S, self._check)
        unsent_bytes, before = self._transport.get_write_buffer_size(), self._sent_bytes
        sent_bytes = self._transport.flushed_bytes - unsent_bytes
        receiver = self._receiver
        if unsent_bytes and before is not None and sent_bytes < before + MIN_DRAINED_BYTES:
            self._transport.abort()
        elif receiver.is_receiving and self._loop.time() - receiver.since_s > REQUEST_TIMEOUT_S:
            receiver.end_slow_request()
        self._sent_bytes = sent_bytes if unsent_bytes else None
