"""Makes the PDF of a statement in a process of its own.

Drawing thousands of entries takes seconds of a processor: in this process nothing else would be
answered meanwhile. A file lock keeps it to one at a time for all processes of a server. The other
process gets the statement and no secret, and has limits of its own.
"""

import asyncio
import fcntl
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from finpay import ids
from finpay.errors import Code, FinPayError, overloaded, unavailable
from finpay.statements import json_stream, resources
from finpay.statements.periods import Period
from finpay.statements.reads import Bounds, Pages
from finpay.statements.resources import Statement, Totals
from finpay.telemetry import logs

TIMEOUT_S: Final = 30.0  # ten times what 5 000 entries take on a quiet machine
RETRY_AFTER_S: Final = 3
MAX_LOGGED: Final = 2_000  # characters of what the process said last

_LOG: Final = logs.get()
_COMMAND: Final = (sys.executable, "-m", "finpay.statements.pdf_process")
_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")


class PdfJob(Struct, frozen=True):
    """What the process draws: a statement, whose it is, and when it was made."""

    account_id: str
    name: str | None
    email: str
    made_at: datetime
    statement: Statement


class PdfMaker:
    """One per process. `folder` is shared by all processes of a server, or None."""

    def __init__(self, folder: str | None, command: Sequence[str] = _COMMAND) -> None:
        if folder is None:
            folder = tempfile.mkdtemp(prefix="finpay-pdf-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._lock = Path(folder, "statement_pdf.lock")
        self._command = command

    async def make(
        self,
        bounds: Bounds,
        period: Period,
        pages: Pages,
        made_at: datetime,
    ) -> bytes:
        """The document. 503 while another one is made, or after TIMEOUT_S."""
        with self._only_one() as lock:
            job = await _job(bounds, period, pages, made_at)
            with tempfile.TemporaryFile() as file:
                file.write(msgspec.json.encode(job))
                file.seek(0)
                return await self._run(file, lock)

    @contextmanager
    def _only_one(self) -> Iterator[int]:
        """Holds the lock of the server: 503 if another process or request has it."""
        with self._lock.open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise overloaded(
                    "Another PDF is being made. Try again, or ask for csv.",
                    retry_after_s=RETRY_AFTER_S,
                ) from None
            yield file.fileno()

    async def _run(self, job: BinaryIO, lock: int) -> bytes:
        """The process inherits the lock, so that it is held even if this process is killed.

        It reads the job from a file: a pipe would break if the process ended before it was read.
        """
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=job,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            pass_fds=(lock,),
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                document, said = await process.communicate()
        except TimeoutError:
            _LOG.error("statement_pdf_failed", reason="timeout")
            raise unavailable("The PDF took too long. Try again, or ask for csv.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            reason = said.decode("utf-8", "replace")[-MAX_LOGGED:]
            _LOG.error("statement_pdf_failed", reason=reason, exit_code=process.returncode)
            raise FinPayError(Code.INTERNAL_ERROR, "The PDF could not be made. Ask for csv.")
        return document


async def _job(
    bounds: Bounds,
    period: Period,
    pages: Pages,
    made_at: datetime,
) -> PdfJob:
    totals: dict[str, Totals] = {}
    entries = []
    async for rows in pages:
        json_stream.add(totals, rows)
        entries += [resources.entry(row, bounds.currency) for row in rows]
    statement = Statement(
        object="statement",
        from_=f"{period.first}",
        to=f"{period.last}",
        timezone=period.zone.key,
        currency=bounds.currency,
        opening_balance=bounds.opening_balance,
        closing_balance=bounds.closing_balance,
        entries=entries,
        total_in=sum(kind.total_in for kind in totals.values()),
        total_out=sum(kind.total_out for kind in totals.values()),
        totals_by_type=totals,
    )
    account = ids.encode("acc", bounds.account_id)
    return PdfJob(account, bounds.name, bounds.email, made_at, statement)
