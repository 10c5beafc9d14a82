"""One JSON line per request, and few others. No secrets, no e-mails, no bodies.

Lines go to standard output. They are JSON, so a CR or LF in a value is escaped and can't forge a
line.
"""

import logging
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


def configure(level: str) -> None:
    """Once per process, before the first line."""
    structlog.configure(
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Others()], level=logging.WARNING, force=True)


def write(lines: Sequence[msgspec.Struct]) -> None:
    """Lines of level info that are made already, in one write."""
    if get().is_enabled_for(logging.INFO):
        sys.stdout.buffer.write(_ENCODER.encode_lines(lines))
        sys.stdout.buffer.flush()


class _Others(logging.Handler):
    """What libraries say, in lines like ours: a server's complaint about bytes that are no HTTP."""

    def emit(self, record: logging.LogRecord) -> None:
        told: dict[str, str] = {"source": record.name}
        if record.exc_info:
            told["exception"] = "".join(traceback.format_exception(*record.exc_info))
        get().log(record.levelno, record.getMessage(), **told)


def get() -> FilteringBoundLogger:
    """The process's logger; cheap to call at import time, configured at the first line."""
    return cast("FilteringBoundLogger", structlog.get_logger())


def _render(_: object, method: str, event: EventDict) -> bytes:
    """One step instead of structlog's four: every request pays for it."""
    line = {"time": datetime.now(UTC).isoformat(), "level": method, **event}
    if line.pop("exc_info", None):
        line["exception"] = traceback.format_exc()
    return _ENCODER.encode(line)
