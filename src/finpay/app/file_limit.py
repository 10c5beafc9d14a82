"""The number of files and sockets that a process may open."""

import resource
from typing import Final

MAX_FILES: Final = 65_536


def raise_file_limit() -> None:
    """As far as the hard limit goes: 1 024 files is a common default."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
