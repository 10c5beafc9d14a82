"""One JSON line per request, and few others. No secrets, no e-mails, no bodies.

Lines go to standard output. structlog renders them with msgspec, so a CR or LF in a value is
escaped and can't forge a line.
"""

import logging
import sys
from typing import Final, cast

import msgspec
import structlog

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(level: str) -> None:
    """Once per process, before the first line."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_serialise),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )


def get() -> structlog.typing.FilteringBoundLogger:
    """The process's logger; cheap to call at import time, configured at the first line."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())


def _serialise(event: object, **_: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)
