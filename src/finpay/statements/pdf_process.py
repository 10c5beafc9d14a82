"""The process that draws one statement: a PdfJob as JSON on stdin, the PDF on stdout."""

import resource
import signal
import sys
from typing import Final

import msgspec

from finpay.statements.pdf import TIMEOUT_S, PdfJob
from finpay.statements.pdf_document import draw

MAX_MEMORY_BYTES: Final = 1024**3  # five times what 5 000 entries take


def main() -> None:
    """Ends by itself after TIMEOUT_S, should the process that started it be gone."""
    signal.alarm(round(TIMEOUT_S))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=PdfJob)
    sys.stdout.buffer.write(draw(job))


if __name__ == "__main__":
    main()
