"""Head and body of a response leave with one write; nothing else waits."""

from typing import Any

import pytest

from finpay.edge.buffered_transport import BufferedTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Recorder:
    """The part of a transport that is written to."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False
        self.get_extra_info = self.get_write_buffer_size = lambda *_: None
        self.pause_reading = self.resume_reading = lambda: None

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def transport(recorder: Recorder) -> BufferedTransport:
    written_to: Any = recorder
    no_loop: Any = None
    return BufferedTransport(written_to, no_loop, lambda: False)


def test_head_leaves_with_the_first_part_of_its_body(
    transport: BufferedTransport, recorder: Recorder
) -> None:
    transport.write(HEAD)
    assert recorder.writes == []
    for part in (b"ab", b"HTTP", b""):
        transport.write(part)
    assert recorder.writes == [HEAD + b"ab", b"HTTP", b""]
    assert transport.flushed_bytes == len(HEAD) + 6


def test_head_without_a_body_leaves_at_the_end_of_its_response(
    transport: BufferedTransport, recorder: Recorder
) -> None:
    for _ in range(2):
        transport.write(HEAD)
        transport.flush()
        transport.flush()
    assert recorder.writes == [HEAD, HEAD]


def test_close_sends_a_head_that_waits(transport: BufferedTransport, recorder: Recorder) -> None:
    transport.write(HEAD)
    transport.close()
    assert recorder.writes == [HEAD]
    assert recorder.closed


def test_100_continue_does_not_wait(transport: BufferedTransport, recorder: Recorder) -> None:
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(HEAD)
    transport.write(b"ab")
    assert recorder.writes == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"ab"]
