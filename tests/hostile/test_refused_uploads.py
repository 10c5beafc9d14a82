"""A client that still sends its body gets the refusal: no reset of the connection discards it."""

import time
from typing import Final

import pytest

from tests.api_process import Api, User
from tests.hostile.exchange import HOST, RawConnection, connected, head, transfer

MIB: Final = 2**20
LARGE: Final = f"Content-Length: {4 * MIB}"
LOGIN_ROUTE: Final = "POST /api/v1/auth/login HTTP/1.1"
LOGIN: Final = "POST /api/v1/auth/nothing HTTP/1.1"
PAUSE_S: Final = 0.3  # in which the server answers, and would close


def requests(user: User) -> dict[str, tuple[bytes, int]]:
    """Heads whose bodies are refused before they are read, each with its status."""
    return {
        "too large": (transfer(user, user, "large", framing=LARGE), 413),
        "without a token": (head("POST /api/v1/transactions HTTP/1.1", HOST, LARGE), 401),
        "an unknown path": (head(LOGIN, HOST, LARGE), 404),
        "malformed": (head("POST /livez HTTP/1.1", LARGE), 400),
        "malformed in its body": (
            head("POST /livez HTTP/1.1", HOST, "Transfer-Encoding: chunked") + b"x\r\n", 400),
    }  # fmt: skip


@pytest.mark.fault("H10")
@pytest.mark.parametrize("case", ["too large", "without a token", "an unknown path", "malformed",
                                  "malformed in its body"])  # fmt: skip
def test_client_that_still_sends_gets_the_refusal(api: Api, alice: User, case: str) -> None:
    start, status = requests(alice)[case]
    with connected(api.url) as connection:
        connection.send(start)
        for _ in range(4):
            connection.send(b"x" * (MIB // 2))
            time.sleep(PAUSE_S / 4)
        seen = [response.status for response in connection.responses()]
    assert seen[-1] == status
    assert len(seen) == 1 or case == "malformed in its body"


@pytest.mark.fault("H10")
def test_connection_of_a_client_that_sends_for_ever_is_closed(api: Api, alice: User) -> None:
    start, _ = requests(alice)["too large"]
    with connected(api.url) as connection:
        connection.send(start)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            send_for(connection, 20.0)


@pytest.mark.fault("H1")
@pytest.mark.parametrize("framing", [b"2\r\n{}\r\n0\r\nX-A: ", b"2\r\n{}\r\n0\r\n", b"2;"])
def test_trailers_and_extensions_of_chunks_are_bounded(api: Api, framing: bytes) -> None:
    """A trailer without end, trailers without end, an extension without end."""
    line = b"a:\r\n" if framing.endswith(b"0\r\n") else b"aaaa"
    start = head(LOGIN_ROUTE, HOST, "Content-Type: application/json", "Transfer-Encoding: chunked")
    with connected(api.url) as connection:
        connection.send(start + framing)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            send_many(connection, line * (MIB // 16))


def send_many(connection: RawConnection, part: bytes) -> None:
    for _ in range(40):
        connection.send(part)
        time.sleep(PAUSE_S / 4)


def send_for(connection: RawConnection, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        connection.send(b"x" * 1_000)
        time.sleep(0.01)
