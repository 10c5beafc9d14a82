"""A process keeps nothing of a connection that is gone, however it ended."""

import asyncio
import gc
import socket
import struct
import weakref
from typing import Any, Final

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from finpay.edge.http_protocol import HttpProtocol
from finpay.edge.whole_response import take

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: finpay.test\r\n\r\n"
LIMIT_S: Final = 5.0
RESET: Final = struct.pack("ii", 1, 0)


async def no_content(scope: Any, _receive: Any, send: Any) -> None:
    take(scope)  # as Application does
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_lost_connection_is_not_kept_until_its_keep_alive_timer(
    new_loop: Any, *, reset: bool
) -> None:
    """65 s of connections that their clients reset would be more memory than there is. Nothing of
    it waits for the garbage collector, which stops the process while it works."""
    made: list[weakref.ref[HttpProtocol]] = []
    config = uvicorn.Config(no_content, http=HttpProtocol, ws="none", log_config=None)
    state = ServerState()

    def make() -> HttpProtocol:
        protocol = HttpProtocol(config=config, server_state=state, app_state={})
        made.append(weakref.ref(protocol))
        return protocol

    async def lose() -> bool:
        """Whether it is kept."""
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(REQUEST)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        if reset:
            client: Any = writer.get_extra_info("socket")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.close()
        async with asyncio.timeout(LIMIT_S):
            while state.connections:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0)  # the end of the event loop's call of `connection_lost`
        server.close()
        return made[0]() is not None

    gc.disable()
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            assert not runner.run(lose())
    finally:
        gc.enable()
