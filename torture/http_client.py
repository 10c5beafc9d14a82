"""A client of the API: one keep-alive connection; when it breaks, one to the next API."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tests.support.raw_http import Connection, NoResponse, Response, request

TIMEOUT_S: Final = 12.0  # above the 10 s within which every request has its answer


class Client:
    """`ports` are those of the APIs; the first connection goes to number `first`."""

    def __init__(self, ports: Sequence[int], first: int = 0) -> None:
        self._ports = itertools.cycle([*ports[first:], *ports[:first]])
        self._connection: Connection | None = None

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        cut: Callable[[], bool] = lambda: False,
    ) -> Response:
        """NoResponse where none came. Where `cut()` is true, the body of the response is not read
        and the connection is reset."""

        def on_head() -> None:
            if cut():
                raise NoResponse("cut")

        try:
            async with asyncio.timeout(TIMEOUT_S):
                if self._connection is None or self._connection.closed:
                    self._connection = await Connection.open(next(self._ports))
                data = request(method, path, headers, body)
                return await self._connection.exchange(data, on_head=on_head)
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
            self.reset()
            raise NoResponse(type(error).__name__) from error
        except BaseException:
            self.reset()
            raise

    def reset(self) -> None:
        """End the connection with a reset."""
        if self._connection is not None:
            self._connection.reset()
            self._connection = None
