"""What handlers may use. Built in app.py."""

from dataclasses import dataclass

from finpay.db.pool import Database
from finpay.edge.probe import Probe
from finpay.gate.gate import Gate
from finpay.identity.users import Identity
from finpay.ledger.batcher import Batcher
from finpay.ledger.reader import Reader
from finpay.settings import Settings
from finpay.webhooks.waking import Waker


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one process."""

    settings: Settings
    database: Database
    batcher: Batcher
    reader: Reader
    waker: Waker
    identity: Identity
    gate: Gate
    probe: Probe
    metrics_folder: str | None
