"""`python -m finpay.app.healthcheck [PATH]`: one GET to the API of this container.

The image has no curl. It imports the standard library alone, because it runs every few seconds.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException
from typing import Final

TIMEOUT_S: Final = 2.0  # health responses never wait for a dependency
OK: Final = 200


def is_healthy(path: str, port: int) -> bool:
    """Whether the API on this machine answers 200 to a GET of `path`."""
    try:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        connection.request("GET", path)
        return connection.getresponse().status == OK
    except (OSError, HTTPException):
        return False


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else "/livez"
    sys.exit(0 if is_healthy(path, int(os.environ.get("PORT") or 3000)) else 1)
