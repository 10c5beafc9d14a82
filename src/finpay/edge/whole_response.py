"""A response in one write. It is an extension of ASGI that HttpProtocol offers.

uvicorn's `send` takes a seventh of the processor time of a transfer: it checks and joins the fields
one by one, in two calls. Other servers offer no such extension, and are sent the messages of ASGI.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from finpay.edge.buffered_transport import BufferedTransport
from finpay.edge.request.model import Message

_EXTENSION: Final = "finpay.whole_response"

# From the head, without the fields of the server and the empty line, and the body; whether they
# were sent.
SendWhole = Callable[[bytes, bytes], bool]


class Connection(Protocol):
    """The part of uvicorn's protocol that a response needs."""

    flow: FlowControl
    server_state: ServerState
    buffered: BufferedTransport


def offer(connection: Connection, cycle: Any, scope: Message) -> None:
    """To the application, for the request that uvicorn's `cycle` answers."""

    def send(head: bytes, body: bytes) -> bool:
        if cycle.disconnected or not cycle.keep_alive or connection.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        write(connection, head, body)
        cycle.message_event.set()
        cycle.on_response()
        return True

    scope["extensions"] = {_EXTENSION: {"send": send}}


def write(connection: Connection, head: bytes, body: bytes) -> None:
    """With the fields of the server and the empty line."""
    fields = b"".join([b"%b: %b\r\n" % each for each in connection.server_state.default_headers])
    connection.buffered.send(b"%b%b\r\n%b" % (head, fields, body))


def take(scope: Message) -> SendWhole | None:
    """What the server offers, if it does. The scope has it no more: its cycle refers to the scope,
    and garbage that refers to itself stops the process for 50 ms whenever it is collected."""
    extension: dict[str, SendWhole] | None = scope.get("extensions", {}).pop(_EXTENSION, None)
    return None if extension is None else extension["send"]
